//! From the bytes of a GitHub push webhook to a verified verdict and a durable job.
//!
//! This crate decides; it does nothing else. It opens no socket and no file, reads no clock and no environment, and
//! has no randomness: bytes, time and answers come in as arguments. What carries it over a network are adapters
//! (`swifthook-axum`, `swifthook-hyper`), what keeps its jobs are queues (`swifthook-queue`), and what runs them are
//! launchers (`swifthook-launch`) under `swifthook-runner`; each of them knows this crate and none of the others.
//!
//! # The way of a push
//!
//! ```text
//! Receiver::begin ─► Reading::push … ─► Reading::finish(now)     check, verify, read, decide
//!                                            │ Outcome::Decided
//!                                       Intake::accept            receipt, verdicts and jobs, durable at once
//!                                            │ Receipt
//!                                          reply                  what GitHub is answered
//! - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - -
//! JobQueue::claim ─► Admission::admit ─► TrainingLauncher::submit, poll, stop ─► State::apply
//! ```
//!
//! # Examples
//!
//! A receiver with one recipe, a delivery as GitHub sends it, and what becomes of it. An adapter does the same with
//! a request from a socket; the lines that matter in an application are those up to `build`.
//!
//! ```
//! use std::sync::Arc;
//! use bytes::Bytes;
//! use swifthook_core::condition::{all, branches, paths};
//! use swifthook_core::{Outcome, Receiver, Secret, SecretSet, Timestamp, Verdict};
//!
//! let secret = Secret::new("2026", "correct horse battery staple")?;
//! let trains = all([branches(["main", "release/**"])?, paths(["configs/**", "!**/*.md"])?]);
//! let receiver = Receiver::builder()
//!     .hook("github", "/webhook", SecretSet::new(vec![secret.clone()])?, &["acme/*"])
//!     .recipe("sft", "acme/models", trains)
//!     .build()?;
//!
//! let body = Bytes::from(format!(
//!     r#"{{"ref": "refs/heads/main", "before": "{}", "after": "{}", "forced": false, "created": false,
//!         "repository": {{"full_name": "acme/models", "pushed_at": 1795514400}}, "pusher": {{"name": "ada"}},
//!         "commits": [{{"id": "{}", "message": "tune", "added": [], "removed": [],
//!                      "modified": ["configs/readme.md"]}}]}}"#,
//!     "a".repeat(40), "b".repeat(40), "b".repeat(40),
//! ));
//! let (head, ()) = http::Request::post("/webhook")
//!     .header("content-type", "application/json")
//!     .header("x-github-event", "push")
//!     .header("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
//!     .header("x-hub-signature-256", secret.sign(&body))
//!     .body(())?
//!     .into_parts();
//!
//! let mut reading = Arc::new(receiver).begin("/webhook", &head, None)?;
//! reading.push(body)?;
//! let Outcome::Decided(decided) = reading.finish(Timestamp(1_795_514_401_000))? else { unreachable!() };
//! let Verdict::Skip(reason) = &decided.verdicts[0].verdict else { unreachable!() };
//! assert_eq!(reason.to_string(), "paths: `configs/readme.md` does not match configs/**, !**/*.md");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is what
//!
//! | to receive | |
//! | --- | --- |
//! | [`Receiver`], [`Hook`], [`SecretSet`] | what is configured: an immutable snapshot; [`Current`] swaps it for another |
//! | [`Reading`], [`Verified`], [`Refusal`] | a delivery on its way; only verification makes a `Verified`, and nothing else is parsed |
//! | [`ClientAddr`], [`Reputation`] | who shares what there is for bodies, and who gives way when it is not enough |
//! | [`Push`], [`ChangeSet`] | what a push says, and whether it says all of it |
//! | [`Decided`], [`Intake`], [`Receipt`], [`reply()`] | a push with its verdicts, where it is stored, and the one table of replies |
//!
//! | to decide | |
//! | --- | --- |
//! | [`condition`], [`Rule`] | statements about a push in three-valued logic: what is not known is neither true nor false |
//! | [`TriggerPolicy`], [`Verdict`] | whether a push trains; every condition is a policy, and the trait is for those of your own |
//! | [`Recipe`], [`Template`], [`Each`] | which pushes of a repository train, and what is then to run |
//! | [`Admission`], [`Wait`] | time and machines: asked at every start, since "later" is not "no" |
//!
//! | to run | |
//! | --- | --- |
//! | [`Job`], [`JobSpec`], [`Change`] | a training of one change: its identity is the change, never the delivery |
//! | [`State`], [`Event`], [`Stage`] | where a job is; [`State::apply`] is the only way on, for every queue |
//! | [`JobQueue`], [`Lease`], [`History`] | jobs that workers share, fenced by epochs |
//! | [`Upkeep`], [`Retention`] | how much a store has, and for how long it keeps it |
//! | [`Gpus`], [`GpuRequest`], [`GpuBook`] | how the GPUs of a machine are, what a run asks for, and which it gets |
//! | [`Workload`], [`MemoryEstimate`] | how much memory runs needed on their GPUs, and whether the next may need more than it gets |
//! | [`TrainingLauncher`], [`RunKey`], [`launch_fn`] | what starts a run once, however often it is asked, and tells how it is |
//! | [`Traces`] | what a training writes of itself, and when a checkpoint of it is whole |
//! | [`Workspace`] | where a run finds the pushed commit, and what git says has changed |
//!
//! | to show | |
//! | --- | --- |
//! | [`text`] | what others have written, without what a terminal obeys or what lets somebody in |
//!
//! # Features
//!
//! `schedule`: windows of a time zone as an [`Admission`], with the zones built in.

mod admission;
pub mod condition;
mod fingerprint;
mod git;
mod gpu;
mod headers;
mod heartbeat;
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
mod run_log;
#[cfg(feature = "schedule")]
pub mod schedule;
mod secret;
mod signature;
#[cfg(test)]
mod testing;
pub mod text;
mod time;
mod traces;
mod upkeep;
mod workspace;

pub use admission::{Admission, Admit, Always, Fleet, Wait};
pub use condition::{Condition, InvalidPattern, PathFilter, Rule, Truth};
pub use fingerprint::{Fingerprint, NotAFingerprint, PastFailure};
pub use git::{CommitSha, NotACommit, NotARef, RefName};
pub use gpu::{
    Gpu, GpuBook, GpuGrant, GpuLease, GpuRequest, GpuWaiter, Gpus, Growth, MemoryEstimate, NoGpus, RanOut,
    Shortage, Standing, Untold, Workload,
};
pub use heartbeat::{Duty, Heartbeat, KnownWorker};
pub use id::{DeliveryId, InvalidRepoName, JobId, NotAnId, RepoName};
pub use intake::{Admitted, ConfigDigest, Decided, Intake, IntakeError, Receipt, RecipeVerdict, StoredJob};
pub use job::{
    Change, Command, Debounce, Diffed, Event, Evidence, Exit, Illegal, Job, JobSpec, Prepared, Rerun, Retry,
    Stage, State, StopKind, Superseding, is_crash, signal_in_words,
};
pub use launcher::{
    Account, Capabilities, Checkpoint, Enclosure, LaunchError, LaunchFn, Measure, Mount, Progress, Pulse,
    RunHandle, RunKey, RunLimits, RunShape, RunSpec, RunStatus, Sandbox, Stop, TrainingLauncher, launch_fn,
};
pub use policy::{HoldReason, Reason, TriggerPolicy, Verdict};
pub use problem::Problem;
pub use push::{
    Change as PathChange, ChangeSet, Dialect, FormProblem, Gap, Origin, Paths, Push, Source, UnknownDialect,
    asks_to_skip,
};
pub use queue::{
    Actor, Claimed, Delivery, History, JobFilter, JobQueue, Lease, PushFacts, QueueError, Renewal, Swept,
    TimelineEntry, Worker,
};
pub use receiver::{
    Builder, CannotReplay, ClientAddr, ClientNetwork, ConfigError, Current, FoundTip, Hook, Identity, Limits,
    Outcome, PeerAddr, Reading, Receiver, Refusal, Reputation, Verified,
};
pub use recipe::{Argument, Argv, Each, Field, Recipe, RecipeProblem, Template, UnknownField};
pub use reply::{ACCEPT_DEADLINE, Answered, reply};
pub use run_log::RunLog;
pub use secret::{InvalidSecret, Secret, SecretSet};
pub use signature::{SignatureProblem, hmac_sha256};
pub use time::{NotATimestamp, Timestamp};
pub use traces::{Folder, TraceReader, Traces};
pub use upkeep::{PruneFrom, Pruned, Retention, Stats, Upkeep};
pub use workspace::{Checkout, Comparison, KnownHeads, PathPredicate, Workspace, WorkspaceError};
