//! Laws that hold over every sequence of events, whether they fit or not.

use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;
use crate::policy::Verdict;

fn stop_kind() -> impl Strategy<Value = StopKind> {
    prop_oneof![
        Just(StopKind::Cancel),
        Just(StopKind::CancelSaving),
        Just(StopKind::Supersede),
        Just(StopKind::Timeout),
        Just(StopKind::Yield),
        Just(StopKind::Stuck),
        Just(StopKind::Restart),
        Just(StopKind::Limit)
    ]
}

fn hold() -> impl Strategy<Value = HoldReason> {
    prop_oneof![
        Just(HoldReason::NeedsDiff(Gap::Caps)),
        Just(HoldReason::Approval),
        Just(HoldReason::Budget),
        Just(HoldReason::TooManyJobs(300)),
        Just(HoldReason::TooManyPaths(300)),
    ]
}

fn exit() -> impl Strategy<Value = Exit> {
    let codes = prop_oneof![Just(Some(0)), Just(Some(1)), Just(Some(137)), Just(None)];
    let signals = prop_oneof![3 => Just(None), 1 => Just(Some(9))];
    let stops = prop::option::weighted(0.3, stop_kind());
    let full = prop::option::weighted(0.2, (0..120u64).prop_map(Duration::from_secs));
    let exits = (codes, signals, stops, full, prop::bool::weighted(0.1));
    exits.prop_map(|(code, signal, stopped, out_of_gpu_memory_after, refused)| Exit {
        code,
        signal,
        stopped,
        out_of_gpu_memory_after,
        refused,
        ..Exit::default()
    })
}

fn command_kind() -> impl Strategy<Value = Command> {
    prop_oneof![
        Just(Command::Approve),
        Just(Command::Reject),
        Just(Command::Cancel),
        Just(Command::CancelSaving),
        Just(Command::Yield),
        Just(Command::Retry),
        Just(Command::Abandon),
        Just(Command::BeginAnew),
    ]
}

fn answer() -> impl Strategy<Value = Diffed> {
    prop_oneof![
        Just(Diffed::Launch(None)),
        hold().prop_map(Diffed::Hold),
        Just(Diffed::Skip(Reason::new("paths", "none matches"))),
        Just(Diffed::Expand { jobs: Vec::new(), verdict: Verdict::launch() }),
        Just(Diffed::Failed { message: "no route".into(), until: LATER }),
    ]
}

/// Any event; those that lead on come more often, so that sequences get far.
fn event() -> impl Strategy<Value = Event> {
    let on_its_way = prop_oneof![
        2 => Just(claim()),
        2 => Just(start()),
        2 => Just(start_on_gpus()),
        3 => Just(submitted()),
        2 => Just(Event::Seen),
        3 => exit().prop_map(Event::Ended),
        2 => Just(Event::Vanished),
        5 => any::<Option<bool>>().prop_map(collected),
        1 => (1..5u32, 1..100u64).prop_map(|(attempt, step)| saved(attempt, step)),
        3 => Just(takeover()),
    ];
    let beside_it = prop_oneof![
        Just(not_before()),
        Just(no_gpus()),
        Just(prepared()),
        Just(warned()),
        Just(Event::Warned(Vec::new())),
        hold().prop_map(Event::Hold),
        Just(no_longer()),
        Just(checkpoint_lost()),
        Just(watched()),
        Just(Event::Watched(None)),
        answer().prop_map(diffed),
        any::<bool>().prop_map(refused),
        Just(Event::NeverRan),
        Just(unreachable()),
        stop_kind().prop_map(Event::StopWanted),
        Just(Event::Release),
        Just(Event::CauseGone),
        Just(Event::Expire { at: AT }),
        Just(supersede()),
        command_kind().prop_map(command),
    ];
    prop_oneof![4 => on_its_way, 1 => beside_it]
}

fn first() -> impl Strategy<Value = State> {
    prop_oneof![3 => Just(queued()), 1 => hold().prop_map(State::held), 1 => Just(starting())]
}

/// Every step that was taken: the state before, the event, the state after.
fn steps(first: State, events: Vec<Event>) -> Vec<(State, Event, State)> {
    let retry = Retry::default();
    let mut state = first;
    let mut steps = Vec::new();
    for event in events {
        if let Ok(next) = state.clone().apply(event.clone(), &retry) {
            steps.push((state, event, next.clone()));
            state = next;
        }
    }
    steps
}

proptest! {
    #[test]
    fn laws_of_every_single_step(first in first(), events in prop::collection::vec(event(), 1..60)) {
        for (before, event, after) in steps(first, events) {
            if before.stage.is_final() {
                prop_assert_eq!(&after, &before, "final states absorb");
            }
            prop_assert!(after.epoch >= before.epoch, "an epoch never falls");
            if after.attempt > before.attempt {
                let is_start = matches!(event, Event::Start { .. });
                prop_assert!(is_start && before.stage == Stage::Queued, "attempts rise out of queued");
                prop_assert_eq!(after.attempt, before.attempt + 1);
            }
            if after.attempt < before.attempt {
                let is_refused = matches!(event, Event::Refused { is_permanent: false, .. });
                prop_assert!(is_refused, "only an attempt that never came about is taken back");
            }
            if matches!(event, Event::Seen) && before.evidence.is_none() && before.stage.is_active() {
                prop_assert_eq!(after.crashes, 0);
            }
            if before.stage.is_active() && after.stage.is_active() {
                prop_assert_eq!(&after.gpus, &before.gpus, "an attempt keeps its GPUs");
            }
            if after.retries > before.retries {
                prop_assert_eq!(after.found_gpu_full, before.found_gpu_full, "to find a GPU full is no retry");
            }
            if after.crashes > before.crashes {
                let may_count = matches!(event, Event::Start { .. } | Event::Takeover { .. });
                prop_assert!(may_count, "only a start and a change of worker count a crash");
            }
        }
    }

    #[test]
    fn laws_of_every_state(first in first(), events in prop::collection::vec(event(), 1..60)) {
        for (_, _, state) in steps(first, events) {
            if state.evidence.is_some() {
                prop_assert!(state.stage == Stage::Finishing || state.stage.is_final());
                prop_assert!(!state.may_have_run());
            }
            let waits = matches!(state.stage, Stage::Queued | Stage::Held);
            if waits {
                prop_assert!(state.handle.is_none() && state.stop.is_none() && state.unreachable_since.is_none());
            }
            prop_assert_eq!(state.hold.is_some(), state.stage == Stage::Held);
            prop_assert_eq!(state.finished_at.is_some(), state.stage.is_final());
            prop_assert!(state.attempt > 0 || !state.stage.is_active());
            prop_assert!(!waits || state.gpus.is_none(), "what waits has no GPUs");
            let waits_for_gpus = state.stage == Stage::Queued && state.waits_for == Some(Wait::Gpu);
            prop_assert!(waits_for_gpus || state.gpu_request.is_none());
            let knows_why = state.stop.is_some() || state.evidence.is_some() || state.is_poison;
            prop_assert!(knows_why || state.stage != Stage::Finishing);
        }
    }

    #[test]
    fn between_two_attempts_the_first_is_known_to_be_over(
        first in first(),
        events in prop::collection::vec(event(), 1..80),
    ) {
        let mut is_open = first.may_have_run();
        for (before, event, after) in steps(first, events) {
            if after.attempt > before.attempt {
                prop_assert!(!is_open, "attempt {} began while another may run", after.attempt);
                is_open = true;
            }
            if matches!(event, Event::Ended(_) | Event::Vanished | Event::Refused { .. } | Event::NeverRan) {
                is_open = false;
            }
        }
    }

    #[test]
    fn the_first_stop_stays_and_what_is_for_good_replaces_only_a_yield(
        first in first(),
        events in prop::collection::vec(event(), 1..60),
    ) {
        for (before, _, after) in steps(first, events) {
            if let (Some(old), Some(new)) = (before.stop, after.stop) {
                let is_replaced = match old {
                    StopKind::Yield => {
                        matches!(new, StopKind::Cancel | StopKind::CancelSaving | StopKind::Supersede)
                    }
                    StopKind::CancelSaving => new == StopKind::Cancel,
                    _ => false,
                };
                prop_assert!(old == new || is_replaced, "{old:?} became {new:?}");
            }
        }
    }

    #[test]
    fn a_state_survives_being_stored(first in first(), events in prop::collection::vec(event(), 0..40)) {
        let last = steps(first.clone(), events).pop().map_or(first, |(_, _, last)| last);
        let stored = serde_json::to_string(&last).unwrap();
        prop_assert_eq!(serde_json::from_str::<State>(&stored).unwrap(), last);
    }
}

#[test]
fn the_sequences_get_as_far_as_every_stage() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let sequences = (first(), prop::collection::vec(event(), 1..60));
    let mut reached = std::collections::HashSet::new();
    for _ in 0..500 {
        let (first, events) = sequences.new_tree(&mut runner).unwrap().current();
        reached.extend(steps(first, events).into_iter().map(|(_, _, state)| state.stage));
    }
    assert_eq!(reached.len(), Stage::ALL.len(), "{reached:?}");
}
