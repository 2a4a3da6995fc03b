use std::time::SystemTime;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use swifthook_core::{
    Actor, Capabilities, Change, Command, HoldReason, Job, JobFilter, QueueError, Stage, Timestamp,
};
use tracing::info;

use super::confirm::Call;
use super::job::JobView;
use super::problem::Problem;
use super::router::Api;
use super::{jobs, problem, turn, wording};

/// The body of a command; it may be absent.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    confirm: Option<String>,
    /// Whether a run that is cancelled saves first.
    #[serde(default)]
    save: bool,
    /// Whether a job that waits for its checkpoint begins anew in place of being trained once more.
    #[serde(default)]
    from_start: bool,
    /// True to train a change again with what its job was made with, in place of what its recipe says by now.
    #[serde(default)]
    as_before: bool,
}

/// A job after a command.
#[derive(Debug, Serialize)]
struct After {
    #[serde(flatten)]
    job: JobView,
    /// Parts in which a new job is another than the last one of its change.
    #[serde(skip_serializing_if = "Option::is_none")]
    differs: Option<String>,
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
    let command = match (command, body.save, body.from_start, body.as_before) {
        (command, false, false, false) | (command @ Command::Retry, false, false, true) => command,
        (Command::Cancel, true, false, false) => Command::CancelSaving,
        (Command::Retry, false, true, false) => Command::BeginAnew,
        (Command::Retry, false, true, true) => {
            return Err(Problem::bad_request(
                "`from_start` and `as_before` are for different jobs".to_owned(),
            ));
        }
        (_, true, ..) => return Err(Problem::bad_request("`save` is for `cancel`".to_owned())),
        (_, _, true, _) => return Err(Problem::bad_request("`from_start` is for `retry`".to_owned())),
        (_, _, _, true) => return Err(Problem::bad_request("`as_before` is for `retry`".to_owned())),
    };
    let job = jobs::find(&api, &id).await?;
    if let Some(why) = Some(&job).filter(|_| command == Command::BeginAnew).and_then(cannot_begin_anew) {
        return Err(Problem::new(StatusCode::CONFLICT, why.to_owned()));
    }
    let launcher = job.state.handle.as_ref().map_or(&job.spec.launcher, |run| &run.launcher);
    if job.state.stage.is_active()
        && let Some(can) = (api.capabilities)(launcher)
        && let Some(why) = cannot_save(command, launcher, can)
    {
        return Err(Problem::new(StatusCode::CONFLICT, why));
    }
    let caller = Actor("admin".into());
    let leases = api.store.gpu_leases().await?;
    let has_gpus = leases.iter().any(|lease| lease.run.job == job.id);
    let would = danger(command, &job, has_gpus);
    if !would.is_empty() {
        let (call, now) = (Call::of_job(action(command), &job, &caller), Timestamp::from(SystemTime::now()));
        let is_confirmed = body.confirm.is_some_and(|token| api.confirmations().take(&token, &call, now));
        if !is_confirmed {
            return unconfirmed(&api, would, call, now);
        }
    }
    let answer = match (&api.render, command) {
        (Some(render), Command::Retry) if !body.as_before && job.state.stage.is_final() => {
            let rerun = render(&job).map_err(|why| Problem::new(StatusCode::CONFLICT, why.to_string()))?;
            api.store.rerun(job.id, rerun, &caller).await
        }
        _ => api.store.command(job.id, command, &caller).await,
    };
    let after = match answer {
        Err(QueueError::Illegal(_)) if command == Command::Retry && job.state.stage.is_final() => {
            return Err(Problem::new(StatusCode::CONFLICT, trained_again(&api, &job).await?));
        }
        answer => answer?,
    };
    info!(job = %job.id, command = word, state = after.state.stage.word(), "command");
    api.changes.tell(after.id, None);
    let differs = if after.id == job.id { None } else { beginning(&api, &after).await? };
    let job = turn::view(&api, &after, SystemTime::now().into()).await?;
    Ok(Json(After { job, differs }).into_response())
}

/// Reads the first line of a job's timeline.
async fn beginning(api: &Api, job: &Job) -> Result<Option<String>, Problem> {
    let timeline = api.store.timeline(job.id).await?;
    Ok(timeline.into_iter().next().and_then(|line| line.why))
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

/// What a confirmation is for.
fn action(command: Command) -> &'static str {
    match command {
        Command::CancelSaving => "be cancelled once it has saved",
        command => command.words(),
    }
}

/// Why a job that has ended is not trained again: it is.
async fn trained_again(api: &Api, job: &Job) -> Result<String, Problem> {
    let open = JobFilter {
        stages: Stage::ALL.into_iter().filter(|stage| !stage.is_final()).collect(),
        recipe: Some(job.change.recipe.to_string()),
        repository: Some(job.change.repository.to_string()),
        limit: MOST_OPEN,
        ..JobFilter::default()
    };
    let is_of_this_change =
        |other: &&Job| Change { run: job.change.run, ..other.change.clone() } == job.change;
    let jobs = api.store.jobs(&open).await?;
    let again = jobs.iter().find(is_of_this_change);
    let which = again.map_or("another job".to_owned(), |again| {
        format!("job {} is {}", again.id, again.state.stage.word())
    });
    Ok(format!("what job {} trained is being trained again already: {which}", job.id))
}

/// Why a job does not wait for a checkpoint that it could begin anew without.
fn cannot_begin_anew(job: &Job) -> Option<&'static str> {
    let state = &job.state;
    match state.stage {
        Stage::Queued if state.waits_for_its_checkpoint() => None,
        Stage::Queued if state.checkpoint.is_some() => {
            Some("any host has its checkpoint, so that it waits for none and goes on when its turn comes")
        }
        Stage::Queued => Some("it has no checkpoint to go on from, and begins anew when its turn comes"),
        Stage::Held => Some("it is held; approve or reject it first"),
        Stage::Running | Stage::Finishing => {
            Some("it has a run; one that cannot be reached any more can be abandoned, and trained again")
        }
        _ => Some("it has ended; without `from_start` its change is trained again, from the start"),
    }
}

/// Why the runs of a launcher cannot be let save.
fn cannot_save(command: Command, launcher: &str, can: Capabilities) -> Option<String> {
    let cannot = format!("a run of the launcher `{launcher}` cannot save when it is asked to end");
    match command {
        Command::Yield if !can.yields => {
            Some(format!("{cannot}, and so not go on later; it can be cancelled, and trained again"))
        }
        Command::CancelSaving if !can.yields => Some(format!("{cannot}; cancel it without `save`")),
        _ => None,
    }
}

fn named(word: &str) -> Option<Command> {
    Some(match word {
        "approve" => Command::Approve,
        "reject" => Command::Reject,
        "cancel" => Command::Cancel,
        "yield" => Command::Yield,
        "retry" => Command::Retry,
        "abandon" => Command::Abandon,
        _ => return None,
    })
}

fn read(body: &[u8]) -> Result<Body, Problem> {
    if body.is_empty() {
        return Ok(Body::default());
    }
    wording::read(body).map_err(|why| {
        Problem::bad_request(format!(
            "the body is `{{\"confirm\": …, \"save\": true, \"from_start\": true, \"as_before\": true}}`, or has less, or is empty: {why}"
        ))
    })
}

/// What a command would do that cannot be undone; empty where it is harmless, or would be refused anyway.
fn danger(command: Command, job: &Job, has_gpus: bool) -> Vec<String> {
    let is_active = matches!(job.state.stage, Stage::Running | Stage::Finishing);
    let run =
        || format!("attempt {} of {} at {}", job.state.attempt, job.change.recipe, job.change.head.short());
    match command {
        Command::Cancel | Command::CancelSaving if is_active => {
            let progress = job.progress.and_then(|progress| Some((progress.step?, progress.max_steps?)));
            let far = progress.map_or(String::new(), |(step, most)| format!(", at step {step} of {most}"));
            let how = if command == Command::Cancel { "stop" } else { "let save and then end" };
            vec![format!("{how} {}{far}", run())]
        }
        Command::Yield if job.state.stage == Stage::Running => {
            vec![format!("let {} save and end; it goes on later, from its last checkpoint", run())]
        }
        Command::Approve => match job.state.hold {
            Some(HoldReason::TooManyJobs(count)) => {
                vec![format!("make {count} jobs of {} at {}", job.change.recipe, job.change.head.short())]
            }
            Some(HoldReason::TooManyPaths(count)) => vec![format!(
                "look at more than {count} changed files, and make a job for each that `each` of {} names, or train it \
                 once where it has none",
                job.change.recipe
            )],
            _ => Vec::new(),
        },
        Command::BeginAnew => {
            let what = job.state.checkpoint.as_ref().map_or("what it saved".to_owned(), ToString::to_string);
            let host = job.state.host().unwrap_or_default();
            let recipe = &job.change.recipe;
            vec![format!(
                "give up {what} on {host}, and train {recipe} at {} from the start",
                job.change.head.short()
            )]
        }
        Command::Abandon if is_active => {
            vec![format!("give up {} without knowing whether it still runs", run())]
        }
        Command::Abandon if has_gpus => {
            vec![format!("give the GPUs of {} to others without knowing whether it still runs", run())]
        }
        _ => Vec::new(),
    }
}

/// More than wait of one recipe.
const MOST_OPEN: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_save_is_not_asked_to() {
        let can = |yields| Capabilities { yields, ..Capabilities::default() };
        for command in [Command::Yield, Command::CancelSaving] {
            let why = cannot_save(command, "cluster", can(false)).unwrap();
            assert!(why.starts_with("a run of the launcher `cluster` cannot save"), "{why}");
            assert_eq!(cannot_save(command, "cluster", can(true)), None);
        }
        assert_eq!(cannot_save(Command::Cancel, "cluster", can(false)), None);
    }
}
