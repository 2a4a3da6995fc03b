//! What GitHub sends: the published vectors, real payloads, and the cases with their right answers.

use serde_json::Value;
use swifthook_core::{
    ChangeSet, Gap, Outcome, PathChange, Push, RefName, Refusal, SecretSet, Source, Timestamp,
};

use crate::world::*;

#[test]
fn every_case_gets_its_answer() {
    let receiver = receiver();
    for case in cases() {
        let (status, answer) = answer(&sent(&receiver, case));
        let (name, expected) = (&case["name"], &case["expect"]);
        assert_eq!(status, expected["status"], "{name}: {answer}");
        if expected["decision"].is_null() {
            assert_eq!(answer["status"], expected["status"], "{name}: a problem repeats its status");
            continue;
        }
        assert_eq!(answer["decision"], expected["decision"], "{name}: {answer}");
        let verdict = |recipe: &str| {
            let verdicts = answer["verdicts"].as_array().unwrap();
            verdicts.iter().find(|verdict| verdict["recipe"] == recipe).cloned()
        };
        for (recipe, word) in expected["verdicts"].as_object().into_iter().flatten() {
            assert_eq!(verdict(recipe).unwrap()["verdict"], *word, "{name}: {answer}");
        }
        if let Some(reason) = expected.get("reason") {
            let told = verdict("train").map_or(answer["reason"].clone(), |train| train["reason"].clone());
            assert_eq!(told, *reason, "{name}: {answer}");
        }
    }
}

fn sent(receiver: &std::sync::Arc<swifthook_core::Receiver>, case: &Value) -> Result<Outcome, Refusal> {
    let send = &case["send"];
    let is_form = send["form"] == true;
    let json = serde_json::to_vec(&case["body"]).unwrap();
    let body = if is_form { form(&json) } else { json };
    let form_type = "application/x-www-form-urlencoded";
    let content_type =
        send["content_type"].as_str().unwrap_or(if is_form { form_type } else { "application/json" });
    let mut request = http::Request::post("/webhook")
        .header("content-type", content_type)
        .header("content-length", body.len())
        .header("x-github-event", send["event"].as_str().unwrap_or("push"));
    for (name, value) in send["headers"].as_object().into_iter().flatten() {
        request = request.header(name, value.as_str().unwrap());
    }
    match send.get("signature") {
        Some(Value::Null) => {}
        Some(signature) => request = request.header("x-hub-signature-256", signature.as_str().unwrap()),
        None => {
            let secret = send["secret"].as_str().unwrap_or(SECRET);
            request = request.header("x-hub-signature-256", sign(secret, &body));
        }
    }
    crate::world::send(receiver, request, &body)
}

#[test]
fn a_hook_refuses_the_samples_of_a_repository_that_it_may_not_speak_for() {
    for sample in SAMPLES {
        let refused = send(&receiver(), signed(sample.as_bytes()), sample.as_bytes()).unwrap_err();
        assert_eq!(refused, Refusal::Repository("Codertocat/Hello-World".into()));
        assert_eq!(refused.status(), 403);
    }
}

#[test]
fn a_hook_that_may_speak_for_the_samples_reads_them() {
    let secrets = SecretSet::one(SECRET).unwrap();
    let receiver = swifthook_core::Receiver::builder()
        .hook("github", "/webhook", secrets, &["codertocat/*"])
        .recipe("train", "codertocat/hello-world", swifthook_core::condition::branches(["master"]).unwrap());
    let receiver = std::sync::Arc::new(receiver.build().unwrap());
    let push = |sample: &str| decided(send(&receiver, signed(sample.as_bytes()), sample.as_bytes())).push;
    let [branch, tag, deleted] = SAMPLES.map(push);

    assert_eq!(branch.repository.as_str(), "codertocat/hello-world", "named as in the configuration");
    assert_eq!(branch.ref_name, RefName::Branch("master".into()));
    assert_eq!((branch.before.is_none(), branch.changes.gap()), (true, Some(Gap::NewBranch)));
    assert_eq!(branch.sender.as_deref(), Some("Codertocat"));
    let guid = "72d3162e-cc78-11e3-81ab-4c9367dc0958".into();
    assert_eq!(branch.source, Source::Hook { hook: "github".into(), guid });
    assert_eq!((tag.ref_name.to_string(), tag.head.is_some()), ("refs/tags/simple-tag".into(), true));
    assert_eq!((deleted.ref_name.kind(), deleted.head), ("tag", None));
}

#[test]
fn the_published_vectors_verify_and_are_no_pushes() {
    let hook =
        swifthook_core::Hook::new("github", "/webhook", SecretSet::one(EVERYBODY).unwrap(), &["acme/*"]);
    let receiver = with_hook(hook.unwrap());
    for (body, digits, media) in VECTORS {
        let request = |digits: &str| {
            http::Request::post("/webhook")
                .header("content-type", media)
                .header("x-github-event", "push")
                .header("x-hub-signature-256", format!("sha256={digits}"))
        };
        let refused = send(&receiver, request(digits), body.as_bytes()).unwrap_err();
        assert_eq!(refused.status(), 400, "{body}: {refused}");
        let another = if digits.ends_with('0') { "1" } else { "0" };
        let wrong = format!("{}{another}", &digits[..63]);
        assert_eq!(send(&receiver, request(&wrong), body.as_bytes()).unwrap_err().status(), 401, "{body}");
    }
}

fn read(change: impl FnOnce(&mut Value)) -> Push {
    let body = push_with(change);
    decided(send(&receiver(), signed(&body), &body)).push
}

fn listed(push: &Push) -> Vec<(String, PathChange)> {
    push.changes.paths().iter().map(|(path, change)| (path.to_owned(), change)).collect()
}

#[test]
fn paths_come_in_the_order_of_the_commits_with_what_became_of_them() {
    let push = read(|body| {
        let mut first = body["commits"][0].clone();
        first["added"] = serde_json::json!(["a \"quoted\"\n", "gone"]);
        first["removed"] = serde_json::json!([]);
        first["modified"] = serde_json::json!(["ü/😀", ""]);
        let second = serde_json::json!({"removed": ["gone"], "added": [], "modified": ["-x"]});
        body["commits"] = serde_json::json!([first, second]);
    });
    let (present, removed) = (PathChange::Present, PathChange::Removed);
    let expected = [
        ("a \"quoted\"\n", present),
        ("gone", present),
        ("ü/😀", present),
        ("", present),
        ("-x", present),
        ("gone", removed),
    ];
    // Serialized by this test, the lists of a commit stand in the order of their names.
    assert_eq!(listed(&push), expected.map(|(path, change)| (path.to_owned(), change)));
    assert!(matches!(push.changes, ChangeSet::Complete(_)));
}

#[test]
fn an_annotated_tag_is_the_commit_and_not_the_tag_object() {
    let push = read(|body| {
        body["ref"] = "refs/tags/v1".into();
        body["after"] = "e".repeat(40).into();
    });
    assert_eq!(push.head.unwrap().as_str(), "0000000000000000000000000000000000000001");
}

#[test]
fn a_list_that_may_be_short_says_so() {
    let files = |count: usize| Value::from((0..count).map(|i| format!("f/{i}")).collect::<Vec<_>>());
    let commits = |body: &mut Value, count: usize| {
        body["commits"] = vec![body["commits"][0].clone(); count].into();
    };
    type Change<'a> = &'a dyn Fn(&mut Value);
    let table: [(&str, Change<'_>, Option<Gap>); 16] = [
        ("as it is", &|_| {}, None),
        ("2,047 commits", &|body| commits(body, 2_047), None),
        ("2,048 commits", &|body| commits(body, 2_048), Some(Gap::Caps)),
        ("2,999 files", &|body| body["commits"][0]["modified"] = files(2_999), None),
        ("3,000 files", &|body| body["commits"][0]["modified"] = files(3_000), Some(Gap::Caps)),
        (
            "3,000 files in two lists",
            &|body| {
                body["commits"][0]["modified"] = files(1_500);
                body["commits"][0]["removed"] = files(1_500);
            },
            Some(Gap::Caps),
        ),
        (
            "3,000 files in two commits",
            &|body| {
                body["commits"][0]["modified"] = files(1_500);
                commits(body, 2);
            },
            None,
        ),
        ("forced", &|body| body["forced"] = true.into(), Some(Gap::Forced)),
        (
            "forced and new",
            &|body| (body["forced"], body["created"]) = (true.into(), true.into()),
            Some(Gap::Forced),
        ),
        ("new", &|body| body["before"] = "0".repeat(40).into(), Some(Gap::NewBranch)),
        ("no commits", &|body| commits(body, 0), Some(Gap::NotListed)),
        ("null commits", &|body| body["commits"] = Value::Null, Some(Gap::NotListed)),
        (
            "no list of commits",
            &|body| drop(body.as_object_mut().unwrap().remove("commits")),
            Some(Gap::NotListed),
        ),
        ("null added", &|body| body["commits"][0]["added"] = Value::Null, Some(Gap::NotListed)),
        (
            "no list of removed",
            &|body| drop(body["commits"][0].as_object_mut().unwrap().remove("removed")),
            Some(Gap::NotListed),
        ),
        (
            "deleted",
            &|body| {
                body["after"] = "0".repeat(40).into();
                body["head_commit"] = Value::Null;
                commits(body, 0);
            },
            None,
        ),
    ];
    for (name, change, gap) in table {
        assert_eq!(read(change).changes.gap(), gap, "{name}");
    }
}

#[test]
fn what_may_be_absent_or_null_may_be() {
    for key in
        ["created", "deleted", "forced", "base_ref", "compare", "organization", "sender", "head_commit"]
    {
        read(|body| drop(body.as_object_mut().unwrap().remove(key)));
        read(|body| body[key] = Value::Null);
    }
    let push = read(|body| {
        drop(body.as_object_mut().unwrap().remove("sender"));
        body["pusher"]["email"] = Value::Null;
    });
    assert_eq!(push.sender.as_deref(), Some("dev"), "that of the pusher");
    let unnamed = read(|body| (body["sender"], body["pusher"]) = (Value::Null, Value::Null));
    assert_eq!(unnamed.sender, None);
}

#[test]
fn the_time_of_a_push_is_read_in_both_forms_or_not_at_all() {
    for (pushed_at, expected) in [
        (Value::from(1_795_514_400), Some(1_795_514_400_000)),
        ("2026-11-24T10:00:00Z".into(), Some(1_795_514_400_000)),
        ("2026-11-24T11:00:00+01:00".into(), Some(1_795_514_400_000)),
        ("yesterday".into(), None),
        (Value::Null, None),
        (1.5.into(), None),
        (true.into(), None),
        (u64::MAX.into(), None),
        (i64::MIN.into(), None),
        (serde_json::json!({"at": [1]}), None),
    ] {
        let push = read(|body| body["repository"]["pushed_at"] = pushed_at.clone());
        assert_eq!(push.pushed_at, expected.map(Timestamp), "{pushed_at}");
    }
    let push = read(|body| drop(body["repository"].as_object_mut().unwrap().remove("pushed_at")));
    assert_eq!(push.pushed_at, None);
}

#[test]
fn a_skip_marker_counts_in_the_head_commit_only() {
    assert!(read(|body| body["head_commit"]["message"] = "wip [skip train]".into()).skip_marker);
    assert!(!read(|body| body["commits"][0]["message"] = "wip [skip train]".into()).skip_marker);
    assert!(!read(|body| body["head_commit"]["message"] = Value::Null).skip_marker);
}

/// JSON can write half of a pair of surrogates, and some servers do for what is no text.
#[test]
fn what_is_no_text_is_no_reason_to_refuse_a_push() {
    let with = |key: &str, at: &str| {
        let body = String::from_utf8(push_with(|_| {})).unwrap();
        let changed = body.replacen(&format!("\"{key}\":\"{at}"), &format!("\"{key}\":\"\\ud83d{at}"), 1);
        assert_ne!(changed, body, "{key}");
        changed
    };
    for (key, at) in [("message", "tune"), ("login", ""), ("name", ""), ("default_branch", "")] {
        let body = with(key, at);
        let push = decided(send(&receiver(), signed(body.as_bytes()), body.as_bytes())).push;
        assert_eq!(push.changes.gap(), None, "{key}");
    }
    let marked = with("message", "tune").replace("tune", "[skip ci] \\udfff");
    assert!(decided(send(&receiver(), signed(marked.as_bytes()), marked.as_bytes())).push.skip_marker);

    let named = with("ref", "refs").replace("\\ud83drefs/heads/", "refs/heads/\\ud83d");
    let refused = send(&receiver(), signed(named.as_bytes()), named.as_bytes()).unwrap_err();
    let told = refused.to_string();
    assert!(
        told.contains("its `ref` is not text: `refs/heads/\u{fffd}") && told.ends_with("main`"),
        "{told}"
    );
}

/// A name in Latin-1 comes as U+FFFD, and nobody knows which file that is.
#[test]
fn a_payload_that_replaces_what_is_no_text_in_a_path_does_not_tell_which_files_changed() {
    for written in ["caf\\ufffd", "caf\u{fffd}", "caf\\ud83d", "\\udc00\\ud800"] {
        let body = String::from_utf8(push_with(|_| {})).unwrap();
        let body = body.replace("configs/sft_a.yaml", &format!("configs/sft_{written}.yaml"));
        let decided = decided(send(&receiver(), signed(body.as_bytes()), body.as_bytes()));
        assert_eq!(decided.push.changes.gap(), Some(Gap::NotText), "{written}");
        let words: Vec<_> = decided.verdicts.iter().map(|said| said.verdict.word()).collect();
        assert_eq!(words, ["launch", "hold", "skip"], "{written}: that one changed is known, and not which");
    }
    for text in ["\\ud83d\\ude00", "\u{ffff}", "\u{fffc}", "\u{f000}"] {
        let body = String::from_utf8(push_with(|_| {})).unwrap();
        let body = body.replace("configs/sft_a.yaml", &format!("configs/sft_{text}.yaml"));
        assert_eq!(
            decided(send(&receiver(), signed(body.as_bytes()), body.as_bytes())).push.changes.gap(),
            None
        );
    }
}

const SAMPLES: [&str; 3] = [
    include_str!("../payloads/branch-created.json"),
    include_str!("../payloads/tag-created.json"),
    include_str!("../payloads/tag-deleted.json"),
];

const EVERYBODY: &str = "It's a Secret to Everybody";

const VECTORS: [(&str, &str, &str); 4] = [
    ("Hello, World!", "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17", "application/json"),
    ("", "66a0c074deaa0f489ead6537e0d32f9a344b90bbeda705b6ed45ecd3b413fb40", "application/json"),
    (
        r#"{"ref":"refs/heads/main"}"#,
        "6a42699496d8c4fb346af1c930df527931a321e28ada69dbc5ee82f438517fd2",
        "application/json",
    ),
    (
        "payload=%7B%22ref%22%3A%22refs%2Fheads%2Fmain%22%7D",
        "720493f557150a271b7cfdd9904c5fe4697f30c44588f8b452d36abc47b8796c",
        "application/x-www-form-urlencoded",
    ),
];
