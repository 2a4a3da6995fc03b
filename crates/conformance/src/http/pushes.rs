use serde_json::{Value, json};
use swifthook_core::{CommitSha, Decided, RefName};

use super::Serve;
use super::site::{Site, builder};
use crate::client::{Reply, Request, SECRET};
use crate::payload::{Payload, sha};

/// A ping is 200, whatever it says of the hook.
pub async fn a_ping_is_answered(serve: Serve) {
    let site = Site::new(serve).await;
    let hook = json!({"type": "Repository", "id": 1, "events": ["push"], "config": {"content_type": "json"}});
    let ping = json!({"zen": "Keep it logically awesome.", "hook_id": 1, "hook": hook}).to_string();
    let reply = site.send(&Request::delivery("ping", ping)).await;
    assert_eq!((reply.status, decision(&reply)), (200, json!("pong")));
}

/// An event that is no push is 200 and stored nowhere.
pub async fn an_unknown_event_is_ignored(serve: Serve) {
    let site = Site::new(serve).await;
    for event in ["issues", "workflow_run", "an_event_of_the_future"] {
        let reply = site.send(&Request::delivery(event, r#"{"action":"opened","number":1}"#)).await;
        assert_eq!((reply.status, decision(&reply)), (200, json!("ignored")));
        assert_eq!(reply.json()["reason"], "event");
    }
    assert!(site.intake.pushes().is_empty());
}

/// The header of the event is not signed, so a push is one whatever it says.
pub async fn a_push_under_another_event_is_a_push(serve: Serve) {
    let site = Site::new(serve).await;
    for event in ["issues", "ping", ""] {
        let reply = site.send(&Request::delivery(event, main().json())).await;
        assert!(matches!(decision(&reply).as_str(), Some("queued" | "duplicate")), "{event}: {reply:?}");
    }
}

/// A deleted branch trains nothing, and its verdicts say so.
pub async fn a_deleted_branch_trains_nothing(serve: Serve) {
    let (reply, pushed) = taken(serve, &main().deleted()).await;
    assert_eq!(
        (reply.status, decision(&reply), verdict(&reply, "train")),
        (200, json!("ignored"), skip("deleted"))
    );
    assert_eq!(pushed.push.head, None);
}

/// A new branch lists only commits that no other ref has: what it does not list is unknown, not absent.
pub async fn a_new_branch_waits_for_a_diff(serve: Serve) {
    let (reply, pushed) = taken(serve, &main().modifying(&["src/x.py"]).created()).await;
    assert_eq!(
        (reply.status, decision(&reply), verdict(&reply, "train")),
        (202, json!("held"), hold("needs_diff"))
    );
    assert_eq!(pushed.push.before, None);
}

/// The lists of a forced push prove nothing, not even what they list.
pub async fn a_forced_push_waits_for_a_diff(serve: Serve) {
    let (reply, _) = taken(serve, &main().forced()).await;
    assert_eq!(
        (reply.status, decision(&reply), verdict(&reply, "train")),
        (202, json!("held"), hold("needs_diff"))
    );
}

/// A tag `main` is not the branch `main`.
pub async fn a_tag_named_like_a_branch_is_not_that_branch(serve: Serve) {
    let (reply, pushed) = taken(serve, &of("refs/tags/main")).await;
    assert_eq!((reply.status, decision(&reply)), (200, json!("ignored")));
    assert_eq!(pushed.push.ref_name, RefName::Tag("main".into()));
}

/// The branch `feature/main` is not the branch `main`.
pub async fn a_branch_that_ends_in_main_is_not_main(serve: Serve) {
    let (reply, pushed) = taken(serve, &of("refs/heads/feature/main")).await;
    assert_eq!(
        (reply.status, decision(&reply), verdict(&reply, "train")),
        (200, json!("ignored"), skip("branch"))
    );
    assert_eq!(pushed.push.ref_name, RefName::Branch("feature/main".into()));
}

/// A branch `$(touch pwned)` is an odd name and nothing more.
pub async fn a_branch_that_is_a_shell_command_is_a_name(serve: Serve) {
    let name = "$(touch pwned);`touch pwned`|touch pwned";
    let (reply, pushed) = taken(serve, &of(&format!("refs/heads/{name}"))).await;
    assert_eq!((reply.status, decision(&reply)), (200, json!("ignored")));
    assert_eq!(pushed.push.ref_name, RefName::Branch(name.into()));
    assert!(!std::path::Path::new("pwned").exists());
}

/// A branch whose last part begins with `-` is no option.
pub async fn a_branch_whose_last_part_begins_with_a_dash_is_a_name(serve: Serve) {
    let (reply, pushed) = taken(serve, &of("refs/heads/x/--upload-pack=id")).await;
    assert_eq!((reply.status, decision(&reply)), (200, json!("ignored")));
    assert_eq!(pushed.push.ref_name, RefName::Branch("x/--upload-pack=id".into()));
}

/// Paths are raw: spaces, commas, newlines, quotes, any Unicode.
pub async fn a_path_with_a_newline_is_a_path(serve: Serve) {
    let path = "configs/a b,c\nd\t\"e\"\\ü😀.yaml";
    let (reply, pushed) = taken(serve, &main().modifying(&[path])).await;
    assert_eq!((reply.status, decision(&reply)), (202, json!("queued")));
    assert_eq!(pushed.push.changes.paths().iter().map(|(path, _)| path).collect::<Vec<_>>(), [path]);
}

/// `pusher.email` can be null.
pub async fn a_null_email_is_no_matter(serve: Serve) {
    let (reply, _) = taken(serve, &main().with("/pusher/email", Value::Null)).await;
    assert_eq!((reply.status, decision(&reply)), (202, json!("queued")));
}

/// For an annotated tag `after` is the tag object; the commit is that of `head_commit`.
pub async fn an_annotated_tag_stands_for_its_commit(serve: Serve) {
    let (reply, pushed) = taken(serve, &of("refs/tags/v1.0").annotated(&sha(0x7a6)).created()).await;
    assert_eq!((reply.status, decision(&reply)), (202, json!("queued")));
    assert_eq!(pushed.push.head.as_ref().map(CommitSha::as_str), Some(sha(1).as_str()));
}

/// At GitHub's cap of 2,048 commits the list may be short; one commit less is whole.
pub async fn a_push_at_the_cap_of_commits_waits_for_a_diff(serve: Serve) {
    let (below, pushed) = taken(serve, &main().with_commits(2_047)).await;
    assert_eq!(
        (below.status, pushed.push.changes.gap(), pushed.push.changes.paths().len()),
        (202, None, 2_047)
    );
    let (at, pushed) = taken(serve, &main().with_commits(2_048)).await;
    assert_eq!((at.status, verdict(&at, "each")), (202, hold("needs_diff")));
    assert_eq!(pushed.push.changes.paths().len(), 2_048);
}

/// A push of 20 MB is taken like any other, in JSON and as a form that is larger still.
pub async fn a_large_push_is_taken(serve: Serve) {
    let site = Site::new(serve).await;
    let body = main().json_of_size(20_000_000);
    let reply = site.send(&Request::push(body)).await;
    assert_eq!((reply.status, decision(&reply)), (202, json!("queued")));
    let body = Payload::new("acme/models", "refs/heads/main", &sha(2)).json_of_size(8_000_000);
    let reply = site.send(&Request::push(crate::payload::form(&body)).form_encoded()).await;
    assert_eq!((reply.status, decision(&reply)), (202, json!("queued")));
}

/// The same change again is a duplicate, 200, and names the job.
pub async fn a_redelivery_is_a_duplicate(serve: Serve) {
    let site = Site::new(serve).await;
    let push = Request::push(main().json());
    let (first, second) = (site.send(&push).await, site.send(&push).await);
    assert_eq!((first.status, decision(&first)), (202, json!("queued")));
    assert_eq!((second.status, decision(&second)), (200, json!("duplicate")));
    assert_eq!(job_id(&first), job_id(&second));
}

/// A connection goes on after a push, and after a refusal that needed the whole body.
pub async fn two_pushes_go_over_one_connection(serve: Serve) {
    let site = Site::new(serve).await;
    let mut client = site.connect().await;
    let push = |n| Request::push(Payload::new("acme/models", "refs/heads/main", &sha(n)).json());
    for (request, status) in
        [(push(1), 202), (push(2).signed_with("wrong horse battery staple 2026"), 401), (push(3), 202)]
    {
        client.send(&request).await;
        assert_eq!(client.reply().await.map(|reply| reply.status), Some(status));
    }
}

/// A snapshot that is swapped in counts for the next push, without a new server.
pub async fn a_reload_counts_for_the_next_push(serve: Serve) {
    let site = Site::new(serve).await;
    let secret = "a rotated horse battery staple 2026";
    let renewed = builder(secret).build().expect("the configuration is right");
    let push = Request::push(main().json());
    assert_eq!(site.send(&push.clone().signed_with(secret)).await.status, 401);
    site.receiver.replace(renewed);
    assert_eq!(site.send(&push.clone().signed_with(secret)).await.status, 202);
    assert_eq!(site.send(&push.signed_with(SECRET)).await.status, 401);
}

/// The reply to a push, and what the intake was given.
async fn taken(serve: Serve, payload: &Payload) -> (Reply, Decided) {
    let site = Site::new(serve).await;
    let reply = site.send(&Request::push(payload.json())).await;
    let mut pushes = site.intake.pushes();
    assert_eq!(pushes.len(), 1, "{reply:?}");
    (reply, pushes.remove(0))
}

fn decision(reply: &Reply) -> Value {
    reply.json()["decision"].clone()
}

/// Verdict and reason of a recipe.
fn verdict(reply: &Reply, recipe: &str) -> (Value, Value) {
    let answer = reply.json();
    let mut verdicts = answer["verdicts"].as_array().into_iter().flatten();
    let found = verdicts.find(|verdict| verdict["recipe"] == recipe);
    let found = found.unwrap_or_else(|| panic!("no verdict of {recipe} in {answer}"));
    (found["verdict"].clone(), found["reason"].clone())
}

fn job_id(reply: &Reply) -> Value {
    let id = reply.json()["verdicts"][0]["jobs"][0]["id"].clone();
    assert!(id.is_string(), "{reply:?}");
    id
}

fn skip(reason: &str) -> (Value, Value) {
    (json!("skip"), json!(reason))
}

fn hold(reason: &str) -> (Value, Value) {
    (json!("hold"), json!(reason))
}

fn main() -> Payload {
    of("refs/heads/main")
}

fn of(full_ref: &str) -> Payload {
    Payload::new("acme/models", full_ref, &sha(1))
}
