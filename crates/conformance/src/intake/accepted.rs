//! What becomes of a push that was accepted.

use std::collections::HashSet;

use swifthook_core::{Delivery, Gap, HoldReason, PathChange, Problem as _, RefName, Stage};

use super::bench::IntakeBench;
use super::site::{RECEIVED, Site, decided, deliver, lonely};
use crate::queue::scene::{Delivered, change, hook, launch, sha, skip, spec, spec_for};

pub(super) async fn what_is_accepted_is_stored_whole(bench: &dyn IntakeBench) {
    let site = Site::of(bench);
    let verdicts =
        vec![skip("nightly"), launch(spec("sft")), launch(spec_for("dpo", "configs/\u{e4} b.yaml"))];
    let paths = [("configs/\u{e4} b.yaml", PathChange::Present), ("-x\n\0", PathChange::Removed)];
    let push = Delivered { paths: paths.into_iter().collect(), ..Delivered::new(1) };
    let push = push.after(9).pushed_at(5).decided_as(verdicts.clone()).from(hook("github", "a GUID"));
    let kept = site.stored(site.accept(&push).await).await;
    assert_eq!((kept.received_at, &kept.source), (RECEIVED, &push.source));
    assert_eq!((kept.before, kept.head), (Some(sha(9)), Some(sha(1))));
    assert_eq!((kept.repository.as_str(), &kept.ref_name), ("acme/models", &push.ref_name));
    assert_eq!((kept.sender.as_deref(), kept.config.0), (Some("ada"), [7; 32]));
    assert_eq!(kept.verdicts, verdicts);
    assert_eq!((kept.paths, kept.path_count), (push.paths.clone(), 2));
    let jobs = site.jobs().await;
    assert_eq!(jobs.iter().map(|job| job.id).rev().collect::<Vec<_>>(), kept.jobs);
    let sft = jobs.iter().find(|job| &*job.spec.recipe == "sft").unwrap();
    assert_eq!((&sft.change, &sft.spec), (&change(1, 0), &spec("sft")));
    assert_eq!((&sft.before, sft.pushed_at, &sft.source), (&Some(sha(9)), push.pushed_at, &push.source));
    assert_eq!(sft.state.stage, Stage::Queued);
}

pub(super) async fn a_push_that_trains_nothing_leaves_its_verdicts(bench: &dyn IntakeBench) {
    let site = Site::of(bench);
    let kept = site.stored(site.accept(&Delivered::new(1).skipped()).await).await;
    assert_eq!((kept.verdicts, kept.jobs), (vec![skip("sft")], vec![]));
    let deleted = Delivered { head: None, ..Delivered::new(2).skipped() };
    assert_eq!(site.stored(site.accept(&deleted).await).await.head, None);
    assert!(site.jobs().await.is_empty());
}

pub(super) async fn a_push_that_is_held_makes_a_held_job(bench: &dyn IntakeBench) {
    let site = Site::of(bench);
    let kept = site.stored(site.accept(&Delivered::new(1).held(HoldReason::Approval)).await).await;
    let state = site.history.job(kept.jobs[0]).await.unwrap().unwrap().state;
    assert_eq!((state.stage, state.hold), (Stage::Held, Some(HoldReason::Approval)));
}

/// Of a commit of which nothing trained each push is answered for itself, by whichever way it came.
pub(super) async fn a_commit_that_comes_again_from_elsewhere_is_decided_anew(bench: &dyn IntakeBench) {
    let site = Site::of(bench);
    let push = |before| lonely(1).after(before).held(HoldReason::NeedsDiff(Gap::Forced));
    let mut ids = Vec::new();
    for before in [7, 8, 7, 8] {
        ids.push(site.stored(site.accept(&push(before)).await).await.jobs[0]);
    }
    assert!(ids[0] != ids[1] && ids[..2] == ids[2..], "{ids:?}");
    // It is to train: nothing is left to be asked about.
    let trains = site.stored(site.accept(&lonely(1).after(9)).await).await.jobs[0];
    for before in [7, 8, 9, 10] {
        assert_eq!(site.stored(site.accept(&push(before)).await).await.jobs, [trains]);
    }
    let stages = async |id| site.history.job(id).await.unwrap().unwrap().state.stage;
    assert_eq!((stages(ids[0]).await, stages(ids[1]).await), (Stage::Superseded, Stage::Superseded));
}

pub(super) async fn one_change_trains_once_however_often_it_is_delivered(bench: &dyn IntakeBench) {
    let site = Site::of(bench);
    let deliveries: Vec<_> = (0..60)
        .map(|i| {
            let guid = format!("guid {}", i / 2);
            let (intake, push) = (site.intake.clone(), Delivered::new(1).from(hook("github", &guid)));
            tokio::spawn(async move { deliver(&*intake, &decided(&push)).await })
        })
        .collect();
    // Whoever is told that nothing was promised delivers again.
    let mut ids = HashSet::new();
    for delivery in deliveries {
        ids.insert(match delivery.await.unwrap() {
            Ok(id) => id,
            Err(_) => site.accept(&Delivered::new(1)).await,
        });
    }
    assert!((16..=60).contains(&ids.len()), "those that come at once are kept, later ones counted");
    let mut jobs = HashSet::new();
    for id in ids {
        jobs.extend(site.stored(id).await.jobs);
    }
    assert_eq!((jobs.len(), site.jobs().await.len()), (1, 1));
}

pub(super) async fn of_the_pushes_of_one_ref_the_last_is_left(bench: &dyn IntakeBench) {
    let site = Site::of(bench);
    let mut last = site.accept(&Delivered::new(1).pushed_at(1)).await;
    for head in 2..=20 {
        last = site.accept(&Delivered::new(head).after(head - 1).pushed_at(1)).await;
    }
    site.stored(last).await;
    let jobs = site.jobs().await;
    assert_eq!(jobs.len(), 20);
    for job in jobs {
        let expected = if job.change.head == sha(20) { Stage::Queued } else { Stage::Superseded };
        assert_eq!(job.state.stage, expected, "{}", job.change.head);
    }
}

pub(super) async fn pushes_of_many_refs_at_once_are_each_stored_once(bench: &dyn IntakeBench) {
    let site = Site::of(bench);
    let deliveries: Vec<_> = (1..=100)
        .map(|head| {
            let intake = site.intake.clone();
            tokio::spawn(async move { deliver(&*intake, &decided(&lonely(head))).await })
        })
        .collect();
    for (head, delivery) in (1..).zip(deliveries) {
        let id = match delivery.await.unwrap() {
            Ok(id) => id,
            Err(_) => site.accept(&lonely(head)).await,
        };
        let kept = site.stored(id).await;
        assert_eq!(kept.ref_name, RefName::Branch(format!("branch-{head}").into()));
        let job = site.history.job(kept.jobs[0]).await.unwrap().unwrap();
        assert_eq!((job.change.head, job.state.stage), (sha(head), Stage::Queued));
    }
    assert_eq!(site.jobs().await.len(), 100);
}

pub(super) async fn more_paths_than_are_kept_are_counted(bench: &dyn IntakeBench) {
    let site = Site::of(bench);
    let path = |i| (format!("data/{i:06}/{}", "x".repeat(200)), PathChange::Present);
    let push = Delivered { paths: (0..10_000).map(path).collect(), ..Delivered::new(1) };
    let kept = site.stored(site.accept(&push).await).await;
    assert_eq!((kept.paths.len(), kept.path_count), (Delivery::MAX_PATHS, 10_000));
    assert!(kept.paths.iter().eq(push.paths.iter().take(Delivery::MAX_PATHS)));
}

pub(super) async fn what_can_never_be_stored_is_refused_for_good(bench: &dyn IntakeBench) {
    let site = Site::of(bench);
    // Something that is to run of a ref that is gone: no receiver decides so.
    let impossible = decided(&Delivered { head: None, ..Delivered::new(1) });
    let refused = site.intake.accept(&impossible).await.unwrap_err();
    assert!(refused.is_permanent(), "{refused}");
    site.stored(site.accept(&Delivered::new(2)).await).await;
    assert_eq!((site.receipts().await.len(), site.jobs().await.len()), (1, 1));
}
