use std::sync::Arc;
use std::time::Duration;

use swifthook_core::{
    Decided, Delivery, DeliveryId, History, Intake, IntakeError, Job, JobFilter, Receipt, RefName, Timestamp,
};
use tokio::time::Instant;

use super::bench::IntakeBench;
use crate::queue::scene::Delivered;

/// An intake and its store, with words for what people see of them.
pub(super) struct Site {
    pub(super) intake: Arc<dyn Intake>,
    pub(super) history: Arc<dyn History>,
}

impl Site {
    pub(super) fn of(bench: &(impl IntakeBench + ?Sized)) -> Self {
        Self { intake: bench.intake(), history: bench.history() }
    }

    /// Delivers a push until it is accepted.
    pub(super) async fn accept(&self, push: &Delivered) -> DeliveryId {
        let decided = decided(push);
        eventually("the push is accepted", async || deliver(&*self.intake, &decided).await.ok()).await
    }

    /// A receipt that was promised.
    pub(super) async fn stored(&self, id: DeliveryId) -> Delivery {
        eventually("what was accepted is stored", async || self.history.delivery(id).await.ok().flatten())
            .await
    }

    pub(super) async fn jobs(&self) -> Vec<Job> {
        let all = JobFilter { limit: 100_000, ..JobFilter::default() };
        eventually("the store answers", async || self.history.jobs(&all).await.ok()).await
    }

    pub(super) async fn receipts(&self) -> Vec<Delivery> {
        eventually("the store answers", async || self.history.deliveries(None, 100_000).await.ok()).await
    }
}

/// The time of receipt is part of what is kept.
pub(super) const RECEIVED: Timestamp = Timestamp(1_795_514_401_234);

pub(super) fn decided(push: &Delivered) -> Decided {
    push.decided(RECEIVED)
}

pub(super) async fn deliver(intake: &dyn Intake, decided: &Decided) -> Result<DeliveryId, IntakeError> {
    let receipt = intake.accept(decided).await?;
    let (Receipt::Stored { delivery, .. } | Receipt::Accepted { delivery }) = receipt;
    Ok(delivery)
}

/// A push of commit number `head` to a branch of its own, so that it supersedes nothing.
pub(super) fn lonely(head: u32) -> Delivered {
    let group = format!("group {head}");
    let push = Delivered::new(head).with(|spec| spec.group = group.into());
    Delivered { ref_name: RefName::Branch(format!("branch-{head}").into()), ..push }
}

/// Asks until there is an answer.
pub(super) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "within {PATIENCE:?} {what}");
        tokio::time::sleep(LOOK).await;
    }
}

const PATIENCE: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(10);
