//! Whoever stops moving messages takes none of them along.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use swifthook_core::QueueError;
use swifthook_queue::rabbitmq::RabbitIntake;
use swifthook_queue::{Message, MessageStore, Stored};

use crate::proxy::Proxy;
use crate::queues::Queues;
use crate::schema::RUNTIME;

#[test]
fn one_that_is_dropped_while_it_begins_leaves_no_consumer_behind() {
    let queues = Queues::new();
    let proxy = Proxy::to(&queues.url);
    RUNTIME.block_on(async {
        let (address, options) = (proxy.url.parse().unwrap(), queues.options.clone());
        let moving = RabbitIntake::connect(address, options);
        let mover =
            tokio::spawn(async move { moving.move_into(Arc::new(Nowhere), std::future::pending()).await });
        let released = proxy.answer_to_consume_is_held().await;
        mover.abort();
        assert!(mover.await.is_err_and(|ended| ended.is_cancelled()));
        released.send(()).unwrap();
        let channel = queues.channel().await;
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let left = async || {
            let name = queues.options.queue.as_str().into();
            channel.queue_declare(name, passive, FieldTable::default()).await.unwrap().consumer_count()
        };
        let deadline = Instant::now() + Duration::from_secs(120);
        while left().await > 0 {
            let is_late = Instant::now() >= deadline;
            assert!(!is_late, "the broker still hands messages to a consumer that nobody has");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}

struct Nowhere;

#[async_trait]
impl MessageStore for Nowhere {
    async fn store(&self, _: &Message) -> Result<Stored, QueueError> {
        std::future::pending().await
    }
}
