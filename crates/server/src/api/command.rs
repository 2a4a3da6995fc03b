use std::time::SystemTime;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use swifthook_core::{Actor, Command, Job, Stage, Timestamp};
use tracing::info;

use super::confirm::Call;
use super::job::JobView;
use super::problem::Problem;
use super::router::Api;
use super::{jobs, problem};

/// The body of a command; it may be absent.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    confirm: Option<String>,
}

/// What is answered before something dangerous is done.
#[derive(Debug, Serialize)]
struct Unconfirmed {
    would: Vec<String>,
    confirm: String,
    expires_at: String,
}

/// A person's command to a job.
pub(super) async fn give(
    State(api): State<Api>,
    Path((id, word)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Problem> {
    let Some(command) = named(&word) else { return Ok(problem::no_such_path().await.into_response()) };
    let body = read(&body)?;
    let job = jobs::find(&api, &id).await?;
    let caller = Actor("admin".into());
    let would = danger(command, &job);
    if !would.is_empty() {
        let (call, now) = (Call::of_job(command.words(), &job, &caller), Timestamp::from(SystemTime::now()));
        let is_confirmed = body.confirm.is_some_and(|token| api.confirmations().take(&token, &call, now));
        if !is_confirmed {
            return unconfirmed(&api, would, call, now);
        }
    }
    let after = api.store.command(job.id, command, &caller).await?;
    info!(job = %job.id, command = word, state = after.state.stage.word(), "command");
    api.changes.tell(after.id, None);
    Ok(Json(JobView::from(&after)).into_response())
}

/// Nothing is done: what would be, and what to show so that it is.
pub(super) fn unconfirmed(
    api: &Api,
    would: Vec<String>,
    call: Call,
    now: Timestamp,
) -> Result<Response, Problem> {
    let given = api.confirmations().give(call, now);
    let (confirm, until) =
        given.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let answer = Unconfirmed { would, confirm, expires_at: until.to_string() };
    Ok((StatusCode::PRECONDITION_REQUIRED, Json(answer)).into_response())
}

fn named(word: &str) -> Option<Command> {
    Some(match word {
        "approve" => Command::Approve,
        "reject" => Command::Reject,
        "cancel" => Command::Cancel,
        "retry" => Command::Retry,
        "abandon" => Command::Abandon,
        _ => return None,
    })
}

fn read(body: &[u8]) -> Result<Body, Problem> {
    if body.is_empty() {
        return Ok(Body::default());
    }
    serde_json::from_slice(body)
        .map_err(|error| Problem::bad_request(format!("the body is `{{\"confirm\": …}}` or empty: {error}")))
}

/// What a command would do that cannot be undone; empty where it is harmless, or would be refused anyway.
fn danger(command: Command, job: &Job) -> Vec<String> {
    let is_active = matches!(job.state.stage, Stage::Running | Stage::Finishing);
    let run =
        || format!("attempt {} of {} at {}", job.state.attempt, job.change.recipe, job.change.head.short());
    match command {
        Command::Cancel if is_active => {
            let progress = job.progress.and_then(|progress| Some((progress.step?, progress.max_steps?)));
            let far = progress.map_or(String::new(), |(step, most)| format!(", at step {step} of {most}"));
            vec![format!("stop {}{far}", run())]
        }
        Command::Abandon if is_active => {
            vec![format!("give up {} without knowing whether it still runs", run())]
        }
        _ => Vec::new(),
    }
}
