use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use swifthook_core::{Admission, Job, Recipe, TrainingLauncher};

use crate::compose::Compose;

/// What the configuration of the moment says. A job carries *what* runs from its intake; this says *whether and how
/// restricted*.
///
/// It is asked again and again, so a reload needs nothing but an implementation that looks at the current
/// configuration. It must answer at once.
pub trait Catalog: Send + Sync {
    /// What holds for `job` now; `None` if its recipe is gone, and then the job is held.
    fn terms(&self, job: &Job) -> Option<Terms>;

    /// The launcher of this name: the one that a job's [`JobSpec`](swifthook_core::JobSpec) names, or a run's
    /// [`RunHandle`](swifthook_core::RunHandle). Runs go on without their recipe, so it is asked by name. While it
    /// answers `None`, jobs of that launcher wait and its runs count as out of reach.
    fn launcher(&self, name: &str) -> Option<Arc<dyn TrainingLauncher>>;
}

/// What the configuration of the moment says of a job.
#[derive(Clone)]
pub struct Terms {
    /// Its recipe, for a policy that is asked again when the diff is known.
    pub recipe: Arc<Recipe>,
    /// Whether it may start now.
    pub admission: Arc<dyn Admission>,
    /// The environment of its run. `SWIFTHOOK_JOB`, `SWIFTHOOK_COMMIT`, `SWIFTHOOK_OUTPUT_DIR` and
    /// `SWIFTHOOK_PROGRESS` are added, and nothing else.
    pub env: BTreeMap<String, String>,
    /// How long a run may take. The launcher keeps it, also while no runner is there.
    pub timeout: Option<Duration>,
    /// How long a run may take to end once it is asked to.
    pub grace: Duration,
    /// How old a push may have been when it was received and still train without a person's word
    /// ([`Hook::max_age`](swifthook_core::Hook)). The receiver sees to it for pushes whose changes it knows, the
    /// runner for those that waited for a diff.
    pub max_age: Option<Duration>,
    /// Whether the run starts in a working tree of the commit; otherwise in an empty directory.
    pub checkout: bool,
    /// What completes its command from a file of its commit. A job whose spec names such a file runs only with one, and
    /// a job whose spec names none only without: the recipe may be of another kind by now.
    pub compose: Option<Arc<dyn Compose>>,
}
