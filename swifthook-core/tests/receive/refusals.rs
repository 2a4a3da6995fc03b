//! Bad requests, each with its answer; most of them broke another receiver once.

use std::sync::Arc;

use http::Method;
use serde_json::json;
use swifthook_core::{Hook, Outcome, Refusal, SecretSet, SignatureProblem};

use crate::world::*;

fn begun(request: http::request::Builder) -> Option<Refusal> {
    receiver().begin("/webhook", &head(request), None).err()
}

fn fresh() -> http::request::Builder {
    http::Request::post("/webhook")
}

const DIGITS: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

#[test]
fn a_request_is_refused_before_its_body_is_read() {
    let json = || fresh().header("content-type", "application/json");
    let fine = || json().header("x-hub-signature-256", DIGITS);
    let form = "application/x-www-form-urlencoded";
    for (name, request, refusal) in [
        ("fine", fine(), None),
        ("an announced length", fine().header("content-length", "26214400"), None),
        ("identity", fine().header("content-encoding", "Identity"), None),
        ("no content type", fresh().header("x-hub-signature-256", DIGITS), Some(Refusal::MediaType)),
        ("two content types", fine().header("content-type", form), Some(Refusal::MediaType)),
        ("text", fresh().header("content-type", "text/json"), Some(Refusal::MediaType)),
        ("gzip", fine().header("content-encoding", "gzip"), Some(Refusal::ContentEncoding)),
        (
            "gzip under identity",
            fine().header("content-encoding", "identity").header("content-encoding", "br"),
            Some(Refusal::ContentEncoding),
        ),
        (
            "a byte too many",
            fine().header("content-length", "26214401"),
            Some(Refusal::TooLarge { limit: 26_214_400 }),
        ),
        ("no number", fine().header("content-length", "ten"), Some(Refusal::MalformedLength)),
        ("signed", fine().header("content-length", "+10"), Some(Refusal::MalformedLength)),
        ("empty", fine().header("content-length", ""), Some(Refusal::MalformedLength)),
        ("endless", fine().header("content-length", "9".repeat(40)), Some(Refusal::MalformedLength)),
        (
            "two lengths",
            fine().header("content-length", "1").header("content-length", "2"),
            Some(Refusal::MalformedLength),
        ),
        ("no signature", json(), Some(SignatureProblem::Missing.into())),
        ("SHA-1", json().header("x-hub-signature", "sha1=00"), Some(SignatureProblem::Sha1Only.into())),
        ("two", fine().header("x-hub-signature-256", DIGITS), Some(SignatureProblem::Doubled.into())),
        (
            "not UTF-8",
            json().header("x-hub-signature-256", &b"sha256=\xff\xfe"[..]),
            Some(SignatureProblem::NotText.into()),
        ),
        (
            "upper case",
            json().header("x-hub-signature-256", DIGITS.replace("757107ea", "757107EA")),
            Some(SignatureProblem::UpperCase.into()),
        ),
    ] {
        assert_eq!(begun(request), refusal, "{name}");
    }
}

#[test]
fn other_methods_and_paths_are_none_of_ours() {
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let head = head(fresh().method(method.clone()));
        let refused = receiver().begin("/webhook", &head, None).err();
        assert_eq!(refused, Some(Refusal::Method), "{method}");
    }
    for path in ["/", "/webhook//", "/webhook2", "", "/WEBHOOK"] {
        assert_eq!(receiver().begin(path, &head(fresh()), None).err(), Some(Refusal::UnknownPath), "{path}");
    }
}

#[test]
fn headers_that_are_not_text_never_panic() {
    let body = push_with(|_| {});
    let odd = &b"\xff\x80 odd"[..];
    let request = signed(&body)
        .header("x-github-delivery", odd)
        .header("x-forwarded-for", odd)
        .header("user-agent", odd);
    decided(send(&receiver(), request, &body));
    for header in ["content-type", "content-encoding", "content-length", "x-hub-signature-256"] {
        assert!(begun(signed(&body).header(header, odd)).is_some(), "{header}");
    }
}

#[test]
fn addresses_outside_the_list_are_refused() {
    let mut hook = hook();
    hook.allow_from = vec!["192.0.2.0/24".parse().unwrap()];
    let receiver = swifthook_core::Receiver::builder()
        .add_hook(hook)
        .trusted_proxies(vec!["10.0.0.0/8".parse().unwrap()])
        .build()
        .map(Arc::new)
        .unwrap();
    let begun = |peer: Option<&str>, forwarded: Option<&str>| {
        let mut request = signed(b"");
        if let Some(forwarded) = forwarded {
            request = request.header("x-forwarded-for", forwarded);
        }
        receiver.begin("/webhook", &head(request), peer.map(|peer| peer.parse().unwrap())).err()
    };
    for (peer, forwarded, refusal) in [
        (Some("192.0.2.7"), None, None),
        (Some("::ffff:192.0.2.7"), None, None),
        (Some("192.0.3.7"), None, Some(Refusal::Address)),
        (Some("192.0.3.7"), Some("192.0.2.7"), Some(Refusal::Address)),
        (Some("10.0.0.1"), Some("192.0.2.7"), None),
        (Some("10.0.0.1"), Some("192.0.2.7, 192.0.3.7"), Some(Refusal::Address)),
        (Some("10.0.0.1"), Some("192.0.2.7, nobody"), Some(Refusal::Address)),
        (Some("10.0.0.1"), None, Some(Refusal::Address)),
        (None, Some("192.0.2.7"), Some(Refusal::Address)),
    ] {
        assert_eq!(begun(peer, forwarded), refusal, "{peer:?} {forwarded:?}");
    }
}

#[test]
fn a_wrong_signature_is_told_before_anything_of_the_content() {
    let push = push_with(|_| {});
    let foreign = push_with(|body| body["repository"]["full_name"] = "evil/models".into());
    for body in [&b""[..], b"not JSON", b"{}", b"\xff", &push, &foreign] {
        let request = json_request().header("x-hub-signature-256", sign(SECRET, b"another body"));
        let refused = send(&receiver(), request, body).unwrap_err();
        assert_eq!(refused, SignatureProblem::Wrong.into());
    }
}

#[test]
fn a_signed_body_that_is_no_push_is_malformed() {
    let not_json = |body: &[u8]| matches!(send(&receiver(), signed(body), body), Err(Refusal::NotJson(_)));
    let deep_lists = "[".repeat(200_000);
    let deep_objects = r#"{"ref":"#.repeat(10_000);
    let deep_and_skipped = format!(r#"{{"x":{deep_lists}"#);
    for body in [
        "Hello, World!",
        "{",
        "nothing",
        "{} {}",
        r#"{"ref":"refs/heads/main""#,
        "\u{feff}{}",
        &deep_and_skipped,
    ] {
        assert!(not_json(body.as_bytes()), "{body:.40}");
    }
    assert!(not_json(b"{\"x\":\"\xff\"}") && not_json(b"\xff"));
    for body in [&deep_lists, &deep_objects] {
        assert_eq!(send(&receiver(), signed(body.as_bytes()), body.as_bytes()).unwrap_err().status(), 400);
    }
    assert_eq!(send(&receiver(), signed(b""), b"").unwrap_err(), Refusal::Empty);

    let without = |key: &str| push_with(|body| drop(body.as_object_mut().unwrap().remove(key)));
    let null = |key: &str| push_with(|body| body[key] = json!(null));
    let with = |key: &str, value: serde_json::Value| push_with(|body| body[key] = value);
    for body in [
        b"{}".to_vec(),
        b"[]".to_vec(),
        b"5".to_vec(),
        b"null".to_vec(),
        b"\"refs/heads/main\"".to_vec(),
        without("ref"),
        without("before"),
        without("after"),
        without("repository"),
        without("pusher"),
        null("ref"),
        null("before"),
        null("after"),
        null("repository"),
        with("ref", json!(5)),
        with("ref", json!("refs/heads/")),
        with("ref", json!("refs/pull/1/head")),
        with("after", json!("A".repeat(40))),
        with("before", json!("--upload-pack=touch pwned")),
        with("repository", json!({"name": "models"})),
        with("commits", json!({"0": {}})),
        with("commits", json!([5])),
        with("commits", json!([{"added": "x"}])),
        with("commits", json!([{"added": [5]}])),
        with("deleted", json!("no")),
        with("head_commit", json!({"id": "zz"})),
    ] {
        let shown = String::from_utf8_lossy(&body).into_owned();
        let refused = send(&receiver(), signed(&body), &body);
        assert!(matches!(refused, Err(Refusal::NotAPush(_))), "{refused:?}: {shown:.300}");
    }
}

#[test]
fn a_key_that_stands_twice_is_refused_however_it_is_written() {
    let push = String::from_utf8(push_with(|_| {})).unwrap();
    let inside = push.strip_prefix('{').unwrap();
    for again in [
        r#""ref":"refs/heads/main""#,
        r#""\u0072ef":"refs/heads/main""#,
        r#""after":null"#,
        r#""forced":false"#,
        r#""commits":[]"#,
        r#""head_commit":null"#,
        r#""repository":{"full_name":"acme/models"}"#,
    ] {
        let body = format!("{{{again},{inside}");
        let refused = send(&receiver(), signed(body.as_bytes()), body.as_bytes());
        assert!(matches!(&refused, Err(Refusal::NotAPush(why)) if why.contains("duplicate")), "{refused:?}");
    }
    for (key, again) in [
        (r#""full_name":"#, r#""full_name":"evil/models","full_name":"#),
        (r#""added":"#, r#""added":[],"added":"#),
        (r#""login":"#, r#""login":"admin","login":"#),
    ] {
        assert!(push.contains(key), "{key}");
        let body = push.replace(key, again);
        let refused = send(&receiver(), signed(body.as_bytes()), body.as_bytes());
        assert!(matches!(refused, Err(Refusal::NotAPush(_))), "{key}");
    }
}

#[test]
fn a_form_must_have_its_payload() {
    let send_form = |body: &[u8]| {
        let request = fresh()
            .header("content-type", "application/x-www-form-urlencoded")
            .header("x-github-event", "push")
            .header("x-hub-signature-256", sign(SECRET, body));
        send(&receiver(), request, body)
    };
    decided(send_form(&form(&push_with(|_| {}))));
    for (body, word) in [
        (&b"{}"[..], "form"),
        (b"payload", "form"),
        (b"payload=%7B%7D&payload=%7B%7D", "form"),
        (b"payload=%7", "form"),
        (b"payload=%7B", "not-json"),
        (b"payload=%FF", "not-json"),
        (b"payload=", "not-json"),
        (b"payload=%7B%7D", "not-a-push"),
    ] {
        assert_eq!(send_form(body).unwrap_err().word(), word, "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn the_event_header_is_only_a_hint() {
    let push = push_with(|_| {});
    let ping = serde_json::to_vec(&body_of("ping")).unwrap();
    let issue = serde_json::to_vec(&body_of("other event")).unwrap();
    let outcome = |body: &[u8], event: Option<&[u8]>| {
        let mut request = fresh()
            .header("content-type", "application/json")
            .header("x-hub-signature-256", sign(SECRET, body));
        if let Some(event) = event {
            request = request.header("x-github-event", event);
        }
        match send(&receiver(), request, body) {
            Ok(Outcome::Pong) => "pong".to_owned(),
            Ok(Outcome::Ignored(reason)) => reason.to_string(),
            Ok(Outcome::Decided(_)) => "decided".to_owned(),
            Ok(other) => panic!("{other:?}"),
            Err(refusal) => refusal.word().to_owned(),
        }
    };
    for (name, body, event, expected) in [
        ("push", &push, Some(&b"push"[..]), "decided"),
        ("push", &push, None, "decided"),
        ("push", &push, Some(b"issues"), "decided"),
        ("push", &push, Some(b"ping"), "decided"),
        ("ping", &ping, Some(b"ping"), "pong"),
        ("ping", &ping, None, "pong"),
        ("ping", &ping, Some(b"push"), "not-a-push"),
        ("ping", &ping, Some(b"issues"), "event: `issues` is not looked at, only pushes are"),
        ("issue", &issue, Some(b"issues"), "event: `issues` is not looked at, only pushes are"),
        ("issue", &issue, Some(b"push"), "not-a-push"),
        ("issue", &issue, Some(b"ping"), "not-a-ping"),
        ("issue", &issue, None, "not-a-push"),
        ("issue", &issue, Some(b"\xff<b>"), "event: `<b>` is not looked at, only pushes are"),
    ] {
        assert_eq!(outcome(body, event), expected, "{name} {event:?}");
    }
}

#[test]
fn one_hooks_secret_does_not_speak_for_anothers_repository() {
    let other = "another secret of another team";
    let receiver = swifthook_core::Receiver::builder()
        .hook("ours", "/ours", SecretSet::one(SECRET).unwrap(), &["acme/*"])
        .hook("theirs", "/theirs", SecretSet::one(other).unwrap(), &["other/*"])
        .recipe("train", "acme/models", swifthook_core::condition::branches(["main"]).unwrap());
    let receiver = Arc::new(receiver.build().unwrap());
    let body = push_with(|_| {});
    let refused = |path: &str, secret: &str| {
        let request = json_request().header("x-hub-signature-256", sign(secret, &body));
        let mut reading = receiver.begin(path, &head(request), None).unwrap();
        reading.push(body.clone().into()).unwrap();
        reading.finish(NOW).err()
    };
    assert_eq!(refused("/ours", SECRET), None);
    assert_eq!(refused("/theirs", other), Some(Refusal::Repository("acme/models".into())));
    assert_eq!(refused("/theirs", SECRET), Some(SignatureProblem::Wrong.into()));
    assert_eq!(refused("/ours", other), Some(SignatureProblem::Wrong.into()));
}

#[test]
fn nothing_that_can_be_shown_holds_a_secret_or_the_right_signature() {
    let receiver = receiver();
    let body = push_with(|_| {});
    let right = sign(SECRET, &body);
    let request = json_request().header("x-hub-signature-256", sign(SECRET, b"another"));
    let refused = send(&receiver, request, &body);
    let verified = Arc::new(hook()).verify(Some(right.as_bytes()), body.clone().into()).unwrap();
    for shown in [
        format!("{receiver:?}"),
        format!("{:#?}", swifthook_core::Current::new(receiver_owned())),
        format!("{:?}", hook()),
        format!("{refused:?} {}", refused.as_ref().unwrap_err()),
        format!("{:?}", Hook::new("", "", SecretSet::one(SECRET).unwrap(), &[])),
        format!("{:?}", verified.hook()),
        String::from_utf8(swifthook_core::reply(&refused, None).body().to_vec()).unwrap(),
    ] {
        assert!(!shown.contains("horse") && !shown.contains(&right[7..]), "{shown}");
    }
}

fn receiver_owned() -> swifthook_core::Receiver {
    swifthook_core::Receiver::builder().add_hook(hook()).build().unwrap()
}
