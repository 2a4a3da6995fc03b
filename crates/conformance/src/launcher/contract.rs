//! What every launcher promises, whatever it runs on: a cluster that is simulated passes this too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use swifthook_core::{Exit, Problem, RunHandle, RunKey, RunSpec, RunStatus, Stop, TrainingLauncher};

use super::harness::new_key;

/// A world in which a launcher works, for one test.
pub trait Ground: Send + Sync {
    /// A launcher that knows only what the world keeps: dropping it and making another is a restart.
    fn launcher(&self) -> Arc<dyn TrainingLauncher>;

    /// A run that goes so.
    fn run(&self, key: &RunKey, plan: Plan) -> RunSpec;

    /// How often a run of this key has begun.
    fn begun(&self, key: &RunKey) -> usize;

    /// What the run has written so far, which may be nothing; `None` where no run writes anything.
    fn log(&self, key: &RunKey) -> Option<String>;

    /// Takes away what the launcher needs to tell how its runs are, and leaves them running.
    fn cut_off(&self);

    /// Gives it back.
    fn reconnect(&self);

    /// Lets time pass.
    fn pass(&self, time: Duration) -> impl Future<Output = ()> + Send
    where
        Self: Sized;
}

/// How a run goes if nobody stops it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// It writes a line, and exits with this code.
    Exits(i32),
    /// A signal that nobody here sends ends it.
    Killed(i32),
    /// It goes on, and ends when it is asked to.
    Lasts,
}

/// Also after its end, and by a launcher that knows nothing of the first submission.
pub async fn a_key_that_is_submitted_again_has_one_run(ground: &impl Ground) {
    for plan in [Plan::Lasts, Plan::Exits(0)] {
        let key = new_key();
        let run = ground.run(&key, plan);
        let first = ground.launcher().submit(&key, &run).await.expect("it is started");
        if plan == Plan::Exits(0) {
            ended(ground, &first).await;
        }
        assert_eq!(ground.launcher().submit(&key, &run).await.expect("it is found"), first);
        assert_eq!(ground.launcher().find(&key).await.expect("it can tell"), Some(first.clone()));
        end(ground, &first).await;
        assert_eq!(ground.begun(&key), 1);
    }
}

/// The handle of the first submission was never recorded.
pub async fn a_run_is_found_by_its_key_alone(ground: &impl Ground) {
    let key = new_key();
    assert_eq!(ground.launcher().find(&key).await.expect("it can tell"), None);
    drop(ground.launcher().submit(&key, &ground.run(&key, Plan::Lasts)).await.expect("it is started"));
    let found = ground.launcher().find(&key).await.expect("it can tell").expect("it is found");
    assert!(matches!(status(ground, &found).await, RunStatus::Running(_) | RunStatus::Pending(_)));
    end(ground, &found).await;
    assert_eq!(ground.begun(&key), 1);
}

/// Whoever was about to submit it is refused for good.
pub async fn a_key_that_was_forbidden_has_no_run(ground: &impl Ground) {
    let key = new_key();
    assert_eq!(ground.launcher().forbid(&key).await.expect("it can tell"), None);
    let refused =
        ground.launcher().submit(&key, &ground.run(&key, Plan::Lasts)).await.expect_err("it is not wanted");
    assert!(refused.is_permanent(), "{refused}");
    assert_eq!(ground.launcher().find(&key).await.expect("it can tell"), None);
    assert_eq!(ground.begun(&key), 0);
}

/// Those too that other programs give a meaning.
pub async fn every_end_is_told_as_it_was(ground: &impl Ground) {
    for code in [0, 1, 2, 137, 143, 241, 247] {
        let exit = run(ground, Plan::Exits(code)).await;
        assert_eq!((exit.code, exit.signal, exit.stopped), (Some(code), None, None));
    }
    for signal in [9, 15] {
        let exit = run(ground, Plan::Killed(signal)).await;
        assert_eq!((exit.code, exit.signal, exit.stopped), (None, Some(signal), None));
    }
}

/// While it starts, twice, and after its end.
pub async fn a_run_may_be_stopped_at_any_time(ground: &impl Ground) {
    for how in [Stop::Kill, Stop::Grace(Duration::from_secs(20)), Stop::Yield] {
        let key = new_key();
        let launcher = ground.launcher();
        let handle = launcher.submit(&key, &ground.run(&key, Plan::Lasts)).await.expect("it is started");
        for _ in 0..2 {
            launcher.stop(&handle, how).await.expect("it can be asked");
        }
        let exit = ended(ground, &handle).await;
        assert!(!exit.is_success(), "{exit:?}");
        launcher.stop(&handle, Stop::Kill).await.expect("a run that has ended can be asked to");
        assert_eq!(ended(ground, &handle).await, exit);
    }
}

/// Also by a launcher that was made after its end.
pub async fn the_log_of_a_run_stays_when_it_has_ended(ground: &impl Ground) {
    let key = new_key();
    let run = ground.run(&key, Plan::Exits(3));
    let handle = ground.launcher().submit(&key, &run).await.expect("it is started");
    ended(ground, &handle).await;
    if let Some(log) = ground.log(&key) {
        assert!(!log.is_empty());
        drop(ground.launcher());
        assert_eq!(ground.log(&key), Some(log));
    }
}

/// For a minute it is out of reach: that is no end, nothing is taken for a run that never began, no key gets a second
/// run, and how it ended meanwhile is told afterwards.
pub async fn a_run_out_of_reach_is_not_lost(ground: &impl Ground) {
    let (lasting, ending, unknown) = (new_key(), new_key(), new_key());
    let launcher = ground.launcher();
    let run_of_lasting = ground.run(&lasting, Plan::Lasts);
    let lasts = launcher.submit(&lasting, &run_of_lasting).await.expect("it is started");
    let ends = launcher.submit(&ending, &ground.run(&ending, Plan::Exits(7))).await.expect("it is started");
    ended(ground, &ends).await;
    begins(ground, &lasting, &lasts).await;
    ground.cut_off();
    for _ in 0..4 {
        for (key, handle) in [(&lasting, &lasts), (&ending, &ends)] {
            match launcher.poll(handle).await {
                Ok(RunStatus::Unreachable { .. }) => {}
                Ok(other) => panic!("out of reach, and {other:?}"),
                Err(error) => assert!(!error.is_permanent(), "{error}"),
            }
            for answer in [launcher.find(key).await, launcher.forbid(key).await] {
                assert!(answer.is_err_and(|error| !error.is_permanent()), "it cannot know");
            }
        }
        let refused =
            launcher.submit(&lasting, &run_of_lasting).await.expect_err("it cannot know of the first");
        assert!(!refused.is_permanent(), "{refused}");
        assert!(launcher.find(&unknown).await.is_err(), "it cannot know that there is none");
        ground.pass(Duration::from_secs(15)).await;
    }
    ground.reconnect();
    let after = status(ground, &lasts).await;
    assert!(matches!(after, RunStatus::Running(_)), "it did not go on, it is {after:?}");
    assert_eq!(ended(ground, &ends).await.code, Some(7));
    end(ground, &lasts).await;
    assert_eq!((ground.begun(&lasting), ground.begun(&ending)), (1, 1));
}

async fn run(ground: &impl Ground, plan: Plan) -> Exit {
    let key = new_key();
    let handle = ground.launcher().submit(&key, &ground.run(&key, plan)).await.expect("it is started");
    ended(ground, &handle).await
}

async fn status(ground: &impl Ground, run: &RunHandle) -> RunStatus {
    ground.launcher().poll(run).await.expect("it can tell")
}

/// Ends a run, if it has not.
async fn end(ground: &impl Ground, run: &RunHandle) {
    ground.launcher().stop(run, Stop::Kill).await.expect("it can be asked");
    ended(ground, run).await;
}

/// Waits until a run that lasts is at work, as far as one can see: what is cut off while it starts may not start.
async fn begins(ground: &impl Ground, key: &RunKey, run: &RunHandle) {
    let deadline = Instant::now() + PATIENCE;
    // One for all of it: an output that comes from afar takes longer than one look.
    let launcher = ground.launcher();
    loop {
        let is_at_work = ground.log(key).is_none_or(|log| !log.is_empty());
        match launcher.poll(run).await.expect("it can tell") {
            RunStatus::Running(_) if is_at_work => return,
            RunStatus::Running(_) | RunStatus::Pending(_) => {
                assert!(Instant::now() < deadline, "the run does not begin");
            }
            other => panic!("it should last, and is {other:?}"),
        }
        ground.pass(Duration::from_millis(5)).await;
    }
}

async fn ended(ground: &impl Ground, run: &RunHandle) -> Exit {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match status(ground, run).await {
            RunStatus::Ended(exit) => return exit,
            RunStatus::Vanished => panic!("it should have ended, and has vanished"),
            _ => assert!(Instant::now() < deadline, "the run does not end"),
        }
        ground.pass(Duration::from_millis(5)).await;
    }
}

/// Longer than the grace of a run with what its world adds to it: a minute passes on a real node over a pod that is not
/// wanted any more while it is made.
const PATIENCE: Duration = Duration::from_secs(120);
