//! `swifthook jobs`.

use std::process::ExitCode;
use std::time::SystemTime;

use clap::Subcommand;
use form_urlencoded::Serializer;
use serde::Deserialize;
use swifthook_core::text::printable_lines;

use super::address::count;
use super::job_text;
use super::many::{self, Filter, JOBS, Order, Page};
use super::reach::{Error, Reach, ReachArguments};
use super::screen::{json_line, print};
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
    /// End jobs; a run is stopped first. By a filter: those that have not ended.
    Cancel(CancelArguments),
    /// Let runs save and end; they go on when their turn comes again. By a filter: those that run.
    Yield(ManyArguments),
    /// Train the changes of finished jobs again, as new jobs, by what their recipes say now. By a filter: those that failed.
    Retry(RetryArguments),
    /// Give up on a run that cannot be reached.
    Abandon(CommandArguments),
}

#[derive(Debug, Default, clap::Args)]
struct ListArguments {
    #[command(flatten)]
    filter: Filter,
    /// At most so many.
    #[arg(long, default_value_t = 20, value_parser = count::<usize>)]
    limit: usize,
    /// From where the page before ended.
    #[arg(long)]
    cursor: Option<String>,
}

#[derive(Debug, clap::Args)]
struct ManyArguments {
    /// Their ids, the beginnings of them, or the GUIDs of the deliveries that led to them; without any, the filter says
    /// which.
    #[arg(value_name = "JOB")]
    ids: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
struct CancelArguments {
    #[command(flatten)]
    which: ManyArguments,
    /// Let a run save before it ends, as one that makes way.
    #[arg(long)]
    save: bool,
}

#[derive(Debug, clap::Args)]
struct RetryArguments {
    #[command(flatten)]
    which: ManyArguments,
    /// Let a job that waits for the host of its checkpoint begin anew on any: for a host that never comes back.
    #[arg(long, requires = "ids")]
    from_start: bool,
    /// Train with the command and the settings that the job was made with, in place of what its recipe says by now.
    #[arg(long, conflicts_with = "from_start")]
    as_before: bool,
}

#[derive(Debug, clap::Args)]
struct JobArguments {
    /// Its id, the beginning of it, or the GUID of a delivery that led to it.
    #[arg(value_name = "JOB")]
    id: String,
}

#[derive(Debug, clap::Args)]
struct LogsArguments {
    #[command(flatten)]
    job: JobArguments,
    /// The last lines.
    #[arg(long, default_value_t = 1_000, value_parser = count::<usize>)]
    tail: usize,
    /// Only lines with this in them.
    #[arg(long, value_name = "WORD")]
    grep: Option<String>,
    /// Of an earlier attempt.
    #[arg(long, value_parser = count::<u32>)]
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
struct Whole {
    #[serde(flatten)]
    job: JobView,
    timeline: Vec<TimelineView>,
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
        Some(What::Cancel(CancelArguments { which, save })) => {
            commands(&reach, Order { saves: *save, ..Order::of("cancel") }, which, json)
        }
        Some(What::Yield(which)) => commands(&reach, Order::of("yield"), which, json),
        Some(What::Retry(RetryArguments { which, from_start, as_before })) => {
            let order = Order { from_start: *from_start, as_before: *as_before, ..Order::of("retry") };
            commands(&reach, order, which, json)
        }
        Some(What::Abandon(job)) => command(&reach, "abandon", job, json),
    }
}

fn list(reach: &Reach, which: &ListArguments, json: bool) -> Result<Vec<u8>, Error> {
    let body = reach.get(&which.filter.path(which.limit, which.cursor.as_deref()))?;
    if json {
        return Ok(json_line(&body));
    }
    let page: Page = serde_json::from_slice(&body).map_err(Error::Strange)?;
    Ok(job_text::list(&page.jobs, page.next.as_deref(), SystemTime::now()).into_bytes())
}

fn show(reach: &Reach, job: &JobArguments, json: bool) -> Result<Vec<u8>, Error> {
    let id = id::whole(reach, "job", JOBS, &job.id)?;
    let body = reach.get(&format!("{JOBS}/{id}"))?;
    if json {
        return Ok(json_line(&body));
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
    let log = reach.get(&format!("{JOBS}/{id}/log?{}", query.finish()))?;
    Ok(printable_lines(&String::from_utf8_lossy(&log)).into_owned().into_bytes())
}

fn command(reach: &Reach, word: &str, job: &CommandArguments, json: bool) -> Result<Vec<u8>, Error> {
    if !reach.is_server() {
        return Err(Error::NoServer);
    }
    let id = id::whole(reach, "job", JOBS, &job.job.id)?;
    many::give(reach, Order::of(word), &[id], job.yes, json)
}

fn commands(reach: &Reach, order: Order<'_>, which: &ManyArguments, json: bool) -> Result<Vec<u8>, Error> {
    if !reach.is_server() {
        return Err(Error::NoServer);
    }
    let ids = match (&which.ids[..], which.filter.is_empty()) {
        ([], true) => return Err(Error::NoneNamed),
        ([], false) => {
            let ids = many::found(reach, order.word, &which.filter)?;
            many::confirm(order.word, &ids, which.yes)?;
            if ids.is_empty() && !json {
                return Ok(b"no jobs\n".to_vec());
            }
            // It was asked about all of them, and not about each.
            return many::give(reach, order, &ids, true, json);
        }
        (_, false) => return Err(Error::NamedAndFiltered),
        (ids, true) => ids.iter().map(|id| id::whole(reach, "job", JOBS, id)),
    };
    many::give(reach, order, &ids.collect::<Result<Vec<_>, _>>()?, which.yes, json)
}
