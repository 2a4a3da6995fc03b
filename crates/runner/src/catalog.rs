use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use swifthook_core::{Admission, Checkout, GpuRequest, Job, Recipe, RunLimits, RunShape, TrainingLauncher};

use crate::compose::Compose;
use crate::watchdog::Watch;

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
    /// The GPUs that it is to have to itself, where its launcher takes them by lease
    /// ([`Capabilities::gpu_leases`](swifthook_core::Capabilities)); without it, a run there sees none unless its
    /// environment says so.
    pub gpus: Option<GpuRequest>,
    /// The environment of its run. `SWIFTHOOK_JOB`, `SWIFTHOOK_COMMIT`, `SWIFTHOOK_OUTPUT_DIR` and
    /// `SWIFTHOOK_PROGRESS` are added, `CUDA_VISIBLE_DEVICES` and `CUDA_DEVICE_ORDER` where GPUs are leased, of a run that
    /// goes on from a checkpoint also `SWIFTHOOK_RESUME_FROM`, and nothing
    /// else.
    pub env: BTreeMap<String, String>,
    /// How long a run may take. The launcher keeps it, also while no runner is there.
    pub timeout: Option<Duration>,
    /// How long a run may take to end once it is asked to.
    pub grace: Duration,
    /// How closely a run is watched; `None` for one that is left alone.
    pub watch: Option<Watch>,
    /// What a run may use.
    pub limits: RunLimits,
    /// What a run is to have of a cluster.
    pub shape: RunShape,
    /// How old a push may have been when it was received and still train without a person's word
    /// ([`Hook::max_age`](swifthook_core::Hook)). The receiver sees to it for pushes whose changes it knows, the
    /// runner for those that waited for a diff.
    pub max_age: Option<Duration>,
    /// The working tree of the commit in which the run starts; without one it starts in an empty directory.
    pub checkout: Option<Checkout>,
    /// What completes its command and sees to what it stands on, before each attempt; without, the command is whole as it
    /// stands in the job. A job whose spec names a file of its commit runs only with one that reads it, and a job whose
    /// spec names none only with one that does not: the recipe may be of another kind by now.
    pub compose: Option<Arc<dyn Compose>>,
}
