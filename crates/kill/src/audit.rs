//! What there is to be judged, read when all is over.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Failure;
use crate::driver::Driver;
use crate::http::ask;
use crate::load::Sent;
use crate::marks::{self, Mark};
use crate::processes::{of_runs, wait_until};
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
    settle(site, driver)?;
    // A run is alive for a moment after its job is at its end.
    wait_until(PATIENCE, || Ok(of_runs(&site.state())?.is_empty()))?;
    let jobs = list(site)?.iter().map(|job| show(site, job)).collect::<Result<_, _>>()?;
    driver.assert_alive()?;
    Ok(Evidence {
        sent,
        jobs,
        marks: marks::read(&site.marks())?,
        commits: site.branches.concat(),
        killed: driver.done.supervisors.clone(),
        alive: of_runs(&site.state())?.into_iter().map(|process| process.run).collect(),
    })
}

fn settle(site: &Site, driver: &mut Driver) -> Result<(), Failure> {
    let (mut fewest, mut since) = (usize::MAX, Instant::now());
    while fewest > 0 && since.elapsed() < PATIENCE {
        driver.assert_alive()?;
        let open = list(site)?.iter().filter(|job| !read(job).is_final()).count();
        if open < fewest {
            (fewest, since) = (open, Instant::now());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
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

fn show(site: &Site, job: &Value) -> Result<Job, Failure> {
    let job = get(site, &format!("/api/v1/jobs/{}", text(&job["id"])))?;
    let mut shown = read(&job);
    for line in job["timeline"].as_array().ok_or("a job without a timeline")? {
        if line["what"] == "started" {
            shown.attempts.push(Vec::new());
        }
        if let Some(attempt) = shown.attempts.last_mut() {
            attempt.push(text(&line["what"]));
        }
    }
    Ok(shown)
}

fn read(job: &Value) -> Job {
    Job {
        id: text(&job["id"]),
        state: text(&job["state"]),
        reason: text(&job["reason"]),
        group: text(&job["group"]),
        commit: text(&job["commit"]),
        run: job["run"].as_u64().unwrap_or_default(),
        attempts: Vec::new(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn get(site: &Site, path: &str) -> Result<Value, Failure> {
    let reply = ask(site.admin, &format!("GET {path}"), &format!("Authorization: Bearer {TOKEN}\r\n"), b"")?;
    match reply.status {
        200 => Ok(serde_json::from_slice(&reply.body)?),
        status => Err(format!("GET {path}: {status}").into()),
    }
}

/// How long nothing may move before what is open is called stuck.
const PATIENCE: Duration = Duration::from_secs(180);
