//! What a queue knows of its workers.

use std::time::Duration;

use swifthook_core::{Duty, Heartbeat, KnownWorker};

use super::bench::QueueBench;

pub(super) async fn a_worker_is_listed_as_it_last_told(bench: &dyn QueueBench) {
    let queue = bench.queue();
    assert_eq!(queue.workers().await.expect("the queue answers"), []);
    let began = bench.now();
    queue.heartbeat(&beat("b", Duty::Begins)).await.expect("the queue answers");
    queue.heartbeat(&beat("a", Duty::Begins)).await.expect("the queue answers");
    bench.advance(Duration::from_secs(10));
    let busy = Heartbeat { busy: 2, ..beat("b", Duty::Works) };
    queue.heartbeat(&busy).await.expect("the queue answers");
    let a = KnownWorker {
        name: "a".into(),
        host: "host of a".into(),
        labels: vec!["gpu-a100".into(), "big".into()],
        slots: 3,
        busy: 0,
        version: "1.2.3".into(),
        gpus: vec!["NVIDIA A100".into(), "NVIDIA A100".into()],
        started_at: began,
        seen_at: began,
        is_draining: false,
    };
    let b = KnownWorker { name: "b".into(), host: "host of b".into(), busy: 2, ..a.clone() };
    let b = KnownWorker { seen_at: bench.now(), ..b };
    assert_eq!(queue.workers().await.expect("the queue answers"), [a.clone(), b.clone()]);

    let without = Heartbeat { gpus: Vec::new(), ..beat("b", Duty::Drains) };
    queue.heartbeat(&without).await.expect("the queue answers");
    let draining = KnownWorker { is_draining: true, busy: 0, gpus: Vec::new(), ..b };
    assert_eq!(queue.workers().await.expect("the queue answers"), [a.clone(), draining]);
    for _ in 0..2 {
        queue.heartbeat(&beat("b", Duty::Ends)).await.expect("the queue answers");
        assert_eq!(queue.workers().await.expect("the queue answers"), std::slice::from_ref(&a));
    }
}

pub(super) async fn a_worker_of_the_name_of_an_earlier_one_began_later(bench: &dyn QueueBench) {
    let queue = bench.queue();
    queue.heartbeat(&beat("a", Duty::Begins)).await.expect("the queue answers");
    bench.advance(Duration::from_secs(60));
    queue.heartbeat(&beat("a", Duty::Begins)).await.expect("the queue answers");
    let known = queue.workers().await.expect("the queue answers");
    assert_eq!((known.len(), known[0].started_at), (1, bench.now()));
}

pub(super) async fn a_worker_that_nothing_is_heard_of_is_forgotten_after_a_day(bench: &dyn QueueBench) {
    let queue = bench.queue();
    queue.heartbeat(&beat("lost", Duty::Begins)).await.expect("the queue answers");
    bench.advance(Duration::from_secs(23 * 3_600));
    queue.heartbeat(&beat("new", Duty::Begins)).await.expect("the queue answers");
    let names = async || {
        let known = queue.workers().await.expect("the queue answers");
        known.into_iter().map(|worker| worker.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["lost", "new"]);
    bench.advance(Duration::from_secs(3_600));
    assert_eq!(names().await, ["new"]);
}

fn beat(name: &str, duty: Duty) -> Heartbeat {
    Heartbeat {
        name: name.into(),
        host: format!("host of {name}").into(),
        labels: vec!["gpu-a100".into(), "big".into()],
        slots: 3,
        busy: 0,
        version: "1.2.3".into(),
        gpus: vec!["NVIDIA A100".into(), "NVIDIA A100".into()],
        duty,
    }
}
