//! Runs as Jobs of a Kubernetes cluster.
//!
//! An attempt is one `batch/v1` Job with one pod. What makes it one, whoever submits it how often, is its name, which
//! follows from the key of the run: the API server has at most one object of a name.
//!
//! | object | named | says |
//! | --- | --- | --- |
//! | Job | `swifthook-<job>-<attempt>` | the run, or that there is none: see below |
//! | Secret | the same | the environment of the run; it belongs to the Job and goes with it |
//!
//! A Job with the label `swifthook/spent` runs nothing and never will. It keeps the name taken: `forbidden`, since nobody
//! wants the run any more and a submission may still be on its way; `vanished`, since somebody else has deleted the Job of
//! the run, and the key must not be used again.
//!
//! What a run is asked stands in annotations `swifthook/stop-…` of its Job, so that it is not forgotten with who asked,
//! and of its pod, from where the cluster brings it to the keeper: a small program of ours that is the first process of the
//! container. It ends the run as a local supervisor does, and tells how it ended in the container's message of
//! termination. So a run that is stopped is not deleted, and its end can be looked at like every other. A run that has no
//! process yet gets none: its Job's `parallelism` becomes 0.
//!
//! How runs are is known from one watch of all our Jobs and one of all our pods, however many there are. What a watch
//! *lacks* is no evidence: before anything follows from it, the API server is asked once more.
//!
//! Not there yet: runs that span several nodes, and Kubeflow's TrainJob.

mod backend;
mod checkout;
mod config;
mod connect;
mod end;
mod error;
mod lines;
mod link;
mod logs;
mod manifest;
mod names;
mod record;
mod spent;
mod status;
mod stop;
mod sweep;
mod view;

pub use checkout::PodCheckout;
pub use config::{KubernetesLauncher, KubernetesSettings, PodToleration, PodVolume, Tools, VolumeSource};
pub use sweep::KnownRun;
