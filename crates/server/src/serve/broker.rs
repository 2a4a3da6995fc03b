//! The broker in front of the store, where there is one.

#[cfg(feature = "rabbitmq")]
pub(super) use with_broker::Broker;
#[cfg(not(feature = "rabbitmq"))]
pub(super) use without::Broker;

#[cfg(feature = "rabbitmq")]
mod with_broker {
    use std::sync::Arc;

    use async_trait::async_trait;
    use swifthook_core::{Intake, QueueError};
    use swifthook_queue::rabbitmq::{Counts, RabbitIntake};
    use swifthook_queue::{Message, MessageStore, Stored};
    use tracing::warn;

    use crate::api::Changes;
    use crate::config;
    use crate::serve::points;
    use crate::serve::store::Store;

    /// A connection to a broker. Cheap to clone.
    #[derive(Clone)]
    pub(in crate::serve) struct Broker(Arc<RabbitIntake>);

    impl Broker {
        /// Connects in the background, and again whenever it must.
        pub(in crate::serve) fn connect(config: &config::Intake) -> Self {
            if config.keys.is_empty() {
                warn!(
                    queue = config.options.queue,
                    "messages to the broker are not signed: whoever may publish to the queue can have commands run \
                     here; `keys` in [intake] closes that door"
                );
            }
            Self(Arc::new(RabbitIntake::connect(config.amqp.clone(), config.options.clone())))
        }

        pub(in crate::serve) fn intake(&self) -> Arc<dyn Intake> {
            self.0.clone()
        }

        /// Why no push can be accepted at the moment.
        pub(in crate::serve) fn trouble(&self) -> Option<String> {
            self.0.trouble()
        }

        /// What became of messages, in words of a closed set.
        pub(in crate::serve) fn counts(&self) -> [(&'static str, u64); 4] {
            let Counts { published, stored, known, dead } = self.0.counts();
            [("published", published), ("stored", stored), ("known", known), ("dead", dead)]
        }

        /// Moves what the broker has into the store, until `shutdown`.
        pub(in crate::serve) async fn move_into(
            &self,
            store: Arc<dyn Store>,
            changes: Changes,
            shutdown: impl Future<Output = ()> + Send,
        ) {
            self.0.move_into(Arc::new(Telling { store, changes }), shutdown).await;
        }
    }

    /// Tells those who watch of new jobs.
    struct Telling {
        store: Arc<dyn Store>,
        changes: Changes,
    }

    #[async_trait]
    impl MessageStore for Telling {
        async fn store(&self, message: &Message) -> Result<Stored, QueueError> {
            points::near("storing");
            let stored = self.store.store(message).await?;
            points::reach("stored");
            if let Stored::New(jobs) = &stored {
                jobs.iter().for_each(|job| self.changes.tell(job.id, None));
            }
            Ok(stored)
        }
    }
}

#[cfg(not(feature = "rabbitmq"))]
mod without {
    use std::sync::Arc;

    use swifthook_core::Intake;

    use crate::api::Changes;
    use crate::config;
    use crate::serve::store::Store;

    /// There is none in this build.
    #[derive(Clone)]
    pub(in crate::serve) enum Broker {}

    impl Broker {
        pub(in crate::serve) fn connect(config: &config::Intake) -> Self {
            match *config {}
        }

        pub(in crate::serve) fn intake(&self) -> Arc<dyn Intake> {
            match *self {}
        }

        pub(in crate::serve) fn trouble(&self) -> Option<String> {
            match *self {}
        }

        pub(in crate::serve) fn counts(&self) -> [(&'static str, u64); 4] {
            match *self {}
        }

        pub(in crate::serve) async fn move_into(
            &self,
            _store: Arc<dyn Store>,
            _changes: Changes,
            _shutdown: impl Future<Output = ()> + Send,
        ) {
            match *self {}
        }
    }
}
