use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::BasicPublishOptions;
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Event};
use tokio::sync::watch;
use tracing::{info, warn};

use super::config::{Address, Options};
use super::link::{Link, Purpose};
use super::pause::Pause;

/// Publishes, over a connection that is made again whenever it is lost.
pub(super) struct Publisher {
    state: watch::Sender<State>,
}

/// Whether there is a connection.
#[derive(Clone)]
enum State {
    Down(Arc<str>),
    /// With the number of the connection: what is found out about one says nothing of the next.
    Up(Channel, u64),
    /// The broker is short of memory or disk and takes nothing.
    Blocked(Arc<str>),
}

/// A message was not taken: nothing is promised.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("there is no connection to the broker: {0}")]
    Down(Arc<str>),
    #[error("the broker takes nothing at the moment: {0}")]
    Blocked(Arc<str>),
    #[error("the queue is gone")]
    Returned,
    #[error("the broker refused the message: its queue is full, or has lost too many of its members")]
    Nacked,
    #[error("the broker did not confirm the message in {} s", CONFIRM.as_secs())]
    Late,
    #[error("the connection to the broker was lost")]
    Lost(#[source] lapin::Error),
}

impl Publisher {
    pub(super) fn new() -> Self {
        let none = State::Down("not connected yet".into());
        Self { state: watch::Sender::new(none) }
    }

    /// Publishes a message, durably: it answers when the broker has it on the disks of most of the queue's members.
    pub(super) async fn publish(
        &self,
        queue: &str,
        payload: &[u8],
        properties: BasicProperties,
    ) -> Result<(), Refused> {
        let (channel, number) = match &*self.state.borrow() {
            State::Up(channel, number) => (channel.clone(), *number),
            state => return Err(state.refusal()),
        };
        let mut state = self.state.subscribe();
        let refused = async {
            let blocked = state.wait_for(|state| matches!(state, State::Blocked(_))).await;
            blocked.as_deref().map_or(Refused::Late, State::refusal)
        };
        let confirmed = tokio::select! {
            confirmed = tokio::time::timeout(CONFIRM, confirm(&channel, queue, payload, properties)) => confirmed,
            refused = refused => return Err(refused),
        };
        let refused = match confirmed {
            Ok(Ok(Confirmation::Ack(None))) => return Ok(()),
            Ok(Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)))) => Refused::Returned,
            Ok(Ok(Confirmation::Nack(None))) => return Err(Refused::Nacked),
            // Never on a channel that confirms.
            Ok(Ok(Confirmation::NotRequested)) | Err(_) => Refused::Late,
            Ok(Err(error)) => Refused::Lost(error),
        };
        self.give_up(number, &refused);
        Err(refused)
    }

    /// Another connection is to be made, on which the queues are made again. Until then nobody else is kept waiting.
    fn give_up(&self, number: u64, why: &Refused) {
        self.state.send_if_modified(|state| {
            let is_that = matches!(state, State::Up(_, current) if *current == number);
            if is_that {
                *state = State::Down(why.to_string().into());
            }
            is_that
        });
    }

    /// Why nothing can be published at the moment.
    pub(super) fn trouble(&self) -> Option<String> {
        match &*self.state.borrow() {
            State::Up(..) => None,
            state => Some(state.refusal().to_string()),
        }
    }

    /// Waits until something can be published.
    pub(super) async fn ready(&self) {
        let mut state = self.state.subscribe();
        // The sender lives as long as `self`.
        let _ = state.wait_for(|state| matches!(state, State::Up(..))).await;
    }

    /// Keeps up a connection, for ever.
    pub(super) async fn keep_connected(&self, address: &Address, options: &Options) {
        let mut pause = Pause::up_to(LONGEST_PAUSE);
        let mut told = String::new();
        for number in 0.. {
            let why = match Link::open(address, options, Purpose::Publish).await {
                Ok(link) => {
                    info!(%address, queue = options.queue, "connected to the broker");
                    pause.reset();
                    told.clear();
                    self.attend(&link, number).await
                }
                Err(failed) => failed.to_string(),
            };
            if told != why {
                warn!(%address, error = why, "no connection to the broker: pushes are refused");
                told.clone_from(&why);
            }
            self.state.send_replace(State::Down(why.into()));
            pause.wait().await;
        }
    }

    /// Tells how the connection is, until it is no more.
    async fn attend(&self, link: &Link, number: u64) -> String {
        let mut events = std::pin::pin!(link.connection.events_listener());
        let up = State::Up(link.channel.clone(), number);
        self.state.send_replace(up.clone());
        let mut state = self.state.subscribe();
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Event::ConnectionBlocked(why)) => {
                        warn!(why, "the broker takes nothing at the moment: pushes are refused");
                        self.state.send_replace(State::Blocked(why.into()));
                    }
                    Some(Event::ConnectionUnblocked) => {
                        info!("the broker takes messages again");
                        self.state.send_replace(up.clone());
                    }
                    Some(Event::Error(error)) => return error.to_string(),
                    Some(_) => {}
                    None => return "the connection was closed".to_owned(),
                },
                given_up = state.wait_for(|state| matches!(state, State::Down(_))) => {
                    return given_up.map_or_else(|gone| gone.to_string(), |state| state.why());
                }
                () = tokio::time::sleep(LOOK) => {}
            }
            if !link.is_open() {
                return "the connection was closed".to_owned();
            }
        }
    }
}

impl State {
    fn why(&self) -> String {
        match self {
            Self::Down(why) | Self::Blocked(why) => why.to_string(),
            Self::Up(..) => String::new(),
        }
    }

    fn refusal(&self) -> Refused {
        match self {
            Self::Down(why) => Refused::Down(why.clone()),
            Self::Blocked(why) => Refused::Blocked(why.clone()),
            Self::Up(..) => Refused::Late,
        }
    }
}

/// Properties of a message that outlives the broker's process.
pub(super) fn persistent(headers: FieldTable) -> BasicProperties {
    BasicProperties::default()
        .with_delivery_mode(2)
        .with_content_type("application/json".into())
        .with_headers(headers)
}

async fn confirm(
    channel: &Channel,
    queue: &str,
    payload: &[u8],
    properties: BasicProperties,
) -> Result<Confirmation, lapin::Error> {
    // To the default exchange, which hands it to the queue of that name.
    let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    channel.basic_publish("".into(), queue.into(), mandatory, payload, properties).await?.await
}

/// How long a confirmation may take: less than a push has to be accepted in.
const CONFIRM: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often a connection is looked at that tells nothing.
const LOOK: Duration = Duration::from_secs(1);
