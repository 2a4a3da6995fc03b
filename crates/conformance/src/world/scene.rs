//! What the world is made of: recipes, pushes, runs, and which end of a job fits its runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use swifthook_core::{
    Admission, Admit, ChangeSet, Debounce, Dialect, Fleet, Gap, GpuRequest, HoldReason, Job, Origin,
    PathChange, Paths, Push, Reason, Recipe, Retry, RunStatus, Stage, Stop, Superseding, Timestamp,
    TriggerPolicy, Verdict, Wait, WorkspaceError, condition,
};

use super::launcher::{Course, Ending, RunRecord};
use super::pushes::{self, repository};
use super::random::Random;

/// One recipe for each way in which newer pushes treat older ones, and one that looks at the changed files.
pub(super) fn recipes() -> Arc<[Arc<Recipe>]> {
    let retry = Retry { attempts: 3, backoff: Duration::from_secs(20), exit_codes: vec![75] };
    let keeps = Recipe { superseded: Superseding::Keep, ..Recipe::new("keeps", repository(), Everything) };
    let queues = Recipe { priority: 1, ..Recipe::new("queues", repository(), Everything) };
    let hurries = Recipe {
        superseded: Superseding::CancelRunning,
        debounce: Some(Debounce { quiet: Duration::from_secs(10), at_most: Duration::from_secs(30) }),
        ..Recipe::new("hurries", repository(), Everything)
    };
    let paths = condition::paths(["configs/**"]).expect("it is a pattern");
    let picks = Recipe::new("picks", repository(), paths);
    [keeps, queues, hurries, picks].map(|recipe| Arc::new(Recipe { retry: retry.clone(), ..recipe })).into()
}

/// What recipes ask of a machine with four GPUs: one, several, or none.
pub(super) fn gpu_request(recipe: &str) -> Option<GpuRequest> {
    let count = match recipe {
        "keeps" => 1,
        "hurries" => 2,
        "picks" => 3,
        _ => return None,
    };
    Some(GpuRequest { min_free_memory: 20 << 30, ..GpuRequest::of(count) })
}

pub(super) fn push(random: &mut Random, number: u64) -> Push {
    let branch = ["main", "release/1", "topic"][random.below(3)];
    let push = pushes::push(branch, number);
    let changes = match random.below(4) {
        0 => ChangeSet::Incomplete(Paths::empty(), Gap::Forced),
        1 => ChangeSet::Complete(changed("README.md")),
        2 => ChangeSet::Complete(changed("configs/sft.yaml")),
        // One of Gitea's: it says neither when it was made nor whether it was forced.
        _ => {
            let changes = ChangeSet::Incomplete(changed("configs/sft.yaml"), Gap::MaybeForced);
            let origin = Origin { dialect: Dialect::Gitea, ..Origin::default() };
            return Push { changes, origin, pushed_at: None, ..push };
        }
    };
    Push { changes, ..push }
}

/// The same ref comes to the same commit from another one, by force or so that the files are listed; now and then from
/// itself, as GitHub Enterprise tells of a push at first.
pub(super) fn repetition(random: &mut Random, push: Push, number: u64) -> Push {
    let guid = format!("again-{number}").into();
    let source = swifthook_core::Source::Hook { hook: "github".into(), guid };
    let before = if random.once_in(4) { push.head.clone() } else { pushes::commit(1_000_000 + number) };
    let changes = match random.below(3) {
        0 => ChangeSet::Incomplete(Paths::empty(), Gap::Forced),
        1 => ChangeSet::Complete(changed("README.md")),
        _ => ChangeSet::Complete(changed("configs/sft.yaml")),
    };
    Push { before, changes, source, ..push }
}

pub(super) fn diff(random: &mut Random) -> Result<ChangeSet, WorkspaceError> {
    match random.below(3) {
        0 => Err(WorkspaceError::passing("the server does not answer")),
        1 => Ok(ChangeSet::Complete(changed("README.md"))),
        _ => Ok(ChangeSet::Complete(changed("configs/sft.yaml"))),
    }
}

pub(super) fn course(random: &mut Random) -> Course {
    let longest = if random.once_in(8) { 600 } else { 90 };
    let ending = match random.below(10) {
        0 => Ending::Exits(1),
        1 => Ending::Exits(75),
        2 => Ending::Killed(9),
        3 => Ending::Vanishes,
        4 if random.once_in(2) => Ending::OutOfGpuMemory,
        _ => Ending::Exits(0),
    };
    Course {
        lasts: random.within(Duration::from_millis(5)..Duration::from_secs(longest)),
        ending,
        steps: if random.once_in(4) { 0 } else { 50 },
        obeys_after: random.within(Duration::ZERO..Duration::from_secs(40)),
        heeds_grace: random.once_in(2),
        saves: if random.once_in(2) { 0 } else { 7 },
        memory_gib: None,
        diverged: None,
    }
}

/// Mostly says yes, and never says no for ever.
#[derive(Default)]
pub(super) struct Moody {
    is_calm: AtomicBool,
}

impl Moody {
    /// From now on it says yes alone.
    pub(super) fn calm_down(&self) {
        self.is_calm.store(true, Ordering::Relaxed);
    }

    fn is_calm(&self) -> bool {
        self.is_calm.load(Ordering::Relaxed)
    }
}

impl Admission for Moody {
    fn admit(&self, job: &Job, now: Timestamp, _fleet: &Fleet) -> Admit {
        let minute = now.0.unsigned_abs() / 60_000;
        let id = u64::from_be_bytes(job.id.0[..8].try_into().expect("an id has 16 bytes"));
        let mut random = Random::new(id ^ minute);
        match random.below(40) {
            _ if self.is_calm() => Admit::Now,
            0..=5 => Admit::NotBefore(
                now.after(Duration::from_secs(45)),
                Wait::Window,
                "the hour is wrong".to_owned(),
            ),
            6 => Admit::Hold(HoldReason::Budget),
            7 => Admit::NoLonger(Reason::new("schedule", "its hours are over")),
            _ => Admit::Now,
        }
    }

    /// Now and then its hours are over.
    fn makes_way(&self, job: &Job, now: Timestamp) -> Option<String> {
        let id = u64::from_be_bytes(job.id.0[..8].try_into().expect("an id has 16 bytes"));
        let is_over = Random::new(!id ^ (now.0.unsigned_abs() / 60_000)).once_in(12);
        (is_over && !self.is_calm()).then(|| "the hour is over".to_owned())
    }
}

/// What is wrong with how `job` ended, given all runs.
pub(super) fn wrong_end(job: &Job, runs: &[RunRecord]) -> Option<String> {
    let state = &job.state;
    let own = runs.iter().filter(|run| run.key.job == job.id);
    let last = own.clone().max_by_key(|run| run.key.attempt);
    let succeeded = |run: &&RunRecord| matches!(&run.status, RunStatus::Ended(exit) if exit.is_success());
    let has_success = own.clone().any(|run| succeeded(&run));
    // Of a run that ended well when it was to make way, and does not count its steps, nobody knows whether it was done.
    let is_sure = own.clone().filter(succeeded).any(|run| !run.stops.contains(&Stop::Yield));
    let word = state.reason.as_ref().map_or("", |reason| &reason.word);
    let is_right = match (state.stage, word) {
        (Stage::Succeeded, _) => has_success,
        (Stage::Failed, "training") => {
            last.is_some_and(|run| matches!(&run.status, RunStatus::Ended(exit) if !exit.is_success()))
        }
        (stage, _) => stage.is_final() && (stage != Stage::Failed || !is_sure),
    };
    let last = last.map(|run| (run.key.attempt, &run.status));
    (!is_right).then(|| format!("{} ended {} ({word}), and its last run was {last:?}", job.id, state.stage))
}

fn changed(path: &str) -> Paths {
    [(path, PathChange::Present)].into_iter().collect()
}

struct Everything;

impl TriggerPolicy for Everything {
    fn decide(&self, _push: &Push, _now: Timestamp) -> Verdict {
        Verdict::launch()
    }
}
