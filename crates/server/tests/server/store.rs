//! What whoever runs a server does with its store.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use swifthook_core::{
    Actor, ChangeSet, Command, CommitSha, ConfigDigest, Decided, Intake, JobQueue, JobSpec, Paths, Push,
    Receipt, RecipeVerdict, RefName, RepoName, Retry, Source, Superseding, Timestamp, Verdict,
};
use swifthook_queue::{Options, SqliteQueue};

use crate::world::{Running, World, until};

const RECIPE: &str = "run = { command = [\"true\"] }";

#[test]
fn a_store_is_counted_and_copied_while_a_server_works_on_it() {
    let world = World::new(RECIPE);
    say(&world, "[retention]\nkeep = \"forever\"\nkeep_failed = \"off\"");
    old_store(&world, 3, 100);
    let server = world.serve();
    let stats = ok(&asked(&world, &server, &["store", "stats"]));
    assert!(stats.contains("jobs cancelled    3\n") && stats.contains("changes known     3\n"), "{stats}");
    let stats: Value =
        serde_json::from_str(&ok(&asked(&world, &server, &["store", "stats", "--json"]))).unwrap();
    assert_eq!((&stats["deliveries"], stats["jobs"][0]["state"].as_str()), (&3.into(), Some("queued")));

    let told = ok(&world.program(&["store", "backup", "copy.db"]).output().unwrap());
    assert!(told.starts_with("copy.db: "), "{told}");
    assert_eq!(fs::metadata(world.path("copy.db")).unwrap().permissions().mode() & 0o777, 0o600);
    let again = world.program(&["store", "backup", "copy.db"]).output().unwrap();
    assert!(refused(&again, 1).contains("copy.db"), "{again:?}");
    let nowhere = world.program(&["store", "backup", "no/such/folder/copy.db"]).output().unwrap();
    refused(&nowhere, 1);
    let left: Vec<_> = fs::read_dir(world.path("")).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("unfinished")), "{left:?}");

    // The copy is a store, with everything in it and nothing that came later.
    let commit = world.commit("x", "x");
    server.deliver(&world.push(&commit, &commit, &["x"]));
    let copy = SqliteQueue::open(world.path("copy.db"), Options::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let stats = runtime.block_on(swifthook_core::Upkeep::stats(&copy)).unwrap();
    assert_eq!((stats.deliveries, stats.changes), (3, 3));

    let migrating = world.program(&["store", "migrate"]).output().unwrap();
    assert!(refused(&migrating, 1).contains("in use by process"), "{migrating:?}");
}

#[test]
fn what_is_pruned_is_told_first_and_goes_with_its_runs() {
    let world = World::new(RECIPE);
    say(&world, "[retention]\nkeep = \"forever\"\nkeep_failed = \"forever\"");
    let jobs = old_store(&world, 3, 100);
    let run = world.path(&format!("swifthook-state/runs/{}-1", jobs[0]));
    fs::create_dir_all(run.join("output")).unwrap();
    fs::write(run.join("log"), "long ago").unwrap();
    let server = world.serve();

    let young = asked(&world, &server, &["store", "prune", "--older-than", "1d", "--yes"]);
    assert!(refused(&young, 1).contains("younger than a week"), "{young:?}");
    let all = ok(&asked(&world, &server, &["store", "prune", "--yes"]));
    assert_eq!(all, "removed 0 jobs, 0 deliveries, 0 directories of runs\n", "for ever");
    let dry = ok(&asked(&world, &server, &["store", "prune", "--older-than", "30d", "--dry-run"]));
    assert_eq!(dry, "would remove 3 jobs, 3 deliveries\n");
    let unasked = asked(&world, &server, &["store", "prune", "--older-than", "30d"]);
    assert!(refused(&unasked, 1).contains("would remove 3 jobs and 3 deliveries"), "{unasked:?}");
    assert!(server.get("/api/v1/jobs")["jobs"].as_array().unwrap().len() == 3 && run.exists());
    let done = ok(&asked(&world, &server, &["store", "prune", "--older-than", "30d", "--yes"]));
    assert_eq!(done, "removed 3 jobs, 3 deliveries, 1 directories of runs\n");
    assert!(server.get("/api/v1/jobs")["jobs"].as_array().unwrap().is_empty() && !run.exists());

    let stale = server.call("POST", "/api/v1/store/prune", r#"{"older_than": 2592000, "confirm": "0"}"#);
    assert_eq!(stale.0, 428, "{stale:?}");
    let (status, body) = server.call("POST", "/api/v1/store/prune", r#"{"everything": true}"#);
    assert_eq!(status, 400, "{body}");
}

#[test]
fn a_server_removes_what_is_old_by_itself() {
    let world = World::new(RECIPE);
    let jobs = old_store(&world, 2, 91);
    let run = world.path(&format!("swifthook-state/runs/{}-1", jobs[1]));
    let elsewhere = world.path("swifthook-state/runs/of-mine");
    fs::create_dir_all(&run).unwrap();
    fs::create_dir_all(&elsewhere).unwrap();
    let server = world.serve();
    let is_gone = || server.get("/api/v1/jobs")["jobs"].as_array().unwrap().is_empty().then_some(());
    assert!(until(is_gone).is_some());
    assert_eq!(server.get("/api/v1/store")["changes"], 2, "what is known stays");
    assert!(elsewhere.exists());
}

#[test]
fn a_store_is_looked_after_without_a_server() {
    let world = World::new(RECIPE);
    let config = fs::read_to_string(world.path("swifthook.toml")).unwrap();
    // Nobody listens there.
    let config = config.replace("admin_listen = \"127.0.0.1:0\"", "admin_listen = \"127.0.0.1:1\"");
    fs::write(world.path("swifthook.toml"), config).unwrap();
    let run = |arguments: &[&str]| world.program(arguments).output().unwrap();
    assert!(refused(&run(&["store", "stats"]), 1).contains("no store"));
    let made = ok(&run(&["store", "migrate"]));
    assert!(made.starts_with("a new store, with schema "), "{made}");
    assert!(ok(&run(&["store", "migrate"])).starts_with("the schema is up to date"));
    fs::remove_file(world.path("swifthook.db")).unwrap();
    old_store(&world, 2, 100);
    assert!(ok(&run(&["store", "stats"])).contains("jobs in all       2\n"));
    let pruned = ok(&run(&["store", "prune", "--yes"]));
    assert_eq!(pruned, "removed 2 jobs, 2 deliveries, 0 directories of runs\n", "by the default of 90 days");
}

#[test]
fn a_store_is_copied_when_no_server_runs_and_into_an_empty_one_only() {
    let world = World::new(RECIPE);
    let jobs = old_store(&world, 3, 20);
    let run = |arguments: &[&str]| world.program(arguments).output().unwrap();
    let copy = ["store", "copy", "--to", "sqlite:copy.db"];
    let server = world.serve();
    assert!(refused(&run(&copy), 1).contains("in use by process"));
    server.signal("TERM");
    assert!(server.ended().success());
    let told = ok(&run(&copy));
    assert!(told.starts_with("copied 3 jobs, 3 deliveries and 3 changes, and found all"), "{told}");
    assert!(refused(&run(&copy), 1).contains("not empty"));
    assert!(refused(&run(&["store", "copy", "--to", "mysql://x"]), 2).contains("not a store"));
    say(&world, "[store]\nurl = \"sqlite:copy.db\"");
    let server = world.serve();
    assert_eq!(server.job(&jobs[1])["state"], "cancelled");
}

/// A store with jobs that were cancelled so many days ago.
pub(crate) fn old_store(world: &World, jobs: u32, days: u64) -> Vec<String> {
    let then = Timestamp::from(SystemTime::now()).before(Duration::from_secs(days * 86_400));
    let options = Options { clock: Arc::new(move || then), ..Options::default() };
    let store = SqliteQueue::open(world.path("swifthook.db"), options).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let made = (1..=jobs).map(|head| {
        let receipt = runtime.block_on(store.accept(&push(head, then))).unwrap();
        let Receipt::Stored { jobs, .. } = receipt else { panic!("a store stores") };
        let admin = Actor("admin".into());
        runtime.block_on(store.command(jobs[0].id, Command::Cancel, &admin)).unwrap();
        jobs[0].id.to_string()
    });
    made.collect()
}

fn push(head: u32, then: Timestamp) -> Decided {
    let recipe: Arc<str> = "sft".into();
    let spec = JobSpec {
        recipe: recipe.clone(),
        config: None,
        group: format!("group {head}").into(),
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
            repository: RepoName::new("acme/models").unwrap(),
            ref_name: RefName::Branch("main".into()),
            before: None,
            head: CommitSha::parse(&format!("{head:08x}").repeat(5)).unwrap(),
            skip_marker: false,
            sender: Some("ada".into()),
            pushed_at: Some(then),
            changes: ChangeSet::Complete(Paths::empty()),
            source: Source::Hook { hook: "github".into(), guid: format!("guid {head}").into() },
            origin: Default::default(),
        },
        verdicts: vec![RecipeVerdict { recipe, verdict: Verdict::launch(), jobs: vec![spec] }],
        config: ConfigDigest([7; 32]),
        received_at: then,
        is_redeliverable: true,
    }
}

fn say(world: &World, more: &str) {
    let config = fs::read_to_string(world.path("swifthook.toml")).unwrap();
    fs::write(world.path("swifthook.toml"), format!("{config}\n{more}\n")).unwrap();
}

/// A command that talks to a running server.
fn asked(world: &World, server: &Running, arguments: &[&str]) -> Output {
    world.program(arguments).args(["--server", &server.admin]).output().unwrap()
}

fn ok(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refused(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}
