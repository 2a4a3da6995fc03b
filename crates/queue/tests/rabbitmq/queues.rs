use std::sync::atomic::{AtomicU32, Ordering};

use lapin::options::{BasicGetOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use swifthook_queue::rabbitmq::{Options, REASON};

use crate::schema::on_the_runtime;

/// The queues of a test's own, which go when it has passed.
pub(crate) struct Queues {
    pub(crate) url: String,
    pub(crate) options: Options,
}

impl Queues {
    pub(crate) fn new() -> Self {
        Self::on(server())
    }

    pub(crate) fn on(url: String) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let queue = format!("swifthook-test-{}-{number}", std::process::id());
        Self { url, options: Options { queue, ..Options::default() } }
    }

    pub(crate) async fn channel(&self) -> Channel {
        channel(&self.url).await
    }

    /// Puts something into the queue that nobody of ours has published.
    pub(crate) async fn publish(&self, payload: &[u8], headers: FieldTable) {
        let channel = self.channel().await;
        let properties = BasicProperties::default().with_headers(headers);
        let queue = self.options.queue.as_str().into();
        let published = channel.basic_publish("".into(), queue, Default::default(), payload, properties);
        published.await.unwrap().await.unwrap();
    }

    /// Takes everything out of the dead-letter queue: why it is there, and what it is.
    pub(crate) async fn dead(&self) -> Vec<(String, Vec<u8>)> {
        let channel = self.channel().await;
        let mut dead = Vec::new();
        let options = BasicGetOptions { no_ack: true };
        while let Some(letter) =
            channel.basic_get(self.options.dead_queue().as_str().into(), options).await.unwrap()
        {
            let headers = letter.properties.headers().clone().unwrap();
            let Some(AMQPValue::LongString(reason)) = headers.inner().get(REASON) else {
                panic!("a dead letter says why: {headers:?}")
            };
            dead.push((String::from_utf8(reason.as_bytes().to_vec()).unwrap(), letter.delivery.data));
        }
        dead
    }
}

impl Drop for Queues {
    /// Those of a test that failed are there to be looked at; those on a broker of its own go with it.
    fn drop(&mut self) {
        if std::thread::panicking() || self.url != server() {
            return;
        }
        let (url, queues) = (self.url.clone(), [self.options.queue.clone(), self.options.dead_queue()]);
        on_the_runtime(async move {
            let channel = channel(&url).await;
            for queue in queues {
                channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
            }
        });
    }
}

async fn channel(url: &str) -> Channel {
    let connected = Connection::connect(url, ConnectionProperties::default()).await;
    let connection = connected.unwrap_or_else(|error| {
        panic!("the broker that SWIFTHOOK_TEST_RABBITMQ names does not answer: {error}")
    });
    // The connection ends with its last channel.
    connection.create_channel().await.unwrap()
}

fn server() -> String {
    std::env::var("SWIFTHOOK_TEST_RABBITMQ").unwrap_or_else(|_| {
        panic!("SWIFTHOOK_TEST_RABBITMQ must be the URL of a broker, as amqp://guest:guest@127.0.0.1:5672")
    })
}
