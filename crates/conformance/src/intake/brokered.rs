//! What becomes of pushes while the broker or the store is away.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use swifthook_core::{ACCEPT_DEADLINE, DeliveryId, Intake, Problem as _};

use super::bench::BrokeredBench;
use super::site::{Site, decided, deliver, eventually, lonely};
use crate::queue::scene::sha;

pub(super) async fn what_is_accepted_while_the_store_is_away_is_stored_when_it_is_back(
    bench: &mut dyn BrokeredBench,
) {
    bench.stop_store();
    let mut accepted = Vec::new();
    for head in 1..=20 {
        accepted.push(Site::of(bench).accept(&lonely(head)).await);
    }
    bench.start_store();
    let site = Site::of(bench);
    for id in accepted {
        site.stored(id).await;
    }
    assert_eq!((site.jobs().await.len(), site.receipts().await.len()), (20, 20));
}

pub(super) async fn while_the_broker_is_away_pushes_are_refused_for_now(bench: &mut dyn BrokeredBench) {
    let site = Site::of(bench);
    site.accept(&lonely(1)).await;
    bench.stop_broker();
    // The first may come before anybody has noticed; whatever comes then is not kept waiting.
    for (head, within) in [(2, ACCEPT_DEADLINE), (3, AT_ONCE), (4, AT_ONCE)] {
        let began = Instant::now();
        let refused = deliver(&*site.intake, &decided(&lonely(head))).await.unwrap_err();
        assert!(!refused.is_permanent() && refused.retry_after().is_some(), "{refused}");
        assert!(began.elapsed() < within, "push {head} was refused after {:?}", began.elapsed());
    }
    bench.start_broker();
    for head in 2..=5 {
        site.stored(site.accept(&lonely(head)).await).await;
    }
    assert_eq!(site.jobs().await.len(), 5);
}

pub(super) async fn under_load_every_accepted_push_is_stored_once_whatever_goes_and_comes(
    bench: &mut dyn BrokeredBench,
) {
    let load = Arc::new(Load::default());
    let is_over = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> =
        (0..8).map(|_| tokio::spawn(send(Site::of(bench).intake, load.clone(), is_over.clone()))).collect();
    for _ in 0..2 {
        more(&load.accepted, 150).await;
        bench.stop_store();
        more(&load.accepted, 50).await;
        bench.start_store();
        more(&load.accepted, 50).await;
        bench.stop_broker();
        more(&load.delivered, 40).await;
        bench.start_broker();
    }
    more(&load.accepted, 150).await;
    is_over.store(true, Ordering::SeqCst);
    let mut accepted = Vec::new();
    for sender in senders {
        accepted.extend(sender.await.unwrap());
    }
    let site = Site::of(bench);
    for (head, id) in accepted {
        let kept = site.stored(id).await;
        assert_eq!((kept.head, kept.jobs.len()), (Some(sha(head)), 1));
    }
    let jobs = site.jobs().await;
    let changes: HashSet<_> = jobs.iter().map(|job| job.change.clone()).collect();
    assert_eq!(changes.len(), jobs.len(), "each change has one job");
}

#[derive(Default)]
struct Load {
    delivered: AtomicU32,
    accepted: AtomicU32,
}

/// Waits until there are so many more.
async fn more(counter: &AtomicU32, count: u32) {
    let until = counter.load(Ordering::SeqCst) + count;
    eventually("the load goes on", async || (counter.load(Ordering::SeqCst) >= until).then_some(())).await;
}

/// Delivers pushes, one after the other; answers which were accepted.
async fn send(intake: Arc<dyn Intake>, load: Arc<Load>, is_over: Arc<AtomicBool>) -> Vec<(u32, DeliveryId)> {
    let mut accepted = Vec::new();
    while !is_over.load(Ordering::SeqCst) {
        let head = load.delivered.fetch_add(1, Ordering::SeqCst) + 1;
        match deliver(&*intake, &decided(&lonely(head))).await {
            Ok(id) => {
                accepted.push((head, id));
                load.accepted.fetch_add(1, Ordering::SeqCst);
            }
            Err(refused) => {
                assert!(!refused.is_permanent(), "{refused}");
                tokio::time::sleep(AFTER_REFUSAL).await;
            }
        }
    }
    accepted
}

/// Far less than it takes to find out that nobody confirms.
const AT_ONCE: Duration = Duration::from_secs(3);
/// Between two deliveries of somebody who was refused.
const AFTER_REFUSAL: Duration = Duration::from_millis(20);
