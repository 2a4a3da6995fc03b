//! Who gives way to whom within a group.

use swifthook_core::{Admitted, Command, Event, HoldReason, Stage, StopKind, Superseding};

use super::bench::QueueBench;
use super::scene::{Delivered, Scene, code, launch, spec, spec_for, worker};

pub(super) async fn a_newer_change_supersedes_what_waits(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let held = scene.accept(&Delivered::new(1).held(HoldReason::Approval)).await;
    let queued = scene.accept(&Delivered::new(2).after(1)).await;
    let newest = scene.accept(&Delivered::new(3).after(2)).await;
    for (id, by) in [(held.id, queued.id), (queued.id, newest.id)] {
        let job = scene.job(id).await;
        assert_eq!((job.state.stage, job.superseded_by), (Stage::Superseded, Some(by)));
        assert_eq!(job.state.finished_at, Some(scene.now()));
    }
    assert_eq!(newest.stage, Stage::Queued);
    assert_eq!(scene.words(queued.id).await, ["enqueued", "superseded"]);
}

pub(super) async fn a_running_job_goes_on_unless_its_recipe_says_otherwise(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let running = scene.accept(&Delivered::new(1)).await;
    scene.submit(&worker("w"), running.id).await;
    let newer = scene.accept(&Delivered::new(2).after(1)).await;
    let job = scene.job(running.id).await;
    assert_eq!((job.state.stage, job.state.stop, job.superseded_by), (Stage::Running, None, None));
    assert_eq!(newer.stage, Stage::Queued);
}

pub(super) async fn a_running_job_is_stopped_where_its_recipe_says_so(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let running = scene.accept(&cancels_running(1)).await;
    let lease = scene.submit(&worker("w"), running.id).await.lease;
    let newer = scene.accept(&cancels_running(2).after(1)).await;
    let job = scene.job(running.id).await;
    assert_eq!((job.state.stage, job.state.stop), (Stage::Finishing, Some(StopKind::Supersede)));
    assert_eq!(scene.claim(&worker("v")).await.map(|claimed| claimed.job.id), None, "it keeps its group");

    let job = scene.end(&lease, code(143)).await;
    assert_eq!((job.state.stage, job.superseded_by), (Stage::Superseded, Some(newer.id)));
    scene.claim_of(&worker("v"), newer.id).await;
}

pub(super) async fn a_job_that_ends_well_in_spite_of_the_stop_was_not_superseded(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let running = scene.accept(&cancels_running(1)).await;
    let lease = scene.submit(&worker("w"), running.id).await.lease;
    scene.accept(&cancels_running(2).after(1)).await;
    scene.apply(&lease, Event::Ended(code(0))).await;
    let collected = Event::Collected {
        steps_done: Some(true),
        step: None,
        checkpoint: None,
        peak_memory: None,
        fails: None,
        retry_at: scene.now(),
        at: scene.now(),
    };
    let job = scene.apply(&lease, collected).await;
    assert_eq!((job.state.stage, job.superseded_by), (Stage::Succeeded, None));
}

pub(super) async fn a_run_that_was_to_go_on_later_gives_way_for_good(bench: &dyn QueueBench) {
    for is_over in [false, true] {
        let scene = Scene::new(bench);
        let head = 10 * (1 + u32::from(is_over));
        let running = scene.accept(&cancels_running(head)).await;
        let lease = scene.submit(&worker("w"), running.id).await.lease;
        scene.apply(&lease, Event::StopWanted(StopKind::Yield)).await;
        if is_over {
            scene.apply(&lease, Event::Ended(code(143))).await;
        }
        let newer = scene.accept(&cancels_running(head + 1).after(head)).await;
        if !is_over {
            scene.apply(&lease, Event::Ended(code(143))).await;
        }
        let job = scene.collect(&lease).await;
        assert_eq!((job.state.stage, job.superseded_by), (Stage::Superseded, Some(newer.id)));
        scene.command(newer.id, Command::Cancel).await.unwrap();
    }
}

pub(super) async fn a_run_whose_end_is_known_gives_way_before_it_is_tried_again(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let running = scene.accept(&cancels_running(1)).await;
    let lease = scene.submit(&worker("w"), running.id).await.lease;
    scene.apply(&lease, Event::Vanished).await;
    let newer = scene.accept(&cancels_running(2).after(1)).await;
    let job = scene.collect(&lease).await;
    assert_eq!((job.state.stage, job.superseded_by), (Stage::Superseded, Some(newer.id)));

    // What has an end of its own keeps it.
    let lease = scene.submit(&worker("w"), newer.id).await.lease;
    scene.apply(&lease, Event::Ended(code(1))).await;
    scene.accept(&cancels_running(3).after(2)).await;
    let job = scene.collect(&lease).await;
    assert_eq!((job.state.stage, job.superseded_by), (Stage::Failed, None));
}

pub(super) async fn a_recipe_that_keeps_supersedes_nothing(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let keep = |head| Delivered::new(head).with(|spec| spec.superseded = Superseding::Keep);
    let first = scene.accept(&keep(2).after(1).pushed_at(2)).await;
    let newer = scene.accept(&keep(3).after(2).pushed_at(3)).await;
    let late = scene.accept(&keep(1).pushed_at(1)).await;
    for id in [first.id, newer.id, late.id] {
        assert_eq!(scene.stage(id).await, Stage::Queued);
    }
}

pub(super) async fn an_older_change_that_comes_late_is_born_superseded(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let newer = scene.accept(&Delivered::new(2).after(1).pushed_at(7)).await;
    let by_chain = scene.accept(&Delivered::new(1).after(9)).await;
    let by_time = scene.accept(&Delivered::new(5).pushed_at(6)).await;
    let held = scene.accept(&Delivered::new(6).pushed_at(6).held(HoldReason::Approval)).await;
    for late in [by_chain, by_time, held] {
        assert_eq!(late.stage, Stage::Superseded);
        assert_eq!(scene.job(late.id).await.superseded_by, Some(newer.id));
        assert_eq!(scene.words(late.id).await, ["enqueued"]);
    }
    assert_eq!(scene.stage(newer.id).await, Stage::Queued);
}

pub(super) async fn the_chain_of_commits_outranks_the_time(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let first = scene.accept(&Delivered::new(1).pushed_at(9)).await;
    let second = scene.accept(&Delivered::new(2).after(1).pushed_at(3)).await;
    assert_eq!(second.stage, Stage::Queued);
    assert_eq!(scene.job(first.id).await.superseded_by, Some(second.id));
}

pub(super) async fn the_chain_leads_through_pushes_that_made_no_job(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let old = scene.accept(&Delivered::new(1).pushed_at(1)).await;
    scene.receive(&Delivered::new(2).after(1).pushed_at(1).skipped()).await;
    scene.receive(&Delivered::new(3).after(2).pushed_at(1).skipped()).await;
    let new = scene.accept(&Delivered::new(4).after(3).pushed_at(1)).await;
    assert_eq!(scene.job(old.id).await.superseded_by, Some(new.id));
}

pub(super) async fn where_nobody_knows_nothing_is_superseded(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let unknown = [
        Delivered::new(1).after(90).pushed_at(5),
        Delivered::new(2).after(91).pushed_at(5),
        Delivered::new(3).after(92),
        Delivered::new(4),
    ];
    for push in &unknown {
        assert_eq!(scene.accept(push).await.stage, Stage::Queued);
    }
    assert!(scene.all_jobs().await.iter().all(|job| job.state.stage == Stage::Queued));
}

pub(super) async fn many_changes_of_one_second_give_way_to_the_next(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    for head in 1..=100 {
        scene.accept(&Delivered::new(head).pushed_at(5)).await;
    }
    let next = scene.accept(&Delivered::new(101).pushed_at(6)).await;
    for job in scene.all_jobs().await {
        assert_eq!(job.superseded_by, (job.id != next.id).then_some(next.id));
    }
}

pub(super) async fn a_newer_change_that_was_given_up_does_not_count(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let cancelled = scene.accept(&Delivered::new(9).pushed_at(9)).await;
    scene.bring_to(cancelled.id, Stage::Cancelled).await;
    let stopped = scene.accept(&Delivered::new(8).pushed_at(8)).await;
    let lease = scene.submit(&worker("w"), stopped.id).await.lease;
    scene.command(stopped.id, Command::Cancel).await.unwrap();
    assert_eq!(scene.end(&lease, code(143)).await.state.stage, Stage::Cancelled);
    scene.accept(&Delivered::new(7).pushed_at(7).held(HoldReason::Approval)).await;
    let superseded = scene.accept(&Delivered::new(6).pushed_at(6)).await;
    scene.bring_to(superseded.id, Stage::Superseded).await;
    assert_eq!(scene.accept(&Delivered::new(5).pushed_at(5)).await.stage, Stage::Queued);
}

pub(super) async fn a_newer_change_that_has_run_counts(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    for (i, end) in [Stage::Succeeded, Stage::Failed, Stage::Quarantined].into_iter().enumerate() {
        let i = i64::try_from(i).unwrap();
        let group = format!("group {i}");
        let in_group = |head: u32, second| {
            Delivered::new(head).pushed_at(second).with(|spec| spec.group = group.as_str().into())
        };
        let head = 10 * u32::try_from(i).unwrap() + 2;
        let ran = scene.accept(&in_group(head, 100 + i)).await;
        scene.bring_to(ran.id, end).await;
        let late = scene.accept(&in_group(head - 1, i)).await;
        assert_eq!((late.stage, scene.job(late.id).await.superseded_by), (Stage::Superseded, Some(ran.id)));
    }
}

pub(super) async fn a_held_change_supersedes_nothing_before_it_is_queued(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let old = scene.accept(&Delivered::new(1)).await;
    let held = scene.accept(&Delivered::new(2).after(1).held(HoldReason::Approval)).await;
    assert_eq!(scene.stage(old.id).await, Stage::Queued);
    scene.command(held.id, Command::Approve).await.unwrap();
    assert_eq!(scene.job(old.id).await.superseded_by, Some(held.id));
}

pub(super) async fn another_group_is_not_touched(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let this = scene.accept(&Delivered::new(1).pushed_at(1)).await;
    let other = Delivered::new(2).after(1).pushed_at(2).with(|spec| spec.group = "another".into());
    scene.accept(&other).await;
    assert_eq!(scene.stage(this.id).await, Stage::Queued);
}

pub(super) async fn jobs_of_one_push_do_not_supersede_each_other(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let mut each = launch(spec_for("sft", "a.yaml"));
    each.jobs.push(spec_for("sft", "b.yaml"));
    each.jobs.push(spec("sft"));
    for job in &mut each.jobs {
        job.group = "one for all".into();
    }
    let (_, jobs) = scene.receive(&Delivered::new(1).pushed_at(1).decided_as(vec![each])).await;
    for job in jobs {
        assert_eq!(scene.stage(job.id).await, Stage::Queued);
    }
}

pub(super) async fn a_person_may_repeat_what_is_no_longer_the_newest(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let old = scene.accept(&Delivered::new(1)).await;
    scene.bring_to(old.id, Stage::Failed).await;
    let new = scene.accept(&Delivered::new(2).after(1)).await;
    let again = scene.command(old.id, Command::Retry).await.unwrap();
    assert_eq!(again.state.stage, Stage::Queued);
    assert_eq!(scene.stage(new.id).await, Stage::Queued, "and it supersedes nothing that is newer");
    // By git, before the launch, a worker may know more than the receipts do.
    let lease = scene.claim_of(&worker("w"), new.id).await.lease;
    scene.apply(&lease, Event::Supersede { at: scene.now() }).await;
    assert_eq!(scene.stage(new.id).await, Stage::Superseded);
}

pub(super) async fn a_redelivered_change_is_too_late_as_any_other(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let old = scene.accept(&Delivered::new(1)).await;
    scene.bring_to(old.id, Stage::Failed).await;
    let new = scene.accept(&Delivered::new(2).after(1)).await;
    let again = scene.accept(&Delivered::new(1)).await;
    assert_eq!((again.stage, again.admitted), (Stage::Superseded, Admitted::Rerun { of: old.id }));
    assert_eq!(scene.job(again.id).await.superseded_by, Some(new.id));
}

fn cancels_running(head: u32) -> Delivered {
    Delivered::new(head).with(|spec| spec.superseded = Superseding::CancelRunning)
}
