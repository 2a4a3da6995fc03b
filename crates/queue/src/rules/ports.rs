//! Leases of ports: begun with an attempt of several processes, and ended as those of GPUs are.

use swifthook_core::{Command, Event, Job, Lease, QueueError, RunKey, State};

use super::Rules;
use crate::store::Store;

impl<S: Store> Rules<'_, S> {
    /// Leases a port to an attempt that has begun, in the place of one that it has.
    pub(crate) fn lease_port(
        &mut self,
        lease: &Lease,
        machine: &str,
        avoid: &[u16],
    ) -> Result<Option<u16>, QueueError> {
        let job = self.known(lease.job)?.job;
        if job.state.epoch != lease.epoch || !job.state.stage.is_active() {
            return Err(QueueError::StaleLease { job: lease.job });
        }
        self.store.free_ports(job.id)?;
        let run = RunKey { job: job.id, attempt: job.state.attempt };
        let leased = self.store.ports(machine)?;
        let port = ports(run).find(|port| !leased.contains(port) && !avoid.contains(port));
        if let Some(port) = port {
            self.store.lease_port(machine, port, run)?;
        }
        Ok(port)
    }

    /// Gives back what an attempt had that is over. One that was given up may still run: it keeps its port until somebody
    /// has looked.
    pub(super) fn keep_port(&mut self, before: &State, job: &Job, event: &Event) -> Result<(), QueueError> {
        let is_over = before.stage.is_active() && !job.state.stage.is_active();
        match event {
            Event::Command { what: Command::Abandon, .. } => Ok(()),
            _ if is_over => self.store.free_ports(job.id),
            _ => Ok(()),
        }
    }
}

/// All ports, from one on that is another for each attempt of a job: one that somebody else had, who leases none, is not
/// tried twice in a row.
fn ports(run: RunKey) -> impl Iterator<Item = u16> {
    let [.., high, low] = run.job.0;
    let first = u32::from(u16::from_be_bytes([high, low])) + run.attempt;
    (0..COUNT).map(move |n| FIRST + u16::try_from((first + n) % COUNT).expect("it is less than the count"))
}

/// Below those that a kernel gives away, and above the one that torchrun takes unless it is told another.
const FIRST: u16 = 29_501;
const COUNT: u32 = 499;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use swifthook_core::JobId;

    use super::*;

    #[test]
    fn each_attempt_begins_with_another_port_and_all_are_tried() {
        let of = |attempt| ports(RunKey { job: JobId([0xff; 16]), attempt });
        let all: HashSet<u16> = of(1).collect();
        assert_eq!((all.len(), all.iter().min(), all.iter().max()), (499, Some(&29_501), Some(&29_999)));
        assert_ne!(of(1).next(), of(2).next());
    }
}
