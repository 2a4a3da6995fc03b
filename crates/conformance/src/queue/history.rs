//! What people look at.

use std::time::Duration;

use swifthook_core::{Delivery, DeliveryId, Event, Job, JobFilter, JobId, Stage, Wait};

use super::bench::QueueBench;
use super::scene::{Delivered, Scene, launch, spec, worker};

pub(super) async fn jobs_are_listed_newest_first_a_page_at_a_time(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let mut all = Vec::new();
    for head in 1..=60 {
        all.push(scene.accept(&alone(head)).await.id);
        if head % 7 == 0 {
            scene.advance(1);
        }
    }
    all.reverse();
    let page = |before, limit| JobFilter { before, limit, ..JobFilter::default() };
    assert_eq!(listed(&scene, page(None, 0)).await, all[..50], "fifty unless it is said");
    assert_eq!(listed(&scene, page(None, 7)).await, all[..7]);
    assert_eq!(listed(&scene, page(Some(all[6]), 7)).await, all[7..14]);
    assert_eq!(listed(&scene, page(Some(all[57]), 7)).await, all[58..]);
    assert_eq!(listed(&scene, page(Some(all[59]), 7)).await, []);
}

pub(super) async fn jobs_are_listed_by_stage_recipe_and_repository(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let other = Delivered { repository: "acme/other", ..alone(2) };
    let recipe = alone(3).decided_as(vec![launch(spec("dpo"))]);
    let one = scene.accept(&alone(1)).await.id;
    let two = scene.accept(&other).await.id;
    let three = scene.accept(&recipe).await.id;
    scene.bring_to(one, Stage::Cancelled).await;
    let by = |stages: &[Stage], recipe: &str, repository: &str| JobFilter {
        stages: stages.to_vec(),
        recipe: (!recipe.is_empty()).then(|| recipe.to_owned()),
        repository: (!repository.is_empty()).then(|| repository.to_owned()),
        ..JobFilter::default()
    };
    for (filter, expected) in [
        (by(&[], "", ""), vec![three, two, one]),
        (by(&[Stage::Queued], "", ""), vec![three, two]),
        (by(&[Stage::Queued, Stage::Cancelled], "", "acme/models"), vec![three, one]),
        (by(&[Stage::Running], "", ""), vec![]),
        (by(&[], "dpo", ""), vec![three]),
        (by(&[], "sft", ""), vec![two, one]),
        (by(&[], "", "acme/other"), vec![two]),
        (by(&[], "", "acme/oth"), vec![]),
        (by(&[], "never heard of", ""), vec![]),
        (by(&[Stage::Cancelled], "sft", "acme/models"), vec![one]),
    ] {
        assert_eq!(listed(&scene, filter.clone()).await, expected, "{filter:?}");
    }
    let open = scene.queue.open_jobs().await.unwrap();
    let counted: Vec<_> = open.into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(counted, [(Stage::Queued, 2)]);
}

pub(super) async fn deliveries_are_listed_newest_first_a_page_at_a_time(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let mut all = Vec::new();
    for head in 1..=9 {
        all.push(scene.receive(&alone(head)).await.0);
        scene.advance(1);
    }
    all.reverse();
    let ids = |page: Vec<Delivery>| page.iter().map(|delivery| delivery.id).collect::<Vec<_>>();
    assert_eq!(ids(scene.queue.deliveries(None, 4).await.unwrap()), all[..4]);
    assert_eq!(ids(scene.queue.deliveries(Some(all[3]), 4).await.unwrap()), all[4..8]);
    assert_eq!(ids(scene.queue.deliveries(Some(all[7]), 4).await.unwrap()), all[8..]);
}

pub(super) async fn what_is_not_there_is_not_an_error(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    assert!(scene.queue.job(JobId([3; 16])).await.unwrap().is_none());
    assert!(scene.queue.delivery(DeliveryId([3; 16])).await.unwrap().is_none());
    assert!(scene.queue.timeline(JobId([3; 16])).await.unwrap().is_empty());
    let known = scene.accept(&alone(1)).await.id;
    let mut like_it = known;
    like_it.0[15] ^= 1;
    assert!(scene.queue.job(like_it).await.unwrap().is_none(), "every bit of an id counts");
}

pub(super) async fn a_timeline_tells_who_did_what_and_why(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let id = scene.accept(&alone(1)).await.id;
    let enqueued = scene.now();
    scene.advance(3);
    let lease = scene.claim_of(&worker("w"), id).await.lease;
    let until = scene.now().after(Duration::from_secs(9));
    let why = "the window opens at 20:00".to_owned();
    scene.apply(&lease, Event::NotBefore { until, waits_for: Wait::Window, why: why.clone() }).await;
    let lines = scene.queue.timeline(id).await.unwrap();
    let told: Vec<_> = lines
        .iter()
        .map(|line| (line.at, &*line.who, &*line.what, line.stage, line.why.as_deref()))
        .collect();
    assert_eq!(
        told,
        [
            (enqueued, "intake", "enqueued", Stage::Queued, None),
            (scene.now(), "w", "claimed", Stage::Queued, None),
            (scene.now(), "w", "put_off", Stage::Queued, Some(why.as_str())),
        ]
    );
}

async fn listed(scene: &Scene<'_>, filter: JobFilter) -> Vec<JobId> {
    let jobs: Vec<Job> = scene.queue.jobs(&filter).await.unwrap();
    jobs.iter().map(|job| job.id).collect()
}

fn alone(head: u32) -> Delivered {
    Delivered::new(head).with(|spec| spec.group = format!("group {head}").into())
}
