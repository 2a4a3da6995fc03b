use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};
use swifthook_core::{
    CannotReplay, Capabilities, Decided, Delivery, Gpus, History, Job, JobQueue, Rerun, Retention, Timestamp,
    Upkeep,
};
use swifthook_launch::Looks;
use tokio_util::sync::CancellationToken;

use super::confirm::Confirmations;
use super::events::Changes;
use super::reconcile::{self, Reconcile};
use super::{auth, command, deliveries, events, gpu_memory, jobs, log, problem, replay, store, workers};
use crate::serve::Token;

/// A store that the API can look into and act on.
pub trait Backend: JobQueue + History + Upkeep {}

impl<T: JobQueue + History + Upkeep> Backend for T {}

/// Decides a recorded delivery again, by the recipes of the moment.
pub type Replay = Arc<dyn Fn(&Delivery, Timestamp) -> Result<Decided, CannotReplay> + Send + Sync>;

/// Renders a finished job's change anew, by the recipes of the moment.
pub type Render = Arc<dyn Fn(&Job) -> Result<Rerun, CannotRerun> + Send + Sync>;

/// Reason for which a job's change cannot be rendered anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotRerun {
    /// Its recipe is gone.
    #[error(
        "its recipe is no longer in the configuration; `--as-before` (`as_before`) repeats it as it was made, \
         and it is held until there is a recipe of that name"
    )]
    Gone,
    /// Its recipe makes one job of all files by now.
    #[error(
        "it is for one file, and its recipe makes one job of a push by now: `deliveries replay` makes that one, \
         and `--as-before` (`as_before`) repeats this one as it was made"
    )]
    ForAllFiles,
}

/// Tells what the launcher of a name can do.
pub type CapabilitiesOf = Arc<dyn Fn(&str) -> Option<Capabilities> + Send + Sync>;

/// Tells the values that are not shown in logs, as they are at the moment.
pub type Hidden = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// What the handlers share.
#[derive(Clone)]
pub struct Api {
    /// The store.
    pub store: Arc<dyn Backend>,
    /// What callers have to show.
    pub token: Token,
    /// Where runs have their directories.
    pub state_dir: PathBuf,
    /// What happens to jobs, for those who watch.
    pub changes: Changes,
    /// Values that are not shown in logs, as they are at the moment.
    pub hidden: Hidden,
    /// For how long what has ended is kept, at the moment.
    pub retention: Arc<dyn Fn() -> Retention + Send + Sync>,
    /// What a launcher can do, at the moment; `None` of one that is not known here.
    pub capabilities: CapabilitiesOf,
    /// The GPUs of this machine, where runs may get some.
    pub gpus: Option<Arc<dyn Gpus>>,
    /// Decides a recorded delivery again; `None` where there are no recipes to ask.
    pub replay: Option<Replay>,
    /// Renders a job anew; `None` where there are no recipes to ask, and then jobs are repeated as they were.
    pub render: Option<Render>,
    /// Looks for pushes that no delivery told of; `None` where there are no recipes to ask.
    pub reconciler: Option<Arc<dyn Reconcile>>,
    /// Ends the streams of events.
    pub shutdown: CancellationToken,
    /// Looks at what runs wrote.
    pub looks: Looks,
    confirmations: Arc<Confirmations>,
}

impl Api {
    /// The API of a store.
    #[must_use]
    pub fn new(store: Arc<dyn Backend>, token: Token, state_dir: PathBuf) -> Self {
        Self {
            store,
            token,
            state_dir,
            changes: Changes::default(),
            hidden: Arc::new(Vec::new),
            retention: Arc::new(Retention::default),
            capabilities: Arc::new(|_| None),
            gpus: None,
            replay: None,
            render: None,
            reconciler: None,
            looks: Looks::new(MOST_LOOKS, PATIENCE),
            shutdown: CancellationToken::new(),
            confirmations: Arc::default(),
        }
    }

    /// The routes under `/api/v1`, with `more` beside them behind the same token.
    pub fn router(self, more: Router) -> Router {
        let routes = Router::new()
            .route("/api/v1/jobs", get(jobs::list))
            .route("/api/v1/jobs/{id}", get(jobs::show))
            .route("/api/v1/jobs/{id}/log", get(log::show))
            .route("/api/v1/jobs/{id}/events", get(events::watch))
            .route("/api/v1/jobs/{id}/{command}", post(command::give))
            .route("/api/v1/deliveries", get(deliveries::list))
            .route("/api/v1/deliveries/{id}", get(deliveries::show))
            .route("/api/v1/deliveries/{id}/replay", post(replay::replay))
            .route("/api/v1/reconcile", post(reconcile::reconcile))
            .route("/api/v1/workers", get(workers::list))
            .route("/api/v1/gpu-memory", get(gpu_memory::show))
            .route("/api/v1/store", get(store::show))
            .route("/api/v1/store/prune", post(store::prune))
            .fallback(problem::no_such_path)
            .method_not_allowed_fallback(problem::no_such_method)
            .with_state(self.clone());
        self.guard(routes.merge(more))
    }

    /// Routes behind the same token, and nothing else. Whatever refuses a request there, it says so in one form.
    pub fn guard(self, routes: Router) -> Router {
        let routes = routes.layer(middleware::from_fn(problem::in_one_form));
        routes.layer(middleware::from_fn_with_state(self, auth::check))
    }

    pub(super) fn confirmations(&self) -> &Confirmations {
        &self.confirmations
    }
}

/// Limit of clients that may read the log of one run at once.
const MOST_LOOKS: usize = 8;
/// Time that somebody waits who looks for a word in a gigabyte.
const PATIENCE: Duration = Duration::from_secs(60);
