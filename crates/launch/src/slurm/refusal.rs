use swifthook_core::LaunchError;

/// What `sbatch` refused, and whether it would refuse it again.
pub(super) fn refused(why: &str) -> LaunchError {
    let is_for_good = FOR_GOOD.iter().any(|phrase| why.to_ascii_lowercase().contains(phrase));
    let message = format!("`sbatch` says: {why}");
    if is_for_good { LaunchError::permanent(message) } else { LaunchError::passing(message) }
}

/// What no waiting changes: a person has to. The controller out of reach, a full queue and limits of how much may be
/// submitted pass by themselves (<https://github.com/SchedMD/slurm/blob/master/src/common/slurm_errno.c>).
const FOR_GOOD: [&str; 17] = [
    "invalid partition name",
    "invalid account or account/partition combination",
    "invalid qos",
    "invalid generic resource",
    "invalid trackable resource",
    "invalid feature specification",
    "invalid wckey",
    "invalid license",
    "invalid numeric value",
    "invalid --",
    "unrecognized option",
    "requested time limit is invalid",
    "requested node configuration is not available",
    "node count specification invalid",
    "memory specification can not be satisfied",
    "user's group not permitted to use this partition",
    "access/permission denied",
];

#[cfg(test)]
mod tests {
    use swifthook_core::Problem;

    use super::*;

    #[test]
    fn what_a_person_has_to_change_is_refused_for_good() {
        let batch = |why: &str| refused(&format!("sbatch: error: Batch job submission failed: {why}"));
        assert!(batch("Invalid partition name specified").is_permanent());
        assert!(batch("Requested node configuration is not available").is_permanent());
        for passing in [
            "Unable to contact slurm controller (connect failure)",
            "Socket timed out on send/recv operation",
            "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
            "Resource temporarily unavailable",
        ] {
            assert!(!batch(passing).is_permanent(), "{passing}");
        }
    }
}
