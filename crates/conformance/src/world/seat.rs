use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use swifthook_core::{Admission, GpuRequest, Gpus, JobQueue, Recipe, TrainingLauncher, Workspace};

use super::clock::Clock;

/// A worker's place in the world: what it works with. Whatever it asks of the others takes its time, may fail, and may
/// never be answered.
pub struct Seat {
    /// Its name, which is that of its host too.
    pub name: Arc<str>,
    /// How many runs it may have at once.
    pub slots: usize,
    /// The queue.
    pub queue: Arc<dyn JobQueue>,
    /// The workspace.
    pub workspace: Arc<dyn Workspace>,
    /// The launcher, whatever a job calls it.
    pub launcher: Arc<dyn TrainingLauncher>,
    /// The recipes of the configuration.
    pub recipes: Arc<[Arc<Recipe>]>,
    /// How long a run may take.
    pub timeout: Option<Duration>,
    /// How long its leases last.
    pub lease: Duration,
    /// What they ask of GPUs, by name.
    pub gpu_requests: fn(&str) -> Option<GpuRequest>,
    /// The GPUs of its machine, which is that of all others too.
    pub gpus: Arc<dyn Gpus>,
    /// What to ask at a claim.
    pub admission: Arc<dyn Admission>,
    /// The time.
    pub clock: Clock,
    /// Ready when it is to shut down in good order.
    pub shutdown: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Somebody on a [`Seat`].
pub struct Employee {
    /// What it does, until it is shut down.
    pub work: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// How many runs it thinks that it has.
    pub runs: Box<dyn Fn() -> usize + Send>,
}
