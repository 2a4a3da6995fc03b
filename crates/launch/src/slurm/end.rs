//! From what stands in the directory of a run, and what Slurm says, to what is known of it.

use std::io;
use std::time::{Instant, SystemTime};

use swifthook_core::{Exit, LaunchError, Progress, Reason, RunKey, RunStatus, Stop, StopKind, Timestamp};

use super::backend::Place;
use super::config::SlurmLauncher;
use super::files::{SlurmFiles, note};
use super::queue::SlurmJob;
use super::script::MISSING;
use super::state::{Over, Standing, waits};
use crate::local::{Ended, RunDir, VERSION, end_of, with_its_end};

impl SlurmLauncher {
    /// How the run is.
    pub(super) async fn status(&self, place: &Place) -> Result<RunStatus, LaunchError> {
        let (key, dir) = (&place.key, self.dir_of(place));
        if let Some(why) = self.waiting(&dir, key).await? {
            return Ok(RunStatus::Pending(why));
        }
        if let Some(known) = self.end(&dir).await? {
            return Ok(known);
        }
        // Somebody has removed it, or its disk is not there: that says nothing of the run.
        if !dir.has_control().map_err(|error| in_dir(&dir, error))? {
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

    /// Why a run waits that Slurm has in its queue. Whoever writes down an end has made `start/` before, so of one without
    /// it nothing else has to be looked for: thousands may wait for days.
    async fn waiting(&self, dir: &RunDir, key: &RunKey) -> Result<Option<Reason>, LaunchError> {
        if dir.has_started().map_err(|error| in_dir(dir, error))? {
            return Ok(None);
        }
        // An end may be known where Slurm cannot be asked.
        let Ok((jobs, _)) = self.queue.jobs(key).await else { return Ok(None) };
        let waiting = jobs.iter().find(|job| job.standing() == Standing::Waits);
        Ok(waiting.map(|job| waits(&job.state, &job.reason)))
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
            Some(Standing::Runs) => Ok(RunStatus::Running(self.follows.look(key, &dir.path).await)),
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
        if is_ours { self.finish(dir, over, false).await } else { self.again(dir, key).await }
    }

    /// It has begun after all, in between: the next look tells.
    async fn again(&self, dir: &RunDir, key: &RunKey) -> Result<RunStatus, LaunchError> {
        dir.refresh().map_err(|error| in_dir(dir, error))?;
        Ok(RunStatus::Running(self.follows.look(key, &dir.path).await))
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
        let Ok(job) = self.queue.last_known(owner).await else {
            // How it goes on with one that exited by itself does not depend on what Slurm says.
            let is_known = !was_asked(&ended) && !was_killed(&ended);
            return Ok(Some(if is_known { RunStatus::Ended(exit(dir, ended)) } else { unreachable() }));
        };
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

/// Whether Slurm may know more of how a run ended than the run could write down: who asked it to end, who killed it, or
/// that one of its processes was killed for its memory.
fn is_open(ended: &Ended) -> bool {
    was_asked(ended) || (is_unexplained(ended) && ended.code != Some(0))
}

fn was_asked(ended: &Ended) -> bool {
    ended.message.as_deref() == Some(ASKED)
}

fn was_killed(ended: &Ended) -> bool {
    is_unexplained(ended) && (ended.signal == Some(KILLED) || matches!(ended.code, Some(137 | 247)))
}

fn is_unexplained(ended: &Ended) -> bool {
    ended.stopped.is_none() && ended.message.is_none()
}

/// The same with what Slurm says.
fn explained(ended: Ended, over: Option<Over>) -> Ended {
    let was_asked = was_asked(&ended);
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
        _ if was_killed(&ended) => {
            (ended.stopped, Some("it was killed by a signal that nobody here sent".into()))
        }
        _ => return ended,
    };
    Ended { stopped, message: message.map(|message| message.to_string()), ..ended }
}

/// What is told of an end.
fn exit(dir: &RunDir, ended: Ended) -> Exit {
    let exit = with_its_end(dir, ended);
    // Of a batch script that Slurm killed for its memory, and of one of several nodes, the state of the job says nothing.
    let was_too_large = exit.stopped.is_none()
        && !exit.is_success()
        && end_of(dir).is_ok_and(|log| tells_of_memory(&String::from_utf8_lossy(&log)));
    if was_too_large {
        let Exit { stopped, message, .. } = Over::OutOfMemory.exit(true);
        return Exit { stopped, message, ..exit };
    }
    let is_missing = exit.code == Some(127) && dir.has(MISSING).unwrap_or(false);
    match dir.order() {
        Ok(Some(order)) if is_missing && exit.message.is_none() => {
            let program = order.argv.first().cloned().unwrap_or_default();
            Exit { message: Some(format!("there is no program `{program}` on its node").into()), ..exit }
        }
        _ => exit,
    }
}

/// Whether Slurm's own programs wrote into the log of a run that it used more memory than it may. They write wherever the
/// training stopped, which need not be the beginning of a line.
fn tells_of_memory(log: &str) -> bool {
    log.lines().any(|line| {
        let told = OF_SLURM.iter().find_map(|program| Some(line.split_once(program)?.1));
        told.is_some_and(|told| OF_MEMORY.iter().any(|phrase| told.contains(phrase)))
    })
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
const OF_SLURM: [&str; 2] = ["slurmstepd", "srun: error: "];
/// As the sampling of `OverMemoryKill` says it, `srun` of a task, and the control group of a step since 20.11 and 23.02
/// (<https://github.com/SchedMD/slurm/blob/master/src/interfaces/jobacct_gather.c>).
const OF_MEMORY: [&str; 4] =
    [" exceeded memory limit (", ": Out Of Memory", " oom-kill event", " oom_kill event"];

#[cfg(test)]
mod tests {
    use super::*;

    /// `torchrun` ends with 1 when one of its processes was killed.
    #[test]
    fn of_one_that_failed_by_itself_slurm_knows_whether_it_was_for_memory() {
        let failed = |code| Ended {
            version: VERSION,
            code: Some(code),
            signal: None,
            stopped: None,
            message: None,
            began_at: Timestamp(0),
            ended_at: Timestamp(1),
        };
        assert!(is_open(&failed(1)) && !is_open(&failed(0)));
        let told = explained(failed(1), Some(Over::OutOfMemory));
        assert_eq!((told.code, told.stopped), (Some(1), Some(StopKind::Limit)));
        for over in [None, Some(Over::Failed), Some(Over::Completed), Some(Over::Cancelled)] {
            let told = explained(failed(1), over);
            assert_eq!((told.code, told.stopped, told.message), (Some(1), None, None), "{over:?}");
        }
    }

    #[test]
    fn only_slurm_tells_of_memory_and_anywhere_in_a_line() {
        for told in [
            "slurmstepd: error: StepId=1.batch exceeded memory limit (266850304 > 209715200), being killed",
            " 5%|# | 1/20 slurmstepd-n1: error: Detected 1 oom-kill event(s) in StepId=4.0. Some of your processes",
            "slurmstepd: error: Detected 1 oom_kill event in StepId=7.0. Some of the step tasks have been OOM Killed.",
            "srun: error: n1: tasks 0-3: Out Of Memory",
        ] {
            assert!(tells_of_memory(&format!("step 1\n{told}\nlast")), "{told}");
        }
        for other in [
            "it exceeded memory limit (2 > 1), and was Out Of Memory",
            "srun: error: n1: task 0: Exited with exit code 1\ntask 0: Out Of Memory",
            "slurmstepd: error: *** JOB 1 ON n1 CANCELLED AT 2026-11-29T00:37:38 DUE TO TIME LIMIT ***",
        ] {
            assert!(!tells_of_memory(other), "{other}");
        }
    }

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
