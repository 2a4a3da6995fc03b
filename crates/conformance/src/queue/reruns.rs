//! When a known change trains again.

use swifthook_core::{
    Actor, Admitted, Argument, Argv, Command, Event, Gap, HoldReason, JobId, JobSpec, QueueError, Rerun,
    Source, Stage, StoredJob, Worker,
};

use super::bench::QueueBench;
use super::scene::{Delivered, Scene, code, hook, worker};

/// DESIGN.md, *One training per change*: a known change trains again if it comes by the same hook under the same GUID as
/// the receipt that made the job (a person's redelivery), the last run is `failed`, fewer than three runs came about so,
/// and the push is young. All the rest of the table is a duplicate that names the job and changes nothing.
///
/// Each row: how the change came, how it was trained again so far, the stage of its last job, how it comes again.
const TRAINS_AGAIN: [(Origin, History, Stage, Again, Age); 5] = [
    (Origin::Hook, History::First, Stage::Failed, Again::SameHookSameGuid, Age::Young),
    (Origin::Hook, History::Redelivered(1), Stage::Failed, Again::SameHookSameGuid, Age::Young),
    (Origin::Hook, History::Redelivered(2), Stage::Failed, Again::SameHookSameGuid, Age::Young),
    (Origin::Hook, History::Repeated(3), Stage::Failed, Again::SameHookSameGuid, Age::Young),
    (Origin::Hook, History::RedeliveredAndRepeated(2, 2), Stage::Failed, Again::SameHookSameGuid, Age::Young),
];

/// Every way in which a change can have come, by how often and why it was trained, every stage that the last job can be
/// in, every way in which it can come again, young and old.
pub(super) async fn the_whole_table_of_reruns(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let (mut head, mut rows, mut reruns) = (0, 0, 0);
    for origin in [Origin::Hook, Origin::Reconcile, Origin::Pull, Origin::Person] {
        for history in History::ALL.into_iter().filter(|history| history.can_follow(origin)) {
            for stage in Stage::ALL {
                head += 1;
                let last = prepare(&scene, head, origin, history, stage).await;
                // What trains again comes last: the others must have changed nothing.
                let all = Again::ALL.into_iter().flat_map(|again| Age::ALL.map(|age| (again, age)));
                let row = |(again, age)| (origin, history, stage, again, age);
                let (again, known): (Vec<_>, Vec<_>) =
                    all.partition(|coming| TRAINS_AGAIN.contains(&row(*coming)));
                for coming in known {
                    let answer = deliver(&scene, head, coming).await;
                    let expected = (last, Admitted::Duplicate, stage);
                    assert_eq!((answer.id, answer.admitted, answer.stage), expected, "{:?}", row(coming));
                    rows += 1;
                }
                for coming in again {
                    let answer = deliver(&scene, head, coming).await;
                    assert_eq!(answer.admitted, Admitted::Rerun { of: last }, "{:?}", row(coming));
                    let (job, before) = (scene.job(answer.id).await, scene.job(last).await);
                    assert_eq!((job.change.run, job.rerun_of), (before.change.run + 1, Some(last)));
                    (rows, reruns) = (rows + 1, reruns + 1);
                }
                clear(&scene).await;
            }
        }
    }
    assert_eq!((rows, reruns), (10 * 9 * 12, TRAINS_AGAIN.len()), "every row was asked for");
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

/// A command that was wrong is corrected in the configuration: what is trained again is the right one, and whoever looks at
/// the job learns what has changed.
pub(super) async fn a_job_that_is_repeated_does_what_its_recipe_says_by_now(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let first = scene.accept(&Delivered::new(1).with(|spec| spec.command = command("wrong"))).await.id;
    let spec = JobSpec { command: command("right"), priority: 5, ..scene.job(first).await.spec };
    let rerun = Rerun { spec: spec.clone(), hold: None };
    let early = scene.queue.rerun(first, rerun.clone(), &ada()).await;
    assert!(matches!(early, Err(QueueError::Illegal(_))), "{early:?}");
    scene.bring_to(first, Stage::Failed).await;
    let again = scene.queue.rerun(first, rerun.clone(), &ada()).await.expect("it has ended");
    let kept = scene.job(again.id).await;
    assert_eq!((kept.spec, kept.change.run, kept.rerun_of), (spec.clone(), 1, Some(first)));
    assert_eq!(kept.state.stage, Stage::Queued);
    let told = "the command is `right` and was `wrong`; priority is `5` and was `0`";
    assert_eq!(beginning(&scene, again.id).await, Some(format!("not as job {first}: {told}")));

    // The last training of the change is what another one is compared with, whichever is named.
    scene.bring_to(again.id, Stage::Failed).await;
    let third = scene.queue.rerun(first, rerun, &ada()).await.expect("it has ended");
    assert_eq!((third.change.run, beginning(&scene, third.id).await), (2, None));
    scene.bring_to(third.id, Stage::Failed).await;
    let as_before = scene.command(first, Command::Retry).await.expect("it has ended");
    assert_eq!(as_before.spec.command, command("wrong"));
    let told = "the command is `wrong` and was `right`; priority is `0` and was `5`";
    assert_eq!(beginning(&scene, as_before.id).await, Some(format!("not as job {}: {told}", third.id)));
}

pub(super) async fn a_job_is_not_repeated_as_one_of_another_change(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let first = scene.accept(&Delivered::new(1)).await.id;
    scene.bring_to(first, Stage::Failed).await;
    let spec = scene.job(first).await.spec;
    for other in [
        JobSpec { recipe: "other".into(), ..spec.clone() },
        JobSpec { config: Some("a.yaml".into()), ..spec.clone() },
    ] {
        let refused = scene.queue.rerun(first, Rerun { spec: other, hold: None }, &ada()).await;
        assert!(matches!(refused, Err(QueueError::NotThisChange(id)) if id == first), "{refused:?}");
    }
    assert_eq!(scene.all_jobs().await.len(), 1);
    let hold = Some(HoldReason::NeedsDiff(Gap::NotListed));
    let held = scene.queue.rerun(first, Rerun { spec, hold: hold.clone() }, &ada()).await.unwrap();
    assert_eq!((held.state.stage, held.state.hold), (Stage::Held, hold));
}

/// A redelivery is decided by the recipes of the moment, and its job says what they have made of it.
pub(super) async fn a_redelivered_job_says_in_what_it_is_another(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let first = scene.accept(&Delivered::new(1).with(|spec| spec.command = command("wrong"))).await.id;
    scene.bring_to(first, Stage::Failed).await;
    let right = Delivered::new(1).with(|spec| spec.command = command("right"));
    let again = scene.accept(&right).await;
    assert_eq!(scene.job(again.id).await.spec.command, command("right"));
    let told = format!("not as job {first}: the command is `right` and was `wrong`");
    assert_eq!(beginning(&scene, again.id).await, Some(told));
    scene.bring_to(again.id, Stage::Failed).await;
    let third = scene.accept(&right).await;
    assert_eq!(beginning(&scene, third.id).await, None);
    assert_eq!(scene.words(third.id).await, ["enqueued"]);
}

/// Whoever only wants to know what a push would lead to is told the same as whoever brings it.
pub(super) async fn what_a_push_would_lead_to_is_told_without_doing_it(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let known = async |push: &Delivered| {
        let known = scene.queue.known_jobs(&push.decided(scene.now())).await.expect("the queue answers");
        known.into_iter().map(|job| job.map(|job| (job.id, job.stage, job.admitted))).collect::<Vec<_>>()
    };
    let by_a_person = || Delivered::new(1).from(Source::Person);
    assert_eq!(known(&by_a_person()).await, [None]);
    assert!(scene.all_jobs().await.is_empty());
    let first = scene.accept(&Delivered::new(1)).await.id;
    assert_eq!(known(&by_a_person()).await, [Some((first, Stage::Queued, Admitted::Duplicate))]);
    scene.bring_to(first, Stage::Failed).await;
    assert_eq!(known(&by_a_person()).await, [Some((first, Stage::Failed, Admitted::Duplicate))]);
    assert_eq!(known(&Delivered::new(1)).await, [None], "a redelivery trains it again");
    assert_eq!(known(&Delivered::new(2)).await, [None]);
    assert_eq!(scene.accept(&by_a_person()).await.admitted, Admitted::Duplicate);
    assert_eq!(scene.all_jobs().await.len(), 1);
}

fn command(text: &str) -> Argv {
    ["train", text].map(Argument::text).into()
}

fn ada() -> Actor {
    Actor("ada".into())
}

/// What the first line of a job's timeline says.
async fn beginning(scene: &Scene<'_>, id: JobId) -> Option<String> {
    let lines = scene.queue.timeline(id).await.expect("the queue answers");
    assert_eq!(&*lines[0].what, "enqueued");
    lines[0].why.clone()
}

/// A push whose group is its own, so that nothing stands in its way.
fn alone(head: u32) -> Delivered {
    Delivered::new(head).with(|spec| spec.group = format!("group {head}").into())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Hook,
    Reconcile,
    Pull,
    Person,
}

/// How the last job of a change came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum History {
    First,
    Redelivered(u32),
    /// By a person's `retry`, so often.
    Repeated(u32),
    RedeliveredAndRepeated(u32, u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    SameHookSameGuid,
    SameHookOtherGuid,
    OtherHookSameGuid,
    Reconcile,
    Pull,
    Person,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    Young,
    Old,
}

impl Origin {
    fn source(self) -> Source {
        match self {
            Self::Hook => hook("github", "g"),
            Self::Reconcile => Source::Reconcile,
            Self::Pull => Source::Pull,
            Self::Person => Source::Person,
        }
    }
}

impl History {
    const ALL: [Self; 7] = [
        Self::First,
        Self::Redelivered(1),
        Self::Redelivered(2),
        Self::Redelivered(3),
        Self::Repeated(3),
        Self::RedeliveredAndRepeated(2, 2),
        Self::RedeliveredAndRepeated(3, 1),
    ];

    /// Only what came by a hook can be redelivered. Of the others one history stands for all.
    fn can_follow(self, origin: Origin) -> bool {
        origin == Origin::Hook || self == Self::First
    }

    fn parts(self) -> (u32, u32) {
        match self {
            Self::First => (0, 0),
            Self::Redelivered(times) => (times, 0),
            Self::Repeated(times) => (0, times),
            Self::RedeliveredAndRepeated(redelivered, repeated) => (redelivered, repeated),
        }
    }
}

impl Again {
    const ALL: [Self; 6] = [
        Self::SameHookSameGuid,
        Self::SameHookOtherGuid,
        Self::OtherHookSameGuid,
        Self::Reconcile,
        Self::Pull,
        Self::Person,
    ];

    fn source(self) -> Source {
        match self {
            Self::SameHookSameGuid => hook("github", "g"),
            Self::SameHookOtherGuid => hook("github", "h"),
            Self::OtherHookSameGuid => hook("other", "g"),
            Self::Reconcile => Source::Reconcile,
            Self::Pull => Source::Pull,
            Self::Person => Source::Person,
        }
    }
}

impl Age {
    const ALL: [Self; 2] = [Self::Young, Self::Old];
}

/// The last job of change number `head`, of this origin and history, in this stage.
async fn prepare(scene: &Scene<'_>, head: u32, origin: Origin, history: History, stage: Stage) -> JobId {
    let (redelivered, repeated) = history.parts();
    let push = alone(head).from(origin.source());
    let push = match stage {
        Stage::Held if history == History::First => push.held(HoldReason::Approval),
        _ => push,
    };
    let mut last = scene.accept(&push).await.id;
    for _ in 0..redelivered {
        scene.bring_to(last, Stage::Failed).await;
        last = scene.accept(&push).await.id;
    }
    for _ in 0..repeated {
        scene.bring_to(last, Stage::Failed).await;
        last = scene.command(last, Command::Retry).await.expect("it has ended").id;
    }
    match stage {
        Stage::Held if history != History::First => {
            let lease = scene.claim_of(&worker("runner"), last).await.lease;
            scene.apply(&lease, Event::Hold(HoldReason::RecipeGone)).await;
        }
        Stage::Running => drop(scene.submit(&worker("runner"), last).await),
        Stage::Finishing => {
            scene.submit(&worker("runner"), last).await;
            scene.command(last, Command::Cancel).await.expect("it runs");
        }
        end => scene.bring_to(last, end).await,
    }
    let job = scene.job(last).await;
    assert_eq!((job.state.stage, job.change.run), (stage, redelivered + repeated), "{history:?}");
    last
}

async fn deliver(scene: &Scene<'_>, head: u32, (again, age): (Again, Age)) -> StoredJob {
    let push = alone(head).from(again.source());
    scene.accept(&Delivered { is_redeliverable: age == Age::Young, ..push }).await
}

/// Ends whatever has not ended.
async fn clear(scene: &Scene<'_>) {
    for job in scene.all_jobs().await.into_iter().filter(|job| !job.state.stage.is_final()) {
        scene.command(job.id, Command::Cancel).await.expect("it has not ended");
    }
    scene.advance(120);
    let finisher = Worker { host: "host of runner".into(), ..worker("finisher") };
    while let Some(claimed) = scene.claim(&finisher).await {
        scene.end(&claimed.lease, code(0)).await;
    }
}
