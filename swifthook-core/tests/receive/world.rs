//! A receiver with the configuration of `payloads/make.py`, and requests to it.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::request::{Builder, Parts};
use serde_json::Value;
use swifthook_core::condition::{all, branches, paths, tags};
use swifthook_core::{
    Admitted, Decided, DeliveryId, Each, Hook, IntakeError, JobId, Outcome, Receipt, Receiver, Recipe,
    Refusal, RepoName, Secret, SecretSet, Stage, StoredJob, Timestamp, Verdict, reply,
};

pub(crate) const SECRET: &str = "correct horse battery staple 2026";
pub(crate) const NOW: Timestamp = Timestamp(1_795_514_460_000);

pub(crate) fn hook() -> Hook {
    let mut hook = Hook::new("github", "/webhook", SecretSet::one(SECRET).unwrap(), &["acme/*"]).unwrap();
    hook.max_age = None;
    hook
}

pub(crate) fn receiver() -> Arc<Receiver> {
    with_hook(hook())
}

pub(crate) fn with_hook(hook: Hook) -> Arc<Receiver> {
    with_hooks([hook])
}

pub(crate) fn with_hooks<const N: usize>(hooks: [Hook; N]) -> Arc<Receiver> {
    let models = RepoName::new("acme/models").unwrap();
    let each = Each::new(["configs/sft_*.yaml"]).unwrap();
    let configs = paths(["configs/**", "!**/*.md"]).unwrap();
    let receiver = hooks.into_iter().fold(Receiver::builder(), swifthook_core::Builder::add_hook);
    let receiver = receiver
        .started_at(NOW.before(std::time::Duration::from_secs(3_600)))
        .recipe("train", "acme/models", all([branches(["main"]).unwrap(), configs]))
        .add_recipe(Recipe { each: Some(each), ..Recipe::new("each", models, branches(["main"]).unwrap()) })
        .recipe("release", "acme/models", tags(["v*"]).unwrap());
    Arc::new(receiver.build().unwrap())
}

pub(crate) fn signed(body: &[u8]) -> Builder {
    json_request().header("x-hub-signature-256", sign(SECRET, body))
}

pub(crate) fn json_request() -> Builder {
    http::Request::post("/webhook")
        .header("content-type", "application/json")
        .header("x-github-event", "push")
        .header("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
}

pub(crate) fn sign(secret: &str, body: &[u8]) -> String {
    Secret::new("signing", secret).unwrap().sign(body)
}

pub(crate) fn head(request: Builder) -> Parts {
    request.body(()).unwrap().into_parts().0
}

/// Sends a body in one piece.
pub(crate) fn send(receiver: &Arc<Receiver>, request: Builder, body: &[u8]) -> Result<Outcome, Refusal> {
    send_in(receiver, request, &[body])
}

/// Sends a body in these pieces.
pub(crate) fn send_in(
    receiver: &Arc<Receiver>,
    request: Builder,
    pieces: &[&[u8]],
) -> Result<Outcome, Refusal> {
    let mut reading = receiver.begin("/webhook", &head(request), None::<IpAddr>)?;
    for piece in pieces {
        reading.push(Bytes::copy_from_slice(piece))?;
    }
    reading.finish(NOW)
}

/// What an intake answers that has never seen anything: each job is new.
pub(crate) fn stored(decided: &Decided) -> Result<Receipt, IntakeError> {
    let mut jobs = Vec::new();
    for verdict in &decided.verdicts {
        for spec in &verdict.jobs {
            let held = matches!(verdict.verdict, Verdict::Hold(_));
            jobs.push(StoredJob {
                recipe: spec.recipe.clone(),
                config: spec.config.clone(),
                id: JobId([jobs.len() as u8; 16]),
                stage: if held { Stage::Held } else { Stage::Queued },
                admitted: Admitted::New,
            });
        }
    }
    Ok(Receipt::Stored { delivery: DeliveryId([7; 16]), jobs })
}

/// The reply of a server that stores.
pub(crate) fn answer(outcome: &Result<Outcome, Refusal>) -> (u16, Value) {
    let receipt = match outcome {
        Ok(Outcome::Decided(decided)) => Some(stored(decided)),
        _ => None,
    };
    let response = reply(outcome, receipt.as_ref());
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
}

pub(crate) fn decided(outcome: Result<Outcome, Refusal>) -> Decided {
    match outcome {
        Ok(Outcome::Decided(decided)) => *decided,
        other => panic!("not decided: {other:?}"),
    }
}

pub(crate) fn cases() -> &'static [Value] {
    static CASES: LazyLock<Value> =
        LazyLock::new(|| serde_json::from_str(include_str!("../payloads/cases.json")).unwrap());
    assert_eq!(CASES["secret"], SECRET);
    CASES["cases"].as_array().unwrap()
}

/// The body of the case of that name.
pub(crate) fn body_of(name: &str) -> Value {
    cases().iter().find(|case| case["name"] == name).unwrap()["body"].clone()
}

/// An ordinary push, changed by `change`.
pub(crate) fn push_with(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut body = body_of("ordinary push");
    change(&mut body);
    serde_json::to_vec(&body).unwrap()
}

/// A form with `payload`.
pub(crate) fn form(payload: &[u8]) -> Vec<u8> {
    let encoded: String = payload
        .iter()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => char::from(*b).to_string(),
            b' ' => "+".to_owned(),
            other => format!("%{other:02X}"),
        })
        .collect();
    format!("payload={encoded}").into_bytes()
}
