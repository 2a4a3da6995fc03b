use std::collections::HashSet;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use swifthook_benches::marks::mark;
use swifthook_core::{
    ChangeSet, CommitSha, ConfigDigest, Decided, Event, Intake, JobQueue, JobSpec, Paths, Push, Reason,
    RecipeVerdict, RefName, RepoName, Retry, Source, Superseding, Timestamp, Verdict, Worker,
};
use swifthook_queue::postgres::{Options, PostgresQueue};

use crate::cluster::Cluster;
use crate::process::{cpu_of_all, postmaster};

/// Four workers share what is queued, and end each job as soon as they have it.
#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
pub(crate) fn measure(cluster: &Cluster) -> Result<bool, Box<dyn Error>> {
    let database_pid = postmaster(cluster)?;
    let url = format!("{}?sslmode=disable", cluster.database("claims"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let before = cpu_of_all(database_pid);
    let (taken, took) = runtime.block_on(share(&url))?;
    let database = cpu_of_all(database_pid) - before;
    let distinct = taken.iter().collect::<HashSet<_>>().len();
    println!(
        "claims: {} by four workers in {:.1} s, {:.0} a second; database {:.1} s of processor time, enqueueing too",
        taken.len(),
        took.as_secs_f64(),
        taken.len() as f64 / took.as_secs_f64(),
        database.as_secs_f64()
    );
    Ok(mark(&format!("{distinct} of {JOBS} jobs taken, none twice"), distinct == JOBS && taken.len() == JOBS))
}

async fn share(url: &str) -> Result<(Vec<swifthook_core::JobId>, Duration), Box<dyn Error>> {
    let first = Arc::new(PostgresQueue::open(url, Options::default()).await?);
    let enqueueing: Vec<_> = (0..64)
        .map(|lane| {
            let queue = first.clone();
            tokio::spawn(async move {
                for number in (lane..JOBS).step_by(64) {
                    queue.accept(&push(number)).await.expect("the store takes it");
                }
            })
        })
        .collect();
    for lane in enqueueing {
        lane.await?;
    }
    let began = Instant::now();
    let mut workers = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let queue = PostgresQueue::open(url, Options::default()).await?;
        workers.push(tokio::spawn(async move {
            let worker = Worker {
                name: name.into(),
                host: name.into(),
                labels: Vec::new(),
                slots_free: 1,
                has_gpus: true,
                lease: Duration::from_secs(3_600),
            };
            let mut taken = Vec::new();
            while let Some(claimed) = queue.claim(&worker).await.expect("the store answers") {
                taken.push(claimed.job.id);
                let (why, at) = (Reason::new("bench", "it was only to be taken"), claimed.job.created_at);
                queue.apply(&claimed.lease, Event::NoLonger { why, at }).await.expect("it is this worker's");
            }
            taken
        }));
    }
    let mut taken = Vec::new();
    for worker in workers {
        taken.extend(worker.await?);
    }
    Ok((taken, began.elapsed()))
}

/// A push with a job in a group of its own.
fn push(number: usize) -> Decided {
    let recipe: Arc<str> = "sft".into();
    let spec = JobSpec {
        recipe: recipe.clone(),
        config: None,
        group: format!("group {number}").into(),
        priority: 0,
        launcher: "local".into(),
        labels: Vec::new(),
        command: Default::default(),
        file: None,
        superseded: Superseding::CancelQueued,
        debounce: None,
        retry: Retry::default(),
        origin: Default::default(),
    };
    Decided {
        version: Decided::VERSION,
        push: Push {
            repository: RepoName::new("acme/models").expect("a name"),
            ref_name: RefName::Branch(format!("branch-{}", number % 100).into()),
            before: None,
            head: CommitSha::parse(&format!("{:040x}", number + 1)).expect("a commit"),
            skip_marker: false,
            sender: None,
            pushed_at: None,
            changes: ChangeSet::Complete(Paths::empty()),
            source: Source::Hook { hook: "github".into(), guid: "guid".into() },
            origin: Default::default(),
        },
        verdicts: vec![RecipeVerdict { recipe, verdict: Verdict::launch(), jobs: vec![spec] }],
        config: ConfigDigest([7; 32]),
        received_at: Timestamp(1_795_514_400_000),
        is_redeliverable: true,
    }
}

const JOBS: usize = 10_000;
