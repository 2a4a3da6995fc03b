//! What a person does to several jobs at once, and to deliveries that were decided long ago.

use std::fs;
use std::process::Output;

use serde_json::Value;
use swifthook::send::Delivery;

use crate::world::{Running, SECRET, World, job_of, until};

const FAILS: &str = "run = { command = [\"false\"] }";

#[test]
fn jobs_are_paged_and_commanded_by_filter() {
    let world = World::new(FAILS);
    let server = world.serve();
    let mut ids = Vec::new();
    for i in 0..5 {
        let commit = world.commit("x", &i.to_string());
        let id = job_of(&server.deliver(&world.push(&commit, &commit, &["x"])));
        server.wait_for(&id, &["failed"]);
        ids.push(id);
    }
    ids.reverse();
    let page: Value = json(&asked(&world, &server, &["jobs", "list", "--limit", "2", "--json"]));
    let next = page["next"].as_str().unwrap();
    assert_eq!(of(&page), ids[..2]);
    let rest: Value =
        json(&asked(&world, &server, &["jobs", "list", "--cursor", next, "--state", "failed", "--json"]));
    assert_eq!((of(&rest), &rest["next"]), (ids[2..].to_vec(), &Value::Null));
    let listed = ok(&asked(&world, &server, &["jobs", "list", "--limit", "2"]));
    assert!(listed.contains(&format!("`--cursor {next}`")), "{listed}");

    let none = asked(&world, &server, &["jobs", "retry"]);
    assert!(refused(&none, 2).contains("--state"), "{none:?}");
    let both = asked(&world, &server, &["jobs", "retry", &ids[0], "--recipe", "sft"]);
    assert!(refused(&both, 2).contains("not both"), "{both:?}");
    let unasked = asked(&world, &server, &["jobs", "retry", "--recipe", "sft"]);
    assert!(refused(&unasked, 1).contains("would retry 5 jobs ("), "{unasked:?}");
    assert_eq!(of(&server.get("/api/v1/jobs")).len(), 5, "nothing was done");

    // One is repeated by name, and is not repeated again by what it was.
    ok(&asked(&world, &server, &["jobs", "retry", &ids[4]]));
    let told =
        ok(&asked(&world, &server, &["jobs", "retry", "--state", "failed", "--recipe", "sft", "--yes"]));
    let all = || server.get("/api/v1/jobs?limit=100");
    let runs = |run: u64| all()["jobs"].as_array().unwrap().iter().filter(|job| job["run"] == run).count();
    let repeated = told.lines().count();
    assert!((4..=5).contains(&repeated) && runs(1) == 5, "{told}");
    assert_eq!(runs(0), 5);
    let nobody = ok(&asked(&world, &server, &["jobs", "cancel", "--repository", "acme/other", "--yes"]));
    assert_eq!(nobody, "no jobs\n");
}

#[test]
fn what_waits_and_what_runs_is_cancelled_by_filter_and_some_by_name() {
    let world = World::new(
        "run = { command = [\"sh\", \"-c\", \"while [ -e $HOME/secret ]; do sleep 0.05; done\"] }\nsuperseded = \"keep\"",
    );
    let server = world.serve();
    let ids: Vec<_> = (0..4)
        .map(|i| {
            let commit = world.commit("x", &i.to_string());
            job_of(&server.deliver(&world.push(&commit, &commit, &["x"])))
        })
        .collect();
    server.wait_for(&ids[0], &["running"]);
    let named = ok(&asked(&world, &server, &["jobs", "cancel", &ids[2], &ids[3]]));
    assert_eq!(named, format!("job {} is cancelled\njob {} is cancelled\n", ids[2], ids[3]));
    let unasked = asked(&world, &server, &["jobs", "cancel", "--recipe", "sft"]);
    assert!(refused(&unasked, 1).contains("would cancel 2 jobs"), "{unasked:?}");
    ok(&asked(&world, &server, &["jobs", "cancel", "--recipe", "sft", "--yes"]));
    for id in &ids {
        server.wait_for(id, &["cancelled"]);
    }
}

#[test]
fn a_delivery_is_decided_again_by_the_recipes_of_the_moment() {
    let world = World::new("run = { command = [\"true\"] }");
    let server = world.serve();
    let commit = world.commit("configs/a.yaml", "x");
    let first = job_of(&server.deliver(&world.push(&commit, &commit, &["configs/a.yaml"])));
    server.wait_for(&first, &["succeeded"]);
    let delivery = server.get("/api/v1/deliveries")["deliveries"][0]["id"].as_str().unwrap().to_owned();
    let replay = |more: &[&str]| {
        let arguments = [&["deliveries", "replay", &delivery], more].concat();
        ok(&asked(&world, &server, &arguments))
    };
    let known = replay(&[]);
    let again = "What is known is not trained again; `swifthook jobs retry JOB` does that, by its recipe of the moment.\n";
    assert_eq!(known, format!("sft trains\njob {first} (succeeded, known already)\n{again}"));
    assert_eq!(replay(&["--dry-run"]), format!("{known}Nothing was done.\n"), "a dry run says the same");

    let config = fs::read_to_string(world.path("swifthook.toml")).unwrap();
    let more = "[[recipe]]\nname = \"dpo\"\nrepository = \"acme/models\"\nbranches = [\"main\"]\ntrust = \"code\"\n\
                paths = [\"configs/**\"]\nrun = { command = [\"true\"] }\n\n\
                [[recipe]]\nname = \"docs\"\nrepository = \"acme/models\"\nbranches = [\"main\"]\ntrust = \"code\"\n\
                paths = [\"docs/**\"]\nrun = { command = [\"true\"] }\n";
    fs::write(world.path("swifthook.toml"), format!("{config}\n{more}")).unwrap();
    server.signal("HUP");
    assert!(until(|| replay(&["--dry-run"]).contains("dpo trains").then_some(())).is_some());
    let dry = replay(&["--dry-run"]);
    assert!(
        dry.contains("docs does not train, because of paths") && dry.contains("Nothing was done"),
        "{dry}"
    );
    assert!(
        dry.contains(&format!("job {first} (succeeded, known already)\na new job of dpo (queued)\n")),
        "{dry}"
    );
    assert_eq!(of(&server.get("/api/v1/jobs")).len(), 1);
    let replayed = replay(&[]);
    assert!(replayed.contains(&format!("job {first} (succeeded, known already)")), "{replayed}");
    assert!(replayed.contains("(queued, new)"), "{replayed}");
    assert_eq!(replay(&[]).matches("known already").count(), 2, "and not again");
    let jobs = server.get("/api/v1/jobs");
    assert_eq!(of(&jobs).len(), 2);
    server.wait_for(&of(&jobs)[0], &["succeeded"]);
    assert_eq!(server.get("/api/v1/deliveries")["deliveries"][0]["source"], "person");
    let (status, body) = server.call("POST", "/api/v1/deliveries/ffff/replay", "");
    assert_eq!(status, 404, "{body}");
}

/// A GUID is what a person has, from the webhook's page at GitHub.
#[test]
fn a_delivery_is_asked_after_by_its_guid_and_says_what_became_of_it() {
    let world = World::new("paths = [\"configs/**\"]\nrun = { command = [\"echo\", \"hello\"] }");
    let server = world.serve();
    let before = world.commit("configs/a.yaml", "x");
    let commit = world.commit("configs/a.yaml", "y");
    let mut forced = world.push(&before, &commit, &[]);
    forced["forced"] = true.into();
    let first = job_of(&server.deliver(&forced));
    server.wait_for(&first, &["succeeded"]);
    let ask = |arguments: &[&str]| ok(&asked(&world, &server, arguments)).to_owned();
    let newest = || server.get("/api/v1/deliveries")["deliveries"][0].clone();
    let guid = newest()["guid"].as_str().unwrap().to_owned();

    let explained = ask(&["deliveries", "explain", &guid]);
    assert!(explained.contains("sft waited for an answer first, because of needs_diff"), "{explained}");
    assert!(explained.contains(&format!("job {first} has succeeded\n")), "{explained}");
    assert!(ask(&["deliveries"]).contains("sft hold (needs_diff)"));

    assert_eq!(job_of(&server.deliver(&forced)), first);
    let (again, capitals) = (newest()["guid"].as_str().unwrap().to_owned(), guid.to_uppercase());
    let explained = ask(&["deliveries", "explain", &again]);
    assert!(explained.contains("sft begins nothing new: its change is known"), "{explained}");
    assert!(
        explained.contains(&format!("job {first}, known before this delivery, has succeeded")),
        "{explained}"
    );
    assert!(ask(&["deliveries"]).contains("sft duplicate"));
    assert!(
        ask(&["deliveries", "show", &again]).contains(&format!("job {first} (succeeded, known already)"))
    );

    for guid in [&guid, &capitals, &again] {
        assert!(ask(&["deliveries", "show", guid]).contains(&commit));
        assert!(ask(&["deliveries", "replay", guid]).contains(&first));
        assert!(ask(&["jobs", "show", guid]).contains(&first));
        assert_eq!(ask(&["jobs", "logs", guid]), "hello\n");
        assert_eq!(server.get(&format!("/api/v1/jobs/{guid}"))["id"], first.as_str());
    }
    assert!(ask(&["deliveries", "show", &guid[..20]]).contains(&guid), "the beginning of it does too");
    let other = world.commit("other", "x");
    assert_eq!(server.deliver(&world.push(&commit, &other, &["other"])).status.as_u16(), 200);
    let skipped = newest()["guid"].as_str().unwrap().to_owned();
    assert!(ask(&["deliveries", "explain", &skipped]).contains("sft does not train, because of paths"));
    let none = asked(&world, &server, &["jobs", "show", &skipped]);
    assert!(
        !none.status.success() && String::from_utf8_lossy(&none.stderr).contains("led to no job"),
        "{none:?}"
    );
    let (status, _) = server.call("GET", "/api/v1/deliveries/00000000-0000-4000-8000-000000000000", "");
    assert_eq!(status, 404);
}

#[test]
fn what_was_corrected_in_the_configuration_is_what_is_trained_again() {
    let world = World::new("run = { command = [\"sh\", \"-c\", \"exit 3\", \"{commit}\"] }");
    let server = world.serve();
    let commit = world.commit("x", "1");
    let push = world.push(&commit, &commit, &["x"]);
    let first = job_of(&server.deliver(&push));
    server.wait_for(&first, &["failed"]);
    let reconfigured = |recipe: &str, is_there: &str| {
        world.configure(recipe);
        server.signal("HUP");
        let delivery = server.get("/api/v1/deliveries")["deliveries"][0]["id"].as_str().unwrap().to_owned();
        let dry = || ok(&asked(&world, &server, &["deliveries", "replay", &delivery, "--dry-run"]));
        assert!(until(|| dry().contains(is_there).then_some(())).is_some(), "{}", dry());
    };
    reconfigured(
        "run = { command = [\"sh\", \"-c\", \"exit 0\", \"{commit}\"] }\npaths = [\"x\"]",
        "known already",
    );
    // A person's word, though it is about the job and not about the recipe.
    let as_before = ok(&asked(&world, &server, &["jobs", "retry", &first, "--as-before"]));
    let repeated = of(&server.get("/api/v1/jobs"))[0].clone();
    assert_eq!(as_before, format!("job {repeated} trains it again (run 1, queued)\n"));
    server.wait_for(&repeated, &["failed"]);
    until_retried(&world, &server, &first, &repeated);

    // What has no recipe to ask is not guessed at.
    let other = "run = { command = [\"true\"] }\neach = \"*.yaml\"";
    reconfigured(other, "does not train");
    let anew = ok(&asked(&world, &server, &["jobs", "retry", &first]));
    let held = of(&server.get("/api/v1/jobs"))[0].clone();
    assert!(anew.starts_with(&format!("job {held} trains it again (run 3, held)\n  needs_diff: ")), "{anew}");
    let skipped = server.wait_for(&held, &["cancelled"]);
    assert_eq!(skipped["reason"], "skipped_after_diff", "{skipped}");
    let config = fs::read_to_string(world.path("swifthook.toml")).unwrap();
    fs::write(world.path("swifthook.toml"), config.replace("name = \"sft\"", "name = \"dpo\"")).unwrap();
    server.signal("HUP");
    let gone = until(|| {
        let gone = asked(&world, &server, &["jobs", "retry", &first]);
        (!gone.status.success()).then_some(gone)
    });
    let told = refused(&gone.unwrap(), 1);
    assert!(told.contains("recipe is no longer in the configuration; `--as-before`"), "{told}");
}

/// The corrected command runs, and whoever asked is told what is another.
fn until_retried(world: &World, server: &Running, first: &str, last: &str) {
    let told = ok(&asked(world, server, &["jobs", "retry", first]));
    let again = of(&server.get("/api/v1/jobs"))[0].clone();
    let differs = format!("not as job {last}: the command is `\"exit 0\"` and was `\"exit 3\"`");
    assert_eq!(told, format!("job {again} trains it again (run 2, queued)\n  {differs}\n"));
    server.wait_for(&again, &["succeeded"]);
    let shown = ok(&asked(world, server, &["jobs", "show", &again]));
    assert!(shown.contains(&differs), "{shown}");
}

/// Whoever has recorded a delivery can send it under any GUID, also one that a person is about to look up.
#[test]
fn a_guid_that_stands_for_several_pushes_names_none() {
    let world = World::new("run = { command = [\"true\"] }");
    let server = world.serve();
    let guid = "72d3162e-cc78-11e3-81ab-4c9367dc0958";
    for text in ["x", "y"] {
        let commit = world.commit("x", text);
        let push = Delivery::push(world.push(&commit, &commit, &["x"]).to_string());
        let push = Delivery { guid: guid.to_owned(), ..push };
        let answer = push.post(&server.hook.parse().unwrap(), SECRET.as_bytes()).unwrap();
        server.wait_for(&job_of(&answer), &["succeeded"]);
    }
    for (method, path) in [("GET", "deliveries/GUID"), ("GET", "jobs/GUID"), ("POST", "jobs/GUID/retry")] {
        let path = format!("/api/v1/{}", path.replace("GUID", guid));
        let (status, body) = server.call(method, &path, "");
        assert!(status == 409 && body.contains("several pushes"), "{path}: {status} {body}");
    }
}

/// The ids of a page.
fn of(page: &Value) -> Vec<String> {
    page["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
}

/// A command that talks to a running server.
fn asked(world: &World, server: &Running, arguments: &[&str]) -> Output {
    world.program(arguments).args(["--server", &server.admin]).output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&ok(output)).unwrap()
}

fn ok(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refused(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}
