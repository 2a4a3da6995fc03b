//! What there is to be judged, read when all is over.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Failure;
use crate::driver::Driver;
use crate::http::ask;
use crate::load::Sent;
use crate::marks::{self, Mark};
use crate::processes::of_runs;
use crate::site::{Site, TOKEN};

/// All that is known at the end.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    pub(crate) sent: Sent,
    pub(crate) jobs: Vec<Job>,
    pub(crate) marks: Vec<Mark>,
    /// The commit of each number that a run can leave.
    pub(crate) commits: Vec<String>,
    /// The runs whose supervisor was killed.
    pub(crate) killed: BTreeSet<String>,
    /// The runs of which something is alive.
    pub(crate) alive: Vec<String>,
    /// The living workers that say that something runs on them.
    pub(crate) busy: Vec<String>,
}

/// A job as the server tells of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) state: String,
    pub(crate) reason: String,
    pub(crate) group: String,
    pub(crate) commit: String,
    pub(crate) run: u64,
    /// True if it repeats another one.
    pub(crate) is_rerun: bool,
    /// The words of its timeline, by attempt, from the first on.
    pub(crate) attempts: Vec<Vec<String>>,
}

impl Job {
    pub(crate) fn is_final(&self) -> bool {
        !["queued", "held", "running", "finishing"].contains(&&*self.state)
    }
}

/// Waits until every job is at its end and no run is alive, or nothing moves any more, and reads what there is.
pub(crate) fn gather(site: &Site, driver: &mut Driver, sent: Sent) -> Result<Evidence, Failure> {
    settle(site, driver, &sent)?;
    // A run is alive for a moment after its job is at its end, and a slot is taken until its worker says otherwise.
    driver.pass_until(LAST_BREATH, |driver| {
        Ok(of_runs(site.path())?.is_empty() && busy(site, driver)?.is_empty())
    })?;
    let shown = list(site)?.iter().map(|job| show(site, job)).collect::<Result<Vec<_>, _>>()?;
    // For whoever looks for the cause of a breach.
    fs::write(site.path().join("jobs.json"), serde_json::to_vec_pretty(&shown)?)?;
    Ok(Evidence {
        sent,
        jobs: shown.iter().map(with_attempts).collect(),
        busy: busy(site, driver)?,
        marks: marks::read(&site.marks())?,
        commits: site.branches.concat(),
        killed: driver.done.supervisors.clone(),
        alive: of_runs(site.path())?.into_iter().map(|process| process.run).collect(),
    })
}

fn settle(site: &Site, driver: &mut Driver, sent: &Sent) -> Result<(), Failure> {
    driver.all_ready()?;
    let (mut fewest, mut since) = (usize::MAX, Instant::now());
    while fewest > 0 && since.elapsed() < PATIENCE {
        driver.pass(Duration::from_millis(200))?;
        let jobs: Vec<Job> = list(site)?.iter().map(read).collect();
        let known: BTreeSet<&str> = jobs.iter().map(|job| &*job.commit).collect();
        // What a broker has may become a job a while later.
        let promised: BTreeSet<&str> = sent.promises.iter().map(|(commit, _)| &**commit).collect();
        let open = jobs.iter().filter(|job| !job.is_final()).count() + promised.difference(&known).count();
        if open < fewest {
            (fewest, since) = (open, Instant::now());
        }
    }
    Ok(())
}

/// Those of before are listed too, as they were when they were last heard of.
fn busy(site: &Site, driver: &Driver) -> Result<Vec<String>, Failure> {
    let known = get(site, "/api/v1/workers")?;
    let known = known["workers"].as_array().ok_or("no workers in the answer")?;
    let is_ours = |name: &str| driver.pids().iter().any(|pid| name.ends_with(&format!("-{pid}")));
    let busy = known.iter().filter(|worker| worker["busy"].as_u64() != Some(0));
    Ok(busy.map(|worker| text(&worker["name"])).filter(|name| is_ours(name)).collect())
}

fn list(site: &Site) -> Result<Vec<Value>, Failure> {
    let (mut jobs, mut cursor) = (Vec::new(), String::new());
    loop {
        let mut page = get(site, &format!("/api/v1/jobs?limit=500{cursor}"))?;
        jobs.append(page["jobs"].as_array_mut().ok_or("a page without jobs")?);
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(jobs),
        }
    }
}

fn show(site: &Site, job: &Value) -> Result<Value, Failure> {
    get(site, &format!("/api/v1/jobs/{}", text(&job["id"])))
}

/// A refusal takes an attempt back, and the next one has its number again.
fn with_attempts(shown: &Value) -> Job {
    let (mut job, mut number) = (read(shown), 0);
    for what in shown["timeline"].as_array().into_iter().flatten().map(|line| text(&line["what"])) {
        if what == "started" {
            job.attempts.truncate(number);
            job.attempts.push(Vec::new());
            number += 1;
        }
        if what == "refused" {
            number = number.saturating_sub(1);
        }
        if let Some(attempt) = job.attempts.last_mut() {
            attempt.push(what);
        }
    }
    job
}

fn read(job: &Value) -> Job {
    Job {
        id: text(&job["id"]),
        state: text(&job["state"]),
        reason: text(&job["reason"]),
        group: text(&job["group"]),
        commit: text(&job["commit"]),
        run: job["run"].as_u64().unwrap_or_default(),
        is_rerun: !job["rerun_of"].is_null(),
        attempts: Vec::new(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn get(site: &Site, path: &str) -> Result<Value, Failure> {
    let authorization = format!("Authorization: Bearer {TOKEN}\r\n");
    let reply = ask(site.admin(), &format!("GET {path}"), &authorization, b"", Duration::from_secs(60))?;
    match reply.status {
        200 => Ok(serde_json::from_slice(&reply.body)?),
        status => Err(format!("GET {path}: {status}").into()),
    }
}

/// How long nothing may move before what is open is called stuck.
const PATIENCE: Duration = Duration::from_secs(180);
/// A worker tells how busy it is every ten seconds.
const LAST_BREATH: Duration = Duration::from_secs(60);
