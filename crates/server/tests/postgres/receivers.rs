//! Several servers on one database.

use serde_json::Value;
use swifthook::send::Delivery;
use swifthook_core::{
    ChangeSet, ConfigDigest, Decided, History, Intake, JobFilter, Paths, Push, Receipt, RecipeVerdict,
    Source, Timestamp, Verdict,
};
use swifthook_queue::postgres::{Options, PostgresQueue};

use crate::cluster::Cluster;
use crate::site::{Site, deliver, deliver_all, marks_and_ends_with};
use crate::world::{Running, job_of};

#[test]
fn a_push_that_one_server_took_is_seen_by_the_other_and_read_when_none_runs() {
    let cluster = Cluster::shared();
    let site = Site::new(&cluster.database("one_push"), "run = { command = [\"true\"] }");
    let (one, other) = (site.serve(""), site.serve(""));
    let (_, push) = site.push();
    let answer = one.deliver(&push);
    assert_eq!(answer.status.as_u16(), 202, "{}", answer.body);
    let id = job_of(&answer);
    let job = other.wait_for(&id, &["succeeded", "failed"]);
    assert_eq!(job["state"], "succeeded", "{job:#}\n{}", site.world.server_log());
    assert_eq!(job_of(&other.deliver(&push)), id);
    for server in [one, other] {
        server.signal("TERM");
        assert!(server.ended().success());
    }
    let config = std::fs::read_to_string(site.world.path("swifthook.toml")).unwrap();
    // Nobody listens at a port that only root may take.
    let config = config.replace("admin_listen = \"127.0.0.1:0\"", "admin_listen = \"127.0.0.1:1\"");
    std::fs::write(site.world.path("swifthook.toml"), config).unwrap();
    let listed = site.world.program(&["jobs", "list", "--json"]).output().unwrap();
    assert!(listed.status.success(), "{listed:?}");
    assert!(String::from_utf8(listed.stdout).unwrap().contains(&id));
}

#[test]
fn one_change_trains_once_however_often_and_by_whom_it_is_delivered() {
    let cluster = Cluster::shared();
    let url = cluster.database("one_change");
    let site = Site::new(&url, &marks_and_ends_with(1));
    let (one, other) = (site.serve(""), site.serve(""));
    let both = [&one, &other];
    let (_, push) = site.push();
    let first = Delivery::push(push.to_string());

    let mut answers = deliver_all(&both, &vec![first.clone(); 200]);
    answers.extend(deliver_all(&both, &others(&first, 200)));
    assert_eq!(answers.len(), 400);
    let id = job_of(&answers[0]);
    for answer in &answers {
        assert!([200, 202].contains(&answer.status.as_u16()), "{}", answer.body);
        assert_eq!(job_of(answer), id);
    }
    let queued = answers.iter().filter(|answer| answer.status.as_u16() == 202).count();
    assert_eq!((queued, jobs(&one)), (1, 1));

    site.lets_go();
    let failed = one.wait_for(&id, &["failed", "succeeded"]);
    assert_eq!(failed["state"], "failed", "{failed:#}");
    assert_eq!(site.runs(), 1);

    for answer in deliver_all(&both, &others(&first, 1_000)) {
        assert_eq!((answer.status.as_u16(), job_of(&answer)), (200, id.clone()), "{}", answer.body);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(reconcile(&url, 100));
    assert_eq!((jobs(&other), site.runs()), (1, 1));

    let again = deliver(&other, &first);
    assert_eq!(again.status.as_u16(), 202, "{}", again.body);
    let rerun = one.wait_for(&job_of(&again), &["failed", "succeeded"]);
    assert_eq!((&rerun["rerun_of"], &rerun["run"]), (&Value::from(id), &Value::from(1)), "{rerun:#}");
    assert_eq!((jobs(&one), site.runs()), (2, 2));
}

/// The same body under other GUIDs.
fn others(first: &Delivery, count: usize) -> Vec<Delivery> {
    (0..count).map(|_| Delivery::push(first.payload.clone())).collect()
}

fn jobs(server: &Running) -> usize {
    server.get("/api/v1/jobs?limit=500")["jobs"].as_array().unwrap().len()
}

/// Accepts the one change that is known again, as if its ref had been looked at.
async fn reconcile(url: &str, times: usize) {
    let queue = PostgresQueue::open(url, Options::default()).await.unwrap();
    let job = queue.jobs(&JobFilter::default()).await.unwrap().remove(0);
    let verdict = RecipeVerdict {
        recipe: job.change.recipe.clone(),
        verdict: Verdict::launch(),
        jobs: vec![job.spec.clone()],
    };
    let decided = Decided {
        version: Decided::VERSION,
        push: Push {
            repository: job.change.repository.clone(),
            ref_name: job.change.ref_name.clone(),
            before: job.before.clone(),
            head: Some(job.change.head.clone()),
            skip_marker: false,
            sender: None,
            pushed_at: job.pushed_at,
            changes: ChangeSet::Complete(Paths::empty()),
            source: Source::Reconcile,
            origin: Default::default(),
        },
        verdicts: vec![verdict],
        config: ConfigDigest([7; 32]),
        received_at: Timestamp(job.created_at.0 + 1_000),
        is_redeliverable: true,
    };
    for _ in 0..times {
        let Receipt::Stored { jobs, .. } = queue.accept(&decided).await.unwrap() else { panic!("a store") };
        assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [job.id]);
    }
}
