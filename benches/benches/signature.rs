//! Verifying a body, against the bare HMAC of the same bytes in the same run:
//!
//! ```text
//! cargo bench -p swifthook-benches --bench signature
//! ```

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use swifthook_benches::turns::{Subject, compare};
use swifthook_core::{Hook, Secret, SecretSet, hmac_sha256};

fn main() {
    let sizes = [1_000, 8_000, 29_000, 2_200_000, 25 * 1024 * 1024];
    for size in sizes {
        ratios(size);
    }
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("signature");
    group.sample_size(10);
    for size in sizes {
        let deliveries = Deliveries::new(size);
        let one = hook(1);
        group.throughput(Throughput::Bytes(size as u64));
        let mut number = 0;
        group.bench_function(BenchmarkId::new("verify", size), |bencher| {
            bencher.iter(|| {
                number += 1;
                deliveries.verify(&one, number);
            });
        });
    }
    group.finish();
    criterion.final_summary();
}

fn ratios(size: usize) {
    let deliveries = Deliveries::new(size);
    let (one, three) = (hook(1), hook(3));
    let bare = Subject::new("bare HMAC", |i| {
        black_box(hmac_sha256(SECRET.as_bytes(), deliveries.body(i)));
    });
    let verify = Subject::new("verify", |i| deliveries.verify(&one, i));
    let verify_three = Subject::new("verify with three secrets", |i| deliveries.verify(&three, i));
    // Below 8 KB what is the same for every size shows: it has no mark there.
    let mut subjects = match size >= 8_000 {
        true => [bare, verify.at_most(1.05), verify_three.at_most(3.1)],
        false => [bare, verify, verify_three],
    };
    compare(&format!("{size} bytes"), &mut subjects);
}

/// Different bodies, each with its signature.
struct Deliveries(Vec<(Bytes, String)>);

impl Deliveries {
    fn new(size: usize) -> Self {
        let secret = Secret::new("bench", SECRET).expect("it is long enough");
        let count = (4_000_000 / size).clamp(2, 64);
        let body = |number: usize| -> Bytes { (0..size).map(|i| (i * 31 + number) as u8).collect() };
        Self((0..count).map(body).map(|body| (body.clone(), secret.sign(&body))).collect())
    }

    fn body(&self, number: usize) -> &Bytes {
        &self.0[number % self.0.len()].0
    }

    fn verify(&self, hook: &Arc<Hook>, number: usize) {
        let (body, signature) = &self.0[number % self.0.len()];
        let verified = hook.verify(Some(signature.as_bytes()), body.clone());
        black_box(verified.expect("it is signed"));
    }
}

/// A hook with so many secrets, of which the last is the right one.
fn hook(secrets: usize) -> Arc<Hook> {
    let secret = |i: usize| {
        let text = if i + 1 == secrets { SECRET.to_owned() } else { format!("another secret, {i:04}") };
        Secret::new(&i.to_string(), text).expect("it is long enough")
    };
    let secrets = SecretSet::new((0..secrets).map(secret).collect()).expect("they are few");
    Arc::new(Hook::new("github", "/webhook", secrets, &["acme/*"]).expect("it is well formed"))
}

const SECRET: &str = "correct horse battery staple 2026";
