//! The two queues, as they have to be.

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Channel, Error};

use super::config::Options;

/// Makes the queues, or finds them as they would be made.
pub(super) async fn declare(channel: &Channel, options: &Options) -> Result<(), Error> {
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let dead = options.dead_queue();
    // People look at what lies there, and a broker counts that as a failed delivery.
    let kept = table([("x-queue-type", text("quorum")), ("x-delivery-limit", AMQPValue::LongInt(i32::MAX))]);
    channel.queue_declare(dead.as_str().into(), durable, kept).await?;
    let arguments = table([
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", AMQPValue::LongInt(DELIVERY_LIMIT)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(&dead)),
        // By default a dead letter may get lost on its way.
        ("x-dead-letter-strategy", text("at-least-once")),
        // A full queue refuses what comes, where by default it would throw away what it has confirmed.
        ("x-overflow", text("reject-publish")),
    ]);
    channel.queue_declare(options.queue.as_str().into(), durable, arguments).await?;
    Ok(())
}

fn table<const N: usize>(entries: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert(name.into(), value);
    }
    table
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

/// How often a message is handed out before the broker itself takes it for one that ends whoever gets it. A store that
/// is down for long costs one each half hour, when the broker takes back what is held for too long.
const DELIVERY_LIMIT: i32 = 200;
