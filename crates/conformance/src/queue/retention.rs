//! What is removed for its age, and what stays of it.

use std::time::Duration;

use swifthook_core::{Admitted, Command, HoldReason, JobFilter, PruneFrom, Pruned, Retention, Source, Stage};

use super::bench::QueueBench;
use super::scene::{Delivered, Scene, hook, worker};

pub(super) async fn what_has_ended_goes_when_it_is_old_enough(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let (keep, keep_failed) = (days(10), days(20));
    scene.queue.retain(Retention { keep: Some(keep), keep_failed: Some(keep_failed) });
    let mut ended = Vec::new();
    for (head, end) in (1..).zip(ENDS) {
        let (delivery, jobs) = scene.receive(&alone(head)).await;
        scene.bring_to(jobs[0].id, end).await;
        ended.push((end, jobs[0].id, delivery));
    }
    let (ignored, _) = scene.receive(&alone(90).skipped()).await;
    for (advance, gone) in [
        (days(9), &[][..]),
        (days(1), &[Stage::Succeeded, Stage::Cancelled, Stage::Superseded]),
        (days(10), &ENDS),
    ] {
        scene.bench.advance(advance);
        sweep_all(&scene).await;
        for (end, id, delivery) in &ended {
            let is_there = !gone.contains(end);
            assert_eq!(scene.queue.job(*id).await.unwrap().is_some(), is_there, "{end}");
            assert_eq!(!scene.queue.timeline(*id).await.unwrap().is_empty(), is_there, "{end}");
            assert_eq!(scene.queue.delivery(*delivery).await.unwrap().is_some(), is_there, "{end}");
        }
        assert_eq!(scene.queue.delivery(ignored).await.unwrap().is_some(), gone.is_empty());
    }
    let stats = scene.queue.stats().await.unwrap();
    assert_eq!((stats.deliveries, stats.changes), (0, 5), "the changes stay known");
}

pub(super) async fn a_sweep_tells_how_much_it_removed(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    scene.queue.retain(Retention { keep: Some(days(7)), keep_failed: None });
    for head in 1..=100 {
        let id = scene.accept(&alone(head)).await.id;
        scene.bring_to(id, Stage::Cancelled).await;
    }
    let failed = scene.accept(&alone(101)).await.id;
    scene.bring_to(failed, Stage::Failed).await;
    assert_eq!(sweep_all(&scene).await, 0);
    scene.bench.advance(days(400));
    assert_eq!(sweep_all(&scene).await, 200, "a hundred jobs with their deliveries");
    let left = scene.all_jobs().await;
    assert_eq!(left.iter().map(|job| job.id).collect::<Vec<_>>(), [failed], "this one for ever");
}

pub(super) async fn what_has_not_ended_stays_however_old_it_is(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    scene.queue.retain(BRIEF);
    let running = scene.accept(&alone(1)).await.id;
    scene.submit(&worker("w"), running).await;
    let finishing = scene.accept(&alone(2)).await.id;
    scene.submit(&worker("w"), finishing).await;
    scene.command(finishing, Command::Cancel).await.unwrap();
    let held = scene.accept(&alone(3).held(HoldReason::Approval)).await.id;
    let queued = scene.accept(&alone(4)).await.id;
    scene.bench.advance(days(1_000));
    assert_eq!(sweep_all(&scene).await, 0);
    for (id, stage) in [
        (running, Stage::Running),
        (finishing, Stage::Finishing),
        (held, Stage::Held),
        (queued, Stage::Queued),
    ] {
        assert_eq!(scene.stage(id).await, stage);
    }
    assert_eq!(scene.queue.deliveries(None, 10).await.unwrap().len(), 4, "with what they came of");
}

pub(super) async fn what_ended_late_is_kept_from_its_end_on(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    scene.queue.retain(Retention { keep: Some(days(7)), keep_failed: Some(days(7)) });
    let slow = scene.accept(&alone(1)).await.id;
    let quick = scene.accept(&alone(2)).await.id;
    scene.bring_to(quick, Stage::Cancelled).await;
    scene.bench.advance(days(30));
    scene.bring_to(slow, Stage::Succeeded).await;
    sweep_all(&scene).await;
    assert!(scene.queue.job(quick).await.unwrap().is_none());
    assert!(scene.queue.job(slow).await.unwrap().is_some());
}

/// The table of reruns, with the last training removed.
pub(super) async fn a_change_whose_job_was_removed_is_known_by_the_same_rules(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let again = [
        ("same hook, same GUID", hook("github", "g")),
        ("same hook, other GUID", hook("github", "h")),
        ("other hook, same GUID", hook("other", "g")),
        ("reconcile", Source::Reconcile),
        ("a person", Source::Person),
    ];
    let mut head = 0;
    for end in ENDS {
        for (by, source) in &again {
            for is_young in [true, false] {
                head += 1;
                let what = format!("{end}, again by {by}, young: {is_young}");
                let first = scene.accept(&alone(head).from(hook("github", "g"))).await.id;
                scene.bring_to(first, end).await;
                remove_all(&scene).await;
                assert!(scene.queue.job(first).await.unwrap().is_none(), "{what}");
                let push = Delivered { is_redeliverable: is_young, ..alone(head).from(source.clone()) };
                let answer = scene.accept(&push).await;
                if *by == "same hook, same GUID" && end == Stage::Failed && is_young {
                    assert_eq!(answer.admitted, Admitted::Rerun { of: first }, "{what}");
                    let job = scene.job(answer.id).await;
                    assert_eq!((job.change.run, job.rerun_of), (1, Some(first)), "{what}");
                    scene.bring_to(answer.id, Stage::Cancelled).await;
                } else {
                    let told = (answer.admitted, answer.id, answer.stage);
                    assert_eq!(told, (Admitted::Duplicate, first, end), "{what}");
                    assert_eq!(scene.queue.jobs(&JobFilter::default()).await.unwrap().len(), 0, "{what}");
                }
                remove_all(&scene).await;
            }
        }
    }
}

pub(super) async fn redeliveries_are_counted_beyond_the_removal(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let mut last = scene.accept(&alone(1)).await.id;
    for run in 1..=3 {
        scene.bring_to(last, Stage::Failed).await;
        remove_all(&scene).await;
        let rerun = scene.accept(&alone(1)).await;
        assert_eq!(rerun.admitted, Admitted::Rerun { of: last });
        assert_eq!(scene.job(rerun.id).await.change.run, run);
        last = rerun.id;
    }
    scene.bring_to(last, Stage::Failed).await;
    remove_all(&scene).await;
    assert_eq!(scene.accept(&alone(1)).await.admitted, Admitted::Duplicate);
}

pub(super) async fn what_is_being_repeated_stays(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let first = scene.accept(&alone(1)).await.id;
    scene.bring_to(first, Stage::Failed).await;
    let again = scene.command(first, Command::Retry).await.unwrap().id;
    remove_all(&scene).await;
    assert!(scene.queue.job(first).await.unwrap().is_some());
    scene.bring_to(again, Stage::Succeeded).await;
    remove_all(&scene).await;
    assert!(scene.all_jobs().await.is_empty());
    assert_eq!(scene.accept(&alone(1)).await.id, again, "the last one is what is known");
}

pub(super) async fn a_person_repeats_what_is_left_when_the_last_training_was_removed(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let first = scene.accept(&alone(1)).await.id;
    scene.bring_to(first, Stage::Failed).await;
    let second = scene.command(first, Command::Retry).await.unwrap().id;
    scene.bring_to(second, Stage::Succeeded).await;
    scene.bench.advance(days(30));
    let retention = Retention { keep: Some(days(7)), keep_failed: None };
    prune_all(&scene, retention, false).await;
    assert!(scene.queue.job(second).await.unwrap().is_none());
    let third = scene.command(first, Command::Retry).await.unwrap();
    assert_eq!((third.change.run, third.rerun_of), (2, Some(first)));
}

pub(super) async fn a_dry_step_counts_and_removes_nothing(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    for head in 1..=150 {
        let id = scene.accept(&alone(head)).await.id;
        scene.bring_to(id, Stage::Cancelled).await;
    }
    let queued = scene.accept(&alone(200)).await.id;
    scene.bench.advance(days(30));
    let would = prune_all(&scene, BRIEF, true).await;
    assert_eq!((would.jobs, would.deliveries), (150, 150));
    assert_eq!(scene.all_jobs().await.len(), 151);
    let did = prune_all(&scene, BRIEF, false).await;
    assert_eq!((did.jobs, did.deliveries), (would.jobs, would.deliveries));
    assert_eq!(scene.all_jobs().await.iter().map(|job| job.id).collect::<Vec<_>>(), [queued]);
    assert_eq!(prune_all(&scene, BRIEF, false).await, Pruned::default());
}

pub(super) async fn a_step_removes_few_enough_that_nobody_waits_for_it(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    for head in 1..=200 {
        let id = scene.accept(&alone(head)).await.id;
        scene.bring_to(id, Stage::Cancelled).await;
    }
    scene.bench.advance(days(30));
    let mut from = Some(PruneFrom::default());
    let mut steps = Vec::new();
    while let Some(begin) = from {
        let pruned = scene.queue.prune(BRIEF, begin, false).await.unwrap();
        assert!(pruned.jobs <= 64 && pruned.deliveries <= 128, "{pruned:?}");
        steps.push(pruned.jobs);
        from = pruned.next;
    }
    assert_eq!(steps.iter().sum::<u64>(), 200);
}

pub(super) async fn a_newer_change_counts_as_long_as_it_is_kept(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    scene.queue.retain(Retention { keep: Some(days(7)), keep_failed: Some(days(7)) });
    scene.receive(&Delivered::new(2).after(1).skipped()).await;
    let newer = scene.accept(&Delivered::new(3).after(2)).await.id;
    scene.bring_to(newer, Stage::Succeeded).await;
    scene.bench.advance(days(6));
    sweep_all(&scene).await;
    let late = scene.accept(&Delivered::new(1)).await;
    assert_eq!((late.stage, scene.job(late.id).await.superseded_by), (Stage::Superseded, Some(newer)));
}

pub(super) async fn stats_count_what_there_is(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let empty = scene.queue.stats().await.unwrap();
    assert_eq!((empty.deliveries, empty.oldest, empty.newest), (0, None, None));
    assert!(empty.jobs.iter().all(|(_, count)| *count == 0) && empty.jobs.len() == Stage::ALL.len());
    let oldest = scene.now();
    for head in 1..=3 {
        scene.accept(&alone(head)).await;
        scene.advance(1);
    }
    let id = scene.accept(&alone(4)).await.id;
    scene.command(id, Command::Cancel).await.unwrap();
    let stats = scene.queue.stats().await.unwrap();
    let counted: Vec<_> = stats.jobs.iter().filter(|(_, count)| *count > 0).copied().collect();
    assert_eq!(counted, [(Stage::Queued, 3), (Stage::Cancelled, 1)]);
    assert_eq!((stats.deliveries, stats.changes), (4, 4));
    assert_eq!((stats.oldest, stats.newest), (Some(oldest), Some(scene.now())));
}

/// A push whose group is its own, so that nothing stands in its way.
fn alone(head: u32) -> Delivered {
    Delivered::new(head).with(|spec| spec.group = format!("group {head}").into())
}

/// Sweeps until nothing more comes of it.
async fn sweep_all(scene: &Scene<'_>) -> u64 {
    let mut removed = 0;
    loop {
        let swept = scene.queue.sweep().await.unwrap();
        removed += swept.removed;
        if swept.removed == 0 {
            return removed;
        }
    }
}

/// Removes all that has ended.
pub(super) async fn remove_all(scene: &Scene<'_>) {
    scene.bench.advance(days(2));
    prune_all(scene, BRIEF, false).await;
}

pub(super) async fn prune_all(scene: &Scene<'_>, retention: Retention, is_dry: bool) -> Pruned {
    let mut all = Pruned::default();
    let mut from = Some(PruneFrom::default());
    while let Some(begin) = from {
        let pruned = scene.queue.prune(retention, begin, is_dry).await.unwrap();
        all.jobs += pruned.jobs;
        all.deliveries += pruned.deliveries;
        from = pruned.next;
    }
    all
}

fn days(count: u64) -> Duration {
    Duration::from_secs(count * 86_400)
}

const ENDS: [Stage; 5] =
    [Stage::Succeeded, Stage::Failed, Stage::Cancelled, Stage::Superseded, Stage::Quarantined];
const BRIEF: Retention =
    Retention { keep: Some(Duration::from_secs(86_400)), keep_failed: Some(Duration::from_secs(86_400)) };
