//! What a launcher promises: one function for each behaviour.
//!
//! [`launcher_contract!`](crate::launcher_contract) makes a test of each that every launcher keeps, over a [`Ground`]
//! that says what runs: also one that runs nothing on this machine, or is simulated.
//! [`launcher_tests!`](crate::launcher_tests) makes a test of each that is about processes, over a small [`Harness`].
//! Their runs are `sh` scripts, so the launcher must be able to start those, on this machine.

mod begin;
mod contract;
mod end;
mod harness;
mod outlive;

pub use begin::*;
pub use contract::*;
pub use end::*;
pub use harness::{Harness, alive_with, block_on};
pub use outlive::*;

/// A `#[test]` for each promise, on a ground made anew for it: `launcher_contract!(MyGround::new())`.
#[macro_export]
macro_rules! launcher_contract {
    ($ground:expr) => {
        $crate::launcher_tests! { $ground;
            a_key_that_is_submitted_again_has_one_run
            a_run_is_found_by_its_key_alone
            a_key_that_was_forbidden_has_no_run
            every_end_is_told_as_it_was
            a_run_may_be_stopped_at_any_time
            the_log_of_a_run_stays_when_it_has_ended
            a_run_out_of_reach_is_not_lost
        }
    };
}

/// A `#[test]` for each behaviour, on a harness made anew for it: `launcher_tests!(MyHarness::new())`.
#[macro_export]
macro_rules! launcher_tests {
    ($harness:expr) => {
        $crate::launcher_tests! { $harness;
            what_was_submitted_runs_as_it_is_and_its_output_is_kept
            no_argument_is_interpreted
            a_run_sees_the_environment_that_it_was_given_and_no_more
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
            nothing_is_left_of_a_run_whose_descendants_went_their_own_way
            a_run_outlives_the_launcher
            a_run_is_found_after_a_crash_between_submitting_and_recording
            time_runs_out_while_nobody_looks
            a_stop_asked_for_by_one_launcher_is_seen_by_the_next
            a_run_whose_keeper_was_killed_has_vanished_with_all_that_was_left_of_it
        }
    };
    ($harness:expr; $($behaviour:ident)*) => {
        $(
            #[test]
            fn $behaviour() {
                $crate::launcher::block_on($crate::launcher::$behaviour(&$harness));
            }
        )*
    };
}
