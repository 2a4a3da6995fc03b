//! The table of replies, to the letter.

use std::time::Duration;

use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use serde_json::{Value, json};
use swifthook_core::{
    Admitted, Decided, DeliveryId, IntakeError, JobId, Outcome, Reason, Receipt, Refusal, SignatureProblem,
    Stage, StoredJob, reply,
};

use crate::world::*;

fn ordinary() -> Decided {
    let body = push_with(|_| {});
    decided(send(&receiver(), signed(&body), &body))
}

fn ignored() -> Decided {
    let body = push_with(|body| body["ref"] = "refs/heads/dev".into());
    decided(send(&receiver(), signed(&body), &body))
}

fn told(decided: Decided, accepted: Option<&Result<Receipt, IntakeError>>) -> (u16, Value) {
    let response = reply(&Ok(Outcome::Decided(decided.into())), accepted);
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
}

#[test]
fn a_queued_push_is_told_with_every_verdict_and_job() {
    let decided = ordinary();
    let receipt = stored(&decided);
    let response = reply(&Ok(Outcome::Decided(decided.into())), Some(&receipt));
    assert_eq!(response.status(), 202);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    let expected = concat!(
        r#"{"delivery":"07070707-0707-0707-0707-070707070707","decision":"queued","reason":null,"verdicts":["#,
        r#"{"recipe":"train","verdict":"launch","reason":null,"detail":null,"jobs":["#,
        r#"{"id":"00000000-0000-0000-0000-000000000000","config":null,"state":"queued","new":true}]},"#,
        r#"{"recipe":"each","verdict":"launch","reason":null,"detail":null,"jobs":["#,
        r#"{"id":"01010101-0101-0101-0101-010101010101","config":"configs/sft_a.yaml","state":"queued","new":true}]},"#,
        r#"{"recipe":"release","verdict":"skip","reason":"tag","detail":""#
    );
    let body = std::str::from_utf8(response.body()).unwrap();
    assert!(body.starts_with(expected) && body.ends_with(r#"","jobs":[]}]}"#), "{body}");
}

#[test]
fn the_decision_is_the_first_that_occurs() {
    let job = |stage, admitted| StoredJob {
        recipe: "train".into(),
        config: None,
        id: JobId([1; 16]),
        stage,
        admitted,
    };
    let new = |stage| job(stage, Admitted::New);
    let rerun = job(Stage::Queued, Admitted::Rerun { of: JobId([2; 16]) });
    let known = |stage| job(stage, Admitted::Duplicate);
    for (jobs, status, decision) in [
        (vec![new(Stage::Queued)], 202, "queued"),
        (vec![new(Stage::Superseded)], 202, "queued"),
        (vec![rerun], 202, "queued"),
        (vec![known(Stage::Succeeded), new(Stage::Held), new(Stage::Queued)], 202, "queued"),
        (vec![known(Stage::Queued), new(Stage::Held)], 202, "held"),
        (vec![known(Stage::Queued)], 200, "duplicate"),
        (vec![known(Stage::Held)], 200, "duplicate"),
    ] {
        let receipt = Ok(Receipt::Stored { delivery: DeliveryId([7; 16]), jobs: jobs.clone() });
        let (told_status, answer) = told(ordinary(), Some(&receipt));
        assert_eq!((told_status, &answer["decision"]), (status, &json!(decision)), "{jobs:?}");
    }
}

#[test]
fn an_intake_that_keeps_no_jobs_is_answered_by_the_verdicts() {
    let receipt = Ok(Receipt::Stored { delivery: DeliveryId([7; 16]), jobs: vec![] });
    let forced = push_with(|body| body["forced"] = true.into());
    let held = decided(send(&receiver(), signed(&forced), &forced));
    for (decided, status, decision) in
        [(ordinary(), 202, "queued"), (held, 202, "held"), (ignored(), 200, "ignored")]
    {
        let (told_status, answer) = told(decided, Some(&receipt));
        assert_eq!((told_status, &answer["decision"]), (status, &json!(decision)));
        assert_eq!(answer["reason"], Value::Null, "the verdicts carry it");
    }
}

#[test]
fn a_broker_accepts_without_knowing_more() {
    let (status, answer) = told(ordinary(), Some(&Ok(Receipt::Accepted { delivery: DeliveryId([7; 16]) })));
    assert_eq!((status, &answer["decision"]), (202, &json!("accepted")));
    assert_eq!(answer["verdicts"][0]["verdict"], "launch");
}

#[test]
fn what_was_not_stored_is_promised_to_nobody() {
    let refused = Err(IntakeError::passing("disk of db-7 is full"));
    let later = Err(IntakeError::permanent("no").after(Duration::from_millis(29_001)));
    for (accepted, wait) in [(None, "10"), (Some(&refused), "10"), (Some(&later), "30")] {
        let response = reply(&Ok(Outcome::Decided(ordinary().into())), accepted);
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[RETRY_AFTER], wait);
        assert!(!String::from_utf8_lossy(response.body()).contains("db-7"), "it is for the log");
    }
    let (status, answer) = told(ignored(), None);
    assert_eq!((status, &answer["decision"], &answer["delivery"]), (200, &json!("ignored"), &Value::Null));
    assert_eq!(answer["verdicts"][0]["reason"], "branch");
}

#[test]
fn pings_and_other_events_have_no_verdicts() {
    let plain = |outcome| answer(&Ok(outcome));
    let expected = |decision: &str, reason: Value| json!({"delivery": null, "decision": decision, "reason": reason, "verdicts": []});
    assert_eq!(plain(Outcome::Pong), (200, expected("pong", Value::Null)));
    let reason = Reason::new("event", "`issues` is not looked at");
    assert_eq!(plain(Outcome::Ignored(reason)), (200, expected("ignored", "event".into())));
}

#[test]
fn a_refusal_is_a_problem_that_says_what_would_be_right() {
    let signature = |problem: SignatureProblem| Refusal::from(problem);
    for (refusal, status, word, header) in [
        (Refusal::UnknownPath, 404, "unknown-path", None),
        (Refusal::Method, 405, "method", Some((ALLOW, "POST"))),
        (Refusal::MediaType, 415, "media-type", None),
        (Refusal::ContentEncoding, 415, "content-encoding", None),
        (Refusal::MalformedLength, 400, "malformed-length", None),
        (Refusal::TooLarge { limit: 5 }, 413, "too-large", None),
        (Refusal::TooShort { announced: 5, received: 4 }, 400, "too-short", None),
        (Refusal::Interrupted, 400, "interrupted", None),
        (Refusal::TooSlow, 408, "too-slow", None),
        (signature(SignatureProblem::Missing), 401, "signature-missing", None),
        (signature(SignatureProblem::Sha1Only), 401, "signature-missing", None),
        (signature(SignatureProblem::Doubled), 401, "signature-malformed", None),
        (signature(SignatureProblem::NotText), 401, "signature-malformed", None),
        (signature(SignatureProblem::Prefix), 401, "signature-malformed", None),
        (signature(SignatureProblem::Length), 401, "signature-malformed", None),
        (signature(SignatureProblem::UpperCase), 401, "signature-malformed", None),
        (signature(SignatureProblem::NotHex), 401, "signature-malformed", None),
        (signature(SignatureProblem::Wrong), 401, "signature-wrong", None),
        (Refusal::Address, 403, "address", None),
        (Refusal::Repository("evil/models".into()), 403, "repository", None),
        (Refusal::Empty, 400, "empty", None),
        (Refusal::Form(swifthook_core::FormProblem::Missing), 400, "form", None),
        (Refusal::NotJson("no".into()), 400, "not-json", None),
        (Refusal::NotAPush("no".into()), 400, "not-a-push", None),
        (Refusal::NotAPing, 400, "not-a-ping", None),
        (Refusal::Busy { retry_after: Duration::ZERO }, 503, "busy", Some((RETRY_AFTER, "1"))),
    ] {
        let response = reply(&Err(refusal.clone()), None);
        assert_eq!(response.status(), status, "{word}");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        if let Some((name, value)) = header {
            assert_eq!(response.headers()[name], value);
        }
        let problem: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(problem["type"], format!("urn:swifthook:problem:{word}"));
        assert_eq!(problem["status"], status);
        assert_eq!(problem["title"], response.status().canonical_reason().unwrap());
        assert_eq!(problem["detail"], refusal.to_string());
        assert_eq!(problem.as_object().unwrap().len(), 4);
    }
}

#[test]
fn text_of_a_sender_cannot_break_out_of_a_reply() {
    let body = push_with(|body| body["repository"]["full_name"] = "\"},<script>\n\u{1b}[31m".into());
    let (status, problem) = answer(&send(&receiver(), signed(&body), &body));
    assert_eq!((status, &problem["status"]), (403, &json!(403)));
}
