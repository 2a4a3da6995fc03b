use std::future::poll_fn;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response, Version, header};
use http_body::Body;
use http_body_util::BodyExt;
use swifthook_core::{
    ACCEPT_DEADLINE, Current, Decided, Intake, IntakeError, Outcome, Reading, Receipt, Refusal, Timestamp,
    reply,
};
use tokio::time::{Instant, sleep, timeout};

/// Outcome of a delivery.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) outcome: Result<Outcome, Refusal>,
    /// True if the connection ends with the reply, since what is left of the body is in the way of another request.
    is_last: bool,
}

impl Received {
    fn refused<B: Body>(refusal: Refusal, head: &Parts, body: &B) -> Self {
        // HTTP/2 has streams, and no such header.
        let is_last = !body.is_end_stream() && head.version < Version::HTTP_2;
        Self { outcome: Err(refusal), is_last }
    }

    /// The reply of [`swifthook_core::reply`], which says so where the connection ends with it: a proxy that took it for
    /// one to go on with would lose the next request.
    pub(crate) fn reply(&self, receipt: Option<&Result<Receipt, IntakeError>>) -> Response<Bytes> {
        let mut response = reply(&self.outcome, receipt);
        if self.is_last {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Takes a delivery up to its verdicts.
///
/// The same loop is in swifthook-axum: adapters see nothing but core, and the list of swifthook-conformance holds
/// them to the same replies.
pub(crate) async fn receive<B>(
    receiver: &Current,
    head: &Parts,
    peer: Option<IpAddr>,
    mut body: B,
) -> Received
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    let mut reading = match receiver.load().begin(head.uri.path(), head, peer) {
        Ok(reading) => reading,
        Err(refusal) => {
            let received = Received::refused(refusal, head, &body);
            // Who asked for `100-continue` waits for our reply, and to read would be to tell him to send.
            if !head.headers.contains_key(header::EXPECT) {
                drain(body);
            }
            return received;
        }
    };
    match read(&mut reading, &mut body).await {
        Ok(()) => Received { outcome: finish(reading).await, is_last: false },
        Err(refusal) => {
            let is_over = matches!(refusal, Refusal::TooSlow | Refusal::Interrupted);
            let received = Received::refused(refusal, head, &body);
            if !is_over {
                drain(body);
            }
            received
        }
    }
}

/// Has the intake take what was decided, and answers.
pub(crate) async fn answer(received: Received, intake: &dyn Intake) -> Response<Bytes> {
    let receipt = match &received.outcome {
        Ok(Outcome::Decided(decided)) => Some(accept(intake, decided).await),
        _ => None,
    };
    received.reply(receipt.as_ref())
}

async fn read<B>(reading: &mut Reading, body: &mut B) -> Result<(), Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let started = Instant::now();
    let mut end = pin!(sleep(reading.patience(Duration::ZERO)));
    // To ask at each frame would be most of the work where each has one byte.
    let (mut asked, mut since) = (started, 0);
    while !body.is_end_stream() {
        if since >= STEP_BYTES || asked.elapsed() >= STEP_TIME || end.is_elapsed() {
            let patience = reading.patience(started.elapsed());
            if patience.is_zero() {
                return Err(Refusal::TooSlow);
            }
            (asked, since) = (Instant::now(), 0);
            end.as_mut().reset(asked + patience);
        }
        tokio::select! {
            biased;
            frame = body.frame() => match frame {
                None => return Ok(()),
                Some(Err(_)) => return Err(Refusal::Interrupted),
                Some(Ok(frame)) => {
                    if let Ok(chunk) = frame.into_data() {
                        since += chunk.len();
                        reading.push(chunk)?;
                    }
                }
            },
            () = &mut end => {}
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

/// So much of a body, or so much time, is between two looks at how long more of it may take.
const STEP_BYTES: usize = 16 << 10;
const STEP_TIME: Duration = Duration::from_millis(100);

const DRAIN_TIME: Duration = Duration::from_secs(10);
const DRAIN_BYTES: usize = 32 << 20;
