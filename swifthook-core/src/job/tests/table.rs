//! Every row of the table of states, and every combination that is not in it.

use super::*;
use crate::launcher::Progress;
use crate::policy::Verdict;

/// `stage(why) attempt/epoch/crashes/retries` and what else is set.
fn told(state: &State) -> String {
    let why = state.reason.as_ref().map(|reason| format!("({})", reason.word)).unwrap_or_default();
    let counts = [u64::from(state.attempt), state.epoch, state.crashes.into(), state.retries.into()];
    let counts = counts.map(|count| count.to_string()).join("/");
    let mut words = vec![format!("{}{why} {counts}", state.stage)];
    words.extend(state.stop.map(|stop| format!("stop={stop:?}")));
    words.extend(state.waits_for.map(|wait| format!("waits_for={}", wait.word())));
    words.extend(state.not_before.map(|time| format!("not_before={}", time.0)));
    for (is_set, word) in [
        (state.handle.is_some(), "handle"),
        (state.evidence.is_some(), "evidence"),
        (state.unreachable_since.is_some(), "unreachable"),
        (state.is_released, "released"),
        (state.is_poison, "poison"),
    ] {
        words.extend(is_set.then(|| word.to_owned()));
    }
    words.join(" ")
}

#[track_caller]
fn becomes(state: State, event: Event, expected: &str) {
    let retry = Retry { exit_codes: vec![75], ..Retry::default() };
    let from = told(&state);
    let event_words = event.words();
    assert_eq!(told(&state.apply(event, &retry).unwrap()), expected, "from `{from}`: {event_words}");
}

#[test]
fn new_jobs() {
    assert_eq!(told(&queued()), "queued 0/0/0/0");
    let debounced = State::queued(Some(LATER), Some(Wait::Debounce));
    assert_eq!(told(&debounced), "queued 0/0/0/0 waits_for=debounce not_before=60000");
    assert_eq!(told(&needs_diff()), "held(needs_diff) 0/0/0/0");
    assert_eq!(told(&State::born_superseded(AT)), "superseded(superseded) 0/0/0/0");
}

#[test]
fn a_job_that_needs_a_diff() {
    let claimed = || after(needs_diff(), [claim()]);
    becomes(needs_diff(), claim(), "held(needs_diff) 0/1/0/0");
    becomes(claimed(), takeover(), "held(needs_diff) 0/2/0/0");
    becomes(claimed(), diffed(Diffed::Launch(None)), "queued 0/1/0/0");
    let launch_later = diffed(Diffed::Launch(Some(LATER)));
    becomes(claimed(), launch_later, "queued 0/1/0/0 waits_for=time not_before=60000");
    becomes(claimed(), diffed(Diffed::Hold(HoldReason::Approval)), "held(approval) 0/1/0/0");
    becomes(
        claimed(),
        diffed(Diffed::Expand { jobs: vec![], verdict: Verdict::launch() }),
        "cancelled(expanded) 0/1/0/0",
    );
    let skip = diffed(Diffed::Skip(Reason::new("paths", "none matches")));
    becomes(claimed(), skip, "cancelled(skipped_after_diff) 0/1/0/0");
    becomes(claimed(), diff_failed(), "held(needs_diff) 0/1/0/0 not_before=60000");
    let nine_times = || after(claimed(), vec![diff_failed(); 9]);
    becomes(nine_times(), diff_failed(), "failed(diff) 0/1/0/0");
}

#[test]
fn a_policy_that_no_diff_contents_is_not_asked_for_ever() {
    let never_content = diffed(Diffed::Hold(HoldReason::NeedsDiff(Gap::NotListed)));
    becomes(needs_diff(), never_content.clone(), "held(needs_diff) 0/0/0/0");
    becomes(after(needs_diff(), vec![never_content.clone(); 9]), never_content, "failed(diff) 0/0/0/0");
}

#[test]
fn a_held_job() {
    let held = || State::held(HoldReason::Approval);
    becomes(held(), command(Command::Approve), "queued 0/0/0/0");
    becomes(State::held(HoldReason::RecipeGone), Event::CauseGone, "queued 0/0/0/0");
    becomes(held(), command(Command::Reject), "cancelled(rejected) 0/0/0/0");
    becomes(held(), command(Command::Cancel), "cancelled(cancelled) 0/0/0/0");
    becomes(held(), Event::Expire { at: AT }, "cancelled(expired) 0/0/0/0");
    becomes(held(), supersede(), "superseded(superseded) 0/0/0/0");
    becomes(needs_diff(), command(Command::Cancel), "cancelled(cancelled) 0/0/0/0");
    becomes(needs_diff(), supersede(), "superseded(superseded) 0/0/0/0");
}

#[test]
fn no_person_can_stand_in_for_a_list_of_files() {
    let hold = HoldReason::NeedsDiff(Gap::Caps);
    let error = State::held(hold).apply(command(Command::Approve), &Retry::default()).unwrap_err();
    assert_eq!(error.to_string(), "a job that is held cannot be approved");
}

#[test]
fn what_is_too_much_is_asked_about_once_more_when_a_person_approves_it() {
    for (hold, jobs) in [(HoldReason::TooManyJobs(300), Some(300)), (HoldReason::TooManyPaths(300), None)] {
        let approved = after(State::held(hold.clone()), [command(Command::Approve)]);
        assert_eq!(told(&approved), "held(needs_diff) 0/0/0/0");
        assert!(approved.is_approved("too_many") && approved.needs_diff());
        assert_eq!(approved.approved_jobs, jobs);
        // Where it has become more since, it is held again, and approved again.
        let more = after(approved, [claim(), diffed(Diffed::Hold(HoldReason::TooManyJobs(400)))]);
        assert_eq!(told(&more), "held(too_many) 0/1/0/0");
        let again = after(more, [command(Command::Approve)]);
        assert_eq!((again.approved_jobs, again.needs_diff()), (Some(400), true));
        becomes(again, diffed(Diffed::Launch(None)), "queued 0/1/0/0");
    }
}

#[test]
fn of_what_was_decided_under_another_name_or_without_its_recipe_git_is_asked_first() {
    let name = |name: &str| crate::RepoName::new(name).unwrap();
    let renamed = State::held(HoldReason::Renamed { from: name("acme/a"), to: name("acme/b") });
    becomes(renamed.clone(), command(Command::Approve), "held(needs_diff) 0/0/0/0");
    becomes(renamed, command(Command::Reject), "cancelled(rejected) 0/0/0/0");
    let gone = after(needs_diff(), [claim(), diffed(Diffed::Hold(HoldReason::RecipeGone))]);
    let back = after(gone, [command(Command::Approve)]);
    assert_eq!(told(&back), "held(needs_diff) 0/1/0/0");
    becomes(back, diffed(Diffed::Launch(None)), "queued 0/1/0/0");
    becomes(State::held(HoldReason::RecipeGone), command(Command::Approve), "queued 0/0/0/0");
}

#[test]
fn a_queued_job() {
    becomes(queued(), claim(), "queued 0/1/0/0");
    becomes(queued(), supersede(), "superseded(superseded) 0/0/0/0");
    becomes(queued(), command(Command::Cancel), "cancelled(cancelled) 0/0/0/0");
    let claimed = || after(queued(), [claim()]);
    becomes(claimed(), not_before(), "queued(window) 0/1/0/0 waits_for=window not_before=60000");
    becomes(claimed(), no_longer(), "cancelled(schedule) 0/1/0/0");
    becomes(claimed(), Event::Hold(HoldReason::RecipeGone), "held(recipe_gone) 0/1/0/0");
    becomes(claimed(), Event::Hold(HoldReason::Budget), "held(budget) 0/1/0/0");
    becomes(claimed(), Event::Release, "queued 0/1/0/0 released");
    becomes(claimed(), start(), "running 1/1/1/0");
    becomes(after(claimed(), [not_before()]), start(), "running 1/1/1/0");
}

#[test]
fn a_queued_job_that_cannot_begin() {
    let claimed = || after(queued(), [claim()]);
    becomes(claimed(), unfit(), "failed(config) 0/1/0/0");
    becomes(claimed(), refused(true), "failed(refused) 0/1/0/0");
    becomes(claimed(), refused(false), "queued(backoff) 0/1/0/0 waits_for=backoff not_before=60000");
    assert_eq!(after(claimed(), [refused(false), claim(), refused(false)]).refusals, 2);
    becomes(claimed(), takeover(), "queued 0/2/1/0");
    becomes(after(claimed(), [Event::Release]), takeover(), "queued 0/2/0/0");
    becomes(after(claimed(), [takeover(), takeover()]), takeover(), "quarantined(crashes) 0/4/3/0");
}

#[test]
fn a_job_that_failed_so_before_is_held_and_runs_once_a_person_approves_it() {
    let failures = vec![PastFailure { job: JobId([1; 16]), at: Some(AT), how: "exit code 1".into() }];
    let known = Event::Hold(HoldReason::KnownFailure(failures));
    let held = || after(queued(), [claim(), prepared(), known.clone()]);
    becomes(held(), command(Command::Approve), "queued 0/1/0/0");
    assert!(!held().is_approved("known_failure"));
    let approved = after(held(), [command(Command::Approve), claim(), start()]);
    assert!(approved.is_approved("known_failure") && !approved.is_approved("approval"));
    assert_eq!(approved.environment.as_deref(), Some("uv:1234"));
    assert_eq!(approved.fingerprint, Some(Fingerprint([7; 32])));
}

#[test]
fn a_starting_job() {
    becomes(starting(), submitted(), "running 1/1/1/0 handle");
    becomes(after(starting(), [submitted()]), submitted(), "running 1/1/1/0 handle");
    becomes(starting(), refused(true), "failed(refused) 1/1/1/0");
    becomes(starting(), unfit(), "failed(config) 1/1/1/0");
    let again = "queued(backoff) 0/1/0/0 waits_for=backoff not_before=60000";
    becomes(starting(), refused(false), again);
    becomes(starting(), Event::NeverRan, "queued 1/1/0/0");
    becomes(after(starting(), [takeover()]), Event::NeverRan, "queued 1/2/1/0");
    becomes(after(starting(), [Event::NeverRan, claim()]), start(), "running 2/2/1/0");
    becomes(starting(), Event::Seen, "running 1/1/0/0");
    becomes(starting(), unreachable(), "running 1/1/1/0 unreachable");
}

#[test]
fn a_running_job() {
    becomes(running(), Event::Seen, "running 1/1/0/0 handle");
    becomes(running(), unreachable(), "running 1/1/0/0 handle unreachable");
    becomes(running(), exited(0), "finishing 1/1/0/0 handle evidence");
    becomes(running(), Event::Vanished, "finishing 1/1/0/0 handle evidence");
    for (event, stop) in [
        (Event::StopWanted(StopKind::Timeout), "Timeout"),
        (Event::StopWanted(StopKind::Yield), "Yield"),
        (supersede(), "Supersede"),
        (command(Command::Cancel), "Cancel"),
        (command(Command::CancelSaving), "CancelSaving"),
        (command(Command::Yield), "Yield"),
    ] {
        becomes(running(), event, &format!("finishing 1/1/0/0 stop={stop} handle"));
    }
    let stopped_by_itself = stopped(1, StopKind::Timeout);
    becomes(running(), stopped_by_itself, "finishing 1/1/0/0 stop=Timeout handle evidence");
}

#[test]
fn a_change_of_worker() {
    becomes(running(), takeover(), "running 1/2/1/0 handle");
    becomes(running(), Event::Release, "running 1/1/0/0 handle released");
    becomes(after(running(), [Event::Release]), takeover(), "running 1/2/0/0 handle");
    becomes(after(running(), [unreachable()]), takeover(), "running 1/2/0/0 handle unreachable");
    becomes(stopping(StopKind::Cancel), takeover(), "finishing 1/2/1/0 stop=Cancel handle");
    becomes(stopping(StopKind::Cancel), Event::Release, "finishing 1/1/0/0 stop=Cancel handle released");
    becomes(collecting(exited(0)), takeover(), "finishing 1/2/1/0 handle evidence");
}

#[test]
fn a_job_that_lost_three_workers_is_quarantined_and_its_run_stopped_first() {
    becomes(after(starting(), [submitted(), takeover()]), takeover(), "running 1/3/3/0 handle");
    becomes(lost_three_times(), takeover(), "finishing 1/4/3/0 handle poison");
    let poison = || after(lost_three_times(), [takeover()]);
    becomes(poison(), Event::Seen, "finishing 1/4/0/0 handle poison");
    becomes(poison(), signalled(15), "finishing 1/4/0/0 handle evidence poison");
    let stopped = after(poison(), [signalled(15)]);
    becomes(stopped, collected(None), "quarantined(crashes) 1/4/0/0 handle evidence poison");
    let done = after(poison(), [exited(0)]);
    becomes(done, collected(Some(true)), "succeeded 1/4/0/0 handle evidence poison");

    let out_of_reach = after(lost_three_times(), [unreachable()]);
    becomes(out_of_reach, takeover(), "running 1/4/3/0 handle unreachable");

    let lost_while_collecting = after(collecting(exited(0)), [takeover(), takeover(), takeover()]);
    becomes(lost_while_collecting, takeover(), "quarantined(crashes) 1/5/3/0 handle evidence poison");

    let vanished = after(lost_three_times(), [Event::Vanished, collected(None)]);
    assert_eq!(told(&vanished), "queued(backoff) 1/3/3/1 waits_for=backoff not_before=60000");
    becomes(vanished, claim(), "quarantined(crashes) 1/4/3/1");
}

#[test]
fn hearing_again_of_a_run_that_has_ended_does_not_take_a_crash_back() {
    let collecting = || after(collecting(exited(0)), [takeover()]);
    for news in [Event::Seen, unreachable(), exited(1), Event::Vanished] {
        becomes(collecting(), news, "finishing 1/2/1/0 handle evidence");
    }
}

#[test]
fn an_unreachable_job() {
    let lost = || after(running(), [unreachable()]);
    becomes(lost(), Event::Seen, "running 1/1/0/0 handle");
    becomes(lost(), command(Command::Abandon), "failed(abandoned) 1/1/0/0 handle unreachable");
    becomes(lost(), exited(0), "finishing 1/1/0/0 handle evidence");
    let since = after(lost(), [Event::Unreachable { since: LATER }]).unreachable_since;
    assert_eq!(since, Some(AT), "the first loss of sight counts");
    let stopping = after(stopping(StopKind::Cancel), [unreachable()]);
    let abandoned = "failed(abandoned) 1/1/0/0 stop=Cancel handle unreachable";
    becomes(stopping, command(Command::Abandon), abandoned);
}

#[test]
fn a_job_that_is_being_stopped() {
    let stopping = stopping;
    for first in STOPS {
        for second in STOPS {
            let kept = match (first, second) {
                (StopKind::Yield, StopKind::Cancel | StopKind::CancelSaving | StopKind::Supersede) => second,
                (StopKind::CancelSaving, StopKind::Cancel) => second,
                _ => first,
            };
            let expected = format!("finishing 1/1/0/0 stop={kept:?} handle");
            becomes(stopping(first), Event::StopWanted(second), &expected);
        }
    }
    becomes(stopping(StopKind::Cancel), exited(1), "finishing 1/1/0/0 stop=Cancel handle evidence");
    becomes(stopping(StopKind::Cancel), Event::Vanished, "finishing 1/1/0/0 stop=Cancel handle evidence");
}

#[test]
fn a_job_that_is_stopped_before_its_submission_is_known() {
    let stopping = || after(starting(), [command(Command::Cancel)]);
    becomes(stopping(), submitted(), "finishing 1/1/1/0 stop=Cancel handle");
    becomes(stopping(), refused(false), "finishing 1/1/1/0 stop=Cancel evidence");
    becomes(stopping(), unfit(), "finishing 1/1/1/0 stop=Cancel evidence");
    let gone = after(stopping(), [refused(true)]);
    becomes(gone, collected(None), "cancelled(cancelled) 1/1/1/0 stop=Cancel evidence");
}

#[test]
fn a_run_that_did_all_its_steps_succeeded_even_if_a_stop_came_too_late() {
    becomes(collecting(exited(0)), collected(Some(true)), "succeeded 1/1/0/0 handle evidence");
    becomes(collecting(exited(0)), collected(None), "succeeded 1/1/0/0 handle evidence");
    for stop in STOPS {
        let stopped = after(stopping(stop), [exited(0)]);
        let succeeded = format!("succeeded 1/1/0/0 stop={stop:?} handle evidence");
        becomes(stopped, collected(Some(true)), &succeeded);
    }
    let early = "succeeded(stopped_early) 1/1/0/0 handle evidence";
    becomes(collecting(exited(0)), collected(Some(false)), early);
}

#[test]
fn a_run_that_was_stopped_ends_as_the_stop_says() {
    for (stop, expected) in [
        (StopKind::Cancel, "cancelled(cancelled) 1/1/0/0 stop=Cancel handle evidence"),
        (StopKind::CancelSaving, "cancelled(cancelled) 1/1/0/0 stop=CancelSaving handle evidence"),
        (StopKind::Supersede, "superseded(superseded) 1/1/0/0 stop=Supersede handle evidence"),
        (StopKind::Timeout, "failed(timeout) 1/1/0/0 stop=Timeout handle evidence"),
        (StopKind::Limit, "failed(limit) 1/1/0/0 stop=Limit handle evidence"),
        (StopKind::Yield, "queued(yielded) 1/1/0/0"),
        (StopKind::Stuck, "failed(watchdog) 1/1/0/0 stop=Stuck handle evidence"),
        (StopKind::Restart, "queued(backoff) 1/1/0/1 waits_for=backoff not_before=60000"),
    ] {
        for end in [exited(0), exited(1), exited(143), signalled(9), Event::Vanished] {
            becomes(after(stopping(stop), [end.clone()]), collected(Some(false)), expected);
            // It was asked to end, and nobody knows how far it came.
            becomes(after(stopping(stop), [end]), collected(None), expected);
        }
    }
}

#[test]
fn the_machines_failures_are_retried_and_the_trainings_are_not() {
    let ended = |end: Event| collecting(end);
    for end in [Event::Vanished, signalled(9), exited(137), exited(143), exited(247), exited(241), exited(75)]
    {
        let again = "queued(backoff) 1/1/0/1 waits_for=backoff not_before=60000";
        becomes(ended(end.clone()), collected(Some(false)), again);
        let last = State { retries: 2, ..ended(end) };
        becomes(last, collected(Some(false)), "failed(machine) 1/1/0/3 handle evidence");
    }
    for code in [1, 2, 127, -1] {
        becomes(ended(exited(code)), collected(None), "failed(training) 1/1/0/0 handle evidence");
    }
}

#[test]
fn a_run_that_never_could_have_begun_is_refused_and_not_tried_again() {
    let gone = Exit { refused: true, message: Some("the commit is gone".into()), ..Exit::default() };
    let of = |exit: Exit| collecting(Event::Ended(exit));
    becomes(of(gone.clone()), collected(None), "failed(refused) 1/1/0/0 handle evidence");
    // Without it nobody knows how it ended.
    let passing = Exit { refused: false, ..gone.clone() };
    let again = "queued(backoff) 1/1/0/1 waits_for=backoff not_before=60000";
    becomes(of(passing), collected(None), again);
    let cancelled = Exit { stopped: Some(StopKind::Cancel), ..gone };
    becomes(of(cancelled), collected(None), "cancelled(cancelled) 1/1/0/0 stop=Cancel handle evidence");
}

#[test]
fn a_job_waits_for_gpus_with_what_it_asks_for_until_it_waits_for_nothing_or_something_else() {
    let waits = || after(queued(), [claim(), no_gpus()]);
    becomes(after(queued(), [claim()]), no_gpus(), "queued(gpu) 0/1/0/0 waits_for=gpu not_before=60000");
    assert_eq!(waits().gpu_request, Some(GpuRequest::of(2)));
    assert_eq!(after(waits(), [claim()]).gpu_request, Some(GpuRequest::of(2)), "while it is looked at");
    for event in [
        not_before(),
        Event::Hold(HoldReason::Budget),
        no_longer(),
        refused(true),
        refused(false),
        command(Command::Cancel),
        start(),
        start_on_gpus(),
    ] {
        assert_eq!(after(waits(), [claim(), event.clone()]).gpu_request, None, "{event:?}");
    }
    let started = after(waits(), [claim(), start_on_gpus()]);
    assert_eq!((told(&started), started.gpus), ("running 1/2/1/0".into(), Some(grant())));
}

#[test]
fn a_run_that_finds_its_gpu_full_at_its_start_is_tried_on_another_once() {
    let on_gpus = || after(queued(), [claim(), start_on_gpus(), submitted(), Event::Seen]);
    let full = |seconds| after(on_gpus(), [out_of_memory(seconds)]);
    let again = "queued(gpu) 1/1/0/0 waits_for=gpu not_before=60000";
    let failed = "failed(training) 1/1/0/0 handle evidence";
    becomes(full(60), collected(None), again);
    becomes(full(61), collected(None), failed);
    becomes(collecting(out_of_memory(10)), collected(None), failed);
    becomes(
        after(full(10), [command(Command::Cancel)]),
        collected(None),
        "cancelled(cancelled) 1/1/0/0 stop=Cancel handle evidence",
    );
    let second = after(full(10), [collected(None), claim(), start_on_gpus(), submitted(), Event::Seen]);
    assert_eq!(told(&second), "running 2/2/0/0 handle");
    becomes(after(second, [out_of_memory(10)]), collected(None), "failed(training) 2/2/0/0 handle evidence");
    // What the machine did comes after it, and counts as ever.
    let killed = after(full(10), [collected(None), claim(), start_on_gpus(), submitted(), Event::Vanished]);
    becomes(killed, collected(None), "queued(backoff) 2/2/1/1 waits_for=backoff not_before=60000");
}

#[test]
fn a_job_that_would_be_retried_is_not_once_nobody_wants_it_any_more() {
    let vanished = || collecting(Event::Vanished);
    let cancelled = after(vanished(), [command(Command::Cancel)]);
    becomes(cancelled, collected(None), "cancelled(cancelled) 1/1/0/0 stop=Cancel handle evidence");
    let superseded = after(vanished(), [supersede()]);
    becomes(superseded, collected(None), "superseded(superseded) 1/1/0/0 stop=Supersede handle evidence");
    let yielding = after(stopping(StopKind::Yield), [exited(0), command(Command::Cancel)]);
    becomes(yielding, collected(None), "cancelled(cancelled) 1/1/0/0 stop=Cancel handle evidence");

    let failed = after(collecting(exited(1)), [command(Command::Cancel)]);
    becomes(failed, collected(None), "failed(training) 1/1/0/0 handle evidence");
    for too_late in [StopKind::Timeout, StopKind::Yield] {
        becomes(vanished(), Event::StopWanted(too_late), "finishing 1/1/0/0 handle evidence");
    }
}

#[test]
fn a_run_that_is_cancelled_after_it_has_saved_says_what_it_left() {
    let why = |end: Event| {
        let ended = after(stopping(StopKind::CancelSaving), [exited(0), end]);
        ended.reason.unwrap().to_string()
    };
    let left = "cancelled: a person cancelled it; it left the checkpoint of step 30 (attempt 1)";
    assert_eq!(why(saved(1, 30)), left);
    assert_eq!(why(collected(None)), "cancelled: a person cancelled it; it left no checkpoint");
    assert_eq!(
        why(saved(0, 20)),
        "cancelled: a person cancelled it; it left no checkpoint",
        "that of an earlier attempt is not what it left"
    );
}

#[test]
fn a_job_resumes_as_a_new_attempt() {
    let resumed = after(stopping(StopKind::Yield), [exited(0), collected(Some(false)), claim()]);
    becomes(resumed, start(), "running 2/2/1/0");
}

#[test]
fn an_attempt_goes_on_from_the_last_whole_checkpoint_of_those_before_it() {
    let step = |state: &State| state.checkpoint.as_ref().and_then(|checkpoint| checkpoint.step);
    let from = |state: &State| state.resumed_from.as_ref().and_then(|checkpoint| checkpoint.step);
    let yielded = after(stopping(StopKind::Yield), [exited(0), saved(1, 30)]);
    assert_eq!((step(&yielded), yielded.retries), (Some(30), 0), "to make way is no failure");
    let why = yielded.reason.as_ref().unwrap().to_string();
    assert_eq!(why, "yielded: it made way, and goes on from the checkpoint of step 30 (attempt 1)");

    let again = after(yielded, [claim(), start()]);
    assert_eq!((from(&again), again.attempt), (Some(30), 2));
    let killed = after(again, [submitted(), Event::Vanished, collected(None)]);
    assert_eq!((step(&killed), killed.retries), (Some(30), 1), "an attempt without one takes none away");
    let third = after(killed, [claim(), start(), submitted(), signalled(9), saved(3, 40)]);
    assert_eq!((step(&third), from(&third), third.retries), (Some(40), Some(30), 2));

    let anew = after(third, [claim(), checkpoint_lost(), start()]);
    assert_eq!((step(&anew), from(&anew), anew.attempt), (None, None, 4));
}

#[test]
fn what_is_wrong_with_a_run_is_told_while_it_runs_and_of_how_it_ended() {
    becomes(running(), watched(), "running(silent) 1/1/0/0 handle");
    becomes(after(running(), [watched()]), Event::Watched(None), "running 1/1/0/0 handle");
    becomes(stopping(StopKind::Cancel), watched(), "finishing 1/1/0/0 stop=Cancel handle");
    let stopped = |stop| after(running(), [watched(), Event::StopWanted(stop), signalled(9)]);
    let failed = after(stopped(StopKind::Stuck), [saved(1, 30)]);
    assert_eq!(failed.reason.unwrap().to_string(), "watchdog: nothing was heard of it for 25 min");
    let again = after(stopped(StopKind::Restart), [saved(1, 30)]);
    assert_eq!((again.stage, again.retries), (Stage::Queued, 1), "as after a failure of the machine");
    assert_eq!(again.checkpoint.unwrap().step, Some(30));
    let last = State { retries: 2, ..stopped(StopKind::Restart) };
    becomes(last, collected(None), "failed(machine) 1/1/0/3 stop=Restart handle evidence");
}

#[test]
fn a_run_that_ended_early_says_at_which_step() {
    let early = after(collecting(exited(0)), [saved(1, 30)]);
    let why = early.reason.as_ref().unwrap().to_string();
    assert_eq!(why, "stopped_early: it ended well before its last step, at step 31");
    assert_eq!(early.checkpoint.unwrap().step, Some(30), "its last checkpoint is kept");
}

#[test]
fn a_run_that_exits_well_fails_where_its_worker_says_why() {
    let failing = |steps_done| {
        let mut event = collected(steps_done);
        if let Event::Collected { fails, .. } = &mut event {
            *fails = Some(Reason::new("diverged", "the loss is no number"));
        }
        event
    };
    for steps_done in [None, Some(true), Some(false)] {
        becomes(collecting(exited(0)), failing(steps_done), "failed(diverged) 1/1/0/0 handle evidence");
    }
    becomes(collecting(exited(1)), failing(None), "failed(training) 1/1/0/0 handle evidence");
}

#[test]
fn of_no_steps_none_are_done() {
    let progress =
        |step, max_steps| Progress { step: Some(step), max_steps: Some(max_steps), ..Progress::default() };
    assert_eq!(progress(0, 0).is_done(), Some(false));
    assert_eq!((progress(2, 2).is_done(), progress(1, 2).is_done()), (Some(true), Some(false)));
    assert_eq!(Progress { step: Some(1), ..Progress::default() }.is_done(), None);
}

/// Every event that there is, by name.
fn every_event() -> Vec<(&'static str, Event)> {
    vec![
        ("claim", claim()),
        ("prepared", prepared()),
        ("warned", warned()),
        ("start", start()),
        ("start_on_gpus", start_on_gpus()),
        ("not_before", not_before()),
        ("no_gpus", no_gpus()),
        ("hold", Event::Hold(HoldReason::Budget)),
        ("checkpoint_lost", checkpoint_lost()),
        ("watched", watched()),
        ("no_longer", no_longer()),
        ("diffed", diffed(Diffed::Launch(None))),
        ("submitted", submitted()),
        ("submitted_other", Event::Submitted(handle(2))),
        ("refused", refused(false)),
        ("refused_for_good", refused(true)),
        ("unfit", unfit()),
        ("never_ran", Event::NeverRan),
        ("seen", Event::Seen),
        ("unreachable", unreachable()),
        ("stop_wanted", Event::StopWanted(StopKind::Timeout)),
        ("ended", exited(0)),
        ("vanished", Event::Vanished),
        ("collected", collected(None)),
        ("takeover", takeover()),
        ("release", Event::Release),
        ("cause_gone", Event::CauseGone),
        ("expire", Event::Expire { at: AT }),
        ("supersede", supersede()),
        ("approve", command(Command::Approve)),
        ("reject", command(Command::Reject)),
        ("cancel", command(Command::Cancel)),
        ("cancel_saving", command(Command::CancelSaving)),
        ("yield", command(Command::Yield)),
        ("retry", command(Command::Retry)),
        ("abandon", command(Command::Abandon)),
        ("begin_anew", command(Command::BeginAnew)),
    ]
}

#[test]
fn a_job_begins_anew_whose_checkpoint_is_out_of_reach_and_waits_for_the_rest_of_what_it_waits_for() {
    let yielded = || after(stopping(StopKind::Yield), [exited(0), saved(1, 30)]);
    let anew = after(yielded(), [command(Command::BeginAnew)]);
    assert_eq!((anew.host(), &anew.checkpoint, &anew.reason, anew.waits_for), (None, &None, &None, None));
    let started = after(anew, [claim(), start()]);
    assert_eq!((started.resumed_from, started.attempt), (None, 2));

    let until = Event::NotBefore { until: LATER, waits_for: Wait::Checkpoint, why: "gpu-1 has it".into() };
    let anew = after(yielded(), [until, command(Command::BeginAnew)]);
    assert_eq!((anew.waits_for, anew.not_before), (None, None));
    let anew = after(yielded(), [not_before(), command(Command::BeginAnew)]);
    assert_eq!((anew.waits_for, anew.not_before, anew.host()), (Some(Wait::Window), Some(LATER), None));
}

#[test]
fn whatever_is_not_in_the_table_is_illegal() {
    let active = "seen unreachable stop_wanted ended vanished takeover release supersede cancel \
                  cancel_saving yield watched warned";
    let unsubmitted = "submitted submitted_other refused refused_for_good unfit never_ran";
    let lost = |state| after(state, [unreachable()]);
    let waiting = "supersede cancel cancel_saving";
    let answered = "cause_gone approve reject expire";
    for (state, legal) in [
        (needs_diff(), ["claim takeover release diffed reject expire", waiting, ""]),
        (State::held(HoldReason::Approval), [answered, waiting, ""]),
        (State::held(HoldReason::TooManyJobs(300)), ["approve reject expire", waiting, ""]),
        (State::held(HoldReason::TooManyPaths(300)), ["approve reject expire", waiting, ""]),
        (
            queued(),
            [
                "claim takeover release prepared warned start start_on_gpus not_before no_gpus hold no_longer checkpoint_lost",
                "refused refused_for_good unfit",
                waiting,
            ],
        ),
        (
            after(stopping(StopKind::Yield), [exited(0), saved(1, 30)]),
            [
                "claim takeover release prepared warned start start_on_gpus not_before no_gpus hold no_longer checkpoint_lost",
                "refused refused_for_good unfit begin_anew",
                waiting,
            ],
        ),
        (starting(), [active, unsubmitted, ""]),
        (running(), [active, "submitted", ""]),
        (lost(running()), [active, "submitted", "abandon"]),
        (after(starting(), [supersede()]), [active, unsubmitted, ""]),
        (stopping(StopKind::Yield), [active, "submitted", ""]),
        (lost(stopping(StopKind::Yield)), [active, "submitted", "abandon"]),
        (collecting(Event::Vanished), [active, "submitted", "collected"]),
        (after(starting(), [Event::Vanished]), [active, "collected", ""]),
    ] {
        let legal: Vec<_> = legal.iter().flat_map(|words| words.split_whitespace()).collect();
        for (name, event) in every_event() {
            let answer = state.clone().apply(event.clone(), &Retry::default());
            let from = told(&state);
            assert_eq!(answer.is_ok(), legal.contains(&name), "from `{from}`: {name}");
            if let Err(error) = answer {
                assert_eq!(error, Illegal { stage: state.stage, event: event.words() });
            }
        }
    }
}

#[test]
fn nothing_leads_out_of_a_final_stage() {
    let finals = [
        after(collecting(exited(0)), [collected(None)]),
        after(collecting(exited(1)), [collected(None)]),
        after(queued(), [command(Command::Cancel)]),
        State::born_superseded(AT),
        after(lost_three_times(), [Event::Vanished, collected(None), claim()]),
    ];
    let stages: Vec<_> = finals.iter().map(|state| state.stage).collect();
    assert_eq!(stages, Stage::ALL[4..], "one of each");
    for state in finals {
        for (name, event) in every_event() {
            let stays = state.clone().apply(event, &Retry::default());
            assert_eq!(stays.as_ref(), Ok(&state), "{}: {name}", state.stage);
        }
    }
}

const STOPS: [StopKind; 8] = [
    StopKind::Cancel,
    StopKind::CancelSaving,
    StopKind::Supersede,
    StopKind::Timeout,
    StopKind::Yield,
    StopKind::Stuck,
    StopKind::Restart,
    StopKind::Limit,
];

/// A wrong address is wrong on every machine: to try again costs GPUs and comes to the same.
#[test]
fn a_run_that_crashes_fails_at_once_and_one_that_is_killed_is_tried_again() {
    for crash in [4, 5, 6, 7, 8, 11, 31] {
        becomes(collecting(signalled(crash)), collected(None), "failed(training) 1/1/0/0 handle evidence");
    }
    for killed in [1, 9, 10, 15] {
        let again = "queued(backoff) 1/1/0/1 waits_for=backoff not_before=60000";
        becomes(collecting(signalled(killed)), collected(None), again);
    }
    let crashed = || collecting(signalled(11));
    let why = crashed().apply(collected(None), &Retry::default()).unwrap().reason.unwrap();
    assert_eq!(why.detail, "ended by signal 11 (SIGSEGV, it used memory that is not its own)");
    let listed = Retry { exit_codes: vec![139], ..Retry::default() };
    let again = crashed().apply(collected(None), &listed).unwrap();
    assert_eq!(again.stage, Stage::Queued, "unless the recipe says so");
}
