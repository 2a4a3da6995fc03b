//! When a known change trains again.

use swifthook_core::{Admitted, Command, Event, HoldReason, JobId, Source, Stage, Worker};

use super::bench::QueueBench;
use super::scene::{Delivered, Scene, code, hook, worker};

/// Every source, by every stage that the last run can be in, young and old.
pub(super) async fn the_whole_table_of_reruns(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let origins = [("a hook", hook("github", "g")), ("reconcile", Source::Reconcile)];
    let again = [
        ("same hook, same GUID", hook("github", "g")),
        ("same hook, other GUID", hook("github", "h")),
        ("other hook, same GUID", hook("other", "g")),
        ("reconcile", Source::Reconcile),
        ("pull", Source::Pull),
        ("a person", Source::Person),
    ];
    let mut head = 0;
    for (from, origin) in &origins {
        for stage in Stage::ALL {
            for (by, source) in &again {
                for is_young in [true, false] {
                    head += 1;
                    let what = format!("from {from}, {stage}, again by {by}, young: {is_young}");
                    let first = first_in(&scene, head, origin.clone(), stage, &what).await;
                    let push = Delivered { is_redeliverable: is_young, ..alone(head).from(source.clone()) };
                    let answer = scene.accept(&push).await;
                    let is_real = *from == "a hook" && *by == "same hook, same GUID";
                    let expected = match is_real && stage == Stage::Failed && is_young {
                        true => Admitted::Rerun { of: first },
                        false => Admitted::Duplicate,
                    };
                    assert_eq!(answer.admitted, expected, "{what}");
                    // Out of the way of what comes next.
                    let _ = scene.command(answer.id, Command::Cancel).await;
                    let _ = scene.command(answer.id, Command::Reject).await;
                    drain(&scene).await;
                }
            }
        }
    }
}

pub(super) async fn at_most_three_trainings_come_about_by_redelivery(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let mut last = scene.accept(&Delivered::new(1)).await;
    for run in 1..=3 {
        scene.bring_to(last.id, Stage::Failed).await;
        let rerun = scene.accept(&Delivered::new(1)).await;
        assert_eq!(rerun.admitted, Admitted::Rerun { of: last.id });
        let job = scene.job(rerun.id).await;
        assert_eq!((job.change.run, job.rerun_of), (run, Some(last.id)));
        let meanwhile = scene.accept(&Delivered::new(1)).await;
        assert_eq!((meanwhile.id, meanwhile.admitted), (rerun.id, Admitted::Duplicate));
        last = rerun;
    }
    scene.bring_to(last.id, Stage::Failed).await;
    let fourth = scene.accept(&Delivered::new(1)).await;
    assert_eq!((fourth.id, fourth.admitted), (last.id, Admitted::Duplicate));
}

pub(super) async fn a_training_that_a_person_repeated_can_still_be_redelivered(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let mut id = scene.accept(&Delivered::new(1)).await.id;
    for _ in 0..4 {
        scene.bring_to(id, Stage::Failed).await;
        id = scene.command(id, Command::Retry).await.unwrap().id;
    }
    scene.bring_to(id, Stage::Failed).await;
    let rerun = scene.accept(&Delivered::new(1)).await;
    assert_eq!(rerun.admitted, Admitted::Rerun { of: id }, "a person's repetitions are not counted");
    assert_eq!(scene.job(rerun.id).await.change.run, 5);
}

pub(super) async fn replays_under_other_guids_train_nothing_again(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let first = scene.accept(&Delivered::new(1)).await;
    scene.bring_to(first.id, Stage::Failed).await;
    for i in 0..100 {
        let replay = Delivered::new(1).from(hook("github", &format!("replay {i}")));
        assert_eq!(scene.accept(&replay).await.admitted, Admitted::Duplicate);
        assert_eq!(
            scene.accept(&Delivered::new(1).from(Source::Reconcile)).await.admitted,
            Admitted::Duplicate
        );
    }
    assert_eq!(scene.all_jobs().await.len(), 1);
    assert!(matches!(scene.accept(&Delivered::new(1)).await.admitted, Admitted::Rerun { .. }));
}

/// A push whose group is its own, so that nothing stands in its way.
fn alone(head: u32) -> Delivered {
    Delivered::new(head).with(|spec| spec.group = format!("group {head}").into())
}

async fn first_in(scene: &Scene<'_>, head: u32, origin: Source, stage: Stage, what: &str) -> JobId {
    let push = alone(head).from(origin);
    let push = match stage {
        Stage::Held => push.held(HoldReason::Approval),
        _ => push,
    };
    let id = scene.accept(&push).await.id;
    match stage {
        Stage::Running => drop(scene.submit(&worker("runner"), id).await),
        Stage::Finishing => {
            scene.submit(&worker("runner"), id).await;
            scene.command(id, Command::Cancel).await.unwrap();
        }
        end => scene.bring_to(id, end).await,
    }
    assert_eq!(scene.stage(id).await, stage, "{what}");
    id
}

/// Ends what still runs.
async fn drain(scene: &Scene<'_>) {
    scene.advance(120);
    let finisher = Worker { host: "host of runner".into(), ..worker("finisher") };
    while let Some(claimed) = scene.claim(&finisher).await {
        if claimed.job.state.stage == Stage::Queued {
            scene.apply(&claimed.lease, Event::Start { at: scene.now() }).await;
        }
        scene.end(&claimed.lease, code(0)).await;
    }
}
