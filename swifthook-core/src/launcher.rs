//! Launchers: what makes a run of a job, and tells how it goes.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::id::JobId;
use crate::job::{Exit, Job};
use crate::policy::Reason;
use crate::problem::opaque_problem;
use crate::time::Timestamp;
use crate::workspace::Checkout;

/// Starts runs, and answers for them.
///
/// A launcher keeps one promise above all: a [`RunKey`] has at most one run, ever. Everything else may fail and be
/// asked again.
#[async_trait]
pub trait TrainingLauncher: Send + Sync {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Starts the run of `key`, or finds it started: submitted twice, even by two callers at once, it runs once.
    ///
    /// Not cancel-safe: when the future is dropped the run may or may not exist, and [`find`](Self::find) tells.
    ///
    /// # Errors
    ///
    /// A permanent error says that nothing runs and nothing would; a passing one says nothing about whether it
    /// runs, and the caller must ask [`find`](Self::find) before it counts on either.
    async fn submit(&self, key: &RunKey, run: &RunSpec) -> Result<RunHandle, LaunchError>;

    /// The run of `key`, if there is one: what is asked after a crash between submitting and recording.
    ///
    /// # Errors
    ///
    /// When it cannot tell.
    async fn find(&self, key: &RunKey) -> Result<Option<RunHandle>, LaunchError>;

    /// The run of `key`, if there is one; if there is none, there never will be: a submission that is still on its
    /// way is refused for good. Asked when a job ends before anybody knows of its run, so that a worker that was
    /// asleep in between cannot start it afterwards.
    ///
    /// The default only looks, as [`find`](Self::find) does: right for a launcher whose runs end with the worker.
    ///
    /// # Errors
    ///
    /// When it cannot tell.
    async fn forbid(&self, key: &RunKey) -> Result<Option<RunHandle>, LaunchError> {
        self.find(key).await
    }

    /// How the run is. Once it has answered `Ended` or `Vanished`, nothing of the run is left alive, and it
    /// answers so ever after.
    ///
    /// # Errors
    ///
    /// When it cannot tell; this is evidence of nothing, as [`RunStatus::Unreachable`] is.
    async fn poll(&self, run: &RunHandle) -> Result<RunStatus, LaunchError>;

    /// Asks the run to end. Only [`poll`](Self::poll) says that it is over. Asking again, or of a run that has
    /// ended, is no error.
    ///
    /// # Errors
    ///
    /// When the run could not be asked.
    async fn stop(&self, run: &RunHandle, how: Stop) -> Result<(), LaunchError>;

    /// How far the run has come. Asked once more when it has ended, since the last poll is older than its last step.
    /// The default says nothing, as of a run that does not count its steps.
    ///
    /// # Errors
    ///
    /// When it cannot tell.
    async fn progress(&self, _run: &RunHandle) -> Result<Progress, LaunchError> {
        Ok(Progress::default())
    }

    /// When the run last wrote anything. The default says nothing.
    ///
    /// # Errors
    ///
    /// When it cannot tell.
    async fn pulse(&self, _run: &RunHandle) -> Result<Pulse, LaunchError> {
        Ok(Pulse::default())
    }

    /// Takes down what can be seen of a run that seems stuck (its processes, their stacks, the end of its log), and
    /// answers where that is; `None` from a launcher that sees nothing. The run is left as it is.
    ///
    /// # Errors
    ///
    /// When it cannot look.
    async fn examine(&self, _run: &RunHandle, _why: &Reason) -> Result<Option<PathBuf>, LaunchError> {
        Ok(None)
    }

    /// The last whole checkpoint of a run that has ended, from which another attempt can go on. One that is only half
    /// there, since its writer was killed, is none. The default has none, and then every attempt begins anew.
    ///
    /// # Errors
    ///
    /// When it cannot tell.
    async fn checkpoint(&self, _run: &RunHandle) -> Result<Option<Checkpoint>, LaunchError> {
        Ok(None)
    }

    /// Whether a run that begins here can go on from `checkpoint`; `false` if it is gone for good.
    ///
    /// # Errors
    ///
    /// When it is elsewhere, or it cannot tell: then the job waits, since to begin anew would throw work away.
    async fn holds(&self, _checkpoint: &Checkpoint) -> Result<bool, LaunchError> {
        Ok(false)
    }
}

/// What a launcher can do: the honest differences between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Its runs go on when this process ends.
    pub survives_restart: bool,
    /// Any host can ask for a run that another one started.
    pub any_host: bool,
    /// It has the output of a run.
    pub logs: bool,
    /// A run can save, let go of the machine and go on later.
    pub yields: bool,
    /// A run can span several nodes.
    pub multi_node: bool,
    /// It takes GPUs by lease.
    pub gpu_leases: bool,
    /// Its runs have the files of a container image, and nothing of this machine's.
    #[serde(default)]
    pub images: bool,
    /// It makes the working tree of a run itself, where the run is: nobody else checks its commit out.
    #[serde(default)]
    pub checks_out: bool,
    /// What a run writes into its directory is there when it has ended.
    #[serde(default)]
    pub keeps_output: bool,
    /// Processes of a run are counted, and held to their limit.
    #[serde(default)]
    pub counts_processes: bool,
}

/// The identity of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunKey {
    /// The job.
    pub job: JobId,
    /// Its attempt, from 1.
    pub attempt: u32,
}

/// `<job>-<attempt>`: also the name of its directory.
impl fmt::Display for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.job, self.attempt)
    }
}

/// Everything that a launcher needs to start a run.
#[derive(Clone)]
pub struct RunSpec {
    /// The job, with recipe, change and configuration.
    pub job: Arc<Job>,
    /// The command. No shell sees it.
    pub argv: Vec<String>,
    /// The whole environment of the run: nothing is inherited. May hold secrets, so it is neither stored nor
    /// shown.
    pub env: BTreeMap<String, String>,
    /// The directory of this attempt. The launcher makes it if it is not there yet, for its user alone.
    pub run_dir: PathBuf,
    /// Where the command starts: a working tree that is there, or else an empty directory that the launcher makes.
    pub working_dir: PathBuf,
    /// What the working tree is to have, for a launcher that makes it ([`Capabilities::checks_out`]) of the commit of the
    /// job; `None` where it is there already, or the run has none.
    pub checkout: Option<Checkout>,
    /// Where it writes its result. The launcher makes it.
    pub output_dir: PathBuf,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// How long it may take to end once it is asked to.
    pub grace: Duration,
    /// What it may use.
    pub limits: RunLimits,
    /// What it is started within.
    pub enclosure: Enclosure,
    /// What it has of a cluster.
    pub shape: RunShape,
}

/// Without the values of the environment.
impl fmt::Debug for RunSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunSpec")
            .field("job", &self.job.id)
            .field("argv", &self.argv)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("run_dir", &self.run_dir)
            .field("working_dir", &self.working_dir)
            .field("checkout", &self.checkout)
            .field("output_dir", &self.output_dir)
            .field("timeout", &self.timeout)
            .field("grace", &self.grace)
            .field("limits", &self.limits)
            .field("enclosure", &self.enclosure)
            .field("shape", &self.shape)
            .finish()
    }
}

/// What a launcher needs to find a run again; stored with the job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunHandle {
    /// The launcher's name.
    pub launcher: Arc<str>,
    /// The host that it runs on, where only that host can answer for it.
    pub host: Option<Arc<str>>,
    /// The version of `data`.
    pub version: u16,
    /// The launcher's own.
    pub data: serde_json::Value,
}

/// How a run is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RunStatus {
    /// It has not begun.
    Pending(Reason),
    /// It runs.
    Running(Progress),
    /// It has ended, and nothing of it is left.
    Ended(Exit),
    /// It is gone without a word, and nothing of it is left. This is evidence.
    Vanished,
    /// It cannot be asked. This is not evidence.
    Unreachable {
        /// Since when.
        since: Timestamp,
    },
}

/// How far a run is, as far as it tells. All numbers are finite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps done.
    pub step: Option<u64>,
    /// Steps in all.
    pub max_steps: Option<u64>,
    /// The training loss.
    pub loss: Option<f64>,
    /// Seconds to go.
    pub eta_s: Option<u64>,
    /// Whether the training loss is no number any more, so that `loss` is empty.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub loss_is_nan: bool,
    /// What of it shows that the training has diverged, because it is no number any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diverged: Option<Measure>,
    /// The loss on the validation data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval_loss: Option<f64>,
    /// The learning rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// The norm of the gradient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grad_norm: Option<f64>,
    /// Memory of the accelerator in use, in GiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_gib: Option<f64>,
    /// How long a step takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_per_step: Option<f64>,
    /// The step of the last checkpoint that is whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<u64>,
}

/// When a run last gave a sign of itself, as far as its launcher can tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
    /// When it last wrote anything.
    pub written_at: Option<Timestamp>,
    /// When it last told how far it is.
    pub told_at: Option<Timestamp>,
}

/// What a run saved, so that another attempt can go on from there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Where it is.
    pub path: Arc<str>,
    /// Its step, where that is known.
    pub step: Option<u64>,
    /// The attempt that left it.
    pub attempt: u32,
    /// The host that has it, where not any host has.
    pub host: Option<Arc<str>>,
}

/// For people: `the checkpoint of step 30 (attempt 1)`.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step {
            Some(step) => write!(f, "the checkpoint of step {step} (attempt {})", self.attempt),
            None => write!(f, "a checkpoint of attempt {}", self.attempt),
        }
    }
}

/// What a training tells of how well it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Measure {
    /// The training loss.
    Loss,
    /// The loss on the validation data.
    EvalLoss,
    /// The mean loss of the whole training.
    TrainLoss,
    /// The norm of the gradient.
    GradNorm,
    /// The learning rate.
    LearningRate,
    /// The share of tokens that were right.
    TokenAcc,
    /// What the best checkpoint was best by.
    BestMetric,
}

/// For people: `the norm of the gradient`.
impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loss => "the loss",
            Self::EvalLoss => "the loss on the validation data",
            Self::TrainLoss => "the mean loss",
            Self::GradNorm => "the norm of the gradient",
            Self::LearningRate => "the learning rate",
            Self::TokenAcc => "the share of tokens that were right",
            Self::BestMetric => "the best metric",
        })
    }
}

impl Progress {
    /// Why the training is not what was meant although it may come to its end, where it tells that; with the step.
    #[must_use]
    pub fn divergence(&self) -> Option<String> {
        let measure = self.diverged.or(self.loss_is_nan.then_some(Measure::Loss))?;
        let step = self.step.map_or(String::new(), |step| format!(" at step {step}"));
        Some(format!("{measure} is no number{step}"))
    }

    /// Tells whether all steps are done; `None` where the run does not count. Where there are none to do, none are done.
    #[must_use]
    pub fn is_done(&self) -> Option<bool> {
        Some(self.step? >= self.max_steps? && !self.is_idle())
    }

    /// Tells whether there is no step to do.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.max_steps == Some(0)
    }
}

/// How a run is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// Save, and go on later.
    Yield,
    /// End; after this long it is killed.
    Grace(Duration),
    /// End at once.
    Kill,
}

/// For people.
impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yield => f.write_str("to save, and go on later"),
            Self::Grace(grace) => write!(f, "within {} s", grace.as_secs()),
            Self::Kill => f.write_str("at once"),
        }
    }
}

opaque_problem! {
    /// A launcher could not do what was asked.
    LaunchError
}

/// A launcher from a callback, for those who only want to be called: each run is one call of `start`, and it has
/// ended when the call returns. Wrap it yourself if runs must survive a restart.
///
/// The launcher remembers its runs in this process only, and says so in its [`Capabilities`]: after a restart a
/// run that had begun is [`Vanished`](RunStatus::Vanished).
///
/// # Examples
///
/// ```
/// use swifthook_core::{Exit, launch_fn};
///
/// let launcher = launch_fn("mine", |key, run| async move {
///     println!("{key}: train {} at {}", run.job.change.recipe, run.job.change.head);
///     Exit { code: Some(0), ..Exit::default() }
/// });
/// # let _ = launcher;
/// ```
pub fn launch_fn<F, Fut>(name: &str, start: F) -> LaunchFn<F>
where
    F: Fn(RunKey, RunSpec) -> Fut + Send + Sync,
    Fut: Future<Output = Exit> + Send + 'static,
{
    LaunchFn { name: name.into(), start, runs: Default::default() }
}

mod bounds;
mod callback;
mod shape;
pub use bounds::{Account, Enclosure, Mount, RunLimits, Sandbox};
pub use callback::LaunchFn;
pub use shape::RunShape;
