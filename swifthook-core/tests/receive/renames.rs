//! Repositories that the configuration does not have, or has under the name that they had.

use std::sync::Arc;

use serde_json::{Value, json};
use swifthook_core::{Decided, Hook, Identity, Receiver, Refusal, RepoName, SecretSet, reply};

use crate::world::*;

#[test]
fn a_repository_under_another_name_is_held_with_what_to_change() {
    for name in ["acme/new-models", "beta/models"] {
        let receiver = receiver();
        let before = pushed(&receiver, |_| {});
        assert_eq!(words(&before), ["launch", "launch", "skip"]);
        let renamed = pushed(&receiver, |body| rename(body, name));
        assert_eq!(words(&renamed), ["hold", "hold", "skip"], "{name}");
        assert_eq!(renamed.push.repository.as_str(), name);
        let reason = renamed.verdicts[0].verdict.reason().unwrap();
        assert_eq!(reason.word, "renamed");
        assert!(
            reason.detail.starts_with(&format!("`acme/models` is called `{name}` now")),
            "{}",
            reason.detail
        );
        assert_eq!(renamed.verdicts[1].jobs.len(), 1, "one for all files: git will be asked");
        assert!(!renamed.is_redeliverable);
        let other = pushed(&receiver, |body| body["ref"] = "refs/heads/dev".into());
        assert_eq!(words(&other), ["skip", "skip", "skip"], "{name}: what would not train is no matter");
    }
}

#[test]
fn a_number_counts_for_the_hook_alone_that_told_it_of_a_name_that_it_may_speak_for() {
    let receiver = receiver();
    pushed(&receiver, |_| {});
    let foreign = |body: &mut Value| rename(body, "beta/models");
    let refused = sent(&receiver, "/other", foreign).unwrap_err();
    assert_eq!(refused, Refusal::Repository("beta/models".into()), "another hook may know another server");
    let other_number = |body: &mut Value| {
        foreign(body);
        body["repository"]["id"] = 17.into();
    };
    assert_eq!(sent(&receiver, "/webhook", other_number).unwrap_err().status(), 403);
    for odd in [Value::Null, "4242".into(), (-4_242).into(), 4_242.5.into(), json!({"id": 4_242})] {
        let odd_number = |body: &mut Value| {
            foreign(body);
            body["repository"]["id"] = odd.clone();
        };
        assert_eq!(sent(&receiver, "/webhook", odd_number).unwrap_err().status(), 403, "{odd}");
    }
    // Of a repository that is refused, or not configured, nothing is remembered.
    let unknown = pushed(&receiver, |body| {
        (body["repository"]["full_name"], body["repository"]["id"]) = ("acme/unknown".into(), 5.into())
    });
    assert!(unknown.verdicts.is_empty());
    let next = pushed(&receiver, |body| {
        (body["repository"]["full_name"], body["repository"]["id"]) = ("acme/again".into(), 5.into())
    });
    assert!(next.verdicts.is_empty());
}

#[test]
fn what_was_known_before_this_process_is_remembered() {
    let receiver = receiver();
    let known = |name: &str, id| Identity { hook: "github".into(), id, name: RepoName::new(name).unwrap() };
    receiver.remember(known("acme/models", 4_242));
    receiver.remember(known("acme/gone", 17));
    receiver.remember(known("evil/models", 18));
    let named = |name: &str, id: u64| {
        pushed(&receiver, |body| {
            rename(body, name);
            body["repository"]["id"] = id.into();
        })
    };
    assert_eq!(words(&named("acme/new-models", 4_242)), ["hold", "hold", "skip"]);
    assert!(named("acme/other", 17).verdicts.is_empty(), "that name is not configured any more");
    assert!(named("acme/other", 18).verdicts.is_empty(), "the hook may not speak for that name");
}

#[test]
fn a_push_of_a_repository_that_is_not_configured_is_stored_and_answered_as_ignored() {
    let outcome =
        sent(&receiver(), "/webhook", |body| body["repository"]["full_name"] = "acme/unknown".into());
    let (status, answer) = answer(&outcome);
    assert_eq!(
        (status, &answer["decision"], &answer["reason"]),
        (200, &json!("ignored"), &json!("repository"))
    );
    assert!(answer["delivery"].is_string() && answer["verdicts"] == json!([]), "{answer}");
    let response = reply(&outcome, None);
    assert_eq!(response.status(), 200, "nothing was promised, and nothing is to run");
    let told = response.extensions().get::<swifthook_core::Answered>().unwrap();
    assert_eq!(told.repository.as_ref().map(RepoName::as_str), Some("acme/unknown"));
    let odd = sent(&receiver(), "/webhook", |body| body["repository"]["full_name"] = "acme/..".into());
    assert_eq!(crate::world::answer(&odd).1["decision"], "ignored", "its name is none");
}

/// Nobody but a server makes payloads, and those say one thing.
#[test]
fn a_payload_that_says_two_things_of_its_repository_is_no_word_for_a_new_name() {
    let receiver = receiver();
    pushed(&receiver, |_| {});
    let unknown = pushed(&receiver, |body| body["repository"]["full_name"] = "acme/new-models".into());
    assert!(unknown.verdicts.is_empty());
    let foreign = |body: &mut Value| body["repository"]["full_name"] = "beta/models".into();
    assert_eq!(sent(&receiver, "/webhook", foreign).unwrap_err().status(), 403);
    let bare =
        pushed(&receiver, |body| body["repository"] = json!({"id": 4_242, "full_name": "acme/new-models"}));
    assert_eq!(words(&bare), ["hold", "hold", "skip"], "what is not there contradicts nothing");
}

fn rename(body: &mut Value, full_name: &str) {
    let (owner, name) = full_name.split_once('/').unwrap();
    let repository = &mut body["repository"];
    (repository["full_name"], repository["name"]) = (full_name.into(), name.into());
    (repository["owner"]["login"], repository["owner"]["name"]) = (owner.into(), owner.into());
}

fn words(decided: &Decided) -> Vec<&str> {
    decided.verdicts.iter().map(|said| said.verdict.word()).collect()
}

fn pushed(receiver: &Arc<Receiver>, change: impl FnOnce(&mut Value)) -> Decided {
    decided(sent(receiver, "/webhook", change))
}

fn sent(
    receiver: &Arc<Receiver>,
    path: &str,
    change: impl FnOnce(&mut Value),
) -> Result<swifthook_core::Outcome, Refusal> {
    let body = push_with(change);
    let mut reading = receiver.begin(path, &head(signed(&body)), None)?;
    reading.push(body.into())?;
    reading.finish(NOW)
}

/// The usual one, with one hook more that has the same secret.
fn receiver() -> Arc<Receiver> {
    let mut other = Hook::new("other", "/other", SecretSet::one(SECRET).unwrap(), &["acme/*"]).unwrap();
    other.max_age = None;
    with_hooks([hook(), other])
}
