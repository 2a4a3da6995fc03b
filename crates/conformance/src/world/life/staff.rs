//! The workers of a world: how they crash, sleep, leave and come back.

use std::sync::Arc;
use std::time::Duration;

use swifthook_core::{JobQueue, TrainingLauncher, Workspace};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Store, World};
use crate::world::gate::{Gate, Gated};
use crate::world::scene;
use crate::world::seat::{Employee, Seat};

/// A place that is taken by one worker after the other.
pub(super) struct Worker {
    pub(super) name: Arc<str>,
    pub(super) slots: usize,
    pub(super) gate: Arc<Gate>,
    pub(super) task: Option<JoinHandle<()>>,
    pub(super) runs: Box<dyn Fn() -> usize + Send>,
    pub(super) shutdown: Option<oneshot::Sender<()>>,
    /// When it wakes up, if it sleeps; when somebody takes its place, if it is gone.
    pub(super) back_at: Option<Instant>,
}

impl<Q: Store + 'static, E: Fn(Seat) -> Employee> World<Q, E> {
    pub(super) fn crash(&mut self) {
        let number = self.random.below(self.workers.len());
        if let Some(task) = self.workers[number].task.take() {
            task.abort();
            self.workers[number].shutdown = None;
            self.leave(number, "crash");
        }
    }

    pub(super) fn shut_down(&mut self) {
        let number = self.random.below(self.workers.len());
        if let Some(shutdown) = self.workers[number].shutdown.take() {
            // A worker that is gone already hears nothing.
            let _ = shutdown.send(());
            self.workers[number].task = None;
            self.leave(number, "shutdown");
        }
    }

    fn leave(&mut self, number: usize, how: &'static str) {
        let absence = self.random.within(Duration::from_millis(10)..Duration::from_secs(90));
        let worker = &mut self.workers[number];
        // What it had sent is on its way still.
        worker.gate.open();
        worker.gate.forget();
        worker.runs = Box::new(|| 0);
        worker.back_at = Some(Instant::now() + absence);
        let name = worker.name.clone();
        self.note(how, &name);
    }

    pub(super) fn fall_asleep(&mut self) {
        let number = self.random.below(self.workers.len());
        let time = self.random.within(Duration::from_secs(1)..self.tempo.naps);
        let worker = &mut self.workers[number];
        if worker.task.is_some() && worker.back_at.is_none() {
            worker.gate.shut();
            worker.back_at = Some(Instant::now() + time);
            let name = worker.name.clone();
            self.note("sleep", &name);
        }
    }

    /// When somebody wakes up or takes a free seat next, or the store is in order again.
    pub(super) fn next_return(&self) -> Option<Instant> {
        self.workers.iter().filter_map(|worker| worker.back_at).chain(self.store_mends).min()
    }

    pub(super) fn come_back(&mut self) {
        let now = Instant::now();
        if self.store_mends.is_some_and(|at| at <= now) {
            self.store_mends = None;
            self.store_fails.send_replace(false);
        }
        for number in 0..self.workers.len() {
            let worker = &mut self.workers[number];
            if worker.back_at.is_none_or(|at| at > now) {
                continue;
            }
            worker.back_at = None;
            if worker.task.is_some() {
                worker.gate.open();
            } else {
                self.employ(number);
            }
        }
    }

    /// Puts somebody on a free seat.
    pub(super) fn employ(&mut self, number: usize) {
        let (send, receive) = oneshot::channel();
        let worker = &mut self.workers[number];
        let gate = worker.gate.clone();
        let seat = Seat {
            name: worker.name.clone(),
            slots: worker.slots,
            queue: Arc::new(Gated::<dyn JobQueue> { gate: gate.clone(), other: self.queue.clone() }),
            workspace: Arc::new(Gated::<dyn Workspace> { gate: gate.clone(), other: self.workspace.clone() }),
            launcher: Arc::new(Gated::<dyn TrainingLauncher> { gate, other: self.launcher.clone() }),
            recipes: self.recipes.clone(),
            timeout: self.tempo.timeout,
            lease: self.tempo.lease,
            gpu_requests: scene::gpu_request,
            gpus: self.gpus.clone(),
            admission: self.moods.clone(),
            clock: self.clock.clone(),
            shutdown: Box::pin(async {
                // Without a sender nobody shuts it down any more.
                if receive.await.is_err() {
                    std::future::pending::<()>().await;
                }
            }),
        };
        let employee = (self.employ)(seat);
        let worker = &mut self.workers[number];
        worker.task = Some(tokio::spawn(employee.work));
        (worker.runs, worker.shutdown) = (employee.runs, Some(send));
    }
}
