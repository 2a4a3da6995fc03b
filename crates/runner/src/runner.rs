use std::future::Future;
use std::sync::Arc;

use swifthook_core::{JobQueue, Workspace};
use tokio::sync::{Notify, Semaphore, watch};

use crate::catalog::Catalog;
use crate::dispatcher::Dispatcher;
use crate::options::Options;
use crate::store::Store;
use crate::task::Shared;

/// Takes jobs from queued to their end.
///
/// # Examples
///
/// ```no_run
/// # use std::sync::Arc;
/// # use swifthook_core::{JobQueue, Workspace};
/// # use swifthook_runner::{Catalog, Options, Runner};
/// # async fn serve(queue: Arc<dyn JobQueue>, workspace: Arc<dyn Workspace>, catalog: Arc<dyn Catalog>) {
/// let options = Options { slots: 2, ..Options::new("worker-1", "gpu-box", "swifthook-state") };
/// let runner = Runner::new(queue, workspace, catalog, options);
/// let handle = runner.handle(); // handle.wake() when something was queued
/// let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
/// let running = tokio::spawn(runner.run(async { drop(stopped.await) }));
/// # drop((handle, stop, running));
/// # }
/// ```
pub struct Runner {
    shared: Arc<Shared>,
    wake: Arc<Notify>,
    status: watch::Sender<Status>,
}

/// A way to a [`Runner`] from outside. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    wake: Arc<Notify>,
    status: watch::Receiver<Status>,
}

/// How a runner is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Whether it is at work.
    pub is_running: bool,
    /// Runs that it has under way.
    pub runs: usize,
    /// Runs that it may have at once.
    pub slots: usize,
    /// Whether the queue did not answer when it was last asked.
    pub store_is_down: bool,
}

impl Runner {
    /// A runner that does nothing yet. A relative `state_dir` is one of the current directory.
    pub fn new(
        queue: Arc<dyn JobQueue>,
        workspace: Arc<dyn Workspace>,
        catalog: Arc<dyn Catalog>,
        mut options: Options,
    ) -> Self {
        // Runs start elsewhere. The directory is left as it is only where there is no current one.
        options.state_dir = std::path::absolute(&options.state_dir).unwrap_or(options.state_dir);
        let status = watch::Sender::new(Status { slots: options.slots, ..Status::default() });
        let diffs = Semaphore::new(options.diffs.max(1));
        let shared = Arc::new(Shared { store: Store::new(queue), workspace, catalog, options, diffs });
        Self { shared, wake: Arc::default(), status }
    }

    /// A way to it from outside.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle { wake: self.wake.clone(), status: self.status.subscribe() }
    }

    /// Works until `shutdown` is ready. Then it claims nothing more, waits at most [`Options::patience`] for what is
    /// under way, releases its jobs, and returns; their runs go on, and whoever claims them next adopts them. With
    /// [`Drain::Yield`](crate::Drain) they save and end first.
    ///
    /// Dropped before, it releases nothing: its leases run out, and its jobs count a lost worker.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        Dispatcher::new(self.shared, self.wake, self.status).run(shutdown).await;
    }
}

impl Handle {
    /// A hint that there is something new in the queue: a job, or a job that is to be stopped. Without hints the queue
    /// is asked every [`Options::idle`], and stops are noticed when a lease is renewed. Hints may be as many as they
    /// like.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// How it is now.
    #[must_use]
    pub fn status(&self) -> Status {
        *self.status.borrow()
    }
}
