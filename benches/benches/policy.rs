//! What deciding costs once a push is read: paths against patterns, one recipe against ten.
//!
//! `cargo bench -p swifthook-benches --bench policy`

#![expect(clippy::unwrap_used, reason = "what is measured is made of constants")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use globset::{GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};
use swifthook_core::condition::{all, branches, paths, skip_markers};
use swifthook_core::{
    ChangeSet, CommitSha, Each, PathChange, PathFilter, Paths, Push, Recipe, RefName, RepoName, Rule, Source,
    Template, Timestamp,
};

/// One list of three patterns against paths of which none matches, so that every pattern is compared with every
/// path, with globset's two ways of doing the same beside it.
fn patterns(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("patterns");
    for count in [200, 40_000] {
        let names = names(count, "src");
        group.throughput(Throughput::Elements(count));
        let filter = PathFilter::new(PATTERNS).unwrap();
        group.bench_with_input(BenchmarkId::new("ours", count), &names, |bencher, names| {
            bencher.iter(|| names.iter().filter(|name| filter.matches(black_box(name))).count());
        });
        let matchers: Vec<GlobMatcher> = PATTERNS.iter().map(|text| glob(text).compile_matcher()).collect();
        group.bench_with_input(BenchmarkId::new("globset, each", count), &names, |bencher, names| {
            let matches = |name: &str| matchers.iter().rev().any(|glob| glob.is_match(name));
            bencher.iter(|| names.iter().filter(|name| matches(black_box(name))).count());
        });
        let set = set();
        group.bench_with_input(BenchmarkId::new("globset, as a set", count), &names, |bencher, names| {
            let last = |name: &str| set.matches(name).last().copied();
            bencher.iter(|| names.iter().filter(|name| last(black_box(name)).is_some()).count());
        });
    }
    group.finish();
}

/// A whole recipe: its policy, and one job per file of those that match.
fn decide(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide");
    group.sample_size(30);
    for (name, push) in [
        ("3 paths", push(3, "configs/sft")),
        ("200 paths", push(200, "src")),
        ("40000 paths", push(40_000, "src")),
    ] {
        for count in [1, 10] {
            let recipes: Vec<_> = (0..count).map(recipe).collect();
            group.bench_with_input(
                BenchmarkId::new(format!("{count} recipes"), name),
                &push,
                |bencher, push| {
                    bencher.iter(|| {
                        recipes.iter().map(|recipe| recipe.decide(black_box(push), NOW)).collect::<Vec<_>>()
                    });
                },
            );
        }
        let each = each();
        group.bench_with_input(BenchmarkId::new("each", name), &push, |bencher, push| {
            bencher.iter(|| each.decide(black_box(push), NOW));
        });
    }
    group.finish();
}

fn names(count: u64, directory: &str) -> Vec<String> {
    (0..count).map(|i| format!("{directory}/models/part_{}/module_{i}.py", i % 17)).collect()
}

fn push(count: u64, directory: &str) -> Push {
    let names = names(count, directory);
    Push {
        repository: RepoName::new("acme/models").unwrap(),
        ref_name: RefName::Branch("main".into()),
        before: CommitSha::parse(&"a".repeat(40)).unwrap(),
        head: CommitSha::parse(&"b".repeat(40)).unwrap(),
        skip_marker: false,
        sender: Some("dev".into()),
        pushed_at: Some(NOW),
        changes: ChangeSet::Complete(Paths::from_iter(names.iter().map(|name| (name, PathChange::Present)))),
        source: Source::Person,
        origin: Default::default(),
    }
}

fn policy() -> Rule {
    all([branches(["main", "release/**"]).unwrap(), skip_markers(), paths(PATTERNS).unwrap()])
}

fn recipe(number: usize) -> Recipe {
    let command = ["python", "train.py", "--commit={commit}", "--out={output_dir}"];
    Recipe {
        command: command.iter().map(|text| Template::parse(text).unwrap()).collect(),
        ..Recipe::new(&format!("recipe-{number}"), RepoName::new("acme/models").unwrap(), policy())
    }
}

fn each() -> Recipe {
    let policy = branches(["main"]).unwrap();
    Recipe {
        each: Some(Each::new(PATTERNS).unwrap()),
        ..Recipe::new("each", RepoName::new("acme/models").unwrap(), policy)
    }
}

fn glob(text: &str) -> globset::Glob {
    GlobBuilder::new(text).literal_separator(true).build().unwrap()
}

fn set() -> GlobSet {
    let mut set = GlobSetBuilder::new();
    for text in PATTERNS {
        set.add(glob(text));
    }
    set.build().unwrap()
}

const PATTERNS: [&str; 3] = ["configs/**", "**/*.yaml", "data/sft_*.json"];
const NOW: Timestamp = Timestamp(1_795_514_400_000);

criterion_group!(benches, patterns, decide);
criterion_main!(benches);
