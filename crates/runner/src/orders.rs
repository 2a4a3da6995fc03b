//! What the dispatcher tells the task of a job.

use tokio::sync::watch;
use tokio::time::Instant;

use swifthook_core::StopKind;

/// What a task is to know of the world around its job. The loss of a lease is not among it: then the task is cancelled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Orders {
    /// Until when the lease is certainly ours, by the last answer of the queue.
    pub(crate) valid_until: Instant,
    /// Why the run is to end, if it is.
    pub(crate) stop: Option<StopKind>,
    /// Whether to let go of the job and leave its run alone.
    pub(crate) leave: bool,
    /// Whether a run is to save and make way, and nothing new is to begin.
    pub(crate) drain: bool,
    /// Whether the queue says that the job has ended, which its task need not know yet.
    pub(crate) is_over: bool,
}

impl Orders {
    /// Whether no attempt is to begin any more.
    pub(crate) fn begin_nothing(&self) -> bool {
        self.leave || self.drain
    }
}

/// Waits until the orders are so. Without a dispatcher there is nothing but to leave.
pub(crate) async fn until(orders: &watch::Receiver<Orders>, are_so: impl FnMut(&Orders) -> bool) {
    // An error says that the dispatcher is gone, and then this task is about to be cancelled.
    let _ = orders.clone().wait_for(are_so).await;
}
