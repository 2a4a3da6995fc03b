//! Launchers for swifthook: supervised local processes, and the git workspace.
//!
//! # Local runs
//!
//! [`LocalLauncher`] starts each run under a supervisor: the same binary, executed once more, which outlives us.
//! So the first thing in `main` is [`supervise_if_asked`]:
//!
//! ```no_run
//! swifthook_launch::supervise_if_asked();
//! // … your server
//! ```
//!
//! Whoever cannot do that ships the binary `swifthook-supervise` of this crate and names it with
//! [`LocalLauncher::supervised_by`].
//!
//! The files of a run directory, who writes them and what each crash leaves behind stand in
//! `src/local/run_dir.rs`. Linux only.
//!
//! Where systemd has handed over a control group (`Delegate=yes`), or one is named, each run is in a group of its own: see
//! [`RunGroups`].
//!
//! # Logs
//!
//! What a run prints is in the file `log` of its directory. [`LogCap`] cuts the middle out of one that is too large, and
//! [`LogReader`] reads what is left of it.
//!
//! What a run writes is nobody's word but its own: [`Beneath`] opens it, and [`Looks`] waits for it no longer than it should.
//!
//! # GPUs
//!
//! [`GpuProbe`] tells how the GPUs of this machine are, by NVML or `nvidia-smi`, and leaves alone what people use by hand.
//!
//! # Working trees
//!
//! [`GitWorkspace`] checks out exactly the pushed commit, from a bare mirror for each repository. A [`Remote`] says where
//! it is fetched from, with which [`Credentials`], and how much of its past ([`History`]). Who calls
//! [`GitWorkspace::tidy`] now and then keeps mirrors from growing for ever.

mod beneath;
mod cgroup;
mod git;
mod gpu;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod local;
mod log;
mod process;
mod sandbox;
#[cfg(feature = "slurm")]
mod slurm;
mod supervisor;

pub use beneath::{Beneath, Entry, Late, Looks, remove_tree};
pub use cgroup::RunGroups;
pub use git::{
    Credentials, GitWorkspace, History, InvalidHost, InvalidRemote, Remote, Tidied, borrowed_objects,
    check_host,
};
pub use gpu::{GpuProbe, GpuRules};
#[cfg(feature = "kubernetes")]
pub use kubernetes::{
    KnownRun, KubernetesLauncher, KubernetesSettings, PodCheckout, PodToleration, PodVolume, Tools,
    VolumeSource,
};
pub use local::{
    Held, LocalLauncher, give, give_beneath, hold_run, kill_marked, known_runs, leave_a_way, make_for,
    remove_run,
};
pub use log::{LogCap, LogReader, Uncut};
pub use sandbox::{can_sandbox, within};
#[cfg(feature = "slurm")]
pub use slurm::{SlurmLauncher, SlurmOptions};
pub use supervisor::{confined, supervise_if_asked};
