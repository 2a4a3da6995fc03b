//! What people look at.

use std::time::Duration;

use swifthook_core::{
    ChangeSet, Command, Delivery, DeliveryId, Event, Gap, HoldReason, Identity, Job, JobFilter, JobId,
    Origin, PushFacts, Reason, Receipt, RecipeVerdict, RefName, RepoName, Source, Stage, Timestamp, Verdict,
    Wait,
};

use super::bench::QueueBench;
use super::scene::{Delivered, Scene, code, hook, launch, sha, spec, spec_for, worker};

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

/// Every combination of filters, against what a list of everything says.
pub(super) async fn any_list_is_paged_newest_first_whatever_it_is_of(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    for head in 1..=24 {
        let recipe = if head % 2 == 0 { "dpo" } else { "sft" };
        let repository = if head % 3 == 0 { "acme/other" } else { "acme/models" };
        let push = alone(head).decided_as(vec![launch(spec(recipe))]);
        let push = push.with(|spec| {
            spec.group = format!("group {head}").into();
            // What comes later goes first, so that what waits is in nobody's way.
            spec.priority = head as i32;
        });
        let id = scene.accept(&Delivered { repository, ..push }).await.id;
        let ends = [Stage::Queued, Stage::Failed, Stage::Cancelled, Stage::Succeeded];
        let end = ends[head as usize / 2 % 4];
        match end {
            Stage::Failed | Stage::Succeeded => {
                let lease = scene.submit(&worker("w"), id).await.lease;
                scene.end(&lease, code(i32::from(end == Stage::Failed))).await;
            }
            Stage::Cancelled => drop(scene.command(id, Command::Cancel).await.unwrap()),
            _ => {}
        }
    }
    let all = scene.all_jobs().await;
    assert_eq!(all.len(), 24);
    let stages: [&[Stage]; 5] = [
        &[],
        &[Stage::Failed],
        &[Stage::Queued],
        &[Stage::Queued, Stage::Failed, Stage::Failed],
        &[Stage::Succeeded, Stage::Cancelled],
    ];
    for stages in stages {
        for recipe in [None, Some("dpo"), Some("sft")] {
            for repository in [None, Some("acme/models"), Some("acme/other")] {
                let is_wanted = |job: &&Job| {
                    (stages.is_empty() || stages.contains(&job.state.stage))
                        && recipe.is_none_or(|recipe| &*job.change.recipe == recipe)
                        && repository.is_none_or(|name| job.change.repository.as_str() == name)
                };
                let expected: Vec<_> = all.iter().filter(is_wanted).map(|job| job.id).collect();
                let mut filter = JobFilter {
                    stages: stages.to_vec(),
                    recipe: recipe.map(str::to_owned),
                    repository: repository.map(str::to_owned),
                    limit: 2,
                    ..JobFilter::default()
                };
                let mut found = Vec::new();
                loop {
                    let page = listed(&scene, filter.clone()).await;
                    let Some(last) = page.last() else { break };
                    assert!(page.len() <= 2, "{filter:?}");
                    filter.before = Some(*last);
                    found.extend(page);
                }
                assert_eq!(found, expected, "{filter:?}");
            }
        }
    }
}

pub(super) async fn what_a_policy_may_ask_is_kept_with_a_delivery(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let gaps = [
        Gap::Forced,
        Gap::NewBranch,
        Gap::Caps,
        Gap::NotListed,
        Gap::Contradictory,
        Gap::MaybeForced,
        Gap::NotText,
    ];
    for (i, gap) in (1..).zip([None].into_iter().chain(gaps.map(Some))) {
        let mut decided = alone(i).decided(scene.now());
        decided.push.pushed_at = (i % 2 == 0).then_some(Timestamp(1_790_000_000_000));
        decided.push.skip_marker = i % 3 == 0;
        if let Some(gap) = gap {
            decided.push.changes = ChangeSet::Incomplete(decided.push.changes.paths().clone(), gap);
        }
        let Receipt::Stored { delivery, .. } = scene.queue.accept(&decided).await.unwrap() else {
            panic!("a queue stores what it accepts")
        };
        let kept = scene.queue.delivery(delivery).await.unwrap().unwrap();
        let facts =
            PushFacts { pushed_at: decided.push.pushed_at, skip_marker: decided.push.skip_marker, gap };
        assert_eq!(kept.facts, Some(facts));
    }
}

pub(super) async fn the_number_of_a_repository_is_kept_with_the_name_that_is_configured(
    bench: &dyn QueueBench,
) {
    let scene = Scene::new(bench);
    let push = async |delivered: Delivered, id: Option<u64>| {
        let mut decided = delivered.decided(scene.now());
        decided.push.origin.repository_id = id;
        scene.queue.accept(&decided).await.expect("the queue stores what it accepts");
    };
    let models = RepoName::new("acme/models").expect("a name");
    let other = RepoName::new("acme/other").expect("a name");
    push(alone(1), Some(4_242)).await;
    push(alone(2), Some(4_242)).await;
    push(alone(3), None).await;
    push(alone(4).from(hook("gitea", "guid")), Some(17)).await;
    push(alone(5).from(Source::Reconcile), Some(18)).await;
    let renamed = HoldReason::Renamed { from: models.clone(), to: other };
    let mut decided = Delivered { repository: "acme/other", ..alone(6).held(renamed) }.decided(scene.now());
    decided.push.origin =
        Origin { repository_id: Some(4_242), renamed_from: Some(models.clone()), ..Origin::default() };
    scene.queue.accept(&decided).await.expect("the queue stores what it accepts");
    push(Delivered { repository: "acme/unknown", ..alone(7).decided_as(Vec::new()) }, Some(19)).await;
    let mut known = scene.queue.identities().await.expect("the queue answers");
    known.sort();
    let identity = |hook: &str, id| Identity { hook: hook.into(), id, name: models.clone() };
    assert_eq!(known, [identity("gitea", 17), identity("github", 4_242)]);
}

pub(super) async fn where_a_repository_was_before_is_known_to_the_recipes_that_looked(
    bench: &dyn QueueBench,
) {
    let scene = Scene::new(bench);
    let launched = scene.accept(&alone(1)).await.id;
    let file = spec_for("sft", "configs/a.yaml");
    scene.accept(&alone(2).decided_as(vec![launch(file)])).await;
    let skipped = |head, word: &'static str| {
        let verdict = Verdict::Skip(Reason::new(word, "so it is"));
        alone(head).decided_as(vec![RecipeVerdict { recipe: "sft".into(), verdict, jobs: Vec::new() }])
    };
    for pushed in [
        skipped(3, "paths"),
        skipped(4, "branch"),
        skipped(5, "skip_marker"),
        alone(6).decided_as(vec![launch(spec("dpo"))]),
        Delivered { repository: "acme/models2", ..alone(7) },
        Delivered { repository: "acme/model", ..alone(8) },
    ] {
        let accepted = scene.queue.accept(&pushed.decided(scene.now())).await;
        accepted.expect("the queue stores what it accepts");
    }
    // Newer ones of its group take its place before it has run.
    let of_a_group = |head| Delivered::new(head).after(head - 1).pushed_at(i64::from(head));
    let overtaken = scene.accept(&of_a_group(10)).await.id;
    scene.accept(&of_a_group(11)).await;
    assert_eq!(scene.job(overtaken).await.state.stage, Stage::Superseded);

    let trunk = RefName::Branch("trunk".into());
    let of = |head| Delivered { ref_name: trunk.clone(), ..alone(head) };
    let asks = scene.accept(&of(1).held(HoldReason::NeedsDiff(Gap::NewBranch))).await.id;
    scene.accept(&of(12)).await;
    // What brings nothing new may be written later.
    let mut known = Vec::new();
    for _ in 0..100 {
        known = scene.queue.known_heads(&scene.job(asks).await).await.expect("the queue answers");
        if known.contains(&sha(3)) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    known.sort();
    assert_eq!(known, [sha(1), sha(2), sha(3), sha(11)], "not what came after it, nor of others");
    let first = scene.queue.known_heads(&scene.job(launched).await).await.expect("the queue answers");
    assert_eq!(first, [sha(3)], "of what was decided by itself it matters not when");
}

async fn listed(scene: &Scene<'_>, filter: JobFilter) -> Vec<JobId> {
    let jobs: Vec<Job> = scene.queue.jobs(&filter).await.unwrap();
    jobs.iter().map(|job| job.id).collect()
}

fn alone(head: u32) -> Delivered {
    Delivered::new(head).with(|spec| spec.group = format!("group {head}").into())
}
