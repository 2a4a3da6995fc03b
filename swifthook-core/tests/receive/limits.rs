//! Lengths that lie, bodies that trickle, and the bytes in flight.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use swifthook_core::{
    ClientAddr, Current, HoldReason, Hook, Limits, Reading, Receiver, Refusal, Reputation, SecretSet,
    Verdict, condition,
};

use crate::world::*;

fn reading(receiver: &Arc<Receiver>, announced: Option<usize>) -> Reading {
    let mut request = signed(b"");
    if let Some(length) = announced {
        request = request.header("content-length", length);
    }
    receiver.begin("/webhook", &head(request), None).unwrap()
}

fn zeros(length: usize) -> Bytes {
    vec![0; length].into()
}

const MIB: usize = 1024 * 1024;
const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn the_limit_holds_whatever_the_announced_length_says() {
    let mut hook = hook();
    hook.max_body = 100;
    let receiver = with_hook(hook);
    for (announced, pieces, refusal) in [
        (None, &[100][..], None),
        (None, &[101], Some(Refusal::TooLarge { limit: 100 })),
        (None, &[60, 40], None),
        (None, &[60, 40, 0, 1], Some(Refusal::TooLarge { limit: 100 })),
        (Some(50), &[50], None),
        (Some(50), &[51], Some(Refusal::TooLarge { limit: 50 })),
        (Some(50), &[25, 26], Some(Refusal::TooLarge { limit: 50 })),
        (Some(0), &[1], Some(Refusal::TooLarge { limit: 0 })),
    ] {
        let mut reading = reading(&receiver, announced);
        let pushed = pieces.iter().try_for_each(|piece| reading.push(zeros(*piece)));
        assert_eq!(pushed.err(), refusal, "{announced:?} {pieces:?}");
    }
}

#[test]
fn a_body_that_ends_early_is_malformed() {
    let body = push_with(|_| {});
    let request = signed(&body).header("content-length", body.len() + 1);
    let refused = send(&receiver(), request, &body).unwrap_err();
    assert_eq!(refused, Refusal::TooShort { announced: body.len() as u64 + 1, received: body.len() });
    assert_eq!(refused.status(), 400);
    let exact = signed(&body).header("content-length", body.len());
    decided(send(&receiver(), exact, &body));
}

#[test]
fn only_bodies_over_a_mebibyte_are_heavy() {
    let mut reading = reading(&receiver(), None);
    assert!(!reading.is_heavy());
    reading.push(zeros(MIB)).unwrap();
    assert!(!reading.is_heavy());
    reading.push(zeros(1)).unwrap();
    assert!(reading.is_heavy());
}

#[test]
fn patience_ends_for_whoever_trickles() {
    let mut reading = reading(&receiver(), None);
    let Limits { grace, body_time, minimum_rate, .. } = Limits::default();
    let second = Duration::from_secs(1);
    assert_eq!(reading.patience(Duration::ZERO), grace);
    assert_eq!(reading.patience(grace), Duration::ZERO);
    reading.push(zeros(usize::try_from(minimum_rate).unwrap())).unwrap();
    assert_eq!(reading.patience(grace), second);
    reading.push(zeros(10 * MIB)).unwrap();
    assert_eq!(reading.patience(body_time - second), second);
    assert_eq!(reading.patience(body_time), Duration::ZERO);
}

/// A receiver that takes 8 MiB at once, of which 2 MiB are for small bodies.
fn narrow() -> Receiver {
    let limits = Limits { in_flight: 8 * MIB, ..Limits::default() };
    Receiver::builder().add_hook(hook()).limits(limits).build().unwrap()
}

fn is_busy(pushed: Result<(), Refusal>) -> bool {
    matches!(pushed, Err(Refusal::Busy { .. }))
}

#[test]
fn large_bodies_leave_the_last_quarter_to_small_ones() {
    let receiver = Arc::new(narrow());
    let mut large = reading(&receiver, None);
    large.push(zeros(6 * MIB)).unwrap();
    assert!(is_busy(reading(&receiver, None).push(zeros(MIB + 1))), "large by what came");
    assert!(is_busy(reading(&receiver, Some(2 * MIB)).push(zeros(1))), "large by what is announced");
    let mut small = reading(&receiver, None);
    small.push(zeros(MIB)).unwrap();
    assert!(is_busy(small.push(zeros(1))), "it has become large");
    let mut last = reading(&receiver, None);
    last.push(zeros(MIB)).unwrap();
    assert!(is_busy(reading(&receiver, None).push(zeros(1))), "all is taken");
    drop(large);
    reading(&receiver, None).push(zeros(2 * MIB)).unwrap();
}

#[test]
fn what_is_announced_takes_nothing_and_what_was_read_is_given_back() {
    let receiver = Arc::new(narrow());
    let announced: Vec<_> = (0..1_000).map(|_| reading(&receiver, Some(25 * MIB))).collect();
    let body = push_with(|_| {});
    for _ in 0..2_000 {
        decided_or_ignored(&receiver, &body);
    }
    drop(announced);
    reading(&receiver, None).push(zeros(6 * MIB)).unwrap();
}

fn decided_or_ignored(receiver: &Arc<Receiver>, body: &[u8]) {
    assert!(send(receiver, signed(body), body).is_ok());
}

#[test]
fn a_reload_keeps_requests_that_have_begun_and_their_bytes_count_on() {
    let current = Current::new(narrow());
    let before = current.load();
    let mut begun = reading(&before, None);
    begun.push(zeros(6 * MIB)).unwrap();
    current.replace(narrow());
    assert!(!Arc::ptr_eq(&before, &current.load()));
    assert!(is_busy(reading(&current.load(), None).push(zeros(2 * MIB))));
    drop(begun);
    reading(&current.load(), None).push(zeros(2 * MIB)).unwrap();
}

#[test]
fn an_old_push_is_held_and_a_young_one_may_be_repeated() {
    let day = 86_400;
    let pushed = |seconds_ago: i64| serde_json::Value::from(NOW.0 / 1_000 - seconds_ago);
    for (pushed_at, max_age, is_stale, is_redeliverable) in [
        (pushed(0), Some(7), false, true),
        (pushed(-60), Some(7), false, true),
        (pushed(3 * day), Some(7), false, true),
        (pushed(3 * day + 1), Some(7), false, false),
        (pushed(7 * day), Some(7), false, false),
        (pushed(7 * day + 1), Some(7), true, false),
        (pushed(7 * day + 1), None, false, false),
        (serde_json::Value::Null, Some(7), true, false),
        (serde_json::Value::Null, None, false, false),
    ] {
        let mut hook = hook();
        hook.max_age = max_age.map(|days| Duration::from_secs(days * day.unsigned_abs()));
        let body = push_with(|body| body["repository"]["pushed_at"] = pushed_at.clone());
        let decided = decided(send(&with_hook(hook), signed(&body), &body));
        let [train, each, release] = &decided.verdicts[..] else { panic!("{decided:?}") };
        let name = format!("{pushed_at} {max_age:?}");
        for launched in [train, each] {
            let expected = if is_stale { Verdict::Hold(HoldReason::Stale) } else { Verdict::launch() };
            assert_eq!((&launched.verdict, launched.jobs.len()), (&expected, 1), "{name}");
        }
        assert_eq!(release.verdict.word(), "skip", "{name}");
        assert_eq!(decided.is_redeliverable, is_redeliverable, "{name}");
        assert_eq!(decided.received_at, NOW);
    }
}

/// A receiver that takes 8 MiB at once, behind a proxy or not.
fn shared() -> Arc<Receiver> {
    let limits = Limits { in_flight: 8 * MIB, ..Limits::default() };
    let proxies = vec!["10.0.0.0/8".parse().unwrap()];
    Arc::new(
        Receiver::builder()
            .add_hook(hook())
            .recipe("one", "acme/models", condition::branches(["main"]).unwrap())
            .started_at(NOW.before(HOUR))
            .limits(limits)
            .trusted_proxies(proxies)
            .build()
            .unwrap(),
    )
}

/// A body from this address, by way of a proxy if there is a second one.
fn reading_from(receiver: &Arc<Receiver>, peer: &str, forwarded: Option<&str>) -> Reading {
    let mut request = signed(b"");
    if let Some(forwarded) = forwarded {
        request = request.header("x-forwarded-for", forwarded);
    }
    receiver.begin("/webhook", &head(request), Some(peer.parse().unwrap())).unwrap()
}

/// Sends a signed push from this address.
fn push_from(receiver: &Arc<Receiver>, peer: &str, body: &[u8]) -> Result<(), Refusal> {
    let mut reading = receiver.begin("/webhook", &head(signed(body)), Some(peer.parse().unwrap())).unwrap();
    reading.push(Bytes::copy_from_slice(body))?;
    reading.finish(NOW).map(drop)
}

/// As many bodies of half a mebibyte as it takes until no more bytes are taken.
fn hoard(mut begin: impl FnMut(usize) -> Reading) -> Vec<Reading> {
    let mut held = Vec::new();
    for number in 0..200 {
        let mut reading = begin(number);
        let _: Result<(), Refusal> = (0..4).try_for_each(|_| reading.push(zeros(MIB / 8)));
        held.push(reading);
    }
    held
}

#[test]
fn one_stranger_leaves_room_to_every_other() {
    let receiver = shared();
    let _held = hoard(|_| reading_from(&receiver, "192.0.2.1", None));
    assert!(reading_from(&receiver, "198.51.100.1", None).push(zeros(MIB / 4)).is_ok());
    assert!(matches!(
        reading_from(&receiver, "192.0.2.1", None).push(zeros(MIB)),
        Err(Refusal::Share { .. } | Refusal::Busy { .. })
    ));
    let _network = hoard(|number| reading_from(&receiver, &format!("2001:db8:1:{number:x}::1"), None));
    assert!(push_from(&receiver, "198.51.100.1", &push_with(|_| {})).is_ok());
}

#[test]
fn behind_a_proxy_the_share_is_that_of_its_client() {
    let receiver = shared();
    let _held = hoard(|_| reading_from(&receiver, "10.0.0.1", Some("192.0.2.1")));
    let refused = reading_from(&receiver, "10.0.0.2", Some("::ffff:192.0.2.1")).push(zeros(MIB)).unwrap_err();
    assert!(matches!(refused, Refusal::Share { .. }), "{refused}");
    assert_eq!((refused.status().as_u16(), refused.word()), (429, "share"));
    assert!(reading_from(&receiver, "10.0.0.1", Some("198.51.100.1")).push(zeros(MIB / 4)).is_ok());
    let client = |forwarded: Option<&str>| {
        let mut headers = http::HeaderMap::new();
        forwarded.map(|forwarded| headers.insert("x-forwarded-for", forwarded.parse().unwrap()));
        receiver.client_addr(&headers, "10.0.0.1".parse().unwrap())
    };
    assert_eq!(client(None), None, "the proxy itself has no share");
    assert_eq!(client(Some("no address")), client(Some("none either")), "who is not known is one client");
    assert!(client(Some("no address")).is_some());
}

#[test]
fn strangers_from_everywhere_leave_room_to_who_has_proven_a_signature() {
    let receiver = shared();
    let body = push_with(|_| {});
    push_from(&receiver, "140.82.112.1", &body).unwrap();
    let _held = hoard(|number| reading_from(&receiver, &format!("192.{number}.2.1"), None));
    let mut busy = reading_from(&receiver, "203.0.113.1", None);
    assert!(is_busy(busy.push(zeros(MIB))), "strangers have taken all that they get");
    let mut large = reading_from(&receiver, "140.82.112.1", None);
    large.push(zeros(MIB + MIB / 2)).unwrap();
    let mut neighbour = reading_from(&receiver, "140.82.112.77", None);
    neighbour.push(zeros(MIB / 4)).unwrap();
}

#[test]
fn a_right_signature_is_remembered_with_its_client() {
    let current = Current::new(Arc::into_inner(shared()).unwrap());
    let reputation = |address: &str| current.load().reputation(ClientAddr::of(address.parse().unwrap()));
    let body = push_with(|_| {});
    assert_eq!(reputation("192.0.2.1"), Reputation::Unknown);
    push_from(&current.load(), "::ffff:192.0.2.1", &body).unwrap();
    assert_eq!(reputation("192.0.2.1"), Reputation::Proven);
    assert_eq!(reputation("192.0.2.2"), Reputation::Expected);
    push_from(&current.load(), "198.51.100.1", &body).unwrap();
    assert_eq!(reputation("198.51.100.1"), Reputation::Unknown, "it may have recorded what another has sent");
    current.replace(narrow());
    assert_eq!(reputation("192.0.2.1"), Reputation::Proven, "also after a reload");
}

/// A receiver with a hook of another owner beside, `/other`, that has the same secret.
fn two_hooks() -> Arc<Receiver> {
    let other = Hook::new("other", "/other", SecretSet::one(SECRET).unwrap(), &["*/*"]).unwrap();
    let always = condition::branches(["main"]).unwrap();
    let receiver = Receiver::builder().add_hook(hook()).add_hook(other).recipe("one", "acme/models", always);
    let receiver: Arc<Receiver> = Arc::new(receiver.build().unwrap());
    // Signatures are remembered from here on.
    let begun = receiver.begin("/webhook", &head(signed(b"")), None).unwrap().finish(NOW.before(HOUR));
    assert!(begun.is_err());
    receiver
}

/// Sends a signed body to this path, and tells how well its client is known then.
fn known_by(receiver: &Arc<Receiver>, (path, event, peer): (&str, &str, &str), body: &[u8]) -> Reputation {
    let mut head = head(signed(body));
    head.headers.insert("x-github-event", event.parse().unwrap());
    let mut reading = receiver.begin(path, &head, Some(peer.parse().unwrap())).unwrap();
    reading.push(Bytes::copy_from_slice(body)).unwrap();
    reading.finish(NOW).unwrap();
    receiver.reputation(ClientAddr::of(peer.parse().unwrap()))
}

/// A push that was made so many seconds before now.
fn pushed_ago(seconds: i64) -> Vec<u8> {
    push_with(|body| body["repository"]["pushed_at"] = (NOW.0 / 1_000 - seconds).into())
}

#[test]
fn only_a_push_of_these_minutes_speaks_for_its_client() {
    let ping = br#"{"zen":"Keep it logically awesome.","hook_id":1}"#;
    let unknown = push_with(|body| body["repository"]["full_name"] = "acme/unknown".into());
    let untimed = push_with(|body| body["repository"]["pushed_at"] = serde_json::Value::Null);
    for (event, body, known) in [
        ("ping", &ping[..], Reputation::Unknown),
        ("star", br#"{"action":"created"}"#, Reputation::Unknown),
        ("push", &unknown, Reputation::Unknown),
        ("push", &untimed, Reputation::Unknown),
        ("push", &pushed_ago(6 * 86_400), Reputation::Unknown),
        ("push", &pushed_ago(301), Reputation::Unknown),
        ("push", &pushed_ago(-301), Reputation::Unknown),
        ("push", &pushed_ago(299), Reputation::Proven),
        ("push", &pushed_ago(-299), Reputation::Proven),
    ] {
        let name = String::from_utf8_lossy(body);
        assert_eq!(known_by(&two_hooks(), ("/webhook", event, "192.0.2.1"), body), known, "{event} {name}");
    }
}

#[test]
fn what_was_pushed_before_the_start_speaks_for_nobody() {
    let narrow = || {
        let always = condition::branches(["main"]).unwrap();
        Receiver::builder().add_hook(hook()).recipe("one", "acme/models", always)
    };
    let receiver = Arc::new(narrow().build().unwrap());
    // Of the time before the first delivery nothing is remembered.
    assert_eq!(known_by(&receiver, ("/webhook", "push", "192.0.2.1"), &pushed_ago(1)), Reputation::Unknown);
    assert_eq!(known_by(&receiver, ("/webhook", "push", "192.0.2.1"), &pushed_ago(0)), Reputation::Proven);
    for (since, known) in [(60, Reputation::Proven), (30, Reputation::Unknown)] {
        let since = NOW.before(Duration::from_secs(since));
        let receiver = Arc::new(narrow().started_at(since).build().unwrap());
        assert_eq!(known_by(&receiver, ("/webhook", "push", "192.0.2.1"), &pushed_ago(40)), known);
    }
}

#[test]
fn a_recording_speaks_for_nobody_at_another_hook_with_the_same_secret() {
    let receiver = two_hooks();
    let body = pushed_ago(1);
    assert_eq!(known_by(&receiver, ("/webhook", "push", "140.82.112.1"), &body), Reputation::Proven);
    assert_eq!(known_by(&receiver, ("/other", "push", "192.0.2.1"), &body), Reputation::Unknown);
}

#[test]
fn the_owner_of_one_hook_drives_out_no_client_of_another() {
    let receiver = two_hooks();
    let recorded = pushed_ago(1);
    known_by(&receiver, ("/webhook", "push", "140.82.112.1"), &recorded);
    for number in 0..5_000_u32 {
        let body = push_with(|body| {
            body["repository"]["pushed_at"] = (NOW.0 / 1_000).into();
            body["pad"] = number.into();
        });
        let [a, b] = (number as u16).to_be_bytes();
        known_by(&receiver, ("/other", "push", &format!("198.{a}.{b}.1")), &body);
    }
    assert_eq!(receiver.reputation(ClientAddr::of("140.82.112.1".parse().unwrap())), Reputation::Proven);
    assert_eq!(known_by(&receiver, ("/webhook", "push", "203.0.113.1"), &recorded), Reputation::Unknown);
}

#[test]
fn neither_a_wrong_signature_nor_an_old_push_speaks_for_anybody() {
    let mut with_age = hook();
    with_age.max_age = Some(Hook::MAX_AGE);
    with_age.allow_from = vec!["192.0.2.0/24".parse().unwrap()];
    let receiver = with_hook(with_age);
    let reputation = |address: &str| receiver.reputation(ClientAddr::of(address.parse().unwrap()));
    assert_eq!(reputation("192.0.2.1"), Reputation::Expected, "the hook takes deliveries from there");
    let old = push_with(|body| body["repository"]["pushed_at"] = (NOW.0 / 1_000 - 8 * 86_400).into());
    push_from(&receiver, "192.0.2.1", &old).unwrap();
    let body = push_with(|_| {});
    let request = json_request().header("x-hub-signature-256", sign("another secret of 16", &body));
    let mut wrong = receiver.begin("/webhook", &head(request), Some("192.0.2.1".parse().unwrap())).unwrap();
    wrong.push(Bytes::from(body)).unwrap();
    assert!(wrong.finish(NOW).is_err());
    assert_eq!(reputation("192.0.2.1"), Reputation::Expected);
    let young = push_with(|body| body["repository"]["pushed_at"] = (NOW.0 / 1_000 - 60).into());
    push_from(&receiver, "192.0.2.1", &young).unwrap();
    assert_eq!(reputation("192.0.2.1"), Reputation::Proven);
}

#[test]
fn a_stranger_has_to_make_haste_when_there_is_no_room_to_spare() {
    let receiver = shared();
    let second = Duration::from_secs(1);
    let mut slow = reading_from(&receiver, "192.0.2.1", None);
    slow.push(zeros(MIB)).unwrap();
    assert_eq!(slow.patience(20 * second), 10 * second);
    let _held = hoard(|number| reading_from(&receiver, &format!("192.{number}.2.1"), None));
    assert_eq!(slow.patience(9 * second), second);
    assert_eq!(slow.patience(20 * second), Duration::ZERO);
    drop(_held);
    assert_eq!(slow.patience(20 * second), 10 * second);
}
