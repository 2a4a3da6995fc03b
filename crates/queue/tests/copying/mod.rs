//! A store with a bit of everything in it, and what has to be found in a copy.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use swifthook_core::{
    Actor, Admitted, ChangeSet, Command, CommitSha, ConfigDigest, Decided, Delivery, Event, Exit, Gap,
    GpuGrant, GpuLease, History, HoldReason, Intake, Job, JobFilter, JobId, JobQueue, JobSpec, PathChange,
    Paths, Progress, PruneFrom, Push, Reason, Receipt, RecipeVerdict, RefName, RepoName, Retention, Retry,
    RunHandle, RunKey, RunLog, Source, Stage, StoredJob, Superseding, TimelineEntry, Timestamp, Upkeep,
    Verdict, Worker,
};
use swifthook_queue::{Compared, Options, SqliteQueue, TipStore, Tips};

use crate::common::TestClock;

/// What people see of a store.
#[derive(Debug, PartialEq)]
pub(crate) struct Seen {
    jobs: Vec<String>,
    timelines: Vec<Vec<TimelineEntry>>,
    logs: Vec<RunLog>,
    deliveries: Vec<String>,
    gpus: Vec<GpuLease>,
}

pub(crate) struct Filled {
    pub(crate) seen: Seen,
    pub(crate) clock: TestClock,
    running: JobId,
    removed: JobId,
}

/// Fills a store, whose file this is, and lets go of it.
pub(crate) async fn fill(file: &Path) -> Filled {
    let clock = TestClock::new();
    let options = Options { clock: clock.clock(), ..Options::default() };
    let store = SqliteQueue::open(file, options).unwrap();
    let finished = |code| Exit { code: Some(code), ..Exit::default() };

    let tips = Tips {
        asked_at: Timestamp(7),
        refs: [(RefName::Tag("v1 ü".into()), push(1, None).push.head.unwrap())].into(),
    };
    let repository = RepoName::new("acme/models").unwrap();
    store.compared(&Compared { repository, known: None, tips, found: Vec::new() }).await.unwrap();

    let removed = accept(&store, &push(1, Some("configs/old ü.yaml"))).await.id;
    let lease = run(&store, &clock, removed).await;
    store.apply(&lease, Event::Ended(finished(1))).await.unwrap();
    collect(&store, &clock, &lease).await;
    clock.advance(Duration::from_secs(30 * 86_400));
    let week = Some(Duration::from_secs(7 * 86_400));
    let mut from = Some(PruneFrom::default());
    while let Some(begin) = from {
        let retention = Retention { keep: week, keep_failed: week };
        from = store.prune(retention, begin, false).await.unwrap().next;
    }
    assert!(store.job(removed).await.unwrap().is_none());

    let failed = accept(&store, &push(2, Some("configs/a.yaml"))).await.id;
    let lease = run(&store, &clock, failed).await;
    let progress = Progress { step: Some(7), max_steps: Some(80), loss: Some(0.25), ..Progress::default() };
    store.renew(&[(lease, Some(progress))]).await.unwrap();
    store.apply(&lease, Event::Ended(finished(3))).await.unwrap();
    let run_key = RunKey { job: failed, attempt: 1 };
    let tail = "step 7\nü\n".to_owned();
    let log = RunLog { run: run_key, host: "host".into(), file: "/runs/x/log".into(), length: 9, tail };
    store.keep_log(&log).await.unwrap();
    collect(&store, &clock, &lease).await;
    let again = store.command(failed, Command::Retry, &Actor("ada".into())).await.unwrap();
    store.command(again.id, Command::Cancel, &Actor("ada".into())).await.unwrap();

    let running = accept(&store, &push(3, None)).await.id;
    run(&store, &clock, running).await;
    let mut held = push(4, None);
    held.verdicts[0].verdict = Verdict::Hold(HoldReason::NeedsDiff(Gap::Forced));
    held.push.changes = ChangeSet::Incomplete(held.push.changes.paths().clone(), Gap::Forced);
    accept(&store, &held).await;
    accept(&store, &push(5, None)).await;
    accept(&store, &push(5, None)).await;
    // Nothing of it trained, and it came again from other commits.
    for before in [None, Some(3)] {
        let ended = accept(&store, &coming_from(before, push(7, Some("configs/twice.yaml")))).await;
        assert_eq!(ended.admitted, Admitted::New);
        store.command(ended.id, Command::Cancel, &Actor("ada".into())).await.unwrap();
    }
    let skipped = RecipeVerdict {
        recipe: "sft".into(),
        verdict: Verdict::Skip(Reason::new("paths", "nothing matches")),
        jobs: Vec::new(),
    };
    store.accept(&Decided { verdicts: vec![skipped], ..push(6, None) }).await.unwrap();
    // A store that is closed has written everything.
    store.close();
    let store = open(file, &clock);
    Filled { seen: seen(&store).await, clock, running, removed }
}

pub(crate) fn open(file: &Path, clock: &TestClock) -> SqliteQueue {
    SqliteQueue::open(file, Options { clock: clock.clock(), ..Options::default() }).unwrap()
}

pub(crate) async fn seen(store: &impl History) -> Seen {
    let jobs = store.jobs(&JobFilter { limit: 1_000, ..JobFilter::default() }).await.unwrap();
    let (mut timelines, mut logs) = (Vec::new(), Vec::new());
    for job in &jobs {
        timelines.push(store.timeline(job.id).await.unwrap());
        logs.extend(store.run_log(RunKey { job: job.id, attempt: 1 }).await.unwrap());
    }
    let deliveries: Vec<Delivery> = store.deliveries(None, 1_000).await.unwrap();
    let json = |value: &Delivery| serde_json::to_string(value).unwrap();
    Seen {
        jobs: jobs.iter().map(|job: &Job| serde_json::to_string(job).unwrap()).collect(),
        timelines,
        logs,
        deliveries: deliveries.iter().map(json).collect(),
        gpus: store.gpu_leases().await.unwrap(),
    }
}

/// Goes on with a copy, where the original was left.
pub(crate) async fn goes_on<Q: JobQueue + History>(store: &Q, filled: &Filled) {
    // A run is taken over where it is, at once, and by nobody else.
    let elsewhere = Worker { slots_free: 0, ..worker("elsewhere") };
    let claimed = store.claim(&elsewhere).await.unwrap();
    assert!(claimed.is_none_or(|claimed| claimed.job.state.stage == Stage::Held), "only the diff");
    let adopted = store.claim(&worker("host")).await.unwrap().unwrap();
    assert_eq!((adopted.job.id, adopted.job.state.stage), (filled.running, Stage::Running));
    assert!(adopted.run.is_some());

    // What is known is known, with or without its job.
    let mut stranger = push(1, Some("configs/old ü.yaml"));
    stranger.push.source = Source::Hook { hook: "github".into(), guid: "another".into() };
    let known = accept(store, &stranger).await;
    assert_eq!((known.id, known.stage, known.admitted), (filled.removed, Stage::Failed, Admitted::Duplicate));
    let redelivered = accept(store, &push(1, Some("configs/old ü.yaml"))).await;
    assert_eq!(redelivered.admitted, Admitted::Rerun { of: filled.removed });
    assert_eq!(accept(store, &push(5, None)).await.admitted, Admitted::Duplicate);
    for (before, admitted) in
        [(None, Admitted::Duplicate), (Some(3), Admitted::Duplicate), (Some(4), Admitted::New)]
    {
        let again = accept(store, &coming_from(before, push(7, Some("configs/twice.yaml")))).await;
        assert_eq!(again.admitted, admitted, "from {before:?}");
    }
    let new = accept(store, &push(9, None)).await;
    assert_eq!(new.admitted, Admitted::New);
    assert!(new.id > filled.running, "ids go on growing");
}

fn coming_from(before: Option<u32>, decided: Decided) -> Decided {
    let before = before.and_then(|number| push(number, None).push.head);
    Decided { push: swifthook_core::Push { before, ..decided.push }, ..decided }
}

async fn accept(store: &impl Intake, decided: &Decided) -> StoredJob {
    match store.accept(decided).await.unwrap() {
        Receipt::Stored { mut jobs, .. } => jobs.remove(0),
        Receipt::Accepted { .. } => panic!("a store stores"),
    }
}

async fn run(store: &SqliteQueue, clock: &TestClock, id: JobId) -> swifthook_core::Lease {
    let claimed = store.claim(&worker("host")).await.unwrap().unwrap();
    assert_eq!(claimed.job.id, id);
    let grant = GpuGrant { machine: "box".into(), uuids: vec!["GPU-a".into(), "GPU-b".into()], memory: None };
    store
        .apply(&claimed.lease, Event::Start { at: clock.now(), host: Some("host".into()), gpus: Some(grant) })
        .await
        .unwrap();
    let handle = RunHandle {
        launcher: "local".into(),
        host: Some("host".into()),
        version: 1,
        data: serde_json::json!({ "run": 1 }),
    };
    store.apply(&claimed.lease, Event::Submitted(handle)).await.unwrap();
    claimed.lease
}

async fn collect(store: &SqliteQueue, clock: &TestClock, lease: &swifthook_core::Lease) {
    let at = clock.now();
    store
        .apply(
            lease,
            Event::Collected {
                steps_done: None,
                step: None,
                checkpoint: None,
                peak_memory: None,
                fails: None,
                retry_at: at,
                at,
            },
        )
        .await
        .unwrap();
}

fn worker(host: &str) -> Worker {
    Worker {
        name: format!("worker on {host}").into(),
        host: host.into(),
        labels: vec!["a100".into()],
        slots_free: 4,
        has_gpus: true,
        lease: Duration::from_secs(600),
    }
}

fn push(head: u32, config: Option<&str>) -> Decided {
    let recipe: Arc<str> = "sft".into();
    let spec = JobSpec {
        recipe: recipe.clone(),
        config: config.map(Into::into),
        group: format!("group {head}").into(),
        priority: 3,
        launcher: "local".into(),
        labels: vec!["a100".into()],
        command: Default::default(),
        file: None,
        superseded: Superseding::CancelQueued,
        debounce: None,
        retry: Retry { attempts: 1, ..Retry::default() },
        origin: Default::default(),
    };
    let paths = [("configs/a.yaml", PathChange::Present), ("old name.yaml", PathChange::Removed)];
    Decided {
        version: Decided::VERSION,
        push: Push {
            repository: RepoName::new("acme/models").unwrap(),
            ref_name: RefName::Branch("feature/ü".into()),
            before: CommitSha::parse(&format!("{:08x}", head + 100).repeat(5)).unwrap(),
            head: CommitSha::parse(&format!("{head:08x}").repeat(5)).unwrap(),
            skip_marker: head == 5,
            sender: Some("ada".into()),
            pushed_at: Some(Timestamp(1_795_514_000_000)),
            changes: ChangeSet::Complete(paths.into_iter().collect::<Paths>()),
            source: Source::Hook { hook: "github".into(), guid: format!("guid {head}").into() },
            origin: Default::default(),
        },
        verdicts: vec![RecipeVerdict { recipe, verdict: Verdict::launch(), jobs: vec![spec] }],
        config: ConfigDigest([7; 32]),
        received_at: Timestamp(1_795_514_400_000),
        is_redeliverable: true,
    }
}
