//! Where runs of this machine have control groups.

use swifthook_launch::RunGroups;
use tracing::{info, warn};

use super::error::StartError;
use crate::config::Cgroup;

/// The place that the configuration names, or that systemd has handed over; it is told what comes of it.
pub(super) fn open(wanted: &Cgroup) -> Result<Option<RunGroups>, StartError> {
    let groups = match wanted {
        Cgroup::Off => None,
        Cgroup::At(path) => Some(RunGroups::at(path).map_err(StartError::Cgroup)?),
        // Somebody who asked for nothing is not kept from starting.
        Cgroup::Auto => RunGroups::delegated().unwrap_or_else(|error| {
            warn!(%error, "runs have no control groups");
            None
        }),
    };
    if let Some(groups) = &groups {
        info!(
            cgroup = %groups.path().display(),
            limits_memory = groups.limit_memory(),
            "every run has a control group of its own"
        );
    }
    Ok(groups)
}
