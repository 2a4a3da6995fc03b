//! One connection to the broker.

use std::ops::Deref;
use std::time::Duration;

use futures_util::FutureExt;
use lapin::options::{BasicQosOptions, ConfirmSelectOptions};
use lapin::{Channel, Connection, ConnectionProperties};

use super::config::{Address, Options};
use super::topology;

/// A connection with one channel, on which the queues are as they have to be.
pub(super) struct Link {
    pub(super) connection: Connection,
    pub(super) channel: Channel,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error("the broker does not answer")]
    Late,
    #[error("{0}")]
    Broker(#[from] lapin::Error),
}

/// What a connection is for.
pub(super) enum Purpose {
    Publish,
    Consume { prefetch: u16 },
}

impl Link {
    pub(super) async fn open(address: &Address, options: &Options, purpose: Purpose) -> Result<Self, Failed> {
        let opening = Self::try_open(address, options, purpose);
        tokio::time::timeout(OPEN, opening).await.unwrap_or(Err(Failed::Late))
    }

    async fn try_open(address: &Address, options: &Options, purpose: Purpose) -> Result<Self, Failed> {
        let properties = ConnectionProperties::default().with_connection_name(options.name.as_str().into());
        let connection = Connection::connect_uri(address.uri(), properties).await?;
        let channel = connection.create_channel().await?;
        topology::declare(&channel, options).await?;
        match purpose {
            Purpose::Publish => channel.confirm_select(ConfirmSelectOptions::default()).await?,
            Purpose::Consume { prefetch } => {
                channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
            }
        }
        Ok(Self { connection, channel })
    }

    pub(super) fn is_open(&self) -> bool {
        self.connection.status().connected() && self.channel.status().connected()
    }
}

/// A link that is closed when it goes, whatever is still under way on it.
///
/// By itself lapin (4.12) closes a connection with its last channel, and a channel whose `basic_consume` was dropped
/// before the broker answered never goes: the broker would go on handing messages to a consumer that nobody has.
pub(super) struct Owned(Link);

impl Owned {
    pub(super) fn new(link: Link) -> Self {
        Self(link)
    }
}

impl Deref for Owned {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.0
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // The first poll hands the wish to the connection's own thread, which needs nobody to wait for it.
        let _ = self.0.connection.close(200, "".into()).now_or_never();
    }
}

/// How long connecting may take, with all that belongs to it.
const OPEN: Duration = Duration::from_secs(10);
