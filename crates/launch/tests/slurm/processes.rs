//! What launchers of processes promise, by processes of a node that is this machine.

use std::path::PathBuf;
use std::sync::Arc;

use swifthook_conformance::launcher::{Harness, alive_with};
use swifthook_core::{RunKey, TrainingLauncher};

use crate::cluster::Cluster;
use crate::lines::Lines;

struct Slurm(Cluster);

impl Harness for Slurm {
    fn launcher(&self) -> Arc<dyn TrainingLauncher> {
        Arc::new(self.0.launcher().reading(Arc::new(Lines)))
    }

    fn run_dir(&self, key: &RunKey) -> PathBuf {
        self.0.runs().join(key.to_string())
    }

    fn alive(&self, key: &RunKey) -> Vec<String> {
        alive_with(&format!("SWIFTHOOK_RUN={key}"))
    }

    fn log(&self, key: &RunKey) -> String {
        std::fs::read_to_string(self.run_dir(key).join("log")).unwrap()
    }

    /// What keeps a run is Slurm's own, and ends it when it ends.
    fn kill_keeper(&self, _key: &RunKey) -> bool {
        false
    }
}

swifthook_conformance::launcher_tests! { Slurm(Cluster::start());
    what_was_submitted_runs_as_it_is_and_its_output_is_kept
    no_argument_is_interpreted
    submitted_twice_it_runs_once
    submitted_by_many_at_once_it_runs_once
    only_a_run_that_began_is_found
    a_forbidden_key_never_runs
    a_run_that_has_begun_is_not_forbidden_but_found
    a_program_that_is_not_there_ends_the_run
    exit_codes_are_told_as_they_are
    a_signal_that_nobody_here_sent_is_told
    how_far_it_is_is_told_while_it_runs_and_after
    a_run_that_is_stopped_while_it_starts_ends
    stopping_twice_or_too_late_is_no_error
    a_run_that_is_asked_to_end_may_save
    who_ignores_being_asked_is_killed_when_the_grace_is_over
    a_child_may_go_on_saving_when_its_parent_has_ended
    a_run_whose_time_is_up_is_ended
    a_run_is_found_after_a_crash_between_submitting_and_recording
    time_runs_out_while_nobody_looks
    a_stop_asked_for_by_one_launcher_is_seen_by_the_next
}
