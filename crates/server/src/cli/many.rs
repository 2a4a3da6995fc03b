//! Commands to several jobs: those that are named, or all that a filter finds.

use std::collections::HashSet;

use form_urlencoded::Serializer;
use http::{Method, StatusCode};
use serde::Deserialize;

use super::ask::ask;
use super::job_text;
use super::reach::{Error, Reach};
use super::screen::json_line;
use crate::api::JobView;

/// Which jobs are meant.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Filter {
    /// In these states, separated by commas.
    #[arg(long)]
    pub(super) state: Option<String>,
    /// Of this recipe.
    #[arg(long)]
    pub(super) recipe: Option<String>,
    /// Of this repository.
    #[arg(long)]
    pub(super) repository: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Page {
    pub(super) jobs: Vec<JobView>,
    pub(super) next: Option<String>,
}

#[derive(Deserialize)]
struct After {
    #[serde(flatten)]
    job: JobView,
    differs: Option<String>,
}

#[derive(Deserialize)]
struct Unconfirmed {
    would: Vec<String>,
    confirm: String,
}

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order<'w> {
    pub(super) word: &'w str,
    /// Whether a run saves first.
    pub(super) saves: bool,
    /// Whether a job that waits for its checkpoint begins anew.
    pub(super) from_start: bool,
    /// True to train a change again with what its job was made with.
    pub(super) as_before: bool,
}

impl<'w> Order<'w> {
    pub(super) fn of(word: &'w str) -> Self {
        Self { word, saves: false, from_start: false, as_before: false }
    }

    /// The body of the call.
    fn body(self, confirm: Option<&str>) -> Vec<u8> {
        let mut body = serde_json::Map::new();
        body.extend(confirm.map(|token| ("confirm".to_owned(), token.into())));
        body.extend(self.saves.then(|| ("save".to_owned(), true.into())));
        body.extend(self.from_start.then(|| ("from_start".to_owned(), true.into())));
        body.extend(self.as_before.then(|| ("as_before".to_owned(), true.into())));
        serde_json::Value::Object(body).to_string().into_bytes()
    }
}

impl Filter {
    pub(super) fn is_empty(&self) -> bool {
        self.state.is_none() && self.recipe.is_none() && self.repository.is_none()
    }

    /// The path of a page of the list.
    pub(super) fn path(&self, limit: usize, cursor: Option<&str>) -> String {
        let mut query = Serializer::new(String::new());
        query.append_pair("limit", &limit.to_string());
        for (name, value) in [
            ("state", self.state.as_deref()),
            ("recipe", self.recipe.as_deref()),
            ("repository", self.repository.as_deref()),
            ("cursor", cursor),
        ] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        format!("{JOBS}?{}", query.finish())
    }

    /// Every job that it finds, newest first; no further than to `oldest`.
    fn all(&self, reach: &Reach, oldest: Option<&str>) -> Result<Vec<JobView>, Error> {
        let mut all: Vec<JobView> = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let page: Page = reach.read(&self.path(PAGE, cursor.as_deref()))?;
            all.extend(page.jobs);
            let is_enough =
                all.last().zip(oldest).is_some_and(|(last, oldest)| &*last.id.to_string() < oldest);
            match page.next {
                Some(next) if !is_enough => cursor = Some(next),
                _ => return Ok(all),
            }
        }
    }
}

/// The ids of all jobs that a command by filter is for, and what is told of them before.
pub(super) fn found(reach: &Reach, word: &str, filter: &Filter) -> Result<Vec<String>, Error> {
    let state = filter.state.clone().unwrap_or_else(|| states_for(word).to_owned());
    let filter =
        Filter { state: Some(state), recipe: filter.recipe.clone(), repository: filter.repository.clone() };
    let jobs = filter.all(reach, None)?;
    let ids = jobs.iter().map(|job| job.id.to_string());
    if word != "retry" {
        return Ok(ids.collect());
    }
    // Of a change that has been repeated since, it is the last training that counts, in whatever state that is.
    let Some(oldest) = jobs.last().map(|job| job.id.to_string()) else { return Ok(Vec::new()) };
    let later = Filter { state: None, ..filter }.all(reach, Some(&oldest))?;
    let repeated: HashSet<String> =
        later.iter().filter_map(|job| job.rerun_of.map(|id| id.to_string())).collect();
    Ok(ids.filter(|id| !repeated.contains(id)).collect())
}

/// Asks before something is done to all of them.
pub(super) fn confirm(word: &str, ids: &[String], is_confirmed: bool) -> Result<(), Error> {
    if is_confirmed || ids.is_empty() {
        return Ok(());
    }
    let shown: Vec<_> = ids.iter().take(SHOWN).map(|id| super::id::short(id)).collect();
    let more = if ids.len() > SHOWN { ", …" } else { "" };
    let jobs = if ids.len() == 1 { "1 job".to_owned() } else { format!("{} jobs", ids.len()) };
    ask(&[format!("{word} {jobs} ({}{more})", shown.join(", "))])
}

/// Gives a command to each of them. One that is refused does not keep the others from it.
pub(super) fn give(
    reach: &Reach,
    order: Order<'_>,
    ids: &[String],
    is_confirmed: bool,
    json: bool,
) -> Result<Vec<u8>, Error> {
    let (mut told, mut refused) = (Vec::new(), 0);
    for id in ids {
        match one(reach, order, id, is_confirmed, json) {
            Ok(text) => told.extend(text),
            Err(error) if ids.len() == 1 => return Err(error),
            Err(error) if error.is_about_one() => {
                refused += 1;
                told.extend(format!("job {id}: {error}\n").into_bytes());
            }
            Err(error) => return Err(error),
        }
    }
    match refused {
        0 => Ok(told),
        count => Err(Error::SomeRefused { told: String::from_utf8_lossy(&told).into_owned(), count }),
    }
}

fn one(reach: &Reach, order: Order<'_>, id: &str, is_confirmed: bool, json: bool) -> Result<Vec<u8>, Error> {
    let path = format!("{JOBS}/{id}/{}", order.word);
    let mut reply = reach.call(Method::POST, &path, order.body(None))?;
    if reply.status == StatusCode::PRECONDITION_REQUIRED {
        let asked: Unconfirmed = serde_json::from_slice(&reply.body).map_err(Error::Strange)?;
        if !is_confirmed {
            ask(&asked.would)?;
        }
        reply = reach.call(Method::POST, &path, order.body(Some(&asked.confirm)))?;
        if reply.status == StatusCode::PRECONDITION_REQUIRED {
            return Err(Error::Changed);
        }
    }
    if !reply.status.is_success() {
        return Err(Error::refused(&reply));
    }
    if json {
        return Ok(json_line(&reply.body));
    }
    let after: After = serde_json::from_slice(&reply.body).map_err(Error::Strange)?;
    Ok(job_text::after(order, &after.job, after.differs.as_deref()).into_bytes())
}

/// What a command is for unless it is said.
fn states_for(word: &str) -> &'static str {
    match word {
        "retry" => "failed",
        "yield" => "running",
        _ => "held,queued,running,finishing",
    }
}

pub(super) const JOBS: &str = "/api/v1/jobs";
const PAGE: usize = 500;
/// How many are named before something is done to all.
const SHOWN: usize = 5;
