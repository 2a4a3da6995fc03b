//! Thousands of worlds in which everything goes wrong, and what must hold in each.
//!
//! `SEEDS=10000 cargo test -p swifthook-conformance --test world` lives through more of them, `SEED=42` through one.

mod support;

use std::collections::BTreeMap;

use support::employ;
use swifthook_conformance::world::{Summary, live};
use swifthook_queue::MemoryQueue;

#[test]
fn whatever_goes_wrong_every_change_trains_once_and_every_job_ends() {
    let mut whole = Summary::new();
    let mut failures = Vec::new();
    for seed in seeds() {
        match live_through(seed) {
            Ok(summary) => {
                summary.into_iter().for_each(|(kind, times)| *whole.entry(kind).or_default() += times)
            }
            Err(story) => failures.push(story),
        }
    }
    println!("{whole:#?}");
    assert!(
        failures.is_empty(),
        "{} worlds went wrong; the first (again with SEED=…):\n{}",
        failures.len(),
        failures[0]
    );
    if std::env::var_os("SEED").is_none() {
        everything_was_seen(&whole);
    }
}

#[test]
fn one_seed_tells_one_story() {
    assert_eq!(live_through(7), live_through(7));
}

/// Worlds in which nothing happens prove nothing.
fn everything_was_seen(whole: &BTreeMap<&'static str, usize>) {
    let all = [
        "push",
        "redelivery",
        "cancel",
        "retry",
        "approval",
        "crash",
        "shutdown",
        "sleep",
        "unreachable",
        "checkout fails",
        "store fails",
        "submission not done",
        "submission not answered",
        "submission refused",
        "submission panics",
        "run",
        "succeeded",
        "failed",
        "cancelled",
        "superseded",
        "quarantined",
    ];
    for kind in all {
        assert!(whole.contains_key(kind), "no world had a `{kind}`: {whole:?}");
    }
}

fn live_through(seed: u64) -> Result<Summary, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(live(seed, MemoryQueue::with_clock, employ))
}

fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(300),
    }
}
