use std::future::poll_fn;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::request::Parts;
use http::{Response, header};
use http_body::Body;
use http_body_util::BodyExt;
use swifthook_core::{
    ACCEPT_DEADLINE, Current, Decided, Intake, IntakeError, Outcome, Reading, Receipt, Refusal, Timestamp,
    reply,
};
use tokio::time::{Instant, timeout};

/// Takes a delivery up to its verdicts.
///
/// The same loop is in swifthook-axum: adapters see nothing but core, and the list of swifthook-conformance holds
/// them to the same replies.
pub(crate) async fn receive<B>(
    receiver: &Current,
    head: &Parts,
    peer: Option<IpAddr>,
    mut body: B,
) -> Result<Outcome, Refusal>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    let mut reading = match receiver.load().begin(head.uri.path(), head, peer) {
        Ok(reading) => reading,
        Err(refusal) => {
            // Who asked for `100-continue` waits for our reply, and to read would be to tell him to send.
            if !head.headers.contains_key(header::EXPECT) {
                drain(body);
            }
            return Err(refusal);
        }
    };
    match read(&mut reading, &mut body).await {
        Ok(()) => finish(reading).await,
        Err(refusal @ (Refusal::TooSlow | Refusal::Interrupted)) => Err(refusal),
        Err(refusal) => {
            drain(body);
            Err(refusal)
        }
    }
}

/// Has the intake take what was decided, and answers.
pub(crate) async fn answer(outcome: Result<Outcome, Refusal>, intake: &dyn Intake) -> Response<Bytes> {
    let receipt = match &outcome {
        Ok(Outcome::Decided(decided)) => Some(accept(intake, decided).await),
        _ => None,
    };
    reply(&outcome, receipt.as_ref())
}

async fn read<B>(reading: &mut Reading, body: &mut B) -> Result<(), Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let started = Instant::now();
    while !body.is_end_stream() {
        let patience = reading.patience(started.elapsed());
        if patience.is_zero() {
            return Err(Refusal::TooSlow);
        }
        match timeout(patience, body.frame()).await {
            Err(_) => return Err(Refusal::TooSlow),
            Ok(None) => return Ok(()),
            Ok(Some(Err(_))) => return Err(Refusal::Interrupted),
            Ok(Some(Ok(frame))) => {
                if let Ok(chunk) = frame.into_data() {
                    reading.push(chunk)?;
                }
            }
        }
    }
    Ok(())
}

/// A large body takes tens of milliseconds to verify and parse: too long for a thread that serves others.
async fn finish(reading: Reading) -> Result<Outcome, Refusal> {
    let is_heavy = reading.is_heavy();
    let finish = move || {
        let finished = catch_unwind(AssertUnwindSafe(|| reading.finish(Timestamp::from(SystemTime::now()))));
        finished.unwrap_or(Err(Refusal::Failed))
    };
    if is_heavy {
        tokio::task::spawn_blocking(finish).await.unwrap_or(Err(Refusal::Failed))
    } else {
        finish()
    }
}

async fn accept(intake: &dyn Intake, decided: &Decided) -> Result<Receipt, IntakeError> {
    let mut accepted = pin!(async { intake.accept(decided).await });
    let caught = poll_fn(|context| {
        catch_unwind(AssertUnwindSafe(|| accepted.as_mut().poll(context)))
            .unwrap_or_else(|_| Poll::Ready(Err(IntakeError::passing("the intake panicked"))))
    });
    timeout(ACCEPT_DEADLINE, caught)
        .await
        .unwrap_or_else(|_| Err(IntakeError::passing("the intake was too slow")))
}

/// Reads on behind a refusal, so that it arrives: closing a connection on unread bytes makes the other side's
/// kernel throw away what it has received, and a client that sends its whole body before it looks would see no
/// reply.
fn drain<B>(mut body: B)
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    if body.is_end_stream() {
        return;
    }
    tokio::spawn(timeout(DRAIN_TIME, async move {
        let mut left = DRAIN_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    }));
}

const DRAIN_TIME: Duration = Duration::from_secs(10);
const DRAIN_BYTES: usize = 32 << 20;
