//! From the bytes of a GitHub push webhook to a verified verdict and a durable job.

mod admission;
pub mod condition;
mod git;
mod headers;
mod id;
mod intake;
mod job;
mod launcher;
mod policy;
mod problem;
mod push;
mod queue;
mod receiver;
mod recipe;
mod reply;
#[cfg(feature = "schedule")]
pub mod schedule;
mod secret;
mod signature;
#[cfg(test)]
mod testing;
mod time;
mod workspace;

pub use admission::{Admission, Admit, Always, Fleet, Wait};
pub use condition::{Condition, InvalidPattern, PathFilter, Rule, Truth};
pub use git::{CommitSha, NotACommit, NotARef, RefName};
pub use id::{DeliveryId, InvalidRepoName, JobId, NotAnId, RepoName};
pub use intake::{Admitted, ConfigDigest, Decided, Intake, IntakeError, Receipt, RecipeVerdict, StoredJob};
pub use job::{
    Change, Command, Debounce, Diffed, Event, Evidence, Exit, Illegal, Job, JobSpec, Retry, Stage, State,
    StopKind, Superseding,
};
pub use launcher::{
    Capabilities, LaunchError, LaunchFn, Progress, RunHandle, RunKey, RunSpec, RunStatus, Stop,
    TrainingLauncher, launch_fn,
};
pub use policy::{HoldReason, Reason, TriggerPolicy, Verdict};
pub use problem::Problem;
pub use push::{Change as PathChange, ChangeSet, FormProblem, Gap, Paths, Push, Source};
pub use queue::{
    Actor, Claimed, Delivery, History, JobFilter, JobQueue, Lease, QueueError, Renewal, Swept, TimelineEntry,
    Worker,
};
pub use receiver::{
    Builder, ConfigError, Current, Hook, Limits, Outcome, PeerAddr, Reading, Receiver, Refusal, Verified,
};
pub use recipe::{Argument, Argv, Each, Field, Recipe, RecipeProblem, Template, UnknownField};
pub use reply::{ACCEPT_DEADLINE, Answered, reply};
pub use secret::{InvalidSecret, Secret, SecretSet};
pub use signature::{SignatureProblem, hmac_sha256};
pub use time::{NotATimestamp, Timestamp};
pub use workspace::{Workspace, WorkspaceError};
