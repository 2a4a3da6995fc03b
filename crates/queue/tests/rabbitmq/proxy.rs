use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};

use crate::schema::RUNTIME;

/// Between a client and the broker; what the broker answers once somebody wants to consume is held back.
pub(crate) struct Proxy {
    pub(crate) url: String,
    held: oneshot::Receiver<oneshot::Sender<()>>,
}

impl Proxy {
    pub(crate) fn to(broker: &str) -> Self {
        let (before, address) = broker.rsplit_once('@').unwrap();
        let address = address.trim_end_matches('/').to_owned();
        let (hold, held) = oneshot::channel();
        let hold = Arc::new(Mutex::new(Some(hold)));
        let listener = RUNTIME.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let url = format!("{before}@{}", listener.local_addr().unwrap());
        RUNTIME.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let broker = TcpStream::connect(&address).await.unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_broker, to_broker) = broker.into_split();
                let consumes = Arc::new(Notify::new());
                tokio::spawn(ask(from_client, to_broker, consumes.clone()));
                tokio::spawn(answer(from_broker, to_client, consumes, hold.clone()));
            }
        });
        Self { url, held }
    }

    /// Waits until it is; what is sent lets it go.
    pub(crate) async fn answer_to_consume_is_held(self) -> oneshot::Sender<()> {
        self.held.await.unwrap()
    }
}

async fn ask(mut client: OwnedReadHalf, mut broker: OwnedWriteHalf, consumes: Arc<Notify>) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(count @ 1..) = client.read(&mut bytes).await {
        let bytes = &bytes[..count];
        if bytes.windows(BASIC_CONSUME.len()).any(|window| window == BASIC_CONSUME) {
            // Before it is handed on, so that the answer cannot be read first.
            consumes.notify_one();
        }
        if broker.write_all(bytes).await.is_err() {
            return;
        }
    }
}

type Hold = Arc<Mutex<Option<oneshot::Sender<oneshot::Sender<()>>>>>;

async fn answer(mut broker: OwnedReadHalf, mut client: OwnedWriteHalf, consumes: Arc<Notify>, hold: Hold) {
    let mut bytes = vec![0; 1 << 16];
    loop {
        tokio::select! {
            biased;
            () = consumes.notified() => {
                let (release, released) = oneshot::channel();
                let hold = hold.lock().unwrap().take();
                if let Some(hold) = hold && hold.send(release).is_ok() {
                    let _ = released.await;
                }
            }
            read = broker.read(&mut bytes) => match read {
                Ok(count @ 1..) if client.write_all(&bytes[..count]).await.is_ok() => {}
                _ => return,
            },
        }
    }
}

/// Class 60, method 20.
const BASIC_CONSUME: [u8; 4] = [0, 60, 0, 20];
