use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use swifthook_benches::marks::{mark, median};
use swifthook_benches::pushes::{decided, new_commit, trains};
use swifthook_core::Intake;
use swifthook_queue::{Options, SqliteQueue};

/// The same pushes by 64 callers, with group commit and with a transaction for each, in turn.
#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
pub(super) async fn measure() -> Result<bool, Box<dyn Error>> {
    let sync = one_sync()?;
    println!("a sync takes {:.2} ms", sync.as_secs_f64() * 1e3);
    let (mut grouped, mut single) = (Vec::new(), Vec::new());
    for round in 1..=3 {
        grouped.push(rate(256, 4_000).await?);
        single.push(rate(1, 200).await?);
        println!("round {round}: {:.0} and {:.0} pushes a second", grouped[round - 1], single[round - 1]);
    }
    let ratio = median(grouped) / median(single);
    println!("{CALLERS} callers: group commit is {ratio:.1} × one transaction each");
    if sync < Duration::from_millis(5) {
        println!("  the sync is faster than that of the mark: run benches/slow-sync");
        return Ok(true);
    }
    Ok(mark("at least 20 ×", ratio >= 20.0))
}

/// How many pushes a second are durable.
async fn rate(batch: usize, pushes: i64) -> Result<f64, Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let options = Options { batch, ..Options::default() };
    let queue = Arc::new(SqliteQueue::open(directory.path().join("swifthook.db"), options)?);
    let (left, since) = (Arc::new(AtomicI64::new(pushes)), Instant::now());
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (queue, left, mut push) = (queue.clone(), left.clone(), decided(trains()));
            tokio::spawn(async move {
                while left.fetch_sub(1, Ordering::Relaxed) > 0 {
                    push.push.head = Some(new_commit());
                    queue.accept(&push).await?;
                }
                Ok::<_, swifthook_core::IntakeError>(())
            })
        })
        .collect();
    for caller in callers {
        caller.await??;
    }
    Ok(pushes as f64 / since.elapsed().as_secs_f64())
}

fn one_sync() -> std::io::Result<Duration> {
    let mut file = tempfile::tempfile()?;
    let mut times = Vec::new();
    for _ in 0..20 {
        file.write_all(&[7; 4_096])?;
        let since = Instant::now();
        file.sync_data()?;
        times.push(since.elapsed());
    }
    times.sort();
    Ok(times[times.len() / 2])
}

const CALLERS: usize = 64;
