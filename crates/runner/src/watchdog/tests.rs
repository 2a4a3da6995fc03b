use swifthook_core::Measure;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A run that is looked at every five seconds.
struct Watched {
    dog: Watchdog,
    watch: Watch,
    now: Timestamp,
    progress: Progress,
    pulse: Pulse,
}

impl Watched {
    fn new() -> Self {
        let began = Timestamp(1_000_000);
        Self {
            dog: Watchdog::new(began, None),
            watch: Watch::default(),
            now: began,
            progress: Progress::default(),
            pulse: Pulse::default(),
        }
    }

    /// Lets so much time go by, and gives what is told meanwhile.
    fn wait(&mut self, time: Duration) -> Vec<Finding> {
        let until = self.now.after(time);
        let mut found = Vec::new();
        while self.now < until {
            self.now = self.now.after(5 * SECOND).min(until);
            found.extend(self.dog.see(&self.watch, self.now, &self.progress, &self.pulse));
        }
        found
    }

    fn told(&mut self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.progress);
        self.pulse = Pulse { written_at: Some(self.now), told_at: Some(self.now) };
    }

    /// So many steps of so long each, at a loss that hardly moves.
    fn steps(&mut self, count: u64, each: Duration) -> Vec<Finding> {
        let mut found = Vec::new();
        for _ in 0..count {
            found.extend(self.wait(each));
            self.told(|progress| {
                let step = progress.step.unwrap_or(0) + 1;
                progress.step = Some(step);
                progress.loss = Some(2.0 + 0.05 * (step % 3) as f64);
                progress.seconds_per_step = Some(each.as_secs_f64());
            });
        }
        found
    }
}

fn words(found: &[Finding]) -> Vec<String> {
    let word = |finding: &Finding| match finding {
        Finding::Alarm(why) => why.word.to_string(),
        Finding::AllWell => "well".to_owned(),
    };
    found.iter().map(word).collect()
}

proptest::proptest! {
    #[test]
    fn a_run_that_stops_is_told_when_its_limit_is_over_and_never_before(
        each_s in 1u64..400,
        count in 5u64..40,
        factor in 2u32..9,
        floor_s in 60u64..2_000,
    ) {
        // Before its first line nobody knows how long that takes.
        proptest::prop_assume!(each_s <= 3 * floor_s);
        let mut run = Watched::new();
        run.watch = Watch { factor, at_least: Duration::from_secs(floor_s), ..run.watch };
        let limit = Duration::from_secs((u64::from(factor) * each_s).max(floor_s));
        proptest::prop_assert_eq!(run.steps(count, Duration::from_secs(each_s)), []);
        proptest::prop_assert_eq!(run.wait(limit), []);
        proptest::prop_assert_eq!(words(&run.wait(2 * SECOND * 5)), ["silent"]);
    }
}

#[test]
fn a_steady_run_of_any_pace_is_left_in_peace() {
    for each in [SECOND / 10, SECOND, 30 * SECOND, 900 * SECOND] {
        let mut run = Watched::new();
        assert_eq!(run.steps(100, each), [], "{each:?}");
    }
}

#[test]
fn silence_of_several_steps_is_told_once_with_what_was_usual_and_so_is_its_end() {
    let mut run = Watched::new();
    run.steps(20, 300 * SECOND);
    assert_eq!(run.wait(24 * 60 * SECOND), []);
    let found = run.wait(3_600 * SECOND);
    let [Finding::Alarm(why)] = &found[..] else { panic!("{found:?}") };
    assert_eq!(
        why.to_string(),
        "silent: nothing was heard of it for 25 min, after step 20, where its lines took 5 min each"
    );
    assert_eq!(words(&run.steps(3, 300 * SECOND)), ["well"]);
}

#[test]
fn of_a_quick_run_the_floor_counts() {
    let mut run = Watched::new();
    run.steps(50, SECOND);
    assert_eq!(run.wait(595 * SECOND), []);
    assert_eq!(words(&run.wait(10 * SECOND)), ["silent"]);
}

#[test]
fn before_its_first_step_a_run_has_three_times_as_long() {
    for has_written in [false, true] {
        let mut run = Watched::new();
        if has_written {
            run.pulse.written_at = Some(run.now);
        }
        assert_eq!(run.wait(1_795 * SECOND), []);
        assert_eq!(words(&run.wait(10 * SECOND)), ["silent"]);
        assert_eq!(words(&run.steps(2, SECOND)), ["well"]);
    }
}

#[test]
fn a_run_that_writes_and_does_not_get_on_is_stalled() {
    let mut run = Watched::new();
    run.steps(50, SECOND);
    let mut found = Vec::new();
    for _ in 0..400 {
        found.extend(run.wait(5 * SECOND));
        run.pulse.written_at = Some(run.now);
    }
    assert_eq!(words(&found), ["stalled"]);
}

#[test]
fn an_evaluation_takes_as_long_as_it_did_before_where_one_may_come() {
    let mut run = Watched::new();
    for round in 0..3 {
        assert_eq!(run.steps(100, SECOND), [], "round {round}");
        // The first one is not known of, and shorter than the floor.
        assert_eq!(run.wait(590 * SECOND), []);
        run.told(|progress| progress.eval_loss = Some(3.0 - f64::from(round)));
        run.wait(5 * SECOND);
    }
    run.steps(100, SECOND);
    assert_eq!(run.wait(2_900 * SECOND), [], "five times as long");
    assert_eq!(words(&run.wait(100 * SECOND)), ["silent"]);

    let mut run = Watched::new();
    run.steps(100, SECOND);
    run.wait(590 * SECOND);
    run.told(|progress| progress.eval_loss = Some(3.0));
    run.steps(50, SECOND);
    assert_eq!(words(&run.wait(700 * SECOND)), ["silent"], "none comes after step 150");
}

#[test]
fn the_same_holds_for_checkpoints() {
    let mut run = Watched::new();
    for round in 1..4 {
        assert_eq!(run.steps(100, SECOND), []);
        assert_eq!(run.wait(500 * SECOND), []);
        run.told(|progress| progress.checkpoint = Some(100 * round));
        run.wait(5 * SECOND);
    }
    run.steps(100, SECOND);
    assert_eq!(run.wait(2_400 * SECOND), []);
    assert_eq!(words(&run.wait(200 * SECOND)), ["silent"]);
}

#[test]
fn a_loss_that_is_no_number_is_told_at_once() {
    let mut run = Watched::new();
    run.steps(3, SECOND);
    run.told(|progress| (progress.step, progress.loss, progress.loss_is_nan) = (Some(4), None, true));
    let found = run.wait(5 * SECOND);
    assert_eq!(found, [Finding::Alarm(Reason::new("nan", "the loss is no number at step 4"))]);
    assert_eq!(run.wait(5 * SECOND), [], "once");
}

#[test]
fn so_is_any_other_measure_where_the_loss_is_hidden() {
    let mut run = Watched::new();
    run.steps(3, SECOND);
    run.told(|progress| (progress.step, progress.diverged) = (Some(4), Some(Measure::EvalLoss)));
    let why = "the loss on the validation data is no number at step 4";
    assert_eq!(run.wait(5 * SECOND), [Finding::Alarm(Reason::new("nan", why))]);
    run.told(|progress| (progress.step, progress.diverged) = (Some(5), None));
    assert_eq!(words(&run.wait(5 * SECOND)), ["well"]);
}

#[test]
fn a_loss_far_above_its_band_is_told_and_one_odd_line_is_not() {
    let mut run = Watched::new();
    let lines = |run: &mut Watched, losses: &[f64]| {
        let mut found = Vec::new();
        for loss in losses {
            run.told(|progress| {
                progress.step = Some(progress.step.unwrap_or(0) + 1);
                progress.loss = Some(*loss);
            });
            found.extend(run.wait(5 * SECOND));
        }
        found
    };
    run.steps(40, SECOND);
    assert_eq!(lines(&mut run, &[40.0, 2.0, 40.0, 40.0, 2.0]), []);
    assert_eq!(words(&lines(&mut run, &[40.0, 41.0, 42.0, 43.0])), ["loss"]);
    assert_eq!(words(&lines(&mut run, &[2.0])), ["well"]);
    // As at the beginning of a training, where nothing is known of a band.
    let mut young = Watched::new();
    assert_eq!(lines(&mut young, &[9.0, 7.0, 90.0, 91.0, 92.0]), []);
}

#[test]
fn a_run_that_was_taken_over_is_known_by_its_own_pace_and_by_when_it_last_wrote() {
    let mut run = Watched::new();
    run.now = run.now.after(86_400 * SECOND);
    run.dog = Watchdog::new(Timestamp(1_000_000), Some("silent".to_owned()));
    run.told(|progress| (progress.step, progress.seconds_per_step) = (Some(7), Some(400.0)));
    run.now = run.now.after(1_990 * SECOND);
    assert_eq!(
        words(&run.wait(5 * SECOND)),
        ["well"],
        "five steps are not over, and it was told to be silent"
    );
    assert_eq!(words(&run.wait(10 * SECOND)), ["silent"]);
}

#[test]
fn a_clock_that_goes_back_alarms_nobody() {
    let mut run = Watched::new();
    run.steps(10, SECOND);
    run.now = Timestamp(run.now.0 - 50_000_000);
    assert_eq!(run.wait(5 * SECOND), []);
}
