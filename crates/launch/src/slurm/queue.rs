//! What Slurm has of us: one `squeue` for all runs, at most once in a while.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use swifthook_core::{LaunchError, RunKey, Timestamp};
use tokio::sync::Mutex;

use super::command::{Answer, call, is_out_of_reach};
use super::config::SlurmOptions;
use super::script::job_name;
use super::state::{Over, Standing, standing};

/// A Slurm job, as Slurm has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SlurmJob {
    pub(super) id: u64,
    /// The name of its state.
    pub(super) state: String,
    /// Why it is in it, where Slurm says so.
    pub(super) reason: String,
    /// Whether it was asked to make way for another, however it ended then. Only `scontrol` tells.
    pub(super) made_way: bool,
}

/// The queue of one cluster.
pub(super) struct Queue {
    options: Arc<SlurmOptions>,
    last: Mutex<Option<Look>>,
    /// How often it was asked for all jobs.
    asked: AtomicU64,
}

/// What one look at all jobs saw. A failure counts as one too: nobody asks again at once.
struct Look {
    began: Instant,
    seen: Result<HashMap<String, Vec<SlurmJob>>, OutOfReach>,
}

/// Slurm cannot be asked.
#[derive(Clone, Debug)]
pub(super) struct OutOfReach {
    pub(super) since: Timestamp,
    pub(super) why: String,
}

impl Queue {
    pub(super) fn new(options: Arc<SlurmOptions>) -> Self {
        Self { options, last: Mutex::default(), asked: AtomicU64::new(0) }
    }

    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// The jobs of a run, as of a look that is not older than the poll interval; whoever asks meanwhile waits for the
    /// same look. With the jobs comes when it began: of what was submitted later it says nothing.
    pub(super) async fn jobs(&self, key: &RunKey) -> Result<(Vec<SlurmJob>, Instant), OutOfReach> {
        let mut last = self.last.lock().await;
        if last.as_ref().is_none_or(|look| look.began.elapsed() >= self.options.poll) {
            *last = Some(self.look(last.take()).await);
        }
        let look = last.as_ref().expect("it was just looked");
        let seen = look.seen.as_ref().map_err(Clone::clone)?;
        Ok((seen.get(&job_name(key)).cloned().unwrap_or_default(), look.began))
    }

    /// The jobs of a run now, by its name: what is asked where a look at all is not new enough.
    pub(super) async fn named(&self, key: &RunKey) -> Result<Vec<SlurmJob>, LaunchError> {
        let arguments = [format!("--name={}", job_name(key))];
        let text = self.squeue(&arguments).await?;
        Ok(read(&text).remove(&job_name(key)).unwrap_or_default())
    }

    async fn look(&self, before: Option<Look>) -> Look {
        let began = Instant::now();
        self.asked.fetch_add(1, Ordering::Relaxed);
        let seen = self.squeue(&["--me".to_owned()]).await.map(|text| read(&text)).map_err(|error| {
            let since = match before.map(|look| look.seen) {
                Some(Err(earlier)) => earlier.since,
                _ => std::time::SystemTime::now().into(),
            };
            OutOfReach { since, why: told(&error) }
        });
        Look { began, seen }
    }

    /// Also jobs that have ended, as long as Slurm remembers them.
    async fn squeue(&self, which: &[String]) -> Result<String, LaunchError> {
        let mut arguments = ["--noheader", "--all", "--states=all", FORMAT].map(str::to_owned).to_vec();
        arguments.extend_from_slice(which);
        match call(&self.options, "squeue", &arguments, "").await? {
            Answer::Done(text) => Ok(text),
            Answer::Refused(why) => Err(LaunchError::passing(format!("`squeue` says: {why}"))),
        }
    }

    /// How one job is by the last that the cluster knows of it: its controller, and then its accounting if it has one.
    /// `None` if it is not known any more.
    pub(super) async fn last_known(&self, id: u64) -> Result<Option<SlurmJob>, LaunchError> {
        let arguments = ["show", "job", "--oneliner", &id.to_string()].map(str::to_owned);
        match call(&self.options, "scontrol", &arguments, "").await? {
            Answer::Done(text) => return Ok(shown(&text)),
            Answer::Refused(why) if why.contains("Invalid job id") => {}
            Answer::Refused(why) => return Err(LaunchError::passing(format!("`scontrol` says: {why}"))),
        }
        self.accounted(id).await
    }

    async fn accounted(&self, id: u64) -> Result<Option<SlurmJob>, LaunchError> {
        if !super::command::is_there(&self.options, "sacct") {
            return Ok(None);
        }
        let job = format!("--jobs={id}");
        let arguments = ["--parsable2", "--noheader", "--allocations", "--format=JobIDRaw,State", &job];
        match call(&self.options, "sacct", &arguments.map(str::to_owned), "").await? {
            Answer::Done(text) => Ok(booked(&text, id)),
            // A database that is away may know how it ended: then it is waited for. Without one there is nothing to know.
            Answer::Refused(why) if is_out_of_reach(&why) => {
                Err(LaunchError::passing(format!("`sacct` says: {why}")))
            }
            Answer::Refused(_) => Ok(None),
        }
    }
}

/// By name; jobs that are only called as ours are have another comment.
fn read(text: &str) -> HashMap<String, Vec<SlurmJob>> {
    let mut jobs: HashMap<_, Vec<_>> = HashMap::new();
    for line in text.lines() {
        let mut fields = line.splitn(5, '|').map(str::trim);
        let (Some(id), Some(state), Some(name), Some(reason), Some(said)) =
            (fields.next(), fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let is_ours =
            name.strip_prefix("swifthook-").is_some_and(|key| said == format!("swifthook run {key}"));
        if let (true, Ok(id)) = (is_ours, id.parse()) {
            let job = SlurmJob { id, state: state.to_owned(), reason: reason.to_owned(), made_way: false };
            jobs.entry(name.to_owned()).or_default().push(job);
        }
    }
    jobs
}

/// The job in what `scontrol show job --oneliner` says: `JobId=7 … JobState=RUNNING Reason=None …`.
fn shown(text: &str) -> Option<SlurmJob> {
    let value =
        |name: &str| text.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let id = value("JobId")?.parse().ok()?;
    Some(SlurmJob {
        id,
        state: value("JobState")?.to_owned(),
        reason: value("Reason").unwrap_or_default().to_owned(),
        made_way: value("PreemptTime").is_some_and(|at| !matches!(at, "None" | "Unknown" | "N/A")),
    })
}

/// The job in what `sacct` says. After a requeue there are several lines; the last is how it is.
fn booked(text: &str, id: u64) -> Option<SlurmJob> {
    let mut lines = text.lines().filter_map(|line| line.split_once('|'));
    let (_, state) = lines.rfind(|(number, _)| *number == id.to_string())?;
    Some(SlurmJob { id, state: state.to_owned(), reason: String::new(), made_way: false })
}

impl SlurmJob {
    pub(super) fn standing(&self) -> Standing {
        match standing(&self.state) {
            // One that saved in time has completed, and one that did not has used up the time that it was given for that.
            Standing::Over(Over::Completed | Over::TimeUp) if self.made_way => {
                Standing::Over(Over::Preempted)
            }
            other => other,
        }
    }
}

pub(super) fn told(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Id, state, name, reason, comment: what may hold a `|` comes last. Names of states are long ones.
const FORMAT: &str = "--format=%A|%T|%j|%r|%k";

#[cfg(test)]
mod tests {
    use swifthook_core::JobId;

    use crate::slurm::script::comment;

    use super::*;

    #[test]
    fn jobs_are_known_by_name_and_comment() {
        let key = RunKey { job: JobId([7; 16]), attempt: 2 };
        let (name, said) = (job_name(&key), comment(&key));
        let text = format!(
            "12|RUNNING|{name}|None|{said}\n13|PENDING|{name}|Priority|{said}\n14|PENDING|{name}|Priority|(null)\n15|RUNNING|bash|None|(null)\nx|RUNNING|{name}|None|{said}\n"
        );
        let jobs = read(&text).remove(&name).unwrap();
        assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [12, 13]);
        assert_eq!(jobs[1].standing(), Standing::Waits);
    }

    #[test]
    fn what_scontrol_and_sacct_say_is_read() {
        let text =
            "JobId=7 JobName=a UserId=root(0) JobState=NODE_FAIL Reason=None Dependency=(null) Requeue=0";
        let job = SlurmJob { id: 7, state: "NODE_FAIL".into(), reason: "None".into(), made_way: false };
        assert_eq!(shown(text), Some(job.clone()));
        assert_eq!(shown(&format!("{text} PreemptTime=None")), Some(job.clone()));
        let made_way = SlurmJob { made_way: true, ..job };
        assert_eq!(shown(&format!("{text} PreemptTime=2026-11-28T18:14:47")), Some(made_way));
        assert_eq!(shown(""), None);
        let text = "7|NODE_FAIL\n71|FAILED\n7|CANCELLED by 1000\n";
        assert_eq!(booked(text, 7).unwrap().state, "CANCELLED by 1000");
        assert_eq!(booked("", 7), None);
    }
}
