//! From what stands in the directory of a run, and what Slurm says, to what is known of it.

use std::io;
use std::time::{Instant, SystemTime};

use swifthook_core::{Exit, LaunchError, Progress, Reason, RunKey, RunStatus, Stop, StopKind, Timestamp};

use super::config::SlurmLauncher;
use super::files::{SlurmFiles, note};
use super::queue::SlurmJob;
use super::script::MISSING;
use super::state::{Over, Standing, waits};
use crate::local::{Ended, RunDir, VERSION, with_its_end};

impl SlurmLauncher {
    /// How the run is.
    pub(super) async fn status(&self, key: &RunKey) -> Result<RunStatus, LaunchError> {
        let dir = self.dir(key);
        if let Some(known) = self.end(&dir).await? {
            return Ok(known);
        }
        // Somebody has removed it, or its disk is not there: that says nothing of the run.
        if !dir.exists().map_err(|error| in_dir(&dir, error))? {
            return Ok(unreachable());
        }
        let (jobs, looked) = match self.queue.jobs(key).await {
            Ok(seen) => seen,
            Err(away) => {
                // To find that out may take longer than the run.
                if let Some(known) = self.end(&dir).await? {
                    return Ok(known);
                }
                tracing::warn!(run = %key, why = away.why, "Slurm cannot be asked");
                return Ok(RunStatus::Unreachable { since: away.since });
            }
        };
        match dir.owner().map_err(|error| in_dir(&dir, error))? {
            Some(owner) => self.begun(&dir, key, owner, jobs).await,
            None => self.not_begun(&dir, key, jobs, looked).await,
        }
    }

    /// How a run is that has begun, by what Slurm says of its job.
    async fn begun(
        &self,
        dir: &RunDir,
        key: &RunKey,
        owner: u64,
        jobs: Vec<SlurmJob>,
    ) -> Result<RunStatus, LaunchError> {
        let job = match jobs.into_iter().find(|job| job.id == owner) {
            Some(job) if job.standing() != Standing::Waits => Some(job),
            // It began after the look, or was put back into the queue, or Slurm has forgotten it.
            _ => self.queue.last_known(owner).await?,
        };
        match job.as_ref().map(SlurmJob::standing) {
            Some(Standing::Runs) => Ok(RunStatus::Running(self.follows.look(key, &dir.path))),
            Some(Standing::Waits) => self.put_back(dir, owner).await,
            Some(Standing::Over(over)) => self.finish(dir, Some(over), true).await,
            None => self.finish(dir, None, true).await,
        }
    }

    /// How a run is that has not begun. Where Slurm will not begin it any more, nobody may afterwards.
    async fn not_begun(
        &self,
        dir: &RunDir,
        key: &RunKey,
        jobs: Vec<SlurmJob>,
        looked: Instant,
    ) -> Result<RunStatus, LaunchError> {
        let mut job =
            jobs.iter().find(|job| !matches!(job.standing(), Standing::Over(_))).or(jobs.first()).cloned();
        let is_newer = self.submitted_at(key).is_some_and(|at| at >= looked);
        if job.is_none() && is_newer {
            return Ok(RunStatus::Pending(Reason::new("slurm", "it was handed to Slurm")));
        }
        if job.is_none()
            && let Some(known) = dir.submitted().map_err(|error| in_dir(dir, error))?
        {
            job = self.queue.last_known(known.slurm_job).await?;
        }
        let over = match job.as_ref().map(|job| (job.standing(), job)) {
            Some((Standing::Waits, job)) => return Ok(RunStatus::Pending(waits(&job.state, &job.reason))),
            Some((Standing::Runs, _)) => {
                return Ok(RunStatus::Pending(Reason::new("slurm", "Slurm is starting it on its nodes")));
            }
            Some((Standing::Over(over), _)) => Some(over),
            None => None,
        };
        let is_ours = dir.take_start().map_err(|error| in_dir(dir, error))?;
        if is_ours { self.finish(dir, over, false).await } else { self.again(dir, key) }
    }

    /// It has begun after all, in between: the next look tells.
    fn again(&self, dir: &RunDir, key: &RunKey) -> Result<RunStatus, LaunchError> {
        dir.refresh().map_err(|error| in_dir(dir, error))?;
        Ok(RunStatus::Running(self.follows.look(key, &dir.path)))
    }

    /// Slurm put a run that had begun back into its queue. What ran is gone, and only a new attempt goes on from its
    /// checkpoint: it is taken out of there.
    async fn put_back(&self, dir: &RunDir, owner: u64) -> Result<RunStatus, LaunchError> {
        dir.write_requeued().map_err(|error| in_dir(dir, error))?;
        self.cancel(&[owner.to_string()]).await?;
        Ok(RunStatus::Pending(Reason::new(
            "slurm",
            "Slurm put it back into its queue; it goes on as a new Slurm job",
        )))
    }

    /// Records the end of a run that did not write it down itself, unless it just has.
    async fn finish(&self, dir: &RunDir, over: Option<Over>, began: bool) -> Result<RunStatus, LaunchError> {
        let finish = || {
            dir.refresh()?;
            if dir.ended()?.is_some() {
                return Ok(());
            }
            match over {
                Some(over) => dir.write_ended(&record(dir, over, began)?)?,
                None if asked(dir)?.is_some() => dir.write_ended(&record(dir, Over::Cancelled, began)?)?,
                None => dir.write_vanished(&note("Slurm knows nothing of it any more"))?,
            }
            Ok(())
        };
        finish().map_err(|error| in_dir(dir, error))?;
        dir.remove_environment();
        let known = self.end(dir).await?;
        known.ok_or_else(|| LaunchError::passing("the end of the run was recorded and is not there"))
    }

    /// The end of a run, if it is known.
    async fn end(&self, dir: &RunDir) -> Result<Option<RunStatus>, LaunchError> {
        let known = || Ok((dir.ended()?, dir.has_vanished()?));
        let (ended, has_vanished) = known().map_err(|error| in_dir(dir, error))?;
        let Some(ended) = ended else { return Ok(has_vanished.then_some(RunStatus::Vanished)) };
        if !is_open(&ended) {
            return Ok(Some(RunStatus::Ended(exit(dir, ended))));
        }
        let Some(owner) = dir.owner().map_err(|error| in_dir(dir, error))? else {
            return Ok(Some(RunStatus::Ended(exit(dir, ended))));
        };
        let Ok(job) = self.queue.last_known(owner).await else { return Ok(Some(unreachable())) };
        let ended = match job.as_ref().map(SlurmJob::standing) {
            Some(Standing::Over(over)) => explained(ended, Some(over)),
            None => explained(ended, None),
            // Slurm is still clearing up after it.
            Some(Standing::Runs) => return Ok(Some(RunStatus::Running(Progress::default()))),
            // It would be begun anew, only to end at once.
            Some(Standing::Waits) => {
                self.cancel(&[owner.to_string()]).await?;
                Ended { message: Some(PUT_BACK.to_owned()), ..ended }
            }
        };
        dir.write_ended(&ended).map_err(|error| in_dir(dir, error))?;
        Ok(Some(RunStatus::Ended(exit(dir, ended))))
    }
}

/// Whether Slurm knows more of how a run ended than the run could write down: who asked it to end, or who killed it.
fn is_open(ended: &Ended) -> bool {
    let was_asked = ended.message.as_deref() == Some(ASKED);
    let was_killed = ended.stopped.is_none()
        && ended.message.is_none()
        && (ended.signal == Some(KILLED) || matches!(ended.code, Some(137 | 247)));
    was_asked || was_killed
}

/// The same with what Slurm says.
fn explained(ended: Ended, over: Option<Over>) -> Ended {
    let was_asked = ended.message.as_deref() == Some(ASKED);
    let (stopped, message) = match over {
        Some(over @ (Over::Cancelled | Over::Preempted | Over::TimeUp | Over::NodeFailed)) if was_asked => {
            let exit = over.exit(true);
            (exit.stopped.or(ended.stopped), exit.message)
        }
        Some(Over::OutOfMemory) => {
            let exit = Over::OutOfMemory.exit(true);
            (exit.stopped, exit.message)
        }
        None if was_asked => (ended.stopped, Some("Slurm asked it to end, and does not remember why".into())),
        _ if was_asked => (ended.stopped, Some("the time limit of its Slurm job was near".into())),
        _ => (ended.stopped, Some("it was killed by a signal that nobody here sent".into())),
    };
    Ended { stopped, message: message.map(|message| message.to_string()), ..ended }
}

/// What is told of an end.
fn exit(dir: &RunDir, ended: Ended) -> Exit {
    let exit = with_its_end(&dir.log_path(), ended);
    let is_missing = exit.code == Some(127) && dir.path.join(MISSING).exists();
    match dir.order() {
        Ok(Some(order)) if is_missing && exit.message.is_none() => {
            let program = order.argv.first().cloned().unwrap_or_default();
            Exit { message: Some(format!("there is no program `{program}` on its node").into()), ..exit }
        }
        _ => exit,
    }
}

/// What is written down of a run that could not do so itself.
fn record(dir: &RunDir, over: Over, began: bool) -> io::Result<Ended> {
    let (exit, asked) = (over.exit(began), asked(dir)?);
    let (stopped, message) = match (over, asked) {
        _ if dir.is_requeued()? => (Some(StopKind::Yield), Some(PUT_BACK.to_owned())),
        (Over::Cancelled, Some(kind)) => (Some(kind), None),
        _ => (exit.stopped, exit.message.map(|message| message.to_string())),
    };
    let now = Timestamp::from(SystemTime::now());
    Ok(Ended { version: VERSION, code: None, signal: None, stopped, message, began_at: now, ended_at: now })
}

/// Why we asked it to end, if we did.
fn asked(dir: &RunDir) -> io::Result<Option<StopKind>> {
    let last = dir.stop_requests()?.pop();
    Ok(last.map(|request| if request.how == Stop::Yield { StopKind::Yield } else { StopKind::Cancel }))
}

pub(super) fn unreachable() -> RunStatus {
    RunStatus::Unreachable { since: SystemTime::now().into() }
}

pub(super) fn in_dir(dir: &RunDir, error: io::Error) -> LaunchError {
    LaunchError::passing(format!("cannot tell about the run in {}", dir.path.display())).because(error)
}

/// As `run.sh` says it.
const ASKED: &str = "Slurm asked it to end";
const PUT_BACK: &str = "Slurm put it back into its queue";
const KILLED: i32 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_slurm_asked_is_told_only_where_it_is_known() {
        let ended = |message: Option<&str>| Ended {
            version: VERSION,
            code: None,
            signal: Some(15),
            stopped: Some(StopKind::Yield),
            message: message.map(str::to_owned),
            began_at: Timestamp(0),
            ended_at: Timestamp(1),
        };
        for (over, stopped, why) in [
            (None, StopKind::Yield, "Slurm asked it to end, and does not remember why"),
            (Some(Over::Completed), StopKind::Yield, "the time limit of its Slurm job was near"),
            (Some(Over::Preempted), StopKind::Yield, "Slurm had it make way for another job"),
            (Some(Over::Cancelled), StopKind::Cancel, "it was cancelled on Slurm, by `scancel`"),
        ] {
            let told = explained(ended(Some(ASKED)), over);
            assert_eq!((told.stopped, told.message.as_deref()), (Some(stopped), Some(why)), "{over:?}");
        }
    }
}
