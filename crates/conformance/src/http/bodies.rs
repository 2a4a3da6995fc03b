use std::time::Duration;

use tokio::time::sleep;

use super::Serve;
use super::site::{OTHER_LIMIT, Site, payload, push, refused};
use crate::client::{Client, Reply, Request, SIGNATURE};

/// Nothing at all, rightly signed, is 400.
pub async fn an_empty_body_is_refused(serve: Serve) {
    refused(
        serve,
        400,
        &[Request::push(""), Request::push("").form_encoded(), Request::push("").without("Content-Length")],
    )
    .await;
}

/// Text, half a document and bytes that are not UTF-8 are 400.
pub async fn a_body_that_is_not_json_is_refused(serve: Serve) {
    let half = push(1).body.slice(..200);
    let not_utf_8 = [&push(1).body[..100], b"\xff\xfe", &push(1).body[100..]].concat();
    let twice = [&push(1).body[..], &push(1).body[..]].concat();
    refused(
        serve,
        400,
        &[
            Request::push("hello"),
            Request::push(half),
            Request::push(not_utf_8),
            Request::push(twice),
            Request::push("[".repeat(100_000)),
        ],
    )
    .await;
}

/// JSON that is no push is 400, however it is shaped.
pub async fn json_of_another_shape_is_refused(serve: Serve) {
    let strange = ["null", "1", "\"push\"", "[]", "{}", r#"{"ref":7}"#, r#"{"ref":"refs/heads/main"}"#];
    let mut requests: Vec<_> = strange.map(Request::push).into();
    for field in ["ref", "before", "after", "repository", "pusher"] {
        requests.push(Request::push(payload(1).without(field).json()));
    }
    refused(serve, 400, &requests).await;
}

/// The event header is a hint: the body of another event under the header `push` is 400.
pub async fn an_issues_body_under_the_header_push_is_refused(serve: Serve) {
    let issues = r#"{"action":"opened","issue":{"number":1},"repository":{"full_name":"acme/models"}}"#;
    refused(serve, 400, &[Request::push(issues)]).await;
}

/// A form must have a field `payload`.
pub async fn a_form_without_payload_is_refused(serve: Serve) {
    let forms = ["a=b", "payload", "payload=", "Payload=%7B%7D", "payload=%7B", "%zz=1"];
    refused(serve, 400, &forms.map(|form| Request::push(form).form_encoded())).await;
}

/// A byte over 25 MiB is 413, announced or not.
pub async fn a_body_over_the_limit_is_refused(serve: Serve) {
    let site = Site::new(serve).await;
    let over = Request::push(vec![b' '; LIMIT + 1]);
    assert_eq!(site.send(&over).await.status, 413);
    assert_eq!(unchecked(&site, &over.chunked()).await.status, 413);
}

/// A client that sends all of its body before it looks can do so, and then reads the refusal: one by the head of
/// its request, and one in the middle of its body.
pub async fn a_refusal_arrives_at_a_client_that_is_still_sending(serve: Serve) {
    let site = Site::new(serve).await;
    let large = Request::push(vec![b' '; 10 * OTHER_LIMIT]).to("/other");
    for (request, status) in [
        (large.clone(), 413),
        (large.clone().without(SIGNATURE).chunked(), 401),
        (large.clone().chunked(), 413),
        (large.chunked().header("Expect", "100-continue"), 413),
    ] {
        let mut client = site.connect().await;
        assert!(client.send(&request).await, "the client was cut off before its {status}");
        assert_eq!(final_reply(&mut client).await.status, status);
    }
}

/// 25 MiB are not over it.
pub async fn a_body_of_the_limit_is_taken(serve: Serve) {
    let mut body = push(1).body.to_vec();
    body.resize(LIMIT, b' ');
    assert_eq!(Site::new(serve).await.send(&Request::push(body)).await.status, 202);
}

/// What comes after the announced length is no part of the body, and no delivery either.
pub async fn a_content_length_that_is_too_small_cuts_the_body(serve: Serve) {
    let site = Site::new(serve).await;
    let shorter = (push(1).body.len() - 10).to_string();
    assert_eq!(unchecked(&site, &push(1).header("Content-Length", shorter)).await.status, 401);
    assert!(site.intake.pushes().is_empty());
}

/// A body that ends early is 400, however much of it was rightly signed.
pub async fn a_content_length_that_is_too_large_is_refused(serve: Serve) {
    let site = Site::new(serve).await;
    let longer = (push(1).body.len() + 10).to_string();
    let mut client = site.connect().await;
    client.send(&push(1).header("Content-Length", longer)).await;
    client.finish().await;
    assert_eq!(client.reply().await.map(|reply| reply.status), Some(400));
    assert!(site.intake.pushes().is_empty());
}

/// No compressed bodies: what is signed must be what is read.
pub async fn a_compressed_body_is_refused(serve: Serve) {
    refused(
        serve,
        415,
        &["gzip", "br", "gzip, identity", "x"].map(|coding| push(1).header("Content-Encoding", coding)),
    )
    .await;
    let site = Site::new(serve).await;
    assert_eq!(site.send(&push(1).header("Content-Encoding", "identity")).await.status, 202);
}

/// Bytes that are no UTF-8 in any header make no trouble: 401 in the signature, 415 in what tells of the body, and
/// nothing elsewhere.
pub async fn a_header_that_is_not_utf_8_does_no_harm(serve: Serve) {
    let site = Site::new(serve).await;
    for (name, status, decision) in [
        (SIGNATURE, 401, None),
        ("Content-Type", 415, None),
        ("Content-Encoding", 415, None),
        ("X-GitHub-Event", 202, Some("queued")),
        ("X-GitHub-Delivery", 200, Some("duplicate")),
        ("User-Agent", 200, Some("duplicate")),
        ("X-Forwarded-For", 200, Some("duplicate")),
    ] {
        let reply = site.send(&push(1).header(name, b"\xff\xfe\x80".as_slice())).await;
        assert_eq!((reply.status, reply.json()["decision"].as_str()), (status, decision), "{name}");
    }
}

/// Every other method is 405 and says what is right.
pub async fn only_post_is_taken(serve: Serve) {
    let site = Site::new(serve).await;
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
        let reply = site.send(&Request { method, ..push(1) }).await;
        assert_eq!((reply.status, reply.header("allow")), (405, Some("post")), "{method}");
    }
}

/// Another path is 404, from the adapter or from its host.
pub async fn a_path_without_a_hook_is_none(serve: Serve) {
    let site = Site::new(serve).await;
    for path in ["/", "/webhook//", "/webhook/x", "/Webhook", "/webhook%2F"] {
        assert_eq!(unchecked(&site, &push(1).to(path)).await.status, 404, "{path}");
    }
    assert_eq!(site.send(&push(2).to("/webhook/")).await.status, 202, "as people write it too");
    assert_eq!(site.send(&push(1).to("/webhook?a=b")).await.status, 202);
}

/// A body may come in chunks, without its length.
pub async fn a_chunked_body_is_taken(serve: Serve) {
    let site = Site::new(serve).await;
    assert_eq!(unchecked(&site, &push(1).chunked()).await.status, 202);
}

/// `Expect: 100-continue` is answered before the body, and the push is taken.
pub async fn who_asks_before_sending_is_told_to_go_on(serve: Serve) {
    let mut client = Site::new(serve).await.asking(&push(1)).await;
    assert_eq!(client.0.reply().await.map(|reply| reply.status), Some(100));
    client.0.write(&push(1).body).await;
    assert_eq!(client.0.reply().await.map(|reply| reply.status), Some(202));
}

/// What is refused by its head alone is refused before its body is sent.
pub async fn who_asks_before_sending_is_refused_without_a_body(serve: Serve) {
    let mut client = Site::new(serve).await.asking(&push(1).without(SIGNATURE)).await;
    let reply = client.0.reply().await.expect("it is answered");
    assert_eq!((reply.status, reply.header("connection")), (401, Some("close")));
    assert!(
        client.0.is_closed_within(Duration::from_secs(5)).await,
        "the server waits for the body all the same"
    );
}

/// A reply that leaves some of a body unread says that the connection ends: a proxy that kept it would lose the next
/// request on it. Every other connection goes on.
pub async fn a_reply_that_leaves_a_body_unread_ends_the_connection(serve: Serve) {
    let site = Site::new(serve).await;
    let unsigned = push(1).without(SIGNATURE);
    for (request, status, is_end) in [
        (unsigned.clone(), 401, true),
        (unsigned.clone().chunked(), 401, true),
        (unsigned.header("Expect", "100-continue"), 401, true),
        (push(1).header("Content-Length", (64 << 20).to_string()), 413, true),
        (push(1).header("Content-Encoding", "gzip"), 415, true),
        (Request::push(vec![b' '; 2 * OTHER_LIMIT]).to("/other").chunked(), 413, true),
        (Request::push("").without(SIGNATURE), 401, false),
        (Request::push("{}"), 400, false),
        (push(1).signed_with("another secret of 2026"), 401, false),
        (push(1), 200, false),
        (push(1).chunked(), 200, false),
    ] {
        let mut client = site.connect().await;
        client.write(&request.head()).await;
        // What comes in one piece with its head would be there at once.
        sleep(Duration::from_millis(20)).await;
        let has = |header: &str| request.headers.iter().any(|(name, _)| name == header);
        if has("Expect") {
            // It waits for leave, and gets none.
        } else if has("Transfer-Encoding") {
            client.write(format!("{:x}\r\n", request.body.len()).as_bytes()).await;
            client.write(&[&request.body[..], b"\r\n0\r\n\r\n"].concat()).await;
        } else {
            client.write(&request.body).await;
        }
        let reply = final_reply(&mut client).await;
        let said = reply.header("connection") == Some("close");
        assert_eq!((reply.status, said), (status, is_end), "{:?}", String::from_utf8_lossy(&request.head()));
        if !is_end {
            client.send(&push(1)).await;
            let next = client.reply().await.map(|reply| reply.status);
            assert!(matches!(next, Some(200 | 202)), "the connection goes on: {next:?}");
        }
    }
}

/// The reply to a request that core alone cannot be asked about: what the framing does to it is the point.
async fn unchecked(site: &Site, request: &Request) -> Reply {
    let mut client = site.connect().await;
    client.send(request).await;
    final_reply(&mut client).await
}

async fn final_reply(client: &mut Client) -> Reply {
    loop {
        let reply = client.reply().await.expect("every request is answered");
        if reply.status != 100 {
            return reply;
        }
    }
}

impl Site {
    /// The head of a request that waits for leave to send its body. The site lives as long as what is given back.
    async fn asking(self, request: &Request) -> (Client, Self) {
        let mut client = self.connect().await;
        client.write(&request.clone().header("Expect", "100-continue").head()).await;
        (client, self)
    }
}

const LIMIT: usize = 25 << 20;
