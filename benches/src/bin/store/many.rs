use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use swifthook_benches::cpu;
use swifthook_benches::marks::{mark, median};
use swifthook_benches::pushes::{decided, new_commit, trains};
use swifthook_core::{History, Intake, JobFilter, JobQueue, Stage};
use swifthook_queue::{Options, SqliteQueue};

use super::history::{self, RARE, worker};

/// What the same work costs beside many finished jobs and in an empty store, in turn.
#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
pub(super) async fn measure(count: u32) -> Result<bool, Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let (full, empty) = (directory.path().join("full.db"), directory.path().join("empty.db"));
    let since = Instant::now();
    history::make(&full, count).await?;
    let size = std::fs::metadata(&full)?.len() >> 20;
    println!("{count} finished jobs, {size} MiB, made in {:.0} s", since.elapsed().as_secs_f64());

    let opened = opened(&full)?;
    println!("opened in {:.0} ms", opened.as_secs_f64() * 1e3);
    let (full, empty) = (open(&full)?, open(&empty)?);
    let mut slowest = Duration::ZERO;
    for (name, filter) in lists(&full).await? {
        let page = first_page(&full, &filter).await?;
        println!("first page of the job list, {name}: {:.2} ms", page.as_secs_f64() * 1e3);
        slowest = slowest.max(page);
    }

    let (mut enqueue, mut claim) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for _ in 0..ROUNDS {
        for (number, store) in [&empty, &full].into_iter().enumerate() {
            enqueue[number].push(enqueued(store).await?);
            claim[number].push(claimed(store).await?);
        }
    }
    let [enqueue, claim] = [enqueue, claim].map(|both| both.map(median));
    println!("processor time, empty and full: {:.1} and {:.1} µs a push", enqueue[0], enqueue[1]);
    println!("                                {:.1} and {:.1} µs a claim", claim[0], claim[1]);
    let (enqueue, claim) = (enqueue[1] / enqueue[0], claim[1] / claim[0]);
    let mut is_reached = mark(&format!("claim {claim:.2} × an empty store, mark 1.2"), claim <= 1.2);
    is_reached &= mark(&format!("enqueue {enqueue:.2} × its processor time, mark 2"), enqueue <= 2.0);
    is_reached &= mark("each first page within 5 ms", slowest <= Duration::from_millis(5));
    is_reached &= mark("opened within 300 ms", opened <= Duration::from_millis(300));
    Ok(is_reached)
}

fn open(path: &Path) -> Result<Arc<SqliteQueue>, Box<dyn Error>> {
    Ok(Arc::new(SqliteQueue::open(path, Options::default())?))
}

/// The median time in which a store opens.
fn opened(path: &Path) -> Result<Duration, Box<dyn Error>> {
    let mut times = Vec::new();
    for _ in 0..5 {
        let since = Instant::now();
        let store = open(path)?;
        times.push(since.elapsed());
        store.close();
    }
    times.sort();
    Ok(times[times.len() / 2])
}

/// What people look for: the newest, those of a repository or of a recipe that few jobs are of, and those that are in
/// some stage.
async fn lists(store: &SqliteQueue) -> Result<[(&'static str, JobFilter); 5], Box<dyn Error>> {
    let newest = store.jobs(&JobFilter { limit: 1, ..JobFilter::default() }).await?;
    let repository = Some(newest[0].change.repository.to_string());
    let all = JobFilter { limit: 50, ..JobFilter::default() };
    let rare = JobFilter { recipe: Some(RARE.to_owned()), ..all.clone() };
    let both = JobFilter { repository: repository.clone(), ..rare.clone() };
    Ok([
        ("all", all.clone()),
        ("of a repository", JobFilter { repository, ..all }),
        ("of a recipe", rare),
        ("of a repository and a recipe", both.clone()),
        ("of both, succeeded", JobFilter { stages: vec![Stage::Succeeded], ..both }),
    ])
}

async fn first_page(store: &SqliteQueue, filter: &JobFilter) -> Result<Duration, Box<dyn Error>> {
    let mut times = Vec::new();
    for _ in 0..101 {
        let since = Instant::now();
        let page = store.jobs(filter).await?;
        times.push(since.elapsed());
        assert!(!page.is_empty(), "there are jobs");
    }
    times.sort();
    Ok(times[times.len() / 2])
}

/// Processor time of a push, in microseconds: each of a group of its own, by 64 callers.
async fn enqueued(store: &Arc<SqliteQueue>) -> Result<f64, Box<dyn Error>> {
    let since = cpu::used();
    let callers: Vec<_> = (0..64)
        .map(|_| {
            let (store, mut push) = (store.clone(), decided(trains()));
            tokio::spawn(async move {
                for _ in 0..PUSHES / 64 {
                    let head = new_commit();
                    push.verdicts[0].jobs[0].group = format!("group of {}", head.as_str()).into();
                    push.push.head = Some(head);
                    store.accept(&push).await?;
                }
                Ok::<_, swifthook_core::IntakeError>(())
            })
        })
        .collect();
    for caller in callers {
        caller.await??;
    }
    Ok((cpu::used() - since).as_secs_f64() * 1e6 / f64::from(PUSHES))
}

/// Processor time of a claim, in microseconds. Every job that is claimed is given up, so that the next round finds none.
async fn claimed(store: &Arc<SqliteQueue>) -> Result<f64, Box<dyn Error>> {
    let (worker, since) = (worker(), cpu::used());
    let mut leases = Vec::new();
    for _ in 0..CLAIMS {
        leases.push(store.claim(&worker).await?.ok_or("there is a job")?.lease);
    }
    let used = cpu::used() - since;
    let why = swifthook_core::Reason::new("measured", "it is of no more use");
    let at = swifthook_core::Timestamp(1_795_514_400_000);
    while let Some(claimed) = store.claim(&worker).await? {
        leases.push(claimed.lease);
        if leases.len() < 64 {
            continue;
        }
        give_up(store, &mut leases, &why, at).await?;
    }
    give_up(store, &mut leases, &why, at).await?;
    Ok(used.as_secs_f64() * 1e6 / f64::from(CLAIMS))
}

async fn give_up(
    store: &Arc<SqliteQueue>,
    leases: &mut Vec<swifthook_core::Lease>,
    why: &swifthook_core::Reason,
    at: swifthook_core::Timestamp,
) -> Result<(), Box<dyn Error>> {
    for lease in leases.drain(..) {
        store.apply(&lease, swifthook_core::Event::NoLonger { why: why.clone(), at }).await?;
    }
    Ok(())
}

const ROUNDS: usize = 5;
const PUSHES: u32 = 2_048;
const CLAIMS: u32 = 200;
