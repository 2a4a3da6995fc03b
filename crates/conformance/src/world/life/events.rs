//! What happens in a world besides what its workers do.

use std::time::Duration;

use swifthook_core::{
    Actor, Admitted, Command, Decided, Job, Problem, Push, Receipt, Source, Stage, Standing, WorkspaceError,
};
use tokio::time::Instant;

use super::{GPUS, Store, World, named};
use crate::world::launcher::SubmitFault;
use crate::world::pushes::decided;
use crate::world::scene;
use crate::world::seat::{Employee, Seat};

impl<Q: Store + 'static, E: Fn(Seat) -> Employee> World<Q, E> {
    pub(super) async fn push(&mut self) {
        self.pushes += 1;
        let push = scene::push(&mut self.random, self.pushes);
        self.deliver("push", push).await;
    }

    /// A ref comes to a commit again, from another one: what changed then is another question.
    pub(super) async fn repeat(&mut self) {
        let Some((_, Decided { push, .. })) = self.random.pick(&self.deliveries).cloned() else { return };
        self.pushes += 1;
        let push = scene::repetition(&mut self.random, push, self.pushes);
        self.deliver("repetition", push).await;
    }

    async fn deliver(&mut self, kind: &'static str, push: Push) {
        for _ in 0..2 {
            self.workspace.answer_diff(scene::diff(&mut self.random));
        }
        let chosen: Vec<_> = self.recipes.iter().filter(|_| self.random.once_in(2)).cloned().collect();
        let decided = decided(&push, &chosen, (self.clock)());
        self.accept(kind, decided).await;
    }

    pub(super) async fn redeliver(&mut self) {
        let Some((_, decided)) = self.random.pick(&self.deliveries).cloned() else { return };
        let source = match self.random.below(3) {
            0 => Source::Reconcile,
            1 => Source::Hook { hook: "github".into(), guid: "another".into() },
            _ => decided.push.source.clone(),
        };
        let received_at = (self.clock)();
        let push = Push { source, ..decided.push };
        self.accept("redelivery", Decided { push, received_at, ..decided }).await;
    }

    async fn accept(&mut self, kind: &'static str, decided: Decided) {
        let receipt = self.queue.accept(&decided).await.expect("no gate is before it");
        let jobs = match &receipt {
            Receipt::Stored { jobs, .. } => &jobs[..],
            Receipt::Accepted { .. } => &[],
        };
        for stored in jobs.iter().filter(|stored| stored.admitted == Admitted::Duplicate) {
            self.judge_duplicate(stored, &decided.push).await;
        }
        let (Receipt::Stored { delivery, .. } | Receipt::Accepted { delivery }) = receipt;
        self.note(kind, &format!("{} {:?}", decided.push.ref_name, decided.push.head));
        self.deliveries.push((delivery, decided));
    }

    pub(super) async fn cancel(&mut self) {
        self.command("cancel", Command::Cancel, |stage| !stage.is_final()).await;
    }

    pub(super) async fn retry(&mut self) {
        self.command("retry", Command::Retry, Stage::is_final).await;
    }

    async fn command(&mut self, kind: &'static str, what: Command, fits: impl Fn(Stage) -> bool) {
        let jobs: Vec<Job> = self.jobs().await.into_iter().filter(|job| fits(job.state.stage)).collect();
        let Some(job) = self.random.pick(&jobs) else { return };
        if self.queue.command(job.id, what, &Actor("mona".into())).await.is_ok() {
            let name = named(job);
            self.note(kind, &name);
        }
    }

    /// Held jobs that wait for a person get their answer.
    pub(super) async fn approve(&mut self) {
        for job in self.jobs_in(vec![Stage::Held]).await {
            if !job.state.needs_diff() {
                let answer = self.queue.command(job.id, Command::Approve, &Actor("mona".into())).await;
                if answer.is_ok() {
                    self.note("approval", &named(&job));
                }
            }
        }
    }

    pub(super) fn lose_sight(&mut self) {
        let time = self.random.within(Duration::from_secs(1)..Duration::from_secs(300));
        self.launcher.lose_sight_for(time);
        self.note("unreachable", &format!("for {time:?}"));
    }

    pub(super) fn reboot(&mut self) {
        let time = self.random.within(Duration::from_secs(1)..Duration::from_secs(120));
        self.launcher.reboot(time);
        self.note("reboot", &format!("back in {time:?}"));
    }

    /// Somebody sits down at a GPU, or leaves it.
    pub(super) fn use_by_hand(&mut self) {
        let index = self.random.below(GPUS as usize);
        let standing = match self.random.below(4) {
            0 => Standing::InUse("by hand".to_owned()),
            1 => Standing::Settling,
            _ => Standing::Idle,
        };
        self.note("by hand", &format!("GPU {index} is {standing:?}"));
        self.gpus.set(index, standing);
    }

    pub(super) fn break_submission(&mut self) {
        let faults = [
            (SubmitFault::Before, "submission not done"),
            (SubmitFault::After, "submission not answered"),
            (SubmitFault::Refused, "submission refused"),
            (SubmitFault::Panics, "submission panics"),
        ];
        let (fault, kind) = *self.random.pick(&faults).expect("there are four");
        self.launcher.fail_submission(fault);
        self.note(kind, "at the next one");
    }

    pub(super) fn lose_answer(&mut self) {
        self.launcher.fail_submission(SubmitFault::After);
        self.note("submission not answered", "at the next one");
    }

    pub(super) fn break_checkout(&mut self) {
        let error = match self.random.below(4) {
            0 => WorkspaceError::permanent("the commit is gone"),
            _ => WorkspaceError::passing("the server does not answer"),
        };
        self.note("checkout fails", if error.is_permanent() { "for good" } else { "for now" });
        self.workspace.fail_checkout(error);
    }

    pub(super) fn break_store(&mut self) {
        let time = self.random.within(Duration::from_secs(1)..Duration::from_secs(90));
        self.store_fails.send_replace(true);
        self.store_mends = Some(Instant::now() + time);
        self.note("store fails", &format!("for {time:?}"));
    }
}
