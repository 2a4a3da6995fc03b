use bytes::Bytes;
use serde_json::Value;
use swifthook_core::Limits;

use super::Serve;
use super::site::{Site, receiver};
use crate::client::{Reply, Request, SIGNATURE};
use crate::payload::form;

/// Bodies in GitHub's shape, each as it is sent and with the answer that is right, in order to one server.
pub async fn every_case_has_its_answer(serve: Serve) {
    let document: Value = serde_json::from_str(CASES).expect("the cases are JSON");
    let cases = document["cases"].as_array().expect("the cases are a list");
    assert!(cases.len() >= 47, "only {} cases", cases.len());
    let site = Site::new(serve).await;
    for case in cases {
        let name = case["name"].as_str().expect("a case has a name");
        check(name, &case["expect"], &site.send(&request_of(case)).await);
    }
}

/// GitHub's own samples are of a repository for which the hook may not speak.
pub async fn every_sample_of_another_repository_is_refused(serve: Serve) {
    let site = Site::new(serve).await;
    for sample in SAMPLES {
        assert_eq!(site.send(&Request::push(sample)).await.status, 403);
    }
    assert!(site.intake.pushes().is_empty());
}

/// The signatures that GitHub and others publish for the 26-byte secret: what they sign is no push (400), but they
/// are right (not 401). One digit changed, and they are wrong.
pub async fn the_published_vectors_are_verified(serve: Serve) {
    let site = Site::with_receiver(serve, receiver(VECTORS_SECRET, Limits::default())).await;
    for (content_type, body, digest) in VECTORS {
        let signed = |digest: &str| {
            let request = Request::push(body).header("Content-Type", content_type);
            request.header(SIGNATURE, format!("sha256={digest}"))
        };
        assert_eq!(site.send(&signed(digest)).await.status, 400, "{body:?}");
        let last = if digest.ends_with('0') { "1" } else { "0" };
        let wrong = format!("{}{last}", &digest[..63]);
        assert_eq!(site.send(&signed(&wrong)).await.status, 401, "{body:?}");
    }
}

fn request_of(case: &Value) -> Request {
    let send = &case["send"];
    let body = case["body"].to_string();
    let is_form = send["form"] == true;
    let body = if is_form { form(body.as_bytes()) } else { Bytes::from(body) };
    let mut request = Request::delivery(send["event"].as_str().unwrap_or("push"), body);
    if is_form {
        request = request.form_encoded();
    }
    if let Some(content_type) = send["content_type"].as_str() {
        request = request.header("Content-Type", content_type);
    }
    if let Some(secret) = send["secret"].as_str() {
        request = request.signed_with(secret);
    }
    match send.get("signature") {
        Some(Value::String(signature)) => request = request.header(SIGNATURE, signature.as_str()),
        Some(_) => request = request.without(SIGNATURE),
        None => {}
    }
    for (name, value) in send["headers"].as_object().into_iter().flatten() {
        request = request.header(name, value.as_str().expect("the value of a header is text"));
    }
    request
}

fn check(name: &str, expect: &Value, reply: &Reply) {
    let answer = reply.json();
    assert_eq!(Value::from(reply.status), expect["status"], "{name}: {answer}");
    assert_eq!(answer["decision"], expect["decision"], "{name}: {answer}");
    let verdict_of = |recipe: &str| {
        let verdicts = answer["verdicts"].as_array().into_iter().flatten();
        verdicts.into_iter().find(|verdict| verdict["recipe"] == recipe)
    };
    for (recipe, verdict) in expect["verdicts"].as_object().into_iter().flatten() {
        assert_eq!(verdict_of(recipe).map(|found| &found["verdict"]), Some(verdict), "{name}: {answer}");
    }
    if let Some(reason) = expect.get("reason") {
        let found = verdict_of("train").map_or(&answer["reason"], |verdict| &verdict["reason"]);
        assert_eq!(found, reason, "{name}: {answer}");
    }
}

const CASES: &str = include_str!("../payloads/cases.json");
const SAMPLES: [&str; 3] = [
    include_str!("../payloads/branch-created.json"),
    include_str!("../payloads/tag-created.json"),
    include_str!("../payloads/tag-deleted.json"),
];
const VECTORS_SECRET: &str = "It's a Secret to Everybody";
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const VECTORS: [(&str, &str, &str); 4] = [
    (JSON, "Hello, World!", "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"),
    (JSON, "", "66a0c074deaa0f489ead6537e0d32f9a344b90bbeda705b6ed45ecd3b413fb40"),
    (
        JSON,
        r#"{"ref":"refs/heads/main"}"#,
        "6a42699496d8c4fb346af1c930df527931a321e28ada69dbc5ee82f438517fd2",
    ),
    (
        FORM,
        "payload=%7B%22ref%22%3A%22refs%2Fheads%2Fmain%22%7D",
        "720493f557150a271b7cfdd9904c5fe4697f30c44588f8b452d36abc47b8796c",
    ),
];
