//! Control groups (cgroup v2) of runs.
//!
//! A run that has one is limited by the kernel, counted without a look at each of its processes, killed at one stroke, and
//! found again when its supervisor was killed: also a process that left its session and forgot its environment. Where no
//! group may be made the supervisor looks at the processes of the run instead.
//!
//! See <https://docs.kernel.org/admin-guide/cgroup-v2.html>; who may write where is told in
//! <https://systemd.io/CGROUP_DELEGATION>.

mod group;
mod parent;

pub(crate) use group::{Group, wall};
pub use parent::RunGroups;
pub(crate) use parent::most_tasks;
