//! Pushes that repeat a commit from another one: what trained answers all of them, what did not answers its own alone.

use std::time::Duration;

use swifthook_core::{
    Admitted, Command, Diffed, Event, Gap, HoldReason, JobId, Reason, Source, Stage, Verdict,
};

use super::bench::{DurableBench, QueueBench};
use super::retention::remove_all;
use super::scene::{Delivered, Scene, hook, is_illegal, spec_for, worker};

/// A branch is created at a commit that changes nothing, goes on to another one that changes a config, and is forced
/// back: now the config has changed, the other way.
pub(super) async fn a_branch_that_is_forced_back_is_asked_about_again(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let created = undiffed(1).from(hook("github", "a"));
    let first = scene.accept(&created).await.id;
    diffed(&scene, first, nothing()).await;
    let on = scene.accept(&Delivered::new(2).after(1)).await.id;
    scene.bring_to(on, Stage::Succeeded).await;

    let back = undiffed(1).after(2).from(hook("github", "b"));
    let forced = scene.accept(&back).await;
    assert_eq!((forced.admitted, forced.stage), (Admitted::New, Stage::Held));
    assert_ne!(forced.id, first);
    assert_eq!(scene.job(forced.id).await.rerun_of, None, "it repeats nothing");
    diffed(&scene, forced.id, Diffed::Launch(None)).await;
    scene.bring_to(forced.id, Stage::Succeeded).await;

    for push in [created, back, undiffed(1).after(3)] {
        let again = scene.accept(&push).await;
        assert_eq!((again.id, again.admitted), (forced.id, Admitted::Duplicate), "one commit trains once");
    }
}

/// Forced from elsewhere to a commit it trains what differs; forced to the same commit from another one, what differs
/// then and has not trained.
pub(super) async fn a_commit_that_comes_again_expands_into_what_has_not_trained(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let first = scene.accept(&undiffed(1).after(9)).await.id;
    diffed(&scene, first, expand(&["a.yaml"])).await;
    let a = of_config(&scene, "a.yaml").await;
    scene.bring_to(a, Stage::Succeeded).await;
    scene.receive(&Delivered::new(2).after(1).skipped()).await;

    let again = scene.accept(&undiffed(1).after(2)).await;
    assert_eq!((again.admitted, again.stage), (Admitted::New, Stage::Held));
    diffed(&scene, again.id, expand(&["a.yaml", "b.yaml"])).await;
    let b = of_config(&scene, "b.yaml").await;
    assert_eq!((scene.stage(b).await, of_config(&scene, "a.yaml").await), (Stage::Queued, a));
    scene.bring_to(b, Stage::Succeeded).await;
    for (before, id) in [(9, first), (2, again.id)] {
        let redelivery = scene.accept(&undiffed(1).after(before)).await;
        assert_eq!((redelivery.id, redelivery.admitted), (id, Admitted::Duplicate));
    }
}

/// GitHub Enterprise tells first of a push that moved nothing, and then of the real one.
pub(super) async fn a_push_that_moved_nothing_hides_no_other(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let empty = scene.accept(&undiffed(1).after(1)).await.id;
    diffed(&scene, empty, nothing()).await;
    let real = scene.accept(&Delivered::new(1).after(9)).await;
    assert_eq!((real.admitted, real.stage), (Admitted::New, Stage::Queued));
    scene.bring_to(real.id, Stage::Succeeded).await;
    let again = scene.accept(&undiffed(1).after(1)).await;
    assert_eq!((again.id, again.admitted), (real.id, Admitted::Duplicate));
}

pub(super) async fn what_trains_or_has_trained_answers_every_push_of_its_commit(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let ends = [Stage::Queued, Stage::Running, Stage::Finishing, Stage::Succeeded, Stage::Failed];
    for (head, stage) in (1..).zip(ends.into_iter().chain([Stage::Cancelled, Stage::Quarantined])) {
        for is_removed in [false, true] {
            let head = if is_removed { head + 100 } else { head };
            let id = scene.accept(&alone(head)).await.id;
            match stage {
                Stage::Queued => {}
                Stage::Running => drop(scene.submit(&worker("w"), id).await),
                Stage::Finishing | Stage::Cancelled => {
                    let lease = scene.submit(&worker("w"), id).await.lease;
                    scene.command(id, Command::Cancel).await.expect("it runs");
                    if stage == Stage::Cancelled {
                        scene.apply(&lease, Event::Vanished).await;
                        scene.collect(&lease).await;
                    }
                }
                end => scene.bring_to(id, end).await,
            }
            assert_eq!(scene.stage(id).await, stage);
            if is_removed {
                remove_all(&scene).await;
            }
            for push in [alone(head).after(7), alone(head).after(8).held(needs_diff())] {
                let again = scene.accept(&push).await;
                let told = (again.id, again.admitted, again.stage);
                assert_eq!(told, (id, Admitted::Duplicate, stage), "{stage}, removed: {is_removed}");
            }
            end_all(&scene).await;
        }
    }
}

pub(super) async fn what_ended_without_a_run_answers_its_own_push_alone(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let mut head = 0;
    for end in WITHOUT_A_RUN {
        for is_removed in [false, true] {
            head += 1;
            let what = format!("{end:?}, removed: {is_removed}");
            let first = alone(head).after(7).from(hook("github", "first"));
            let first = if end.is_held() { first.held(end.hold()) } else { first };
            let id = scene.accept(&first).await.id;
            end.bring_about(&scene, id).await;
            let stage = scene.stage(id).await;
            assert!(stage.is_final() && scene.job(id).await.state.attempt == 0, "{what}");
            if is_removed {
                remove_all(&scene).await;
            }
            let known = scene.accept(&first.clone().from(Source::Reconcile)).await;
            assert_eq!((known.id, known.admitted, known.stage), (id, Admitted::Duplicate, stage), "{what}");

            let second = scene.accept(&alone(head).after(8)).await;
            assert_eq!((second.admitted, second.stage), (Admitted::New, Stage::Queued), "{what}");
            scene.command(second.id, Command::Cancel).await.expect("it waits");
            if is_removed {
                remove_all(&scene).await;
            }
            // Both are remembered now, each for its own push.
            for (push, its) in [(&first, id), (&alone(head).after(8), second.id)] {
                let again = scene.accept(&push.clone().from(Source::Reconcile)).await;
                assert_eq!((again.id, again.admitted), (its, Admitted::Duplicate), "{what}");
            }
            let third = scene.accept(&alone(head)).await;
            assert_eq!((third.admitted, third.stage), (Admitted::New, Stage::Queued), "{what}");
            scene.bring_to(third.id, Stage::Succeeded).await;
            for push in [first.from(Source::Reconcile), alone(head).after(8), alone(head).after(6)] {
                let again = scene.accept(&push).await;
                assert_eq!((again.id, again.admitted), (third.id, Admitted::Duplicate), "{what}");
            }
            end_all(&scene).await;
        }
    }
}

/// Neither has its answer yet, and the commit trains once, for whichever has it first.
pub(super) async fn of_two_pushes_of_a_commit_that_are_held_one_trains(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    for (head, is_first) in [(1, true), (2, false)] {
        let first = scene.accept(&undiffed(head).after(8)).await;
        let second = scene.accept(&undiffed(head).after(9)).await;
        assert_eq!((first.admitted, second.admitted), (Admitted::New, Admitted::New));
        let (trains, waits) = if is_first { (first.id, second.id) } else { (second.id, first.id) };
        if !is_first {
            let until = scene.now().after(Duration::from_secs(60));
            diffed(&scene, first.id, Diffed::Failed { message: "no route".into(), until }).await;
        }
        diffed(&scene, trains, Diffed::Launch(None)).await;
        let answered = scene.job(waits).await;
        assert_eq!((answered.state.stage, answered.superseded_by), (Stage::Superseded, Some(trains)));
        assert_eq!(answered.state.reason.expect("it says why").detail, "another push of its commit trains");
        scene.bring_to(trains, Stage::Succeeded).await;
        for before in [7, 8, 9] {
            let again = scene.accept(&undiffed(head).after(before)).await;
            assert_eq!((again.id, again.admitted), (trains, Admitted::Duplicate));
        }
    }
}

pub(super) async fn a_push_that_is_to_train_answers_what_is_held_of_its_commit(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let held = scene.accept(&Delivered::new(1).after(8).held(HoldReason::Stale)).await.id;
    let same_question = scene.accept(&Delivered::new(1).after(9).held(HoldReason::Stale)).await;
    assert_eq!((same_question.id, same_question.admitted), (held, Admitted::Duplicate));
    let fresh = scene.accept(&Delivered::new(1).after(9)).await;
    assert_eq!((fresh.admitted, fresh.stage), (Admitted::New, Stage::Queued));
    let answered = scene.job(held).await;
    assert_eq!((answered.state.stage, answered.superseded_by), (Stage::Superseded, Some(fresh.id)));
    assert_eq!(scene.words(held).await.last().map(String::as_str), Some("superseded"));
}

/// Forced to a commit, back, and there again, before anything of it ran.
pub(super) async fn what_gave_way_trains_when_its_ref_comes_back_the_same_way(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let there = Delivered::new(1).after(9).pushed_at(1);
    let first = scene.accept(&there).await.id;
    let back = scene.accept(&Delivered::new(9).after(1).pushed_at(2)).await.id;
    assert_eq!(scene.job(first).await.superseded_by, Some(back));
    let redelivery = scene.accept(&there).await;
    assert_eq!((redelivery.id, redelivery.admitted), (first, Admitted::Duplicate));

    let again = scene.accept(&Delivered::new(1).after(9).pushed_at(3)).await;
    assert_eq!((again.admitted, again.stage), (Admitted::New, Stage::Queued));
    assert_eq!(scene.job(back).await.superseded_by, Some(again.id));
    scene.bring_to(again.id, Stage::Succeeded).await;
    let redelivery = scene.accept(&there).await;
    assert_eq!((redelivery.id, redelivery.admitted), (again.id, Admitted::Duplicate));
}

/// Of what a person repeats and then cancels, it is still known that it has trained.
pub(super) async fn a_repetition_that_never_ran_does_not_hide_what_has_trained(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    for (head, is_removed) in [(1, false), (2, true)] {
        let first = scene.accept(&alone(head).after(8)).await.id;
        scene.bring_to(first, Stage::Succeeded).await;
        let again = scene.command(first, Command::Retry).await.expect("it has ended").id;
        scene.command(again, Command::Cancel).await.expect("it waits");
        if is_removed {
            remove_all(&scene).await;
        }
        let push = scene.accept(&alone(head).after(9)).await;
        assert_eq!((push.id, push.admitted), (again, Admitted::Duplicate), "removed: {is_removed}");
    }
}

/// A person wants this commit, so nobody has to be asked about it for another push.
pub(super) async fn a_repetition_answers_what_is_held_of_its_commit(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let first = scene.accept(&undiffed(1).after(8)).await.id;
    diffed(&scene, first, nothing()).await;
    let held = scene.accept(&undiffed(1).after(9)).await.id;
    assert!(is_illegal(&scene.command(held, Command::Retry).await), "it has not ended");
    let again = scene.command(first, Command::Retry).await.expect("it has ended").id;
    assert_eq!(scene.job(held).await.superseded_by, Some(again));
    assert!(is_illegal(&scene.command(held, Command::Retry).await), "its commit is to train");
}

/// A redelivery of a push that failed before anything ran is one of that push, whatever came of others.
pub(super) async fn a_redelivery_repeats_its_own_push(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let first = alone(1).after(8).from(hook("github", "first"));
    let id = scene.accept(&first).await.id;
    unfit(&scene, id).await;
    let second = alone(1).after(9).from(hook("github", "second"));
    let other = scene.accept(&second).await.id;
    unfit(&scene, other).await;
    let rerun = scene.accept(&first).await;
    assert_eq!(rerun.admitted, Admitted::Rerun { of: id });
    let runs = [scene.job(id).await, scene.job(other).await, scene.job(rerun.id).await];
    assert_eq!(runs.map(|job| job.change.run), [0, 1, 2], "no number is given twice");
    scene.bring_to(rerun.id, Stage::Failed).await;
    let answer = scene.accept(&second).await;
    assert_eq!((answer.id, answer.admitted), (rerun.id, Admitted::Duplicate), "its commit has trained");
}

pub(super) async fn each_push_keeps_its_answer_after_a_crash(bench: &mut dyn DurableBench) {
    let (first, second) = {
        let scene = Scene::new(bench);
        let first = scene.accept(&alone(1).after(8)).await.id;
        scene.command(first, Command::Cancel).await.expect("it waits");
        let second = scene.accept(&alone(1).after(9)).await.id;
        scene.command(second, Command::Cancel).await.expect("it waits");
        (first, second)
    };
    bench.crash_and_reopen();
    let scene = Scene::new(bench);
    for (before, id) in [(8, first), (9, second)] {
        let again = scene.accept(&alone(1).after(before)).await;
        assert_eq!((again.id, again.admitted), (id, Admitted::Duplicate));
    }
    assert_eq!(scene.accept(&alone(1)).await.admitted, Admitted::New);
}

/// Ways to an end without a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Skipped,
    Expanded,
    NoDiff,
    Rejected,
    Cancelled,
    Superseded,
    Unfit,
    Refused,
    NoLonger,
}

const WITHOUT_A_RUN: [End; 9] = [
    End::Skipped,
    End::Expanded,
    End::NoDiff,
    End::Rejected,
    End::Cancelled,
    End::Superseded,
    End::Unfit,
    End::Refused,
    End::NoLonger,
];

impl End {
    fn is_held(self) -> bool {
        matches!(self, Self::Skipped | Self::Expanded | Self::NoDiff | Self::Rejected)
    }

    fn hold(self) -> HoldReason {
        if self == Self::Rejected { HoldReason::Approval } else { needs_diff() }
    }

    async fn bring_about(self, scene: &Scene<'_>, id: JobId) {
        match self {
            Self::Skipped => diffed(scene, id, nothing()).await,
            Self::Expanded => diffed(scene, id, expand(&[])).await,
            Self::NoDiff => {
                for _ in 0..10 {
                    let answer = Diffed::Failed { message: "no route".into(), until: scene.now() };
                    diffed(scene, id, answer).await;
                }
            }
            Self::Rejected => drop(scene.command(id, Command::Reject).await.expect("it is held")),
            Self::Cancelled => drop(scene.command(id, Command::Cancel).await.expect("it waits")),
            Self::Superseded => scene.bring_to(id, Stage::Superseded).await,
            Self::Unfit => unfit(scene, id).await,
            Self::Refused => {
                let lease = scene.claim_of(&worker("w"), id).await.lease;
                let (message, now) = ("no such file".into(), scene.now());
                let refused = Event::Refused { is_permanent: true, message, until: now, at: now };
                scene.apply(&lease, refused).await;
            }
            Self::NoLonger => {
                let lease = scene.claim_of(&worker("w"), id).await.lease;
                let why = Reason::new("schedule", "its hours are over");
                scene.apply(&lease, Event::NoLonger { why, at: scene.now() }).await;
            }
        }
    }
}

async fn unfit(scene: &Scene<'_>, id: JobId) {
    let lease = scene.claim_of(&worker("w"), id).await.lease;
    let why = Reason::new("config", "a key that is not allowed");
    scene.apply(&lease, Event::Unfit { why, at: scene.now() }).await;
}

async fn diffed(scene: &Scene<'_>, id: JobId, answer: Diffed) {
    let lease = scene.claim_of(&worker("w"), id).await.lease;
    scene.apply(&lease, Event::Diffed { answer, at: scene.now() }).await;
}

async fn of_config(scene: &Scene<'_>, config: &str) -> JobId {
    let jobs = scene.all_jobs().await;
    let mut of_it = jobs.iter().filter(|job| &*job.change.config == config);
    let job = of_it.next().expect("there is one");
    assert!(of_it.next().is_none(), "one commit trains once");
    job.id
}

/// So that the next of the table has the workers for itself.
async fn end_all(scene: &Scene<'_>) {
    for job in scene.all_jobs().await.into_iter().filter(|job| !job.state.stage.is_final()) {
        scene.command(job.id, Command::Cancel).await.expect("it has not ended");
    }
    scene.advance(120);
    while let Some(claimed) = scene.claim(&worker("w")).await {
        scene.apply(&claimed.lease, Event::Vanished).await;
        scene.collect(&claimed.lease).await;
    }
}

fn nothing() -> Diffed {
    Diffed::Skip(Reason::new("paths", "no changed file matches"))
}

fn expand(configs: &[&str]) -> Diffed {
    let jobs = configs.iter().map(|config| spec_for("sft", config)).collect();
    Diffed::Expand { jobs, verdict: Verdict::launch() }
}

fn needs_diff() -> HoldReason {
    HoldReason::NeedsDiff(Gap::Forced)
}

fn undiffed(head: u32) -> Delivered {
    Delivered::new(head).held(needs_diff())
}

/// A push whose group is its own, so that nothing stands in its way.
fn alone(head: u32) -> Delivered {
    Delivered::new(head).with(|spec| spec.group = format!("group {head}").into())
}
