//! Verifying, reading and deciding a push, against the bare HMAC of the same bytes in the same run:
//!
//! ```text
//! cargo bench -p swifthook-benches --bench receive
//! ```

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use http::request::Parts;
use swifthook_benches::payload::{Size, push};
use swifthook_benches::turns::{Subject, compare};
use swifthook_core::condition::{all, branches, paths};
use swifthook_core::{
    Limits, Outcome, PathFilter, Push, Reason, Receiver, Secret, SecretSet, Timestamp, TriggerPolicy,
    Verdict, hmac_sha256,
};

fn main() {
    for (title, size, mark) in SIZES {
        ratios(title, size, mark);
    }
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("receive");
    group.sample_size(10);
    for (title, size, _) in SIZES {
        let deliveries = Deliveries::new(size);
        let receiver = finding_all(1);
        group.throughput(Throughput::Bytes(deliveries.body(0).len() as u64));
        let mut number = 0;
        group.bench_function(BenchmarkId::new("verify, read, decide", title), |bencher| {
            bencher.iter(|| {
                number += 1;
                deliveries.receive(&receiver, number);
            });
        });
    }
    group.finish();
    criterion.final_summary();
}

fn ratios(title: &str, size: Size, mark: f64) {
    let deliveries = Deliveries::new(size);
    let (one, ten) = (finding_all(1), finding_all(10));
    let (first, ten_first) = (finding_one(1), finding_one(10));
    let nothing = Arc::new(builder().build().expect("it is well formed"));
    let bytes = deliveries.body(0).len();
    let mut subjects = [
        Subject::new("bare HMAC", |i| {
            black_box(hmac_sha256(SECRET.as_bytes(), deliveries.body(i)));
        }),
        Subject::new("verify and read", |i| deliveries.receive(&nothing, i)),
        Subject::new("a recipe that finds all matching paths", |i| deliveries.receive(&one, i)).at_most(mark),
        Subject::new("ten such recipes", |i| deliveries.receive(&ten, i)).at_most(mark * 1.3),
        Subject::new("a recipe with branches and paths", |i| deliveries.receive(&first, i)).at_most(mark),
        Subject::new("ten such recipes", |i| deliveries.receive(&ten_first, i)).at_most(mark * 1.3),
    ];
    compare(
        &format!("{title}: {bytes} bytes, {} commits of {} files", size.commits, size.files),
        &mut subjects,
    );
}

/// Recipes that look at every path, though one that matches would be enough.
fn finding_all(recipes: usize) -> Arc<Receiver> {
    let with_recipe = |builder: swifthook_core::Builder, i: usize| {
        let filter = PathFilter::new(patterns(i)).expect("they are globs");
        builder.recipe(&format!("recipe-{i}"), "acme/models", AllPaths(filter))
    };
    Arc::new((0..recipes).fold(builder(), with_recipe).build().expect("it is well formed"))
}

/// Recipes as a configuration makes them.
fn finding_one(recipes: usize) -> Arc<Receiver> {
    let with_recipe = |builder: swifthook_core::Builder, i: usize| {
        let branch = branches(["main", "release/**"]).expect("they are globs");
        let policy = all([branch, paths(patterns(i)).expect("they are globs")]);
        builder.recipe(&format!("recipe-{i}"), "acme/models", policy)
    };
    Arc::new((0..recipes).fold(builder(), with_recipe).build().expect("it is well formed"))
}

fn patterns(recipe: usize) -> [String; 3] {
    let extra = ["src/**/*.py", "data/*.json", "**/*.toml", "tools/{a,b}/*.sh", "train_*.py"][recipe % 5];
    ["configs/**".into(), extra.into(), "!**/*.md".into()]
}

struct AllPaths(PathFilter);

impl TriggerPolicy for AllPaths {
    fn decide(&self, push: &Push, _now: Timestamp) -> Verdict {
        match self.0.matching(push.changes.paths()).count() {
            0 => Verdict::Skip(Reason::new("paths", "no path matches")),
            _ => Verdict::launch(),
        }
    }
}

fn builder() -> swifthook_core::Builder {
    let secrets = SecretSet::one(SECRET).expect("it is long enough");
    Receiver::builder().hook("github", "/webhook", secrets, &["acme/*"]).limits(Limits::default())
}

/// Different pushes, each with the head of its request.
struct Deliveries(Vec<(Bytes, Parts)>);

impl Deliveries {
    fn new(size: Size) -> Self {
        let secret = Secret::new("bench", SECRET).expect("it is long enough");
        let delivery = |number: usize| {
            let head = format!("{:040x}", number + 1);
            let json = serde_json::to_vec(&push("acme/models", BEFORE, &head, size)).expect("it is JSON");
            let request = http::Request::post("/webhook")
                .header("content-type", "application/json")
                .header("content-length", json.len())
                .header("x-github-event", "push")
                .header("x-github-delivery", format!("00000000-0000-4000-8000-{number:012x}"))
                .header("x-hub-signature-256", secret.sign(&json));
            (Bytes::from(json), request.body(()).expect("it is well formed").into_parts().0)
        };
        let count = if size.commits > 100 { 2 } else { 64 };
        Self((0..count).map(delivery).collect())
    }

    fn body(&self, number: usize) -> &Bytes {
        &self.0[number % self.0.len()].0
    }

    fn receive(&self, receiver: &Arc<Receiver>, number: usize) {
        let (body, head) = &self.0[number % self.0.len()];
        let mut reading = receiver.begin("/webhook", head, Some(PEER)).expect("the head is fine");
        reading.push(body.clone()).expect("it is not too large");
        let outcome = reading.finish(NOW).expect("it is a signed push");
        assert!(matches!(outcome, Outcome::Decided(_) | Outcome::Ignored(_)));
        black_box(outcome);
    }
}

const SECRET: &str = "correct horse battery staple 2026";
const BEFORE: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
/// A server knows where a request comes from.
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(140, 82, 112, 1));
const NOW: Timestamp = Timestamp(1_795_514_460_000);
const SIZES: [(&str, Size, f64); 4] = [
    ("8 KB", Size::SMALL, 2.2),
    ("29 KB", Size::TWENTY_BY_TEN, 2.7),
    ("2.2 MB", Size { commits: 400, files: 100 }, 3.1),
    ("24 MB", Size { commits: 2_000, files: 230 }, 3.1),
];
