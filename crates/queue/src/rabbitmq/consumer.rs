use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions};
use lapin::types::{AMQPValue, FieldTable};
use swifthook_core::{Problem as _, QueueError};
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use super::backend::Shared;
use super::dead::{self, Cause};
use super::lane::{Lanes, Place};
use super::link::{Link, Owned, Purpose};
use super::pause::Pause;
use super::signature;
use crate::message::{Message, MessageStore, Stored, Unreadable};

/// Moves messages from the broker into a store.
pub(super) struct Mover(Arc<Work>);

/// What all messages that are under way share.
struct Work {
    shared: Arc<Shared>,
    store: Arc<dyn MessageStore>,
    /// Whether the store failed the last time, which is told once.
    is_failing: AtomicBool,
}

/// A message with the right to acknowledge it.
struct Item {
    message: Message,
    delivery: Delivery,
    pause: Pause,
    tries: u32,
    /// How often it failed although another had been stored since the time before.
    refused: u32,
    /// How many had been stored when it failed the last time.
    stored: u64,
}

/// What became of one that was under way.
enum Done {
    Finished(Place),
    /// It is none that belongs to a place.
    Buried,
    /// It does not get through at the moment.
    Waiting(Box<Item>),
}

/// Why consuming ended.
enum End {
    Shutdown,
    Lost(String),
    /// To go on with another number of messages at once.
    Pace,
}

impl Mover {
    pub(super) fn new(shared: Arc<Shared>, store: Arc<dyn MessageStore>) -> Self {
        Self(Arc::new(Work { shared, store, is_failing: AtomicBool::new(false) }))
    }

    pub(super) async fn run(&self, shutdown: impl Future<Output = ()> + Send) {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut pause = Pause::up_to(LONGEST_PAUSE);
        let mut is_careful = false;
        let mut told = String::new();
        loop {
            let (purpose, Shared { address, options, .. }) = (self.purpose(is_careful), &*self.0.shared);
            let opened = tokio::select! {
                opened = Link::open(address, options, purpose) => opened.map(Owned::new),
                () = &mut shutdown => return,
            };
            let why = match opened {
                Ok(link) => {
                    info!(%address, queue = options.queue, "moving messages into the store");
                    pause.reset();
                    told.clear();
                    match self.consume(&link, &mut shutdown, is_careful).await {
                        End::Shutdown => {
                            // What is left unacknowledged comes again, also if this fails.
                            let _ = link.connection.close(200, "".into()).await;
                            return;
                        }
                        End::Pace => {
                            is_careful = !is_careful;
                            continue;
                        }
                        End::Lost(why) => why,
                    }
                }
                Err(failed) => failed.to_string(),
            };
            if told != why {
                warn!(%address, error = why, "no messages are moved into the store");
                told = why;
            }
            tokio::select! {
                () = pause.wait() => {}
                () = &mut shutdown => return,
            }
        }
    }

    fn purpose(&self, is_careful: bool) -> Purpose {
        let prefetch = if is_careful { 1 } else { self.0.shared.options.prefetch.max(1) };
        Purpose::Consume { prefetch }
    }

    async fn consume(
        &self,
        link: &Link,
        shutdown: &mut (impl Future<Output = ()> + Unpin),
        is_careful: bool,
    ) -> End {
        let queue = self.0.shared.options.queue.as_str().into();
        let options = BasicConsumeOptions::default();
        let consumer = link.channel.basic_consume(queue, "".into(), options, FieldTable::default()).await;
        let mut consumer = match consumer {
            Ok(consumer) => consumer,
            Err(error) => return End::Lost(error.to_string()),
        };
        let mut lanes = Lanes::new();
        // Whatever is under way ends with the connection, on which alone it could be acknowledged.
        let mut under_way = JoinSet::new();
        loop {
            tokio::select! {
                () = &mut *shutdown => break,
                next = consumer.next() => match next {
                    Some(Ok(delivery)) => {
                        if (failures(&delivery) >= SUSPICIOUS) != is_careful && self.can_change_pace() {
                            return End::Pace;
                        }
                        self.begin(delivery, &mut lanes, &mut under_way);
                    }
                    Some(Err(error)) => return End::Lost(error.to_string()),
                    None => return End::Lost("the broker has ended the consumer".to_owned()),
                },
                Some(done) = under_way.join_next() => match done {
                    Ok(done) => self.go_on(done, &mut lanes, &mut under_way),
                    // Its message comes again with the next connection.
                    Err(panicked) => return End::Lost(panicked.to_string()),
                },
            }
        }
        let rest = async { while under_way.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_WORDS, rest).await.is_err() {
            debug!("some messages are left to whoever comes next");
        }
        End::Shutdown
    }

    /// A message that ends whoever gets it is only found out if it comes alone: otherwise each end counts against all
    /// that came with it.
    fn can_change_pace(&self) -> bool {
        self.0.shared.options.prefetch > 1
    }

    fn begin(&self, delivery: Delivery, lanes: &mut Lanes<Box<Item>>, under_way: &mut JoinSet<Done>) {
        let work = self.0.clone();
        match work.read(&delivery) {
            Ok(message) => {
                let place = message.place();
                let item = Box::new(Item {
                    message,
                    delivery,
                    pause: Pause::up_to(LONGEST_PAUSE),
                    tries: 0,
                    refused: 0,
                    stored: 0,
                });
                if let Some(item) = lanes.enter(&place, item) {
                    under_way.spawn(work.carry(item));
                }
            }
            Err(cause) => {
                under_way.spawn(async move {
                    work.bury(&delivery, cause).await;
                    Done::Buried
                });
            }
        }
    }

    fn go_on(&self, done: Done, lanes: &mut Lanes<Box<Item>>, under_way: &mut JoinSet<Done>) {
        let next = match done {
            Done::Finished(place) => lanes.leave(&place),
            Done::Waiting(item) => Some(lanes.let_pass(&item.message.place(), item)),
            Done::Buried => None,
        };
        if let Some(item) = next {
            under_way.spawn(self.0.clone().carry(item));
        }
    }
}

impl Work {
    fn read(&self, delivery: &Delivery) -> Result<Message, Cause> {
        let signature = match header(delivery, signature::HEADER) {
            Some(AMQPValue::LongString(text)) => Some(text.as_bytes()),
            _ => None,
        };
        if !signature::is_good(&self.shared.options.keys, &delivery.data, signature) {
            let detail = if signature.is_none() { "it is not signed" } else { "its signature is wrong" };
            return Err(Cause { word: "signature", detail: detail.to_owned() });
        }
        Message::decode(&delivery.data).map_err(|unreadable| {
            let word =
                if matches!(unreadable, Unreadable::Version { .. }) { "version" } else { "unreadable" };
            Cause { word, detail: unreadable.to_string() }
        })
    }

    /// Stores a message and acknowledges it, whatever it takes.
    async fn carry(self: Arc<Self>, mut item: Box<Item>) -> Done {
        loop {
            match self.store.store(&item.message).await {
                Ok(stored) => {
                    self.count(&stored);
                    acknowledge(&item.delivery).await;
                    return Done::Finished(item.message.place());
                }
                Err(error) if error.is_permanent() => {
                    self.bury(&item.delivery, refused(&error)).await;
                    return Done::Finished(item.message.place());
                }
                Err(error) => {
                    let is_news = !self.is_failing.swap(true, Ordering::Relaxed);
                    if is_news {
                        warn!(error = chain(&error), "the store fails: messages wait at the broker");
                    }
                    let stored = self.shared.moved.stored.load(Ordering::Relaxed);
                    if stored > item.stored && item.tries > 0 {
                        item.refused += 1;
                    }
                    item.stored = stored;
                    item.tries += 1;
                    // The store works, and not for this one.
                    if item.refused >= PATIENCE {
                        self.bury(&item.delivery, refused(&error)).await;
                        return Done::Finished(item.message.place());
                    }
                    item.pause.wait().await;
                    if item.tries >= PATIENCE {
                        return Done::Waiting(item);
                    }
                }
            }
        }
    }

    async fn bury(&self, delivery: &Delivery, cause: Cause) {
        let Shared { publisher, options, moved, .. } = &*self.shared;
        dead::bury(publisher, &options.dead_queue(), delivery, &cause, &moved.dead).await;
        acknowledge(delivery).await;
    }

    fn count(&self, stored: &Stored) {
        let moved = &self.shared.moved;
        let counter = if *stored == Stored::Known { &moved.known } else { &moved.stored };
        counter.fetch_add(1, Ordering::Relaxed);
        if self.is_failing.swap(false, Ordering::Relaxed) {
            info!("the store takes messages again");
        }
    }
}

/// If the connection is lost the message comes again, and is known then.
async fn acknowledge(delivery: &Delivery) {
    if let Err(error) = delivery.ack(BasicAckOptions::default()).await {
        debug!(%error, "a message could not be acknowledged");
    }
}

/// How often the message was handed out before, and not acknowledged.
fn failures(delivery: &Delivery) -> i64 {
    match header(delivery, "x-delivery-count") {
        Some(AMQPValue::LongLongInt(count)) => *count,
        Some(AMQPValue::LongInt(count)) => i64::from(*count),
        Some(AMQPValue::LongUInt(count)) => i64::from(*count),
        _ => 0,
    }
}

fn header<'d>(delivery: &'d Delivery, name: &str) -> Option<&'d AMQPValue> {
    delivery.properties.headers().as_ref()?.inner().get(name)
}

fn refused(error: &QueueError) -> Cause {
    Cause { word: "refused", detail: chain(error) }
}

/// An error with its causes.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| (**cause).source());
    std::iter::once(error.to_string()).chain(causes.map(ToString::to_string)).collect::<Vec<_>>().join(": ")
}

/// How often a message fails before others of its place may try before it, and how often it fails while others are
/// stored before it is given up.
const PATIENCE: u32 = 8;
/// How often a message was handed out in vain when it is taken alone.
const SUSPICIOUS: i64 = 20;
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long what is under way has at the end.
const LAST_WORDS: Duration = Duration::from_secs(3);
