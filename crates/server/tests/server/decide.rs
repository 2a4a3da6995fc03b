//! What trains of pushes whose payloads do not tell what changed.

use std::fs;

use serde_json::{Value, json};

use crate::world::*;

#[test]
fn a_push_of_gitea_trains_what_git_says_has_changed() {
    let world = World::new(EACH);
    world.commit("configs/old.yaml", "1");
    let gone = world.commit("configs/dropped.yaml", "1");
    world.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    world.commit("configs/a.yaml", "1");
    let mut heads: Vec<_> = (0..6).map(|n| world.commit("notes.txt", &n.to_string())).collect();
    heads.push(world.commit("configs/b.yaml", "1"));
    heads.reverse();
    let server = world.serve();
    // Newest first, five of eight, forced, and without a word of any of it but the number.
    let commit = |id: &String| {
        let files = if *id == heads[0] { "configs/b.yaml" } else { "notes.txt" };
        json!({"id": id, "message": "change\n", "timestamp": "2026-11-24T10:00:00Z", "added": [], "removed": [], "modified": [files]})
    };
    let user =
        json!({"id": 1, "login": "dev", "full_name": "", "email": "dev@example.org", "username": "dev"});
    let push = json!({
        "ref": "refs/heads/main", "before": gone, "after": heads[0], "compare_url": "https://git.example/x",
        "commits": heads[..5].iter().map(commit).collect::<Vec<_>>(), "total_commits": 8, "head_commit": commit(&heads[0]),
        "repository": {"id": 17, "full_name": "acme/models", "name": "models", "default_branch": "main",
                       "updated_at": "2026-11-24T09:59:58Z", "owner": user.clone()},
        "pusher": user, "sender": user,
    });
    let held = server.deliver(&push);
    assert_eq!(held.status.as_u16(), 202, "{}", held.body);
    server.wait_for(&job_of(&held), &["cancelled"]);
    assert_eq!(configs(&server), ["", "configs/a.yaml", "configs/b.yaml"]);
    assert_eq!(server.deliver(&push).status.as_u16(), 200, "it is a duplicate");
}

#[test]
fn a_tag_trains_what_has_changed_since_the_one_before() {
    let world = World::new(EACH);
    let config = fs::read_to_string(world.path("swifthook.toml")).unwrap();
    let config = config.replace("branches = [\"main\"]", "tags = [\"v*\"]");
    fs::write(world.path("swifthook.toml"), config).unwrap();
    let told = String::from_utf8(world.program(&["check"]).output().unwrap().stdout).unwrap();
    assert!(told.contains("compared with the newest earlier tag of these"), "{told}");
    let server = world.serve();
    let push = |tag: &str, commit: &str| {
        world.git(&["tag", tag]);
        let mut push = world.push(NOTHING, commit, &[]);
        push["ref"] = format!("refs/tags/{tag}").into();
        push["created"] = true.into();
        push["commits"] = json!([]);
        let held = server.deliver(&push);
        assert_eq!(held.status.as_u16(), 202, "{}", held.body);
        server.wait_for(&job_of(&held), &["cancelled"])["reason"].clone()
    };
    world.commit("configs/a.yaml", "1");
    assert_eq!(push("v1", &world.commit("configs/b.yaml", "1")), "expanded");
    assert_eq!(configs(&server), ["", "configs/a.yaml", "configs/b.yaml"], "the first one trains everything");
    assert_eq!(push("v2", &world.commit("configs/b.yaml", "2")), "expanded");
    assert_eq!(configs(&server)[2..], ["configs/a.yaml", "configs/b.yaml", "configs/b.yaml"]);
    assert_eq!(push("v3", &world.commit("notes.txt", "1")), "skipped_after_diff");
    assert_eq!(configs(&server).len(), 6);
}

#[test]
fn a_default_branch_that_is_renamed_trains_nothing_again() {
    let world = World::new(EACH);
    let config = fs::read_to_string(world.path("swifthook.toml")).unwrap();
    let config = config.replace("branches = [\"main\"]", "branches = [\"**\"]");
    fs::write(world.path("swifthook.toml"), config).unwrap();
    let first = world.commit("configs/a.yaml", "1");
    let second = world.commit("configs/b.yaml", "1");
    let server = world.serve();
    let trained = server.deliver(&world.push(&first, &second, &["configs/b.yaml"]));
    server.wait_for(&job_of(&trained), &["succeeded"]);
    world.git(&["branch", "-m", "main", "trunk"]);
    let mut push = world.push(NOTHING, &second, &[]);
    push["ref"] = "refs/heads/trunk".into();
    push["created"] = true.into();
    push["repository"]["default_branch"] = "trunk".into();
    push["commits"] = json!([]);
    let held = server.deliver(&push);
    assert_eq!(server.wait_for(&job_of(&held), &["cancelled"])["reason"], "skipped_after_diff");
    assert_eq!(configs(&server), ["", "configs/b.yaml"]);
}

#[test]
fn a_repository_that_is_renamed_is_held_until_the_configuration_has_its_name() {
    let world = World::new(EACH);
    let first = world.commit("notes.txt", "1");
    let second = world.commit("configs/a.yaml", "1");
    let server = world.serve();
    let trained = server.deliver(&world.push(&first, &second, &["configs/a.yaml"]));
    server.wait_for(&job_of(&trained), &["succeeded"]);
    drop(server);

    // Known also to the server that comes after it.
    let server = world.serve();
    let third = world.commit("configs/b.yaml", "1");
    let mut push = world.push(&second, &third, &["configs/b.yaml"]);
    (push["repository"]["full_name"], push["repository"]["name"]) = ("acme/renamed".into(), "renamed".into());
    let held = server.deliver(&push);
    assert_eq!(held.status.as_u16(), 202, "{}", held.body);
    assert!(
        held.body.contains("\"renamed\"") && held.body.contains("`acme/models` is called `acme/renamed`")
    );
    let job = job_of(&held);
    assert_eq!(server.job(&job)["state"], "held");
    drop(server);

    let config = fs::read_to_string(world.path("swifthook.toml")).unwrap();
    fs::write(world.path("swifthook.toml"), config.replace("acme/models", "acme/renamed")).unwrap();
    let server = world.serve();
    assert_eq!(server.call("POST", &format!("/api/v1/jobs/{job}/approve"), "").0, 200);
    server.wait_for(&job, &["cancelled"]);
    assert_eq!(configs(&server), ["", "configs/a.yaml", "configs/b.yaml"]);
}

#[test]
fn a_push_of_a_repository_that_is_not_configured_is_seen() {
    let world = World::new(EACH);
    let head = world.commit("configs/a.yaml", "1");
    let mut config = fs::read_to_string(world.path("swifthook.toml")).unwrap();
    config = config.replace("[[hook]]", "[[hook]]\nrepositories = [\"acme/*\"]");
    fs::write(world.path("swifthook.toml"), config).unwrap();
    let server = world.serve();
    let mut push = world.push(&head, &head, &[]);
    (push["repository"]["full_name"], push["repository"]["name"]) = ("acme/unknown".into(), "unknown".into());
    let ignored = server.deliver(&push);
    let body: Value = serde_json::from_str(&ignored.body).unwrap();
    assert_eq!((&body["decision"], &body["reason"]), (&json!("ignored"), &json!("repository")));
    let listed = until(|| {
        let listed = server.get("/api/v1/deliveries");
        listed["deliveries"].as_array().unwrap().first().cloned()
    });
    assert_eq!(listed.unwrap()["repository"], "acme/unknown");
    assert!(world.server_log().contains("acme/unknown"), "{}", world.server_log());
}

/// The files that jobs are for, in the order of the alphabet.
fn configs(server: &Running) -> Vec<String> {
    let jobs = server.get("/api/v1/jobs?limit=500");
    let config = |job: &Value| job["config"].as_str().unwrap_or_default().to_owned();
    let mut configs: Vec<_> = jobs["jobs"].as_array().unwrap().iter().map(config).collect();
    configs.sort();
    configs
}

const EACH: &str = "each = \"configs/*.yaml\"\nrun = { command = [\"true\", \"{path}\"] }";
const NOTHING: &str = "0000000000000000000000000000000000000000";
