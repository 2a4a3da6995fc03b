//! Where messages go that can never be stored.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};
use tracing::{error, warn};

use super::pause::Pause;
use super::publisher::{Publisher, persistent};

/// The header of a dead letter that says why it is one, in a word: `unreadable`, `version`, `signature` or `refused`.
/// What the broker itself has given up has its own header `x-death` instead.
pub const REASON: &str = "x-swifthook-reason";
/// The same in a sentence.
const DETAIL: &str = "x-swifthook-detail";

/// Why a message can never be stored.
#[derive(Debug)]
pub(super) struct Cause {
    pub(super) word: &'static str,
    pub(super) detail: String,
}

/// Puts a message where it waits for a person, and answers when it is there. Until then it is not acknowledged; a crash
/// in between leaves it in both queues.
pub(super) async fn bury(
    publisher: &Publisher,
    queue: &str,
    delivery: &Delivery,
    cause: &Cause,
    counter: &AtomicU64,
) {
    let mut headers = delivery.properties.headers().clone().unwrap_or_default();
    add(&mut headers, REASON, cause.word);
    add(&mut headers, DETAIL, &cause.detail);
    let properties = persistent(headers);
    let properties = match delivery.properties.message_id() {
        Some(id) => properties.with_message_id(id.clone()),
        None => properties,
    };
    let mut pause = Pause::up_to(LONGEST_PAUSE);
    while let Err(refused) = publisher.publish(queue, &delivery.data, properties.clone()).await {
        warn!(error = %refused, queue, "a message that can never be stored waits for its place");
        publisher.ready().await;
        pause.wait().await;
    }
    let dead = counter.fetch_add(1, Ordering::Relaxed) + 1;
    error!(
        reason = cause.word,
        detail = cause.detail,
        queue,
        dead_in_all = dead,
        "a message can never be stored: a person has to look at it"
    );
}

fn add(headers: &mut FieldTable, name: &str, value: &str) {
    headers.insert(name.into(), AMQPValue::LongString(value.into()));
}

const LONGEST_PAUSE: Duration = Duration::from_secs(5);
