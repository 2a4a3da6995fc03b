//! Somebody else's code may panic; that is an error of the call, and not the end of the caller.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use swifthook_core::{LaunchError, QueueError, Untold, WorkspaceError};

/// The answer of `call`, or an error that says that it panicked.
pub(crate) async fn guarded<T, E: From<Panicked>>(call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    caught(call).await.unwrap_or_else(|panicked| Err(panicked.into()))
}

/// What `future` gives, or that it panicked. It is not polled again after that.
pub(crate) async fn caught<T>(future: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(payload) => Poll::Ready(Err(Panicked::new(&*payload))),
    })
    .await
}

/// The same for a plain function.
pub(crate) fn caught_now<T>(function: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(function)).map_err(|payload| Panicked::new(&*payload))
}

/// A call panicked.
#[derive(Debug, thiserror::Error)]
#[error("it panicked: {0}")]
pub(crate) struct Panicked(String);

impl Panicked {
    fn new(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self(text.unwrap_or("without words").to_owned())
    }
}

/// A blocking task ends early only by a panic, or with its runtime.
impl From<tokio::task::JoinError> for Panicked {
    fn from(error: tokio::task::JoinError) -> Self {
        Self(error.to_string())
    }
}

impl From<Panicked> for LaunchError {
    fn from(panicked: Panicked) -> Self {
        Self::passing("the launcher failed").because(panicked)
    }
}

impl From<Panicked> for WorkspaceError {
    fn from(panicked: Panicked) -> Self {
        Self::passing("the workspace failed").because(panicked)
    }
}

impl From<Panicked> for Untold {
    fn from(panicked: Panicked) -> Self {
        Self::passing("the look at the GPUs failed").because(panicked)
    }
}

impl From<Panicked> for QueueError {
    fn from(panicked: Panicked) -> Self {
        Self::store(panicked)
    }
}
