//! What others have enqueued is heard of by `NOTIFY`: a hint, with polling behind it.

use std::future::poll_fn;
use std::time::Duration;

use tokio::sync::watch;
use tokio_postgres::{AsyncMessage, Error};

use super::copy::SHARE;
use super::target::Target;

/// Passes on what is heard, for ever. A connection that is lost is made again, and whatever was not heard meanwhile is
/// made up for by one hint.
pub(super) async fn listen(target: Target, schema: String, news: watch::Sender<u64>) {
    let mut pause = SHORTEST;
    loop {
        match hear(&target, &schema, &news, &mut pause).await {
            Ok(()) => tracing::warn!("the connection that listens to PostgreSQL was closed"),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot listen to PostgreSQL");
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
    }
}

async fn hear(
    target: &Target,
    schema: &str,
    news: &watch::Sender<u64>,
    pause: &mut Duration,
) -> Result<(), Error> {
    let (client, mut connection) = target.dial().await?;
    // And says as long as it listens that somebody works on the store.
    let listen = format!("LISTEN swifthook; {SHARE}");
    let mut listening = std::pin::pin!(client.batch_execute(&listen));
    let mut is_listening = false;
    loop {
        let message = tokio::select! {
            done = &mut listening, if !is_listening => {
                done?;
                is_listening = true;
                *pause = SHORTEST;
                // From here on nothing is missed; what was before may have been.
                news.send_modify(|count| *count += 1);
                continue;
            }
            message = poll_fn(|context| connection.poll_message(context)) => message,
        };
        match message.transpose()? {
            Some(AsyncMessage::Notification(heard)) if heard.payload() == schema => {
                news.send_modify(|count| *count += 1);
            }
            Some(_) => {}
            None => return Ok(()),
        }
    }
}

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);
