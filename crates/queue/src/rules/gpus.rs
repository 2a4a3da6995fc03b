//! Leases of GPUs: begun with an attempt, and ended by what is known of its end alone.

use std::sync::Arc;

use swifthook_core::{Command, Event, GpuBook, GpuWaiter, Job, JobId, QueueError, RunKey, State, Worker};

use super::Rules;
use crate::store::Store;

impl<S: Store> Rules<'_, S> {
    /// What is known of the GPUs of a machine.
    pub(crate) fn gpu_book(&mut self, machine: &str, worker: &Worker) -> Result<GpuBook, QueueError> {
        let leases = self.store.gpu_leases(Some(machine))?;
        let waiting = self.store.gpu_waiters()?.into_iter();
        let waiting = waiting.filter(|job| {
            job.spec.labels.iter().all(|label| worker.labels.contains(label))
                && job.state.host().is_none_or(|host| host == &*worker.host)
        });
        let waiter = |job: Job| {
            let (id, turn) = (job.id, job.turn());
            Some(GpuWaiter { job: id, turn, request: job.state.gpu_request? })
        };
        Ok(GpuBook { leases, waiting: waiting.filter_map(waiter).collect() })
    }

    /// Nothing is left of the run of a job that has come to its end: ends its leases.
    pub(crate) fn give_back(&mut self, id: JobId, who: &Arc<str>) -> Result<(), QueueError> {
        let mut job = self.known(id)?.job;
        if !job.state.stage.is_final() {
            return Ok(());
        }
        self.store.free_ports(id)?;
        let has_gpus = self.store.has_gpus(id)?;
        if job.state.is_given_up {
            job.state.is_given_up = false;
            self.store.update(&job)?;
        } else if !has_gpus {
            return Ok(());
        }
        if !has_gpus {
            return self.remark(&job, who, "run_ended", "nothing is left of its run".to_owned());
        }
        self.store.free_gpus(id)?;
        self.has_news = true;
        self.remark(&job, who, "gpus_given_back", "its GPUs are free".to_owned())
    }

    /// Refuses a start whose GPUs are not all free. Nothing is written before that.
    pub(super) fn check_gpus(&mut self, job: JobId, event: &Event) -> Result<(), QueueError> {
        let Event::Start { gpus: Some(grant), .. } = event else { return Ok(()) };
        let leases = self.store.gpu_leases(Some(&grant.machine))?;
        match leases.iter().find(|lease| lease.run.job != job && grant.uuids.contains(&lease.uuid)) {
            Some(lease) => Err(QueueError::GpuTaken { uuid: lease.uuid.clone() }),
            None => Ok(()),
        }
    }

    /// Leases what an attempt begins with, and gives back what one had that is over. One that was given up may still
    /// run: it keeps them until somebody has looked.
    pub(super) fn keep_gpus(&mut self, before: &State, job: &Job, event: &Event) -> Result<(), QueueError> {
        match (event, &job.state.gpus) {
            (Event::Start { .. }, Some(grant)) => {
                self.store.lease_gpus(RunKey { job: job.id, attempt: job.state.attempt }, grant)
            }
            (Event::Command { what: Command::Abandon, .. }, _) => Ok(()),
            _ if before.gpus.is_some() && before.stage.is_active() && !job.state.stage.is_active() => {
                self.store.free_gpus(job.id)
            }
            _ => Ok(()),
        }
    }
}
