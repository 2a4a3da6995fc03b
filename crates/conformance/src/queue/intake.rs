//! Receipts, and one job per change.

use std::time::Duration;

use swifthook_core::{Admitted, Delivery, HoldReason, PathChange, RefName, Source, Stage};

use super::bench::QueueBench;
use super::scene::{Delivered, Scene, change, hook, launch, sha, skip, spec, spec_for};

pub(super) async fn a_new_change_is_queued_and_recorded(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let push = Delivered::new(1).after(9).pushed_at(5);
    let (delivery, jobs) = scene.receive(&push).await;
    assert_eq!((jobs[0].stage, jobs[0].admitted), (Stage::Queued, Admitted::New));

    let job = scene.job(jobs[0].id).await;
    assert_eq!(job.change, change(1, 0));
    assert_eq!((job.before, job.pushed_at), (Some(sha(9)), push.pushed_at));
    assert_eq!((job.source, job.sender.as_deref()), (push.source.clone(), Some("ada")));
    assert_eq!((job.spec, job.created_at), (spec("sft"), scene.now()));

    let delivery = scene.queue.delivery(delivery).await.unwrap().unwrap();
    assert_eq!(delivery.jobs, [job.id]);
    assert_eq!((delivery.before, delivery.head), (Some(sha(9)), Some(sha(1))));
    assert_eq!((delivery.received_at, delivery.source), (scene.now(), push.source));
}

pub(super) async fn a_push_that_trains_nothing_is_recorded_when_it_is_answered(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let (id, jobs) = scene.receive(&Delivered::new(1).skipped()).await;
    assert!(jobs.is_empty());
    let kept = scene.queue.delivery(id).await.unwrap().expect("it is there");
    assert_eq!(kept.verdicts, [skip("sft")]);
}

pub(super) async fn every_verdict_is_kept_with_the_jobs_that_it_led_to(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let verdicts = vec![skip("nightly"), launch(spec("sft")), skip("dpo")];
    let (id, jobs) = scene.receive(&Delivered::new(1).decided_as(verdicts.clone())).await;
    let (again, _) = scene.receive(&Delivered::new(1).decided_as(verdicts.clone())).await;
    for id in [id, again] {
        let kept = scene.queue.delivery(id).await.unwrap().unwrap();
        assert_eq!(kept.verdicts, verdicts);
        assert_eq!(kept.jobs, [jobs[0].id]);
    }
}

pub(super) async fn a_delivery_tells_which_of_its_jobs_were_known(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let (first, jobs) = scene.receive(&Delivered::new(1)).await;
    let sft = jobs[0].id;
    let (again, _) = scene.receive(&Delivered::new(1)).await;
    let both = Delivered::new(1).decided_as(vec![launch(spec("sft")), launch(spec("dpo"))]);
    let (more, jobs) = scene.receive(&both).await;
    scene.bring_to(sft, Stage::Failed).await;
    let (rerun, repeated) = scene.receive(&Delivered::new(1)).await;
    let (skipped, _) = scene.receive(&Delivered::new(2).skipped()).await;
    for (id, led_to, known) in [
        (first, vec![sft], vec![]),
        (again, vec![sft], vec![sft]),
        (more, vec![sft, jobs[1].id], vec![sft]),
        (rerun, vec![repeated[0].id], vec![]),
        (skipped, vec![], vec![]),
    ] {
        let delivery = scene.queue.delivery(id).await.unwrap().expect("it is there");
        assert_eq!((delivery.jobs, delivery.known), (led_to, known));
    }
}

/// It is what a person has: GitHub shows no other id. Redeliveries have it in common.
pub(super) async fn a_delivery_is_found_by_its_guid(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let guid = "72d3162e-cc78-11e3-81ab-4c9367dc0958";
    let find = async |guid: &str, limit| {
        let found = scene.queue.deliveries_of_guid(guid, limit).await.unwrap();
        found.into_iter().map(|delivery| delivery.id).collect::<Vec<_>>()
    };
    assert_eq!(find(guid, 9).await, []);
    let push = Delivered::new(1).from(hook("github", guid));
    let (first, _) = scene.receive(&push).await;
    scene.receive(&Delivered::new(2)).await;
    scene.receive(&Delivered::new(3).from(Source::Person)).await;
    assert_eq!(find(guid, 9).await, [first]);
    assert_eq!(find(&guid.to_ascii_uppercase(), 9).await, [first]);
    let (again, _) = scene.receive(&push).await;
    assert_eq!(find(guid, 9).await, [again, first]);
    assert_eq!(find(guid, 1).await, [again]);
    for nothing in ["", "guid", "72d3162e", "72d3162e-cc78-11e3-81ab-4c9367dc0959"] {
        assert_eq!(find(nothing, 9).await, [], "{nothing}");
    }
    let skipped = Delivered::new(4).skipped().from(hook("github", "00000000-cc78-11e3-81ab-4c9367dc0958"));
    let (id, _) = scene.receive(&skipped).await;
    assert_eq!(find("00000000-cc78-11e3-81ab-4c9367dc0958", 9).await, [id]);
}

pub(super) async fn a_known_change_names_its_job(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let first = scene.accept(&Delivered::new(1)).await;
    for source in [hook("github", "guid-1"), hook("other", "guid-1"), hook("github", "x"), Source::Person] {
        let again = scene.accept(&Delivered::new(1).from(source)).await;
        assert_eq!((again.id, again.admitted), (first.id, Admitted::Duplicate));
    }
    assert_eq!(scene.all_jobs().await.len(), 1);
    assert_eq!(scene.queue.deliveries(None, 10).await.unwrap().len(), 5, "each receipt is a row of its own");
}

/// A signature covers the body alone: whoever has recorded a delivery can send it again for ever, under any GUID.
pub(super) async fn a_replayed_delivery_leaves_a_bounded_number_of_receipts(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let paths = (0..2_000).map(|i| (format!("configs/{i}.yaml"), PathChange::Present));
    let trains = Delivered { paths: paths.collect(), ..Delivered::new(1) };
    let (stale, skipped) = (Delivered::new(2).held(HoldReason::Stale), Delivered::new(3).skipped());
    for (i, push) in [trains, stale, skipped].into_iter().enumerate() {
        let mut last = None;
        for guid in 0..50 {
            let replay = push.clone().from(hook("github", &format!("{i} {guid}")));
            let (id, jobs) = scene.receive(&replay).await;
            assert!(jobs.iter().all(|job| (job.admitted == Admitted::New) == (guid == 0)), "{jobs:?}");
            last = Some(id);
        }
        let named = scene.queue.delivery(last.unwrap()).await.unwrap().expect("it names a receipt");
        assert_eq!(named.head, Some(sha(u32::try_from(i).unwrap() + 1)));
    }
    let kept = || async { scene.queue.deliveries(None, 1_000).await.unwrap().len() };
    assert_eq!(kept().await, 3 * 16, "sixteen of each");

    let other_hook = Delivered::new(1).from(hook("other", "g"));
    let other_body = Delivered::new(1).after(9);
    for push in [other_hook, other_body] {
        scene.receive(&push).await;
    }
    assert_eq!(kept().await, 3 * 16 + 2, "another hook's, and another body, are no replays");

    bench.advance(Duration::from_secs(25 * 60 * 60));
    let (id, _) = scene.receive(&Delivered::new(2).held(HoldReason::Stale)).await;
    assert_eq!(scene.queue.delivery(id).await.unwrap().unwrap().received_at, scene.now(), "another day");
}

pub(super) async fn a_replay_does_not_hide_a_redelivery_that_trains_again(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let first = scene.accept(&Delivered::new(1)).await;
    for guid in 0..50 {
        scene.accept(&Delivered::new(1).from(hook("github", &format!("replay {guid}")))).await;
    }
    scene.bring_to(first.id, Stage::Failed).await;
    let (id, jobs) = scene.receive(&Delivered::new(1)).await;
    assert_eq!(jobs[0].admitted, Admitted::Rerun { of: first.id });
    assert_eq!(
        scene.queue.delivery(id).await.unwrap().unwrap().jobs,
        [jobs[0].id],
        "with a receipt of its own"
    );
}

pub(super) async fn one_push_makes_a_job_for_each_recipe_and_file(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let mut each = launch(spec_for("sft", "a.yaml"));
    each.jobs.push(spec_for("sft", "b.yaml"));
    let push = Delivered::new(1).decided_as(vec![each, launch(spec("dpo"))]);
    let (_, jobs) = scene.receive(&push).await;
    let named: Vec<_> = jobs.iter().map(|job| (&*job.recipe, job.config.as_deref())).collect();
    assert_eq!(named, [("sft", Some("a.yaml")), ("sft", Some("b.yaml")), ("dpo", None)]);
    assert!(jobs.iter().all(|job| job.admitted == Admitted::New));

    let (_, again) = scene.receive(&push).await;
    assert!(again.iter().all(|job| job.admitted == Admitted::Duplicate));
    assert_eq!(scene.all_jobs().await.len(), 3);
}

pub(super) async fn a_branch_and_a_tag_of_one_name_are_two_changes(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let branch = Delivered::new(1);
    let tag = Delivered { ref_name: RefName::Tag("main".into()), ..branch.clone() };
    let elsewhere = Delivered { repository: "acme/other", ..branch.clone() };
    for push in [branch, tag, elsewhere] {
        assert_eq!(scene.accept(&push).await.admitted, Admitted::New, "{push:?}");
    }
}

pub(super) async fn two_hundred_identical_deliveries_at_once_make_one_job(bench: &dyn QueueBench) {
    at_once(&Scene::new(bench), |_| Delivered::new(1)).await;
}

pub(super) async fn two_hundred_deliveries_with_guids_of_their_own_make_one_job(bench: &dyn QueueBench) {
    at_once(&Scene::new(bench), |i| Delivered::new(1).from(hook("github", &format!("guid {i}")))).await;
}

pub(super) async fn a_guid_alone_decides_nothing(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    for head in 1..4 {
        let push = Delivered::new(head).from(hook("github", "one guid"));
        assert_eq!(scene.accept(&push).await.admitted, Admitted::New);
    }
}

pub(super) async fn a_push_that_is_held_makes_a_held_job(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let held = scene.accept(&Delivered::new(1).held(HoldReason::Stale)).await;
    assert_eq!((held.stage, held.admitted), (Stage::Held, Admitted::New));
    let job = scene.job(held.id).await;
    assert_eq!(job.state.hold, Some(HoldReason::Stale));
    assert_eq!(job.state.reason, Some(HoldReason::Stale.reason()));
}

pub(super) async fn a_change_that_is_only_reconciled_is_queued_once(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    for (i, source) in
        [Source::Reconcile, Source::Pull, Source::Person, Source::Reconcile].into_iter().enumerate()
    {
        let admitted = scene.accept(&Delivered::new(1).from(source)).await.admitted;
        assert_eq!(admitted == Admitted::New, i == 0);
    }
}

pub(super) async fn a_deleted_ref_is_recorded_and_makes_no_job(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let deleted = Delivered { head: None, ..Delivered::new(1).after(1).skipped() };
    let (id, jobs) = scene.receive(&deleted).await;
    assert!(jobs.is_empty());
    let kept = scene.queue.delivery(id).await.unwrap().expect("it is recorded");
    assert_eq!((kept.before, kept.head), (Some(sha(1)), None));

    let impossible = Delivered { head: None, ..Delivered::new(1) };
    assert!(scene.queue.accept(&impossible.decided(scene.now())).await.is_err());
}

pub(super) async fn more_paths_than_are_kept_are_counted(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let paths = (0..5_000).map(|i| (format!("configs/{i} ü\n.yaml"), PathChange::Present));
    let few = [("-a", PathChange::Present), ("b c", PathChange::Removed)];
    let many = Delivered { paths: paths.collect(), ..Delivered::new(1) };
    let few = Delivered { paths: few.into_iter().collect(), ..Delivered::new(2) };
    for (push, kept) in [(many, Delivery::MAX_PATHS), (few, 2)] {
        let (id, _) = scene.receive(&push).await;
        let delivery = scene.queue.delivery(id).await.unwrap().unwrap();
        assert_eq!(delivery.path_count, push.paths.len() as u64);
        assert!(delivery.paths.iter().eq(push.paths.iter().take(kept)));
    }
}

async fn at_once(scene: &Scene<'_>, push: impl Fn(usize) -> Delivered) {
    let now = scene.now();
    let deliveries: Vec<_> = (0..200)
        .map(|i| {
            let (queue, decided) = (scene.queue.clone(), push(i).decided(now));
            tokio::spawn(async move { queue.accept(&decided).await.unwrap() })
        })
        .collect();
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    assert_eq!(scene.all_jobs().await.len(), 1);
    let receipts = scene.queue.deliveries(None, 1_000).await.unwrap().len();
    assert!(
        (16..=200).contains(&receipts),
        "those that come at once are kept, later ones counted: {receipts}"
    );
}
