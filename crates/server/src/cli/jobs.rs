//! `swifthook jobs`.

use std::process::ExitCode;
use std::time::SystemTime;

use clap::Subcommand;
use form_urlencoded::Serializer;
use http::{Method, StatusCode};
use serde::Deserialize;

use super::ask::ask;
use super::job_text;
use super::reach::{Error, Reach, ReachArguments};
use super::screen::print;
use super::{CommonArguments, id};
use crate::api::{JobView, TimelineView};

/// Jobs: what waits, runs and has run.
#[derive(Debug, clap::Args)]
pub struct JobsArguments {
    #[command(flatten)]
    reach: ReachArguments,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List jobs, newest first.
    List(ListArguments),
    /// Show a job and its timeline.
    Show(JobArguments),
    /// Print the log of a job's run.
    Logs(LogsArguments),
    /// Let a held job go on.
    Approve(CommandArguments),
    /// End a held job.
    Reject(CommandArguments),
    /// End a job; a run is stopped first.
    Cancel(CommandArguments),
    /// Train a finished job's change again, as a new job.
    Retry(CommandArguments),
    /// Give up on a run that cannot be reached.
    Abandon(CommandArguments),
}

#[derive(Debug, Default, clap::Args)]
struct ListArguments {
    /// In these states, separated by commas.
    #[arg(long)]
    state: Option<String>,
    /// Of this recipe.
    #[arg(long)]
    recipe: Option<String>,
    /// Of this repository.
    #[arg(long)]
    repository: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

#[derive(Debug, clap::Args)]
struct JobArguments {
    /// Its id, or the beginning of it.
    #[arg(value_name = "JOB")]
    id: String,
}

#[derive(Debug, clap::Args)]
struct LogsArguments {
    #[command(flatten)]
    job: JobArguments,
    /// The last lines.
    #[arg(long, default_value_t = 1_000)]
    tail: usize,
    /// Only lines with this in them.
    #[arg(long, value_name = "WORD")]
    grep: Option<String>,
    /// Of an earlier attempt.
    #[arg(long)]
    attempt: Option<u32>,
}

#[derive(Debug, clap::Args)]
struct CommandArguments {
    #[command(flatten)]
    job: JobArguments,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

#[derive(Deserialize)]
struct Page {
    jobs: Vec<JobView>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Whole {
    #[serde(flatten)]
    job: JobView,
    timeline: Vec<TimelineView>,
}

#[derive(Deserialize)]
struct Unconfirmed {
    would: Vec<String>,
    confirm: String,
}

pub(super) fn run(common: &CommonArguments, arguments: &JobsArguments) -> ExitCode {
    match text(common, arguments) {
        Ok(text) => print(&text),
        Err(error) => error.tell(),
    }
}

fn text(common: &CommonArguments, arguments: &JobsArguments) -> Result<Vec<u8>, Error> {
    let reach = Reach::find(common, &arguments.reach)?;
    let json = arguments.reach.json;
    match &arguments.what {
        None => list(&reach, &ListArguments { limit: 20, ..ListArguments::default() }, json),
        Some(What::List(filter)) => list(&reach, filter, json),
        Some(What::Show(job)) => show(&reach, job, json),
        Some(What::Logs(which)) => logs(&reach, which),
        Some(What::Approve(job)) => command(&reach, "approve", job, json),
        Some(What::Reject(job)) => command(&reach, "reject", job, json),
        Some(What::Cancel(job)) => command(&reach, "cancel", job, json),
        Some(What::Retry(job)) => command(&reach, "retry", job, json),
        Some(What::Abandon(job)) => command(&reach, "abandon", job, json),
    }
}

fn list(reach: &Reach, filter: &ListArguments, json: bool) -> Result<Vec<u8>, Error> {
    let mut query = Serializer::new(String::new());
    query.append_pair("limit", &filter.limit.to_string());
    for (name, value) in
        [("state", &filter.state), ("recipe", &filter.recipe), ("repository", &filter.repository)]
    {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let body = reach.get(&format!("{JOBS}?{}", query.finish()))?;
    if json {
        return Ok(line(body));
    }
    let page: Page = serde_json::from_slice(&body).map_err(Error::Strange)?;
    Ok(job_text::list(&page.jobs, page.next.is_some(), SystemTime::now()).into_bytes())
}

fn show(reach: &Reach, job: &JobArguments, json: bool) -> Result<Vec<u8>, Error> {
    let id = id::whole(reach, "job", JOBS, &job.id)?;
    let body = reach.get(&format!("{JOBS}/{id}"))?;
    if json {
        return Ok(line(body));
    }
    let whole: Whole = serde_json::from_slice(&body).map_err(Error::Strange)?;
    Ok(job_text::whole(&whole.job, &whole.timeline).into_bytes())
}

fn logs(reach: &Reach, which: &LogsArguments) -> Result<Vec<u8>, Error> {
    let id = id::whole(reach, "job", JOBS, &which.job.id)?;
    let mut query = Serializer::new(String::new());
    query.append_pair("tail", &which.tail.to_string());
    if let Some(word) = &which.grep {
        query.append_pair("grep", word);
    }
    if let Some(attempt) = which.attempt {
        query.append_pair("attempt", &attempt.to_string());
    }
    reach.get(&format!("{JOBS}/{id}/log?{}", query.finish()))
}

fn command(reach: &Reach, word: &str, job: &CommandArguments, json: bool) -> Result<Vec<u8>, Error> {
    if !reach.is_server() {
        return Err(Error::NoServer);
    }
    let id = id::whole(reach, "job", JOBS, &job.job.id)?;
    let path = format!("{JOBS}/{id}/{word}");
    let mut reply = reach.call(Method::POST, &path, Vec::new())?;
    if reply.status == StatusCode::PRECONDITION_REQUIRED {
        let asked: Unconfirmed = serde_json::from_slice(&reply.body).map_err(Error::Strange)?;
        if !job.yes {
            ask(&asked.would)?;
        }
        let body = serde_json::json!({ "confirm": asked.confirm }).to_string();
        reply = reach.call(Method::POST, &path, body.into_bytes())?;
        if reply.status == StatusCode::PRECONDITION_REQUIRED {
            return Err(Error::Changed);
        }
    }
    if !reply.status.is_success() {
        return Err(Error::refused(&reply));
    }
    if json {
        return Ok(line(reply.body));
    }
    let after: JobView = serde_json::from_slice(&reply.body).map_err(Error::Strange)?;
    Ok(job_text::after(word, &after).into_bytes())
}

fn line(mut body: Vec<u8>) -> Vec<u8> {
    body.push(b'\n');
    body
}

const JOBS: &str = "/api/v1/jobs";
