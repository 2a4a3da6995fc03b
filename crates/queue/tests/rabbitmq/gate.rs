use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use swifthook_core::{CommitSha, QueueError};
use swifthook_queue::{Message, MessageStore, Stored};

/// A store that can be down, or dislike some messages.
pub(crate) struct Gate {
    store: Arc<dyn MessageStore>,
    pub(crate) faults: Arc<Faults>,
}

#[derive(Default)]
pub(crate) struct Faults {
    pub(crate) is_down: AtomicBool,
    /// Whether it stores, and never says so.
    pub(crate) is_mute: AtomicBool,
    /// A commit that is refused, as if that would pass.
    pub(crate) refuses: Option<CommitSha>,
    /// A commit that is refused for good.
    pub(crate) refuses_for_good: Option<CommitSha>,
}

impl Gate {
    pub(crate) fn new(store: Arc<dyn MessageStore>, faults: Arc<Faults>) -> Self {
        Self { store, faults }
    }
}

#[async_trait]
impl MessageStore for Gate {
    async fn store(&self, message: &Message) -> Result<Stored, QueueError> {
        let head = &message.decided().push.head;
        if self.faults.is_down.load(Ordering::SeqCst) || head.is_some() && *head == self.faults.refuses {
            return Err(QueueError::store("it is down"));
        }
        if head.is_some() && *head == self.faults.refuses_for_good {
            return Err(QueueError::Store { source: "never".into(), is_permanent: true });
        }
        let stored = self.store.store(message).await;
        if self.faults.is_mute.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        stored
    }
}
