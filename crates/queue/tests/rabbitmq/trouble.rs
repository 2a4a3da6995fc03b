//! A broker that does not do as it should, and what the other tests are made of.

use std::time::{Duration, Instant};

use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use swifthook_conformance::intake::{BrokeredBench, IntakeBench};
use swifthook_core::{
    ChangeSet, CommitSha, ConfigDigest, Decided, Delivery, DeliveryId, IntakeError, JobSpec, Paths,
    Problem as _, Push, Receipt, RecipeVerdict, RefName, RepoName, Retry, Source, Superseding, Timestamp,
    Verdict,
};
use swifthook_queue::rabbitmq::RabbitIntake;

use crate::bench::Bench;
use crate::queues::Queues;

#[test]
fn a_queue_that_was_deleted_is_made_again_and_nothing_is_promised_before() {
    let bench = Bench::over_sqlite();
    block_on(async {
        let id = accept(&bench, 1).await;
        stored(&bench, id).await;
        let queue = bench.queues.options.queue.as_str();
        let channel = bench.queues.channel().await;
        channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.unwrap();
        let id = accept(&bench, 2).await;
        stored(&bench, id).await;
    });
}

#[test]
fn a_queue_that_is_another_kind_is_not_used() {
    let queues = Queues::new();
    block_on(async {
        let channel = queues.channel().await;
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let name = queues.options.queue.as_str().into();
        channel.queue_declare(name, durable, FieldTable::default()).await.unwrap();
        let intake = RabbitIntake::connect(queues.url.parse().unwrap(), queues.options.clone());
        let why = eventually(async || intake.trouble().filter(|why| !why.contains("yet"))).await;
        assert!(why.contains("inequivalent arg") && why.contains(&queues.options.queue), "{why}");
        let refused = deliver(&intake, 1).await.unwrap_err();
        assert!(!refused.is_permanent() && refused.retry_after().is_some());
    });
}

#[test]
fn a_password_that_is_wrong_is_told_of_and_not_told() {
    let queues = Queues::new();
    let url = queues.url.replace("guest:guest", "guest:correct-horse");
    block_on(async {
        let intake = RabbitIntake::connect(url.parse().unwrap(), queues.options.clone());
        let why = eventually(async || intake.trouble().filter(|why| !why.contains("yet"))).await;
        assert!(why.contains("ACCESS_REFUSED") && !why.contains("horse"), "{why}");
        let refused = deliver(&intake, 1).await.unwrap_err();
        assert!(!format!("{refused:?}").contains("horse"));
        // So that there is something to be removed.
        let there = RabbitIntake::connect(queues.url.parse().unwrap(), queues.options.clone());
        eventually(async || there.trouble().is_none().then_some(())).await;
    });
}

#[test]
fn a_broker_that_is_short_of_memory_refuses_at_once_and_then_takes_again() {
    let bench = Bench::over_sqlite().with_a_broker_of_its_own();
    let broker = bench.broker.as_ref().unwrap();
    block_on(async {
        let id = accept(&bench, 1).await;
        stored(&bench, id).await;
    });
    broker.control(&["set_vm_memory_high_watermark", "absolute", "1"]);
    block_on(async {
        // The broker says so only to somebody who publishes.
        let refused = eventually(async || deliver(&bench.rabbit(), 2).await.err()).await;
        assert!(!refused.is_permanent(), "{refused}");
        for head in 3..=5 {
            let began = Instant::now();
            let refused = deliver(&bench.rabbit(), head).await.unwrap_err();
            assert!(began.elapsed() < AT_ONCE && refused.retry_after().is_some());
        }
        assert!(bench.rabbit().trouble().is_some_and(|why| why.contains("takes nothing")));
    });
    broker.control(&["set_vm_memory_high_watermark", "0.4"]);
    block_on(async {
        for head in 2..=5 {
            let id = accept(&bench, head).await;
            stored(&bench, id).await;
        }
    });
}

#[test]
fn a_broker_that_stands_still_is_refused_for_in_time() {
    let mut bench = Bench::over_sqlite().with_a_broker_of_its_own();
    block_on(async {
        accept(&bench, 1).await;
    });
    bench.broker.as_ref().unwrap().stand_still();
    block_on(async {
        let began = Instant::now();
        deliver(&bench.rabbit(), 2).await.unwrap_err();
        assert!(began.elapsed() < swifthook_core::ACCEPT_DEADLINE);
        let began = Instant::now();
        deliver(&bench.rabbit(), 3).await.unwrap_err();
        assert!(began.elapsed() < AT_ONCE, "the second is not kept waiting");
    });
    bench.broker.as_ref().unwrap().go_on();
    block_on(async {
        for head in 1..=3 {
            let id = accept(&bench, head).await;
            stored(&bench, id).await;
        }
    });
    bench.stop_broker();
}

/// Delivers a push until it is accepted.
pub(crate) async fn accept(bench: &Bench, head: u32) -> DeliveryId {
    let intake = bench.rabbit();
    eventually(async || deliver(&intake, head).await.ok()).await
}

pub(crate) async fn deliver(intake: &RabbitIntake, head: u32) -> Result<DeliveryId, IntakeError> {
    match swifthook_core::Intake::accept(intake, &decided(head)).await? {
        Receipt::Accepted { delivery } => Ok(delivery),
        Receipt::Stored { .. } => panic!("a broker stores nothing"),
    }
}

/// A receipt that was promised.
pub(crate) async fn stored(bench: &Bench, id: DeliveryId) -> Delivery {
    let history = bench.history();
    eventually(async || history.delivery(id).await.unwrap()).await
}

/// Asks until there is an answer.
pub(crate) async fn eventually<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(180);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "nothing came of it within three minutes");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A push of commit number `head` to main, which supersedes nothing.
pub(crate) fn decided(head: u32) -> Decided {
    let recipe: std::sync::Arc<str> = "sft".into();
    let spec = JobSpec {
        recipe: recipe.clone(),
        config: None,
        group: "group".into(),
        priority: 0,
        launcher: "local".into(),
        labels: Vec::new(),
        command: Default::default(),
        file: None,
        superseded: Superseding::Keep,
        debounce: None,
        retry: Retry::default(),
        origin: Default::default(),
    };
    Decided {
        version: Decided::VERSION,
        push: Push {
            repository: RepoName::new("acme/models").unwrap(),
            ref_name: RefName::Branch("main".into()),
            before: None,
            head: Some(sha(head)),
            skip_marker: false,
            sender: Some("ada".into()),
            pushed_at: None,
            changes: ChangeSet::Complete(Paths::empty()),
            source: Source::Hook { hook: "github".into(), guid: "guid".into() },
            origin: Default::default(),
        },
        verdicts: vec![RecipeVerdict { recipe, verdict: Verdict::launch(), jobs: vec![spec] }],
        config: ConfigDigest([7; 32]),
        received_at: Timestamp(1_795_514_400_000),
        is_redeliverable: true,
    }
}

pub(crate) fn sha(number: u32) -> CommitSha {
    CommitSha::parse(&format!("{number:08x}").repeat(5)).unwrap().unwrap()
}

/// Far less than the five seconds for which a confirmation is waited for.
const AT_ONCE: Duration = Duration::from_secs(3);

pub(crate) fn block_on<T>(what: impl Future<Output = T>) -> T {
    crate::schema::RUNTIME.block_on(what)
}
