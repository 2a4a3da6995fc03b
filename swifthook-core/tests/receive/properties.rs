//! What holds for every body, however it comes.

use proptest::prelude::*;
use swifthook_core::{Outcome, PathChange, Refusal};

use crate::world::*;

/// A string of JSON in which each character is escaped or not, as the dice fall.
fn quoted(text: &str, escapes: &[bool]) -> String {
    let mut dice = escapes.iter().cycle();
    let mut quoted = String::from('"');
    for character in text.chars() {
        let must = matches!(character, '"' | '\\' | '\0'..='\u{1f}');
        if must || *dice.next().unwrap_or(&false) {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                quoted.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            quoted.push(character);
        }
    }
    quoted.push('"');
    quoted
}

fn shown(outcome: &Result<Outcome, Refusal>) -> String {
    format!("{outcome:?}")
}

proptest! {
    #[test]
    fn any_split_of_a_body_gives_the_same_outcome(
        case in 0..cases().len(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        is_right in any::<bool>(),
    ) {
        let body = serde_json::to_vec(&cases()[case]["body"]).unwrap();
        let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        at.extend([0, body.len()]);
        at.sort_unstable();
        let pieces: Vec<_> = at.windows(2).map(|ends| &body[ends[0]..ends[1]]).collect();
        let request = || {
            let secret = if is_right { SECRET } else { "another secret of 16" };
            json_request().header("x-hub-signature-256", sign(secret, &body))
        };
        let receiver = receiver();
        let whole = send(&receiver, request(), &body);
        prop_assert_eq!(shown(&send_in(&receiver, request(), &pieces)), shown(&whole));
    }

    #[test]
    fn paths_are_read_as_they_are_written(
        paths in prop::collection::vec(("\\PC*|[ -~]{0,40}|[\\x00-\\x7f]{0,9}", any::<bool>()), 0..20),
        escapes in prop::collection::vec(prop::bool::weighted(0.1), 1..50),
    ) {
        let list = |removed: bool| {
            let chosen = paths.iter().filter(|(_, is_removed)| *is_removed == removed);
            let quoted: Vec<_> = chosen.map(|(path, _)| quoted(path, &escapes)).collect();
            format!("[{}]", quoted.join(" , "))
        };
        let commits = format!(r#""commits":[{{"modified":{},"added":[],"removed":{}}}]"#, list(false), list(true));
        let push = String::from_utf8(push_with(|body| body["commits"] = "HERE".into())).unwrap();
        let body = push.replace(r#""commits":"HERE""#, &commits);
        let read = decided(send(&receiver(), signed(body.as_bytes()), body.as_bytes())).push;
        let mut expected: Vec<_> = paths.iter().map(|(path, is_removed)| {
            (path.as_str(), if *is_removed { PathChange::Removed } else { PathChange::Present })
        }).collect();
        expected.sort_by_key(|(_, change)| *change == PathChange::Removed);
        prop_assert_eq!(read.changes.paths().iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn signed_bytes_of_any_kind_never_panic(
        body in prop::collection::vec(any::<u8>(), 0..300),
        is_form in any::<bool>(),
    ) {
        never_panics(&body, is_form);
    }

    #[test]
    fn a_signed_push_with_any_damage_never_panics(
        at in any::<prop::sample::Index>(),
        length in 0..20usize,
        patch in prop_oneof![
            Just(b"".to_vec()), Just(b"\"".to_vec()), Just(b"null".to_vec()), Just(b"[[[{".to_vec()),
            Just(b"\\ud800".to_vec()), Just(b"1e999".to_vec()), prop::collection::vec(any::<u8>(), 0..9),
        ],
        is_form in any::<bool>(),
    ) {
        let mut body = push_with(|_| {});
        if is_form {
            body = form(&body);
        }
        let start = at.index(body.len());
        let end = (start + length).min(body.len());
        body.splice(start..end, patch);
        never_panics(&body, is_form);
    }
}

fn never_panics(body: &[u8], is_form: bool) {
    let media = if is_form { "application/x-www-form-urlencoded" } else { "application/json" };
    let request = http::Request::post("/webhook")
        .header("content-type", media)
        .header("x-github-event", "push")
        .header("x-hub-signature-256", sign(SECRET, body));
    let outcome = send(&receiver(), request, body);
    let (status, _) = answer(&outcome);
    assert!([200, 202, 400, 403].contains(&status), "{outcome:?}");
}
