use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lapin::types::{AMQPValue, FieldTable};
use swifthook_core::{Decided, Intake, IntakeError, Receipt};
use tokio::task::AbortHandle;

use super::config::{Address, Options};
use super::consumer::Mover;
use super::publisher::{Publisher, persistent};
use super::signature;
use crate::clock::system_clock;
use crate::ids::Ids;
use crate::message::{Message, MessageStore};

/// An intake that hands what was decided to RabbitMQ, and what moves it from there into a store.
pub struct RabbitIntake {
    shared: Arc<Shared>,
    keeper: AbortHandle,
}

/// What both sides have in common.
pub(super) struct Shared {
    pub(super) address: Address,
    pub(super) options: Options,
    pub(super) publisher: Publisher,
    pub(super) moved: Moved,
    ids: Ids,
    published: AtomicU64,
}

/// What has become of messages.
#[derive(Debug, Default)]
pub(super) struct Moved {
    pub(super) stored: AtomicU64,
    pub(super) known: AtomicU64,
    pub(super) dead: AtomicU64,
}

/// What this process has done, since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pushes that the broker has confirmed.
    pub published: u64,
    /// Messages that were stored.
    pub stored: u64,
    /// Messages that had been stored before.
    pub known: u64,
    /// Messages that can never be stored, and wait for a person.
    pub dead: u64,
}

impl RabbitIntake {
    /// An intake that connects in the background, on the tokio runtime of the caller; until it has a connection it
    /// refuses.
    #[must_use]
    pub fn connect(address: Address, options: Options) -> Self {
        let ids = Ids::scattered();
        let (publisher, moved, published) = (Publisher::new(), Moved::default(), AtomicU64::default());
        let shared = Arc::new(Shared { address, options, publisher, moved, ids, published });
        let kept = shared.clone();
        let keeper =
            tokio::spawn(async move { kept.publisher.keep_connected(&kept.address, &kept.options).await });
        Self { shared, keeper: keeper.abort_handle() }
    }

    /// Moves messages into a store until `shutdown` comes. Connects by itself, and again whenever it must; while the
    /// store fails it waits, with growing pauses.
    ///
    /// Messages of one ref are stored in the order in which the broker gives them, as far as nothing goes wrong. Dropping
    /// the future loses nothing: what is not acknowledged comes again.
    pub async fn move_into(&self, store: Arc<dyn MessageStore>, shutdown: impl Future<Output = ()> + Send) {
        Mover::new(self.shared.clone(), store).run(shutdown).await;
    }

    /// Why no push can be accepted at the moment; `None` if all is well.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.shared.publisher.trouble()
    }

    /// What was done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let Shared { moved, published, .. } = &*self.shared;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            published: read(published),
            stored: read(&moved.stored),
            known: read(&moved.known),
            dead: read(&moved.dead),
        }
    }
}

impl Drop for RabbitIntake {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

#[async_trait]
impl Intake for RabbitIntake {
    async fn accept(&self, decided: &Decided) -> Result<Receipt, IntakeError> {
        if decided.push.head.is_none() && decided.makes_jobs() {
            return Err(IntakeError::permanent("a ref that was deleted has no commit to train"));
        }
        let Shared { options, publisher, ids, published, .. } = &*self.shared;
        let delivery = ids.delivery(system_clock()());
        let message = Message::new(delivery, decided).encode();
        if message.len() > MOST_BYTES {
            return Err(IntakeError::permanent("the push makes more jobs than a message can carry"));
        }
        let mut headers = FieldTable::default();
        if let Some(signature) = signature::sign(&options.keys, &message) {
            headers.insert(signature::HEADER.into(), AMQPValue::LongString(signature.into()));
        }
        let properties = persistent(headers).with_message_id(delivery.to_string().into());
        let taken = publisher.publish(&options.queue, &message, properties).await;
        taken.map_err(|refused| {
            IntakeError::passing("the broker has not taken the push").because(refused).after(TRY_AGAIN)
        })?;
        published.fetch_add(1, Ordering::Relaxed);
        Ok(Receipt::Accepted { delivery })
    }
}

/// When whoever could not be served is to try again.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// RabbitMQ takes messages of at most 16 MiB, and ends the connection at a larger one.
const MOST_BYTES: usize = 12 << 20;
