//! What Gitea and Forgejo send: no time of the push, no word of whether it was forced, five commits with the newest first.

use std::sync::{Arc, LazyLock};

use http::request::Builder;
use serde_json::Value;
use swifthook_core::{Dialect, Gap, Hook, Receiver, Timestamp};

use crate::world::*;

#[test]
fn every_case_gets_its_answer_whatever_the_headers_say() {
    let hints: [fn(Builder) -> Builder; 3] = [
        |request| request,
        |request| request.header("x-gitea-event", "push").header("x-forgejo-event", "push"),
        |request| request.header("x-gitea-delivery", "x").header("x-github-enterprise-host", "ghe.example"),
    ];
    for (case, hint) in cases().iter().flat_map(|case| hints.map(|hint| (case, hint))) {
        let body = serde_json::to_vec(&case["body"]).unwrap();
        let outcome = send(&receiver(None), hint(signed(&body)), &body);
        let (name, expected) = (&case["name"], &case["expect"]);
        let (_, answer) = answer(&outcome);
        assert_eq!(answer["decision"], expected["decision"], "{name}: {answer}");
        let verdicts = answer["verdicts"].as_array().unwrap();
        for (recipe, word) in expected["verdicts"].as_object().into_iter().flatten() {
            let verdict = verdicts.iter().find(|verdict| verdict["recipe"] == *recipe).unwrap();
            assert_eq!(verdict["verdict"], *word, "{name}: {answer}");
            assert_ne!(verdict["reason"], "stale", "{name}: {answer}");
        }
        let push = decided(outcome).push;
        assert_eq!(serde_json::to_value(push.changes.gap()).unwrap(), expected["gap"], "{name}");
        assert_eq!((push.origin.dialect, push.pushed_at), (Dialect::Gitea, None), "{name}");
        assert_eq!(push.origin.default_branch.as_deref(), Some("main"), "{name}");
        assert_eq!(push.sender.as_deref(), Some("dev"), "{name}");
    }
}

#[test]
fn who_pushed_is_read_of_the_pusher_too() {
    let body = changed("one commit", |body| drop(body.as_object_mut().unwrap().remove("sender")));
    assert_eq!(decided(send(&receiver(None), signed(&body), &body)).push.sender.as_deref(), Some("dev"));
}

#[test]
fn no_header_makes_a_push_of_github_one_of_gitea() {
    let untimed = push_with(|body| drop(body["repository"].as_object_mut().unwrap().remove("pushed_at")));
    let request = || signed(&untimed).header("x-gitea-event", "push").header("x-gitea-signature", "00");
    let decided = decided(send(&receiver(None), request(), &untimed));
    assert_eq!(reasons(&decided), ["stale", "stale", "tag"]);
}

/// What GitHub always sends makes it one of GitHub's, so that nothing that is added later takes the time away from it.
#[test]
fn a_push_with_a_key_of_githubs_is_one_of_githubs() {
    for key in ["created", "deleted", "forced", "compare"] {
        let body = changed("one commit", |body| body[key] = Value::Bool(false));
        let push = decided(send(&receiver(None), signed(&body), &body)).push;
        assert_eq!(push.origin.dialect, Dialect::GitHub, "{key}");
    }
    let body = changed("one commit", |body| body["repository"]["pushed_at"] = 1_795_514_400.into());
    let push = decided(send(&receiver(None), signed(&body), &body)).push;
    let time = Some(Timestamp(1_795_514_400_000));
    assert_eq!((push.origin.dialect, push.pushed_at), (Dialect::GitHub, time));
}

#[test]
fn a_hook_that_names_its_kind_takes_every_payload_for_that() {
    let body = changed("a new branch", |_| {});
    let as_github = decided(send(&receiver(Some(Dialect::GitHub)), signed(&body), &body));
    assert_eq!(reasons(&as_github), ["stale", "needs_diff", "tag"]);

    // An older version, which says nothing that GitHub does not say too.
    let bare = changed("one commit", |body| {
        for key in ["total_commits", "compare_url", "head_commit"] {
            body.as_object_mut().unwrap().remove(key);
        }
        body["forced"] = false.into();
    });
    let as_gitea = decided(send(&receiver(Some(Dialect::Gitea)), signed(&bare), &bare));
    assert_eq!(as_gitea.push.changes.gap(), Some(Gap::Caps), "five are listed, and nobody says of how many");
    assert_eq!(reasons(&as_gitea), ["", "needs_diff", "tag"]);
    let timed = changed("one commit", |body| body["repository"]["pushed_at"] = 1_595_514_400.into());
    let as_gitea = decided(send(&receiver(Some(Dialect::Gitea)), signed(&timed), &timed));
    assert!(as_gitea.push.is_stale(Hook::MAX_AGE, NOW), "a time that is signed counts");
}

/// GitHub's own keys may be absent in what others send in its shape, and older versions of Enterprise.
#[test]
fn absent_is_neither_false_nor_complete() {
    let gap = |change: &dyn Fn(&mut Value)| {
        let body = push_with(change);
        decided(send(&receiver(None), signed(&body), &body)).push.changes.gap()
    };
    assert_eq!(gap(&|body| drop(body.as_object_mut().unwrap().remove("forced"))), Some(Gap::MaybeForced));
    assert_eq!(gap(&|body| body["forced"] = Value::Null), Some(Gap::MaybeForced));
    for key in ["created", "deleted"] {
        assert_eq!(gap(&|body| drop(body.as_object_mut().unwrap().remove(key))), None, "{key}: zeros tell");
    }
    assert_eq!(gap(&|body| body["total_commits"] = 1.into()), None);
    for total in [2, 2_000, 0] {
        assert_eq!(gap(&|body| body["total_commits"] = total.into()), Some(Gap::Caps), "{total}");
    }
    for odd in ["many".into(), Value::Null, (-1).into(), 1.5.into(), serde_json::json!([1])] {
        assert_eq!(gap(&|body| body["total_commits"] = odd.clone()), None, "{odd}: an unknown field");
    }
}

#[test]
fn a_redelivery_of_what_says_no_time_is_never_young_enough_to_train_again() {
    let body = changed("one commit", |_| {});
    assert!(!decided(send(&receiver(None), signed(&body), &body)).is_redeliverable);
}

fn reasons(decided: &swifthook_core::Decided) -> Vec<String> {
    let reason = |said: &swifthook_core::RecipeVerdict| {
        said.verdict.reason().map_or_else(String::new, |reason| reason.word.into_owned())
    };
    decided.verdicts.iter().map(reason).collect()
}

/// The usual receiver, but with the greatest age that a hook has by itself.
fn receiver(kind: Option<Dialect>) -> Arc<Receiver> {
    let mut hook = hook();
    (hook.max_age, hook.kind) = (Some(Hook::MAX_AGE), kind);
    with_hook(hook)
}

fn changed(name: &str, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut body = cases().iter().find(|case| case["name"] == name).unwrap()["body"].clone();
    change(&mut body);
    serde_json::to_vec(&body).unwrap()
}

fn cases() -> &'static [Value] {
    static CASES: LazyLock<Value> =
        LazyLock::new(|| serde_json::from_str(include_str!("../payloads/gitea.json")).unwrap());
    assert_eq!(CASES["secret"], SECRET);
    CASES["cases"].as_array().unwrap()
}
