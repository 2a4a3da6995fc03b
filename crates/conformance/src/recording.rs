use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use swifthook_core::{
    Admitted, Decided, DeliveryId, Intake, IntakeError, JobId, Receipt, Stage, StoredJob, Verdict,
};

/// An intake in memory that keeps what it was given, knows duplicates, and numbers deliveries and jobs from 1: for
/// equal pushes in equal order it gives equal receipts.
#[derive(Debug, Default)]
pub struct RecordingIntake {
    recorded: Mutex<Recorded>,
}

#[derive(Debug, Default)]
struct Recorded {
    pushes: Vec<Decided>,
    jobs: HashMap<String, (JobId, Stage)>,
}

impl RecordingIntake {
    /// Every push that it took, in order.
    #[must_use]
    pub fn pushes(&self) -> Vec<Decided> {
        self.lock().pushes.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Recorded> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Intake for RecordingIntake {
    async fn accept(&self, decided: &Decided) -> Result<Receipt, IntakeError> {
        Ok(self.lock().take(decided))
    }
}

impl Recorded {
    fn take(&mut self, decided: &Decided) -> Receipt {
        self.pushes.push(decided.clone());
        let delivery = DeliveryId(number(self.pushes.len()));
        let mut jobs = Vec::new();
        for verdict in &decided.verdicts {
            let stage = if matches!(verdict.verdict, Verdict::Hold(_)) { Stage::Held } else { Stage::Queued };
            for spec in &verdict.jobs {
                let next = JobId(number(self.jobs.len() + 1));
                let push = &decided.push;
                let change = format!(
                    "{:?}",
                    (&push.repository, &push.ref_name, &push.head, &spec.recipe, &spec.config)
                );
                let admitted =
                    if self.jobs.contains_key(&change) { Admitted::Duplicate } else { Admitted::New };
                let (id, stage) = *self.jobs.entry(change).or_insert((next, stage));
                jobs.push(StoredJob {
                    recipe: spec.recipe.clone(),
                    config: spec.config.clone(),
                    id,
                    stage,
                    admitted,
                });
            }
        }
        Receipt::Stored { delivery, jobs }
    }
}

fn number(n: usize) -> [u8; 16] {
    (n as u128).to_be_bytes()
}
