//! What a crash leaves behind.

use swifthook_core::{Admitted, Event, Renewal, Retention, Stage};

use super::bench::DurableBench;
use super::retention::prune_all;
use super::scene::{Delivered, Scene, code, handle, hook, is_stale, worker};

pub(super) async fn what_was_accepted_is_there_after_a_crash(bench: &mut dyn DurableBench) {
    let push = Delivered::new(1).after(9).pushed_at(3);
    let (delivery, job, kept) = {
        let scene = Scene::new(bench);
        let (delivery, jobs) = scene.receive(&push).await;
        (delivery, jobs[0].id, scene.job(jobs[0].id).await)
    };
    bench.crash_and_reopen();
    let scene = Scene::new(bench);
    let found = scene.job(job).await;
    assert_eq!((found.change, found.state, found.spec), (kept.change, kept.state, kept.spec));
    assert_eq!((found.before, found.source, found.created_at), (kept.before, kept.source, kept.created_at));
    assert_eq!(scene.queue.delivery(delivery).await.unwrap().unwrap().jobs, [job]);
    scene.claim_of(&worker("w"), job).await;
}

pub(super) async fn a_push_that_trains_nothing_is_there_after_a_crash(bench: &mut dyn DurableBench) {
    let (id, _) = Scene::new(bench).receive(&Delivered::new(1).skipped()).await;
    bench.crash_and_reopen();
    let kept = Scene::new(bench).queue.delivery(id).await.unwrap().expect("it was answered");
    assert_eq!(kept.verdicts.len(), 1);
}

pub(super) async fn a_change_stays_known_after_a_crash(bench: &mut dyn DurableBench) {
    let first = {
        let scene = Scene::new(bench);
        let first = scene.accept(&Delivered::new(1)).await.id;
        scene.bring_to(first, Stage::Failed).await;
        first
    };
    bench.crash_and_reopen();
    let rerun = {
        let scene = Scene::new(bench);
        let rerun = scene.accept(&Delivered::new(1)).await;
        assert_eq!(rerun.admitted, Admitted::Rerun { of: first });
        rerun.id
    };
    bench.crash_and_reopen();
    let scene = Scene::new(bench);
    let again = scene.accept(&Delivered::new(1)).await;
    assert_eq!((again.id, again.admitted), (rerun, Admitted::Duplicate));
}

pub(super) async fn a_removed_change_stays_known_after_a_crash(bench: &mut dyn DurableBench) {
    let first = {
        let scene = Scene::new(bench);
        let first = scene.accept(&Delivered::new(1)).await.id;
        scene.bring_to(first, Stage::Failed).await;
        scene.advance(86_400);
        let day = Some(std::time::Duration::from_secs(86_400));
        prune_all(&scene, Retention { keep: day, keep_failed: day }, false).await;
        first
    };
    bench.crash_and_reopen();
    let scene = Scene::new(bench);
    assert!(scene.all_jobs().await.is_empty());
    let stranger = scene.accept(&Delivered::new(1).from(hook("github", "another"))).await;
    assert_eq!((stranger.id, stranger.admitted), (first, Admitted::Duplicate));
    let rerun = scene.accept(&Delivered::new(1)).await;
    assert_eq!(rerun.admitted, Admitted::Rerun { of: first });
}

pub(super) async fn a_run_is_adopted_after_a_crash_and_never_claimed_as_new(bench: &mut dyn DurableBench) {
    let id = {
        let scene = Scene::new(bench);
        let id = scene.accept(&Delivered::new(1)).await.id;
        scene.accept(&Delivered::new(2)).await;
        scene.submit(&worker("w"), id).await;
        id
    };
    bench.crash_and_reopen();
    let scene = Scene::new(bench);
    // A store that belongs to one process may hand it out at once; with any other its lease has to run out first.
    scene.advance(60);
    let adopted = scene.claim_of(&worker("w"), id).await;
    assert!(scene.claim(&worker("w")).await.is_none(), "it has its group");
    assert_eq!(adopted.run, Some(handle(1, Some("host of w"))));
    assert_eq!((adopted.job.state.attempt, adopted.job.state.stage), (1, Stage::Running));
    assert_eq!(scene.end(&adopted.lease, code(0)).await.state.stage, Stage::Succeeded);
}

pub(super) async fn a_worker_from_before_the_crash_is_still_fenced(bench: &mut dyn DurableBench) {
    let (stale, current) = {
        let scene = Scene::new(bench);
        let id = scene.accept(&Delivered::new(1)).await.id;
        let stale = scene.submit(&worker("w"), id).await.lease;
        scene.advance(60);
        (stale, scene.claim_of(&worker("w"), id).await.lease)
    };
    bench.crash_and_reopen();
    let scene = Scene::new(bench);
    assert!(is_stale(&scene.queue.apply(&stale, Event::Vanished).await));
    let leases = [(stale, None), (current, None)];
    assert_eq!(scene.queue.renew(&leases).await.unwrap(), [Renewal::Lost, Renewal::Renewed]);
}

pub(super) async fn a_late_change_is_recognized_after_a_crash(bench: &mut dyn DurableBench) {
    let newer = {
        let scene = Scene::new(bench);
        scene.receive(&Delivered::new(2).after(1).pushed_at(1)).await;
        scene.accept(&Delivered::new(3).after(2).pushed_at(1)).await.id
    };
    bench.crash_and_reopen();
    let scene = Scene::new(bench);
    let late = scene.accept(&Delivered::new(1).pushed_at(1)).await;
    assert_eq!((late.stage, scene.job(late.id).await.superseded_by), (Stage::Superseded, Some(newer)));
}

pub(super) async fn ids_go_on_growing_after_a_crash_even_if_the_clock_does_not(bench: &mut dyn DurableBench) {
    let mut last = None;
    for head in 1..=5 {
        {
            let scene = Scene::new(bench);
            let (_, jobs) = scene.receive(&Delivered::new(head)).await;
            assert!(last < Some(jobs[0].id));
            last = Some(jobs[0].id);
        }
        bench.crash_and_reopen();
    }
}
