//! What a crash leaves behind.

use std::collections::HashSet;

use super::bench::DurableIntakeBench;
use super::site::{Site, lonely};
use crate::queue::scene::Delivered;

pub(super) async fn what_was_accepted_is_stored_after_any_crash(bench: &mut dyn DurableIntakeBench) {
    let mut accepted = Vec::new();
    for round in 0..5 {
        {
            let site = Site::of(bench);
            for head in round * 10 + 1..=round * 10 + 10 {
                accepted.push(site.accept(&lonely(head)).await);
            }
        }
        bench.crash_and_reopen();
    }
    let site = Site::of(bench);
    let mut jobs = HashSet::new();
    for id in &accepted {
        jobs.extend(site.stored(*id).await.jobs);
    }
    assert_eq!((jobs.len(), site.jobs().await.len(), site.receipts().await.len()), (50, 50, 50));
}

pub(super) async fn a_change_trains_once_across_crashes(bench: &mut dyn DurableIntakeBench) {
    let mut accepted = Vec::new();
    for _ in 0..4 {
        {
            let site = Site::of(bench);
            accepted.push(site.accept(&Delivered::new(1)).await);
            accepted.push(site.accept(&Delivered::new(1)).await);
        }
        bench.crash_and_reopen();
    }
    let site = Site::of(bench);
    for id in accepted {
        assert_eq!(site.stored(id).await.jobs.len(), 1);
    }
    assert_eq!((site.jobs().await.len(), site.receipts().await.len()), (1, 8));
}
