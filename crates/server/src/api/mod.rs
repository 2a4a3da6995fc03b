//! The admin API: jobs, deliveries and metrics, for whoever shows the admin token.
//!
//! It stands on any store that is a [`Backend`]. Everything that it answers is JSON, except logs, metrics and events;
//! what it refuses is `application/problem+json`.

mod auth;
mod command;
mod confirm;
mod deliveries;
mod delivery;
mod events;
mod gpu_memory;
mod job;
mod jobs;
mod log;
mod problem;
mod reconcile;
mod replay;
mod router;
mod store;
mod terminal;
mod turn;
mod wording;
mod workers;

pub use delivery::{DeliveryView, LedTo, PathView, VerdictView};
pub use events::{Change, Changes};
pub use gpu_memory::{Answer as GpuMemoryAnswer, Question as GpuMemoryQuestion};
pub use job::{CheckpointView, ExitView, JobView, TimelineView, WarningView};
pub(crate) use log::{log_tail, open as open_log};
pub(crate) use reconcile::choose as choose_repositories;
pub use reconcile::{FoundView, LookView, Reconcile, ReconcileView};
pub use replay::{ReplayView, ReplayedJob};
pub use router::{Api, Backend, CannotRerun, CapabilitiesOf, Hidden, Render, Replay};
pub use store::{Counted, PrunedView, StoreView};
pub(crate) use terminal::plain;
pub use workers::{GpuKind, GpuView, WorkerView};
