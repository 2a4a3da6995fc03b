//! Reading `logging.jsonl`, as a run of ms-swift 4.6 writes it; the mark is 300 MB/s:
//!
//! ```text
//! cargo bench -p swifthook-msswift --bench log
//! ```

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use swifthook_msswift::LogReader;

/// What this process used: others on the machine do not count.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("it is not negative")
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let line = |step: u32| {
        format!(
            "{{\"loss\": 6.29321957, \"grad_norm\": 0.89481491, \"learning_rate\": 0.0005, \"token_acc\": 0.0, \
             \"epoch\": 0.0625, \"global_step/max_steps\": \"{step}/100000\", \"elapsed_time\": \"2m 5s\", \
             \"remaining_time\": \"1h 3m 4s\", \"memory(GiB)\": 61.25, \"train_speed(s/it)\": 0.089923}}\n"
        )
    };
    let log: String = (0..20_000).map(line).collect();
    let mut group = criterion.benchmark_group("log");
    group.throughput(Throughput::Bytes(log.len() as u64)).sample_size(20);
    group.bench_function("read", |bencher| {
        bencher.iter_custom(|times| {
            let before = processor_time();
            for _ in 0..times {
                let mut reader = LogReader::default();
                log.as_bytes().chunks(64 * 1024).for_each(|piece| reader.push(black_box(piece)));
                black_box(reader.log().step);
            }
            processor_time() - before
        });
    });
    group.finish();
    criterion.final_summary();
}
