//! The one table of replies: whatever adapter a delivery came by, its answer has the same bytes.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use serde::Serialize;

use crate::id::{DeliveryId, JobId, RepoName};
use crate::intake::{Admitted, Decided, IntakeError, Receipt, RecipeVerdict, StoredJob};
use crate::job::Stage;
use crate::policy::Verdict;
use crate::problem::Problem as _;
use crate::receiver::{Outcome, Refusal};

/// How long an adapter waits for [`Intake::accept`](crate::Intake::accept) before it answers 503: GitHub waits ten
/// seconds in all.
pub const ACCEPT_DEADLINE: Duration = Duration::from_secs(8);

/// The reply to a delivery.
///
/// `accepted` is what the intake said of a [`Outcome::Decided`]; without it nothing was stored, so a push for which
/// something is to run is answered 503, as if the intake had failed.
///
/// | status | decision | when |
/// | --- | --- | --- |
/// | 202 | `queued` | there is a new job that is not held |
/// | 202 | `held` | there is a new job |
/// | 200 | `duplicate` | all that is to run is known already |
/// | 200 | `ignored` | nothing is to run, another event, a repository that is not configured |
/// | 202 | `accepted` | a broker has it |
/// | 200 | `pong` | a ping |
/// | 4xx, 503 | | a [`Refusal`], as `application/problem+json` |
/// | 503 | | it was not stored: nothing was promised |
#[must_use]
pub fn reply(
    outcome: &Result<Outcome, Refusal>,
    accepted: Option<&Result<Receipt, IntakeError>>,
) -> Response<Bytes> {
    match (outcome, accepted) {
        (Err(refusal), _) => refuse(refusal),
        (Ok(Outcome::Pong), _) => told(&Answer::plain("pong", None), None),
        (Ok(Outcome::Ignored(reason)), _) => told(&Answer::plain("ignored", Some(&reason.word)), None),
        (Ok(Outcome::Decided(decided)), Some(Ok(receipt))) => {
            told(&Answer::stored(decided, receipt), Some(decided))
        }
        (Ok(Outcome::Decided(decided)), None) if !decided.makes_jobs() => {
            told(&Answer::unstored(decided), Some(decided))
        }
        (Ok(Outcome::Decided(decided)), Some(Err(error))) => not_stored(decided, error.retry_after()),
        (Ok(Outcome::Decided(decided)), None) => not_stored(decided, None),
    }
}

/// What a reply says, in words of closed sets: an extension of every response of [`reply`], for logs and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answered {
    /// The decision; `refused` and `not_stored` where there is none.
    pub decision: &'static str,
    /// Why: the refusal's word, or the reason's of the reply or else of its first verdict.
    pub reason: Option<Cow<'static, str>>,
    /// The receipt's id, if there is one.
    pub delivery: Option<DeliveryId>,
    /// The repository, once the push was found to be signed, also where it is not configured.
    pub repository: Option<RepoName>,
    /// It was [refused for what anybody can send](Refusal::is_unsigned).
    pub is_unsigned: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    delivery: Option<DeliveryId>,
    decision: &'static str,
    reason: Option<&'a str>,
    verdicts: Vec<Told<'a>>,
}

#[derive(Serialize)]
struct Told<'a> {
    recipe: &'a str,
    verdict: &'static str,
    reason: Option<String>,
    detail: Option<String>,
    jobs: Vec<ToldJob<'a>>,
}

#[derive(Serialize)]
struct ToldJob<'a> {
    id: JobId,
    config: Option<&'a str>,
    state: &'static str,
    new: bool,
}

/// A problem in the form of RFC 9457.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
}

impl<'a> Answer<'a> {
    fn plain(decision: &'static str, reason: Option<&'a str>) -> Self {
        Self { delivery: None, decision, reason, verdicts: Vec::new() }
    }

    fn unstored(decided: &'a Decided) -> Self {
        let verdicts = decided.verdicts.iter().map(|verdict| Told::new(verdict, &[])).collect();
        Self { verdicts, ..Self::plain("ignored", unknown(decided)) }
    }

    fn stored(decided: &'a Decided, receipt: &'a Receipt) -> Self {
        let (delivery, decision, jobs) = match receipt {
            Receipt::Stored { delivery, jobs } => (delivery, decision(decided, jobs), jobs.as_slice()),
            Receipt::Accepted { delivery } => (delivery, "accepted", &[][..]),
        };
        let verdicts = decided.verdicts.iter().map(|verdict| Told::new(verdict, jobs)).collect();
        Self { delivery: Some(*delivery), verdicts, ..Self::plain(decision, unknown(decided)) }
    }
}

/// The reason of a push that has no verdict to carry it.
fn unknown(decided: &Decided) -> Option<&'static str> {
    decided.verdicts.is_empty().then_some("repository")
}

impl<'a> Told<'a> {
    fn new(verdict: &'a RecipeVerdict, jobs: &'a [StoredJob]) -> Self {
        let reason = verdict.verdict.reason();
        let (reason, detail) = reason.map(|reason| (reason.word.into_owned(), reason.detail)).unzip();
        let own = jobs.iter().filter(|job| job.recipe == verdict.recipe);
        Self {
            recipe: &verdict.recipe,
            verdict: verdict.verdict.word(),
            reason,
            detail,
            jobs: own.map(ToldJob::new).collect(),
        }
    }
}

impl<'a> ToldJob<'a> {
    fn new(job: &'a StoredJob) -> Self {
        Self { id: job.id, config: job.config.as_deref(), state: job.stage.word(), new: is_new(job) }
    }
}

/// The first that occurs of queued, held, duplicate and ignored. An intake that does not tell of jobs is taken at
/// the word of the verdicts.
fn decision(decided: &Decided, jobs: &[StoredJob]) -> &'static str {
    let any = |of: fn(&StoredJob) -> bool| jobs.iter().any(of);
    let verdict = |of: fn(&Verdict) -> bool| decided.verdicts.iter().any(|recipe| of(&recipe.verdict));
    if jobs.is_empty() {
        return match (
            verdict(|v| matches!(v, Verdict::Launch { .. })),
            verdict(|v| matches!(v, Verdict::Hold(_))),
        ) {
            (true, _) => "queued",
            (false, true) => "held",
            (false, false) => "ignored",
        };
    }
    match (any(|job| is_new(job) && job.stage != Stage::Held), any(is_new)) {
        (true, _) => "queued",
        (false, true) => "held",
        (false, false) => "duplicate",
    }
}

fn is_new(job: &StoredJob) -> bool {
    job.admitted != Admitted::Duplicate
}

fn told(answer: &Answer<'_>, decided: Option<&Decided>) -> Response<Bytes> {
    let status = match answer.decision {
        "queued" | "held" | "accepted" => StatusCode::ACCEPTED,
        _ => StatusCode::OK,
    };
    let mut response = response(status, "application/json", answer);
    let first = decided.and_then(|decided| decided.verdicts.first()?.verdict.reason());
    response.extensions_mut().insert(Answered {
        decision: answer.decision,
        reason: answer.reason.map(|word| word.to_owned().into()).or(first.map(|reason| reason.word)),
        delivery: answer.delivery,
        repository: decided.map(|decided| decided.push.repository.clone()),
        is_unsigned: false,
    });
    response
}

fn refuse(refusal: &Refusal) -> Response<Bytes> {
    let mut response = problem(refusal.status(), refusal.word(), &refusal.to_string());
    match refusal {
        Refusal::Method => {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        }
        Refusal::Busy { retry_after } | Refusal::Share { retry_after } | Refusal::TooMany { retry_after } => {
            set_retry_after(&mut response, *retry_after)
        }
        Refusal::Failed => set_retry_after(&mut response, RETRY),
        _ => {}
    }
    response.extensions_mut().insert(Answered {
        decision: "refused",
        reason: Some(refusal.word().into()),
        delivery: None,
        repository: match refusal {
            Refusal::Repository(name) => RepoName::new(name).ok(),
            _ => None,
        },
        is_unsigned: refusal.is_unsigned(),
    });
    response
}

/// What the store said is for its log: whoever delivers is told only that nothing was promised.
fn not_stored(decided: &Decided, retry_after: Option<Duration>) -> Response<Bytes> {
    let detail = "the delivery was not stored and nothing was promised; deliver it again";
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, "not-stored", detail);
    set_retry_after(&mut response, retry_after.unwrap_or(RETRY));
    response.extensions_mut().insert(Answered {
        decision: "not_stored",
        reason: None,
        delivery: None,
        repository: Some(decided.push.repository.clone()),
        is_unsigned: false,
    });
    response
}

fn problem(status: StatusCode, word: &str, detail: &str) -> Response<Bytes> {
    let problem = Problem {
        r#type: &format!("urn:swifthook:problem:{word}"),
        title: status.canonical_reason().unwrap_or_default(),
        status: status.as_u16(),
        detail,
    };
    response(status, "application/problem+json", &problem)
}

fn set_retry_after(response: &mut Response<Bytes>, wait: Duration) {
    // Whole seconds, and never zero: that would be an invitation to come back at once.
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
}

fn response(status: StatusCode, media_type: &'static str, body: &impl Serialize) -> Response<Bytes> {
    let json = serde_json::to_vec(body).expect("only texts, numbers and lists are in it");
    let mut response = Response::new(Bytes::from(json));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

const RETRY: Duration = Duration::from_secs(10);
