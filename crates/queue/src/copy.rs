//! A store into another, of whichever kinds they are: all of it in one transaction of the other, or nothing.

use std::path::Path;

use serde::Serialize;
use sha2::{Digest, Sha256};
use swifthook_core::{
    Change, CommitSha, Delivery, DeliveryId, GpuGrant, GpuLease, Job, JobId, QueueError, RepoName, RunKey,
    RunLog, TimelineEntry,
};
use tokio::runtime::Handle;

use crate::store::{Latest, Store};
use crate::tips::Tips;
use crate::{codec, sqlite};

/// Where a store is.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Location<'a> {
    /// A file of SQLite.
    Sqlite(&'a Path),
    /// A database on PostgreSQL, by its URL.
    #[cfg(feature = "postgres")]
    Postgres(&'a str),
}

/// What was copied, and found again in the copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Jobs.
    pub jobs: u64,
    /// Lines of their timelines.
    pub lines: u64,
    /// Ends of logs.
    pub logs: u64,
    /// Leases of GPUs.
    pub gpus: u64,
    /// Deliveries.
    pub deliveries: u64,
    /// Changes that are known.
    pub changes: u64,
    /// Repositories of which it is known where their refs stood.
    pub tips: u64,
    /// The sum of the SHA-256 of all of them, whatever their order.
    pub checksum: [u64; 4],
}

/// A store could not be copied. Nothing is in the other.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// A store on SQLite cannot be opened.
    #[error(transparent)]
    Sqlite(#[from] sqlite::OpenError),
    /// A store on PostgreSQL cannot be opened.
    #[cfg(feature = "postgres")]
    #[error(transparent)]
    Postgres(#[from] crate::postgres::OpenError),
    /// Others work on a store on PostgreSQL.
    #[error("other processes work on the store on PostgreSQL, or both are the same: stop them first")]
    InUse,
    /// There is no store to copy.
    #[error("there is no store `{}`", .0.display())]
    NoStore(std::path::PathBuf),
    /// There is something in the other store.
    #[error("the store to copy to is not empty")]
    NotEmpty,
    /// One of them cannot be read or written.
    #[error(transparent)]
    Store(#[from] QueueError),
    /// What was written is not what was read.
    #[error("the copy is not what was copied ({read:?}, {written:?}), and was not kept")]
    Differs {
        /// What was read.
        read: Box<Copied>,
        /// What was written.
        written: Box<Copied>,
    },
}

/// Copies everything of one store into another, which has to be empty and is made if it is not there: jobs with their
/// timelines, ends of logs and GPUs, deliveries with their verdicts and paths, and what is known of changes and tips, all by the ids that they have.
/// Nobody may work on either. Of jobs that run only the leases stay behind: they are taken over by whoever works on the
/// copy, where their runs are.
///
/// What was written is read back and compared before it is kept, so that an interruption at any moment leaves the other
/// store empty.
///
/// Waits on the thread of the caller, which may not be one of `runtime`.
///
/// # Errors
///
/// When somebody works on one of them, the other is not empty, or anything cannot be read or written.
pub fn copy(from: Location<'_>, to: Location<'_>, runtime: &Handle) -> Result<Copied, CopyError> {
    if let Location::Sqlite(file) = from
        && !file.exists()
    {
        return Err(CopyError::NoStore(file.to_owned()));
    }
    within(from, runtime, &mut |from| {
        within(to, runtime, &mut |to| {
            if measure(to)? != Copied::default() {
                return Err(CopyError::NotEmpty);
            }
            let read = transfer(from, to)?;
            let written = measure(to)?;
            match read == written {
                true => Ok(written),
                false => Err(CopyError::Differs { read: read.into(), written: written.into() }),
            }
        })
    })
}

/// Does something in a transaction that has the store to itself, and is kept if all goes well.
fn within(
    location: Location<'_>,
    runtime: &Handle,
    what: &mut dyn FnMut(&mut dyn Copying) -> Result<Copied, CopyError>,
) -> Result<Copied, CopyError> {
    // It is for the other kind.
    #[cfg(not(feature = "postgres"))]
    let _ = runtime;
    match location {
        Location::Sqlite(file) => sqlite::alone(file, what),
        #[cfg(feature = "postgres")]
        Location::Postgres(url) => crate::postgres::alone(url, runtime, what),
    }
}

/// A transaction in which all of a store is gone through.
pub(crate) trait Copying: Store {
    /// The next jobs, by their ids, with the lines that are kept of their timelines.
    fn jobs_after(&mut self, after: Option<JobId>) -> Result<Vec<(Job, Vec<TimelineEntry>)>, QueueError>;
    /// The next ends of logs, by their jobs and attempts.
    fn logs_after(&mut self, after: Option<RunKey>) -> Result<Vec<RunLog>, QueueError>;
    /// Keeps the end of a log.
    fn keep_log(&mut self, log: &RunLog) -> Result<(), QueueError>;
    /// The next deliveries, by their ids, as they are kept.
    fn deliveries_after(&mut self, after: Option<DeliveryId>) -> Result<Vec<Delivery>, QueueError>;
    /// The next changes, in an order of the store's own.
    fn changes_after(&mut self, after: Option<ChangeKey>) -> Result<Vec<KeptChange>, QueueError>;
    /// The next answers to pushes whose changes have another job since, in an order of the store's own.
    fn decisions_after(&mut self, after: Option<ChangeKey>) -> Result<Vec<KeptChange>, QueueError>;
    /// The tips of all repositories, by their names.
    fn all_tips(&mut self) -> Result<Vec<(RepoName, Tips)>, QueueError>;
}

/// Where a change stands among others in its store.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChangeKey {
    pub(crate) place: i64,
    pub(crate) head: Vec<u8>,
    pub(crate) recipe: i64,
    pub(crate) config: Vec<u8>,
    /// Empty where it does not count.
    pub(crate) before: Vec<u8>,
}

/// What is known of a change.
pub(crate) struct KeptChange {
    pub(crate) key: ChangeKey,
    pub(crate) change: Change,
    pub(crate) latest: Latest,
}

fn transfer(from: &mut dyn Copying, to: &mut dyn Copying) -> Result<Copied, QueueError> {
    go_through(from, &mut |item| match item {
        Item::Job(job, lines) => {
            to.insert(job)?;
            if let Some(progress) = job.progress {
                to.set_progress(job.id, progress)?;
            }
            lines.iter().try_for_each(|line| to.note(job.id, line.clone()))
        }
        Item::Log(log) => to.keep_log(log),
        Item::Gpu(GpuLease { machine, uuid, run }) => to.lease_gpus(
            *run,
            &GpuGrant { machine: machine.clone(), uuids: vec![uuid.clone()], memory: None },
        ),
        Item::Delivery(delivery) => to.record(delivery, &delivery.jobs, &delivery.known),
        Item::Change(change, latest) => to.set_latest(change, latest),
        Item::Decision(change, before, decided) => to.set_decision(change, before, decided),
        Item::Tips(repository, tips) => to.set_tips(repository, tips),
    })
}

fn measure(store: &mut dyn Copying) -> Result<Copied, QueueError> {
    go_through(store, &mut |_| Ok(()))
}

enum Item<'a> {
    Job(&'a Job, &'a [TimelineEntry]),
    Log(&'a RunLog),
    Gpu(&'a GpuLease),
    Delivery(&'a Delivery),
    Change(&'a Change, &'a Latest),
    Decision(&'a Change, Option<&'a CommitSha>, &'a Latest),
    Tips(&'a RepoName, &'a Tips),
}

fn go_through(
    store: &mut dyn Copying,
    each: &mut dyn FnMut(Item<'_>) -> Result<(), QueueError>,
) -> Result<Copied, QueueError> {
    let mut seen = Copied::default();
    let mut after = None;
    loop {
        let jobs = store.jobs_after(after)?;
        for (job, lines) in &jobs {
            each(Item::Job(job, lines))?;
            seen.jobs += 1;
            seen.lines += lines.len() as u64;
            seen.add("job", &(job, lines));
        }
        after = match jobs.last() {
            Some((job, _)) => Some(job.id),
            None => break,
        };
    }
    let mut after = None;
    loop {
        let logs = store.logs_after(after)?;
        for log in &logs {
            each(Item::Log(log))?;
            seen.logs += 1;
            seen.add("log", log);
        }
        after = match logs.last() {
            Some(log) => Some(log.run),
            None => break,
        };
    }
    // A machine has a few.
    for lease in store.gpu_leases(None)? {
        each(Item::Gpu(&lease))?;
        seen.gpus += 1;
        seen.add("gpu", &lease);
    }
    let mut after = None;
    loop {
        let deliveries = store.deliveries_after(after)?;
        for delivery in &deliveries {
            each(Item::Delivery(delivery))?;
            seen.deliveries += 1;
            seen.add("delivery", delivery);
        }
        after = match deliveries.last() {
            Some(delivery) => Some(delivery.id),
            None => break,
        };
    }
    let mut after = None;
    loop {
        let changes = store.changes_after(after)?;
        for KeptChange { change, latest, .. } in &changes {
            each(Item::Change(change, latest))?;
            seen.changes += 1;
            seen.add("change", &(change, latest.parts()));
        }
        after = match changes.last() {
            Some(kept) => Some(kept.key.clone()),
            None => break,
        };
    }
    let mut after = None;
    loop {
        let decisions = store.decisions_after(after)?;
        for KeptChange { key, change, latest } in &decisions {
            let before = (!key.before.is_empty()).then(|| codec::commit(&key.before)).transpose();
            let before =
                before.map_err(|error| QueueError::Store { source: error.into(), is_permanent: true })?;
            each(Item::Decision(change, before.as_ref(), latest))?;
            seen.add("decision", &(change, &before, latest.parts()));
        }
        after = match decisions.last() {
            Some(kept) => Some(kept.key.clone()),
            None => break,
        };
    }
    for (repository, tips) in store.all_tips()? {
        each(Item::Tips(&repository, &tips))?;
        seen.tips += 1;
        seen.add("tips", &(&repository, tips.asked_at, tips.refs.iter().collect::<Vec<_>>()));
    }
    Ok(seen)
}

impl Latest {
    fn parts(&self) -> impl Serialize + '_ {
        let removed = self.removed.as_ref();
        let removed = removed.map(|removed| (removed.stage, &removed.source, &removed.before));
        (self.job, self.run, self.redeliveries, self.has_trained, removed)
    }
}

impl Copied {
    fn add(&mut self, kind: &str, item: &impl Serialize) {
        let json = serde_json::to_string(item).expect("these types have only strings for keys");
        // Text on PostgreSQL has this in place of NUL.
        let digest = Sha256::digest(format!("{kind} {}", json.replace("\\u0000", "\u{fffd}")));
        let (words, _) = digest.as_chunks::<8>();
        for (sum, word) in self.checksum.iter_mut().zip(words) {
            *sum = sum.wrapping_add(u64::from_le_bytes(*word));
        }
    }
}
