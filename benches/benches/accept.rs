//! Accepting pushes durably: `cargo bench -p swifthook-benches --bench accept`.
//!
//! `accept` is wall time per push, by the number of callers that accept at once, with the writer's group commit and,
//! as the baseline of the same run, with a transaction for each push. `accept_cpu` is the processor time of the
//! whole process per push; `ignored_cpu` that of a push for which nothing is to run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rustix::time::{ClockId, clock_gettime};
use swifthook_benches::pushes::{decided, new_commit, skips, trains};
use swifthook_core::{Intake, JobQueue, RecipeVerdict};
use swifthook_queue::{Options, SqliteQueue};
use tokio::runtime::Runtime;

fn wall(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("accept");
    group.throughput(Throughput::Elements(1)).sample_size(10).measurement_time(Duration::from_secs(3));
    for callers in CALLERS {
        for (name, batch) in [("group commit", 256), ("one transaction each", 1)] {
            let store = Store::new(batch);
            group.bench_function(BenchmarkId::new(name, callers), |bencher| {
                bencher.iter_custom(|pushes| {
                    let since = Instant::now();
                    store.accept(pushes, callers, trains);
                    since.elapsed()
                });
            });
        }
    }
}

fn cpu(criterion: &mut Criterion<Cpu>) {
    for (name, verdict) in [("accept_cpu", trains as fn() -> RecipeVerdict), ("ignored_cpu", skips)] {
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10).measurement_time(Duration::from_secs(3));
        for callers in CALLERS {
            let store = Store::new(256);
            group.bench_function(BenchmarkId::from_parameter(callers), |bencher| {
                bencher.iter_custom(|pushes| {
                    let since = Cpu.start();
                    store.accept(pushes, callers, verdict);
                    Cpu.end(since)
                });
            });
        }
    }
}

struct Store {
    _directory: tempfile::TempDir,
    queue: Arc<SqliteQueue>,
    runtime: Runtime,
}

impl Store {
    fn new(batch: usize) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let options = Options { batch, ..Options::default() };
        let queue =
            SqliteQueue::open(directory.path().join("swifthook.db"), options).expect("the store opens");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        Self { _directory: directory, queue: Arc::new(queue), runtime }
    }

    /// Accepts that many new pushes, by that many callers at once.
    fn accept(&self, pushes: u64, callers: u64, verdict: fn() -> RecipeVerdict) {
        let left = Arc::new(AtomicU64::new(pushes));
        let trains = !verdict().jobs.is_empty();
        self.runtime.block_on(async {
            let running: Vec<_> = (0..callers)
                .map(|_| {
                    let (queue, left, mut decided) = (self.queue.clone(), left.clone(), decided(verdict()));
                    tokio::spawn(async move {
                        let mut unwritten = 0;
                        while left
                            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                            .is_ok()
                        {
                            decided.push.head = Some(new_commit());
                            queue.accept(&decided).await.expect("the store accepts");
                            unwritten += if trains { 0 } else { callers };
                            if unwritten >= UNWRITTEN {
                                unwritten = 0;
                                write_what_waits(&queue).await;
                            }
                        }
                    })
                })
                .collect();
            for caller in running {
                caller.await.expect("no caller panics");
            }
            if !trains {
                write_what_waits(&self.queue).await;
            }
        });
    }
}

/// What is written after the answer counts too: each transaction takes some of it along.
async fn write_what_waits(queue: &SqliteQueue) {
    for _ in 0..UNWRITTEN / 1_024 {
        queue.sweep().await.expect("the store answers");
    }
}

/// The processor time of this process, all threads together.
struct Cpu;

impl Measurement for Cpu {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).expect("less than a second"))
    }

    fn end(&self, since: Duration) -> Duration {
        self.start() - since
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// How many pushes for which nothing is to run may wait to be written, before a caller waits for it.
const UNWRITTEN: u64 = 8_192;
const CALLERS: [u64; 4] = [1, 16, 64, 256];

criterion_group!(wall_time, wall);
criterion_group!(name = processor_time; config = Criterion::default().with_measurement(Cpu); targets = cpu);
criterion_main!(wall_time, processor_time);
