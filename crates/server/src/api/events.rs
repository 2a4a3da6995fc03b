use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use http_body::Frame;
use serde::Serialize;
use swifthook_core::{Job, JobId, Progress, Stage};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio::time::timeout;

use super::problem::Problem;
use super::router::Api;
use super::{jobs, turn};

/// Tells those who watch that something happened to a job, and those who look how far its run is. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Changes {
    told: broadcast::Sender<Change>,
    /// The store has a run's progress only now and then.
    latest: Arc<Mutex<HashMap<JobId, Progress>>>,
    /// Jobs that the runner of this process looks at.
    in_hand: Arc<Mutex<HashSet<JobId>>>,
}

/// Something happened to a job.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// The job.
    pub job: JobId,
    /// How far its run is now, where that is what happened.
    pub progress: Option<Progress>,
}

impl Default for Changes {
    fn default() -> Self {
        Self { told: broadcast::Sender::new(1_024), latest: Arc::default(), in_hand: Arc::default() }
    }
}

impl Changes {
    /// Tells of a change, to whoever watches.
    pub fn tell(&self, job: JobId, progress: Option<Progress>) {
        if let Some(progress) = progress {
            self.latest().insert(job, progress);
        }
        // An error means that nobody watches.
        let _ = self.told.send(Change { job, progress });
    }

    /// The job with the progress of the moment.
    pub(super) fn dressed(&self, mut job: Job) -> Job {
        let latest = self.latest();
        if job.state.stage == Stage::Running {
            job.progress = latest.get(&job.id).copied().or(job.progress);
        }
        job
    }

    /// The runner of this process has begun to look at a job.
    pub(crate) fn take_in_hand(&self, job: JobId) {
        self.in_hand().insert(job);
    }

    /// It does so no longer.
    pub(crate) fn let_go(&self, job: JobId) {
        self.in_hand().remove(&job);
    }

    /// Tells whether it does.
    pub(super) fn is_in_hand(&self, job: JobId) -> bool {
        self.in_hand().contains(&job)
    }

    fn in_hand(&self) -> MutexGuard<'_, HashSet<JobId>> {
        self.in_hand.lock().expect("nothing panics under this lock")
    }

    /// Nothing of its run is left.
    pub(crate) fn forget(&self, job: JobId) {
        self.latest().remove(&job);
    }

    fn latest(&self) -> MutexGuard<'_, HashMap<JobId, Progress>> {
        self.latest.lock().expect("nothing panics under this lock")
    }

    /// What is told from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.told.subscribe()
    }
}

/// Server-sent events: `state` with the job whenever it has changed, `progress` in between, until its end.
pub(super) async fn watch(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Problem> {
    let changes = api.changes.subscribe();
    let job = jobs::find(&api, &id).await?;
    let (sender, events) = mpsc::channel(16);
    tokio::spawn(async move {
        let shutdown = api.shutdown.clone();
        // Whichever ends first: the job, the watcher, the server.
        let _ = shutdown.run_until_cancelled(tell_all(api, job, changes, sender)).await;
    });
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))];
    Ok((kind, Body::new(Stream(events))).into_response())
}

async fn tell_all(
    api: Api,
    mut job: Job,
    mut changes: broadcast::Receiver<Change>,
    sender: mpsc::Sender<Bytes>,
) -> Option<()> {
    let view = turn::view(&api, &job, SystemTime::now().into()).await.ok()?;
    sender.send(event("state", &view)).await.ok()?;
    while !job.state.stage.is_final() {
        match timeout(LONGEST_SILENCE, changes.recv()).await {
            Ok(Ok(change)) if change.job != job.id => continue,
            Ok(Ok(Change { progress: Some(progress), .. })) => {
                job.progress = Some(progress);
                sender.send(event("progress", &progress)).await.ok()?;
                continue;
            }
            Ok(Err(RecvError::Closed)) => return None,
            // Something else happened, or more than could be told, or nothing that was told: look again.
            Ok(Ok(_) | Err(RecvError::Lagged(_))) => {}
            Err(_) => sender.send(Bytes::from_static(b": still here\n\n")).await.ok()?,
        }
        let now = api.store.job(job.id).await.ok()??;
        if now.state != job.state {
            let view = turn::view(&api, &now, SystemTime::now().into()).await.ok()?;
            sender.send(event("state", &view)).await.ok()?;
        }
        job = now;
    }
    Some(())
}

fn event(name: &str, data: &impl Serialize) -> Bytes {
    // JSON has no line breaks unless it is asked to.
    let data = serde_json::to_string(data).expect("views have text keys only");
    format!("event: {name}\ndata: {data}\n\n").into()
}

/// A body that is made piece by piece.
struct Stream(mpsc::Receiver<Bytes>);

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

/// Not every change is told by this process, so the job is looked at now and then; that also finds watchers who left.
const LONGEST_SILENCE: Duration = Duration::from_secs(5);
