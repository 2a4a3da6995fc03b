use super::bench::{DurableBench, QueueBench};

/// Hands every behaviour of a queue to the macro `$then`, after what is given with it.
#[doc(hidden)]
#[macro_export]
macro_rules! queue_behaviours {
    ($then:path, $($with:tt)*) => {
        $then! {
            { $($with)* }
            intake::a_new_change_is_queued_and_recorded
            intake::a_push_that_trains_nothing_is_recorded_when_it_is_answered
            intake::a_delivery_tells_which_of_its_jobs_were_known
            intake::a_delivery_is_found_by_its_guid
            intake::every_verdict_is_kept_with_the_jobs_that_it_led_to
            intake::a_known_change_names_its_job
            intake::a_replayed_delivery_leaves_a_bounded_number_of_receipts
            intake::a_replay_does_not_hide_a_redelivery_that_trains_again
            intake::one_push_makes_a_job_for_each_recipe_and_file
            intake::a_branch_and_a_tag_of_one_name_are_two_changes
            intake::two_hundred_identical_deliveries_at_once_make_one_job
            intake::two_hundred_deliveries_with_guids_of_their_own_make_one_job
            intake::a_guid_alone_decides_nothing
            intake::a_push_that_is_held_makes_a_held_job
            intake::a_change_that_is_only_reconciled_is_queued_once
            intake::a_deleted_ref_is_recorded_and_makes_no_job
            intake::more_paths_than_are_kept_are_counted
            repeats::a_branch_that_is_forced_back_is_asked_about_again
            repeats::a_commit_that_comes_again_expands_into_what_has_not_trained
            repeats::a_push_that_moved_nothing_hides_no_other
            repeats::what_trains_or_has_trained_answers_every_push_of_its_commit
            repeats::what_ended_without_a_run_answers_its_own_push_alone
            repeats::of_two_pushes_of_a_commit_that_are_held_one_trains
            repeats::a_push_that_is_to_train_answers_what_is_held_of_its_commit
            repeats::what_gave_way_trains_when_its_ref_comes_back_the_same_way
            repeats::a_repetition_that_never_ran_does_not_hide_what_has_trained
            repeats::a_repetition_answers_what_is_held_of_its_commit
            repeats::a_redelivery_repeats_its_own_push
            reruns::the_whole_table_of_reruns
            reruns::at_most_three_trainings_come_about_by_redelivery
            reruns::a_training_that_a_person_repeated_can_still_be_redelivered
            reruns::replays_under_other_guids_train_nothing_again
            reruns::a_job_that_is_repeated_does_what_its_recipe_says_by_now
            reruns::a_job_is_not_repeated_as_one_of_another_change
            reruns::a_redelivered_job_says_in_what_it_is_another
            reruns::what_a_push_would_lead_to_is_told_without_doing_it
            superseding::a_newer_change_supersedes_what_waits
            superseding::a_running_job_goes_on_unless_its_recipe_says_otherwise
            superseding::a_running_job_is_stopped_where_its_recipe_says_so
            superseding::a_job_that_ends_well_in_spite_of_the_stop_was_not_superseded
            superseding::a_run_that_was_to_go_on_later_gives_way_for_good
            superseding::a_run_whose_end_is_known_gives_way_before_it_is_tried_again
            superseding::a_recipe_that_keeps_supersedes_nothing
            superseding::an_older_change_that_comes_late_is_born_superseded
            superseding::the_chain_of_commits_outranks_the_time
            superseding::the_chain_leads_through_pushes_that_made_no_job
            superseding::where_nobody_knows_nothing_is_superseded
            superseding::many_changes_of_one_second_give_way_to_the_next
            superseding::a_newer_change_that_was_given_up_does_not_count
            superseding::a_newer_change_that_has_run_counts
            superseding::a_held_change_supersedes_nothing_before_it_is_queued
            superseding::another_group_is_not_touched
            superseding::jobs_of_one_push_do_not_supersede_each_other
            superseding::a_redelivered_change_is_too_late_as_any_other
            superseding::a_person_may_repeat_what_is_no_longer_the_newest
            admission::a_debounced_job_waits_for_quiet
            admission::a_debounced_job_inherits_when_the_series_began
            admission::a_change_that_waited_for_its_diff_is_debounced_from_its_push
            admission::a_job_waits_for_the_time_that_its_policy_named
            admission::a_job_that_is_put_off_comes_back_when_its_time_has_come
            admission::a_held_job_is_not_handed_out
            admission::a_job_that_is_no_longer_wanted_is_cancelled
            claims::an_empty_queue_hands_out_nothing
            claims::higher_priority_goes_first_then_age
            claims::an_hour_of_waiting_is_worth_a_step_of_priority
            claims::a_job_of_low_priority_is_not_starved
            claims::the_greatest_and_the_least_priority_keep_their_order
            claims::a_worker_gets_only_what_its_labels_allow
            claims::what_goes_on_from_a_checkpoint_that_a_host_has_waits_for_a_worker_there
            claims::a_person_lets_begin_anew_what_waits_for_a_checkpoint_and_nothing_else
            claims::a_worker_without_slots_gets_no_new_run
            claims::one_job_of_a_group_at_a_time
            claims::a_claimed_job_keeps_its_group
            claims::a_job_out_of_reach_keeps_its_group
            claims::a_diff_takes_no_slot_and_no_group
            claims::no_job_is_handed_out_twice
            claims::a_claim_that_nothing_came_of_is_handed_out_again
            leases::a_worker_that_lost_its_lease_cannot_finish_the_job
            leases::an_orphaned_run_is_taken_over_before_anything_else
            leases::an_orphan_goes_only_to_the_host_that_can_answer_for_it
            leases::an_attempt_that_no_launcher_has_yet_goes_only_to_the_host_that_can_tell_of_it
            leases::a_released_job_is_handed_out_at_once_and_counts_no_crash
            leases::a_job_that_lost_its_workers_three_times_is_quarantined_with_its_run_stopped
            leases::a_job_whose_starts_crash_its_workers_is_quarantined
            leases::a_job_that_crashes_whoever_looks_at_it_is_quarantined
            leases::a_run_out_of_reach_counts_no_crash
            leases::a_good_poll_takes_the_crashes_back
            leases::a_renewed_lease_goes_on
            leases::a_renewal_tells_of_a_stop
            leases::a_renewal_tells_whether_a_lease_is_over_or_another_worker_has_the_job
            leases::a_renewal_keeps_the_progress
            leases::a_worker_that_is_late_goes_on_if_nobody_took_its_job
            leases::a_worker_that_is_late_starts_nothing_beside_another_of_the_group
            leases::a_lease_ends_with_what_it_was_for
            leases::a_worker_cannot_do_what_only_the_queue_or_a_person_does
            leases::a_sweep_tells_once_that_a_lease_has_run_out
            lives::a_job_lives_from_queued_to_succeeded
            lives::a_failure_of_the_machine_is_retried_after_a_pause
            lives::a_failure_of_the_training_is_final
            lives::a_refusal_for_now_takes_the_attempt_back
            lives::a_continuation_keeps_its_change_and_counts_no_retry
            lives::what_is_final_stays
            lives::an_event_that_does_not_fit_changes_nothing
            lives::a_person_cancels_what_waits_at_once
            lives::a_person_cancels_what_runs_by_stopping_it
            lives::a_person_approves_or_rejects_what_is_held
            lives::a_person_repeats_what_has_ended
            lives::a_person_cannot_repeat_what_has_not_ended
            lives::a_person_gives_up_only_on_what_is_out_of_reach
            lives::a_person_gives_up_on_a_run_that_nobody_looks_after
            lives::a_command_for_an_unknown_job_says_so
            lives::a_diff_queues_its_job_and_supersedes_older_ones
            lives::a_diff_expands_into_a_job_for_each_file
            lives::what_a_diff_expands_into_is_held_or_put_off_as_its_verdict_says
            lives::a_diff_that_cannot_be_made_is_tried_again_later
            ports::a_port_is_leased_to_one_attempt_at_a_time
            ports::a_port_is_leased_to_whoever_has_the_job_and_an_attempt
            ports::a_run_whose_port_was_taken_is_tried_with_another_and_counts_nothing
            ports::a_run_that_was_given_up_keeps_its_port
            gpus::a_gpu_is_leased_to_one_attempt_at_a_time
            gpus::of_those_who_want_one_gpu_at_once_one_has_it
            gpus::gpus_are_kept_over_a_change_of_worker
            gpus::gpus_are_free_at_every_end_of_an_attempt
            gpus::a_run_that_was_given_up_keeps_its_gpus_until_its_host_has_looked
            gpus::a_run_that_was_given_up_is_known_to_its_host_until_it_has_looked
            gpus::a_job_that_has_gpus_is_not_removed_for_its_age
            gpus::who_waits_for_gpus_is_known_in_the_order_of_turns
            gpus::who_cannot_start_anyway_is_not_waited_for
            gpus::those_with_gpus_see_first_who_waits_for_some
            gpus::looking_for_gpus_again_and_again_leaves_one_line
            gpus::a_run_that_found_its_gpu_full_is_tried_once_more
            history::jobs_are_listed_newest_first_a_page_at_a_time
            history::jobs_are_listed_by_stage_recipe_and_repository
            history::deliveries_are_listed_newest_first_a_page_at_a_time
            history::what_is_not_there_is_not_an_error
            history::a_timeline_tells_who_did_what_and_why
            history::any_list_is_paged_newest_first_whatever_it_is_of
            history::what_a_policy_may_ask_is_kept_with_a_delivery
            history::the_number_of_a_repository_is_kept_with_the_name_that_is_configured
            history::where_a_repository_was_before_is_known_to_the_recipes_that_looked
            retention::what_has_ended_goes_when_it_is_old_enough
            retention::a_sweep_tells_how_much_it_removed
            retention::what_has_not_ended_stays_however_old_it_is
            retention::what_ended_late_is_kept_from_its_end_on
            retention::a_change_whose_job_was_removed_is_known_by_the_same_rules
            retention::redeliveries_are_counted_beyond_the_removal
            retention::what_is_being_repeated_stays
            retention::a_person_repeats_what_is_left_when_the_last_training_was_removed
            retention::a_dry_step_counts_and_removes_nothing
            retention::a_step_removes_few_enough_that_nobody_waits_for_it
            retention::a_newer_change_counts_as_long_as_it_is_kept
            retention::stats_count_what_there_is
            logs::the_end_of_a_log_is_kept_as_it_was_last_told
            logs::a_log_goes_with_its_job
            failures::what_failed_by_itself_is_known_by_its_fingerprint
            failures::what_the_machine_failed_or_a_person_ended_is_no_failure_of_its_own
            failures::a_success_is_the_end_of_what_failed_before
            failures::what_is_prepared_is_kept_with_the_job_and_its_lease_goes_on
            memory::what_runs_needed_of_their_gpus_is_kept_and_known
            memory::the_newest_runs_alone_are_known_for_their_memory
            memory::a_run_that_ran_out_of_memory_is_known_until_one_succeeds
            memory::the_memory_of_the_hungriest_attempt_of_a_job_counts
            memory::warnings_are_kept_with_a_job_until_there_are_others
            workers::a_worker_is_listed_as_it_last_told
            workers::a_worker_of_the_name_of_an_earlier_one_began_later
            workers::a_worker_that_nothing_is_heard_of_is_forgotten_after_a_day
        }
    };
}

/// Hands every behaviour of a queue that outlives its process to the macro `$then`, after what is given with it.
#[doc(hidden)]
#[macro_export]
macro_rules! durable_queue_behaviours {
    ($then:path, $($with:tt)*) => {
        $then! {
            { $($with)* }
            durable::what_was_accepted_is_there_after_a_crash
            durable::a_push_that_trains_nothing_is_there_after_a_crash
            durable::a_change_stays_known_after_a_crash
            durable::a_removed_change_stays_known_after_a_crash
            repeats::each_push_keeps_its_answer_after_a_crash
            durable::a_run_is_adopted_after_a_crash_and_never_claimed_as_new
            durable::a_worker_from_before_the_crash_is_still_fenced
            durable::a_late_change_is_recognized_after_a_crash
            durable::ids_go_on_growing_after_a_crash_even_if_the_clock_does_not
        }
    };
}

/// Makes a test of every behaviour of a queue. Takes an expression that makes a [`QueueBench`].
#[macro_export]
macro_rules! queue_conformance {
    ($bench:expr) => {
        $crate::queue_behaviours!($crate::conformance_tests, $crate::queue::run, || $bench);
    };
}

/// Makes a test of every behaviour of a queue that outlives its process. Takes an expression that makes a
/// [`DurableBench`].
#[macro_export]
macro_rules! durable_queue_conformance {
    ($bench:expr) => {
        $crate::durable_queue_behaviours!($crate::conformance_tests, $crate::queue::run_durable, || $bench);
    };
}

/// A test of each behaviour, by its name.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests {
    ({ $run:path, $bench:expr } $($module:ident::$name:ident)*) => {
        $(
            #[test]
            fn $name() {
                $run(stringify!($name), ($bench)());
            }
        )*
    };
}

/// Runs one behaviour by its name.
///
/// # Panics
///
/// When the queue does not behave so, or the name is none.
pub fn run(name: &str, bench: impl QueueBench) {
    let bench: &dyn QueueBench = &bench;
    on_a_runtime(async {
        macro_rules! choose {
            ({ } $($module:ident::$name:ident)*) => {
                match name {
                    $(stringify!($name) => super::$module::$name(bench).await,)*
                    unknown => panic!("there is no behaviour `{unknown}`"),
                }
            };
        }
        queue_behaviours!(choose,);
    });
}

/// Runs one behaviour of a queue that outlives its process, by its name.
///
/// # Panics
///
/// When the queue does not behave so, or the name is none.
pub fn run_durable(name: &str, mut bench: impl DurableBench) {
    let bench: &mut dyn DurableBench = &mut bench;
    on_a_runtime(async {
        macro_rules! choose {
            ({ } $($module:ident::$name:ident)*) => {
                match name {
                    $(stringify!($name) => super::$module::$name(bench).await,)*
                    unknown => panic!("there is no behaviour `{unknown}`"),
                }
            };
        }
        durable_queue_behaviours!(choose,);
    });
}

pub(crate) fn on_a_runtime(behaviour: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("this machine can start two threads").block_on(behaviour);
}
