//! The intake of the server: the store's or the broker's, with a measure and a word in the log where it fails.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use swifthook_core::{Answered, Current, Decided, Intake, IntakeError, PeerAddr, Receipt};
use tracing::{error, info, warn};

use super::metrics::Metrics;
use super::occasionally::Line;
use super::points;
use crate::api::Changes;

pub(super) struct Door {
    /// The store, or a broker in front of it.
    pub(super) intake: Arc<dyn Intake>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) changes: Changes,
}

#[async_trait]
impl Intake for Door {
    async fn accept(&self, decided: &Decided) -> Result<Receipt, IntakeError> {
        let started = Instant::now();
        points::near("accepting");
        let accepted = self.intake.accept(decided).await;
        points::reach("accepted");
        self.metrics.accepted(started.elapsed(), accepted.is_ok());
        match &accepted {
            Ok(Receipt::Stored { jobs, .. }) => jobs.iter().for_each(|job| self.changes.tell(job.id, None)),
            Ok(_) => {}
            Err(error) => error!(error = with_causes(error), "a push could not be stored"),
        }
        accepted
    }
}

/// Counts a delivery and logs it: one line each, with nothing in it that is secret or that the payload may shape.
pub(super) async fn observe(
    State((metrics, receiver)): State<(Arc<Metrics>, Arc<Current>)>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let receiver = receiver.load();
    let hook = receiver.hook(request.uri().path()).map(|hook| hook.id().clone());
    let peer = request.extensions().get::<PeerAddr>().map(|peer| peer.0);
    let address = peer.map(|peer| receiver.client(request.headers(), peer).unwrap_or(peer));
    let response = next.run(request).await;
    // Whoever looks for weak servers comes by here too, and is not worth a line.
    let answered = response.extensions().get::<Answered>();
    if let Some(answered) = answered.filter(|answered| answered.reason.as_deref() != Some("unknown-path")) {
        let status = response.status().as_u16();
        metrics.answered(answered, status);
        if answered.reason.as_deref() == Some("too-many") {
            return response;
        }
        if answered.decision == "refused" {
            match metrics.refusal_line(Instant::now()) {
                Line::Write => {}
                Line::LeaveOut => {
                    warn!("too many refusals for the log: more of this minute are counted in /metrics alone");
                    return response;
                }
                Line::Nothing => return response,
            }
        }
        if matches!(answered.decision, "duplicate" | "ignored" | "pong") {
            match metrics.known_line(Instant::now()) {
                Line::Write => {}
                Line::LeaveOut => {
                    warn!(
                        "too many deliveries with nothing new for the log: more of this minute are in /metrics alone"
                    );
                    return response;
                }
                Line::Nothing => return response,
            }
        }
        info!(
            hook = hook.as_deref(),
            address = address.map(tracing::field::display),
            delivery = answered.delivery.map(tracing::field::display),
            repository = answered.repository.as_ref().map(tracing::field::display),
            decision = answered.decision,
            reason = answered.reason.as_deref(),
            status,
            us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
            "delivery"
        );
    }
    response
}

/// An error with its causes.
pub(crate) fn with_causes(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| (**cause).source());
    std::iter::once(error.to_string()).chain(causes.map(ToString::to_string)).collect::<Vec<_>>().join(": ")
}
