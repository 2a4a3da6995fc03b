//! Messages that can never be stored, and messages that come again.

use std::sync::atomic::{AtomicBool, Ordering};

use lapin::types::{AMQPValue, FieldTable};
use swifthook_conformance::intake::{DurableIntakeBench, IntakeBench};
use swifthook_core::{DeliveryId, Secret};
use swifthook_queue::Message;

use crate::bench::Bench;
use crate::gate::Faults;
use crate::trouble::{accept, block_on, decided, eventually, sha, stored};

#[test]
fn what_was_stored_and_not_acknowledged_is_stored_once() {
    let faults = Faults { is_mute: AtomicBool::new(true), ..Faults::default() };
    let mut bench = Bench::over_sqlite_with(faults, |_| {});
    block_on(async {
        let id = accept(&bench, 1).await;
        stored(&bench, id).await;
    });
    bench.faults().is_mute.store(false, Ordering::SeqCst);
    bench.crash_and_reopen();
    block_on(async {
        eventually(async || (bench.rabbit().counts().known == 1).then_some(())).await;
        assert_eq!(bench.history().deliveries(None, 10).await.unwrap().len(), 1);
        assert_eq!(bench.history().jobs(&Default::default()).await.unwrap().len(), 1);
    });
}

#[test]
fn what_can_never_be_stored_goes_to_the_dead_letters_with_its_reason_and_holds_up_nobody() {
    let faults = Faults { refuses_for_good: Some(sha(13)), ..Faults::default() };
    let bench = Bench::over_sqlite_with(faults, |_| {});
    block_on(async {
        eventually(async || bench.rabbit().trouble().is_none().then_some(())).await;
        let good = String::from_utf8(Message::new(DeliveryId([7; 16]), &decided(7)).encode()).unwrap();
        let newer = good.replacen("\"version\":1", "\"version\":2", 1);
        let never = Message::new(DeliveryId([13; 16]), &decided(13)).encode();
        for bytes in [b"not JSON", &b"{\"version\":1}"[..], newer.as_bytes(), &never, b"\xff\0"] {
            bench.queues.publish(bytes, FieldTable::default()).await;
        }
        let id = accept(&bench, 1).await;
        stored(&bench, id).await;
        eventually(async || (bench.rabbit().counts().dead == 5).then_some(())).await;
        let mut dead = bench.queues.dead().await;
        dead.sort();
        let expected = [
            ("refused", &never[..]),
            ("unreadable", b"not JSON"),
            ("unreadable", b"{\"version\":1}"),
            ("unreadable", b"\xff\0"),
            ("version", newer.as_bytes()),
        ];
        let dead: Vec<_> = dead.iter().map(|(reason, bytes)| (reason.as_str(), &bytes[..])).collect();
        assert_eq!(dead, expected);
        assert_eq!(bench.rabbit().counts().stored, 1);
    });
}

#[test]
fn what_the_store_refuses_again_and_again_is_given_up_while_others_get_through() {
    let bench = Bench::over_sqlite_with(Faults { refuses: Some(sha(13)), ..Faults::default() }, |_| {});
    block_on(async {
        accept(&bench, 13).await;
        // Of the same ref, so that each of them would wait behind it.
        let mut head = 100;
        eventually(async || {
            head += 1;
            accept(&bench, head).await;
            (bench.rabbit().counts().dead == 1).then_some(())
        })
        .await;
        let (reason, _) = bench.queues.dead().await.remove(0);
        assert_eq!(reason, "refused");
        let accepted = u64::from(head - 100);
        eventually(async || (bench.rabbit().counts().stored == accepted).then_some(())).await;
    });
}

#[test]
fn with_keys_a_message_that_is_not_signed_by_one_of_them_is_never_stored() {
    let key = |text: &str| Secret::new(text, format!("a key of sixteen bytes, {text}")).unwrap();
    let keys = vec![key("new"), key("old")];
    let bench = Bench::over_sqlite_with(Faults::default(), |options| options.keys = keys);
    block_on(async {
        let id = accept(&bench, 1).await;
        stored(&bench, id).await;
        let message = Message::new(DeliveryId([7; 16]), &decided(7)).encode();
        let signed = [&b"swifthook message 1\n"[..], &message].concat();
        let by = |name: &str| {
            let mut headers = FieldTable::default();
            let signature = AMQPValue::LongString(key(name).sign(&signed).into());
            headers.insert("x-swifthook-signature".into(), signature);
            headers
        };
        bench.queues.publish(&message, FieldTable::default()).await;
        bench.queues.publish(&message, by("stranger")).await;
        bench.queues.publish(b"another message", by("new")).await;
        bench.queues.publish(&message, by("old")).await;
        eventually(async || {
            let counts = bench.rabbit().counts();
            ((counts.stored, counts.dead) == (2, 3)).then_some(())
        })
        .await;
        for (reason, _) in bench.queues.dead().await {
            assert_eq!(reason, "signature");
        }
    });
}
