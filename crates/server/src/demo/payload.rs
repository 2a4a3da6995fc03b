use serde_json::{Value, json};
use swifthook_core::Timestamp;

use super::upstream::{EMAIL, MAIN, NAME, Pushed};

/// The payload that GitHub would send for a push to `main` of `repository`
/// (<https://docs.github.com/en/webhooks/webhook-events-and-payloads#push>).
pub(super) fn payload(repository: &str, pushed: &Pushed, now: Timestamp) -> Vec<u8> {
    let (owner, name) = repository.split_once('/').expect("a repository has an owner");
    let url = format!("https://github.com/{repository}");
    let commit = commit(&url, pushed, now);
    let payload = json!({
        "ref": MAIN,
        "before": pushed.before,
        "after": pushed.head,
        "created": false,
        "deleted": false,
        "forced": false,
        "base_ref": null,
        "compare": format!("{url}/compare/{:.12}...{:.12}", pushed.before, pushed.head),
        "repository": {
            "id": 1,
            "name": name,
            "full_name": repository,
            "private": true,
            "owner": { "name": owner, "login": owner, "email": null, "id": 1 },
            "html_url": url,
            "clone_url": format!("{url}.git"),
            "default_branch": "main",
            "pushed_at": now.0 / 1_000,
        },
        "pusher": { "name": LOGIN, "email": EMAIL },
        "sender": { "login": LOGIN, "id": 1, "type": "User" },
        "commits": [commit],
        "head_commit": commit,
    });
    serde_json::to_vec_pretty(&payload).expect("a value is JSON")
}

fn commit(url: &str, pushed: &Pushed, now: Timestamp) -> Value {
    let author = json!({ "name": NAME, "email": EMAIL, "username": LOGIN });
    json!({
        "id": pushed.head,
        "distinct": true,
        "message": pushed.message,
        "timestamp": now.to_string(),
        "url": format!("{url}/commit/{}", pushed.head),
        "author": author,
        "committer": author,
        "added": [],
        "removed": [],
        "modified": pushed.modified,
    })
}

const LOGIN: &str = "demo";
