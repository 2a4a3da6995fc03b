use super::Serve;
use super::site::{OTHER_SECRET, Site};
use crate::client::{Request, SECRET, SIGNATURE};
use crate::payload::{Payload, sha};
use crate::sign;

/// No signature, or only the old one, is 401.
pub async fn a_delivery_without_a_signature_is_refused(serve: Serve) {
    let unsigned = push().without(SIGNATURE);
    refused(
        serve,
        401,
        &[unsigned.clone(), unsigned.header("X-Hub-Signature", "sha1=01dc10d0c83e72ed246219cd")],
    )
    .await;
}

/// A well-formed signature that is not the right one is 401.
pub async fn a_wrong_signature_is_refused(serve: Serve) {
    let signature = sign(SECRET, &push().body);
    let digit = if signature.ends_with('0') { "1" } else { "0" };
    let nearly = format!("{}{digit}", &signature[..signature.len() - 1]);
    refused(
        serve,
        401,
        &[push().header(SIGNATURE, nearly), push().header(SIGNATURE, "sha256=".to_owned() + &"0".repeat(64))],
    )
    .await;
}

/// Two signature headers are 401, even if one of them, or each, is right.
pub async fn a_doubled_signature_is_refused(serve: Serve) {
    let right = sign(SECRET, &push().body);
    let wrong = "sha256=".to_owned() + &"0".repeat(64);
    refused(
        serve,
        401,
        &[
            push().and_header(SIGNATURE, right.clone()),
            push().and_header(SIGNATURE, wrong.clone()),
            push().header(SIGNATURE, wrong).and_header(SIGNATURE, right.clone()),
            push().header(SIGNATURE, format!("{right}, {right}")),
        ],
    )
    .await;
}

/// What is no `sha256=` and 64 digits is 401 and reads no body.
pub async fn a_malformed_signature_is_refused(serve: Serve) {
    let right = sign(SECRET, &push().body);
    let digest = &right["sha256=".len()..];
    let malformed = [
        String::new(),
        "sha256=".to_owned(),
        digest.to_owned(),
        format!("sha1={digest}"),
        format!("sha256:{digest}"),
        format!("sha256={}", &digest[1..]),
        format!("sha256={digest}0"),
        format!("sha256={}", "z".repeat(64)),
        format!("sha256= {digest}"),
    ];
    let requests: Vec<_> = malformed.iter().map(|value| push().header(SIGNATURE, value.as_str())).collect();
    refused(serve, 401, &requests).await;
}

/// The signature of another secret is 401, that of another hook's too.
pub async fn another_secret_is_refused(serve: Serve) {
    refused(
        serve,
        401,
        &[
            push().signed_with("wrong horse battery staple 2026"),
            push().signed_with(""),
            push().signed_with(OTHER_SECRET),
        ],
    )
    .await;
}

/// The right secret's signature over another body is 401: a space more, a byte less, nothing.
pub async fn a_signature_over_another_body_is_refused(serve: Serve) {
    let body = push().body;
    let longer = [&body[..], b" "].concat();
    let others: [&[u8]; 3] = [&longer, &body[..body.len() - 1], b""];
    let requests = others.map(|other| push().header(SIGNATURE, sign(SECRET, other)));
    refused(serve, 401, &requests).await;
}

/// A signed push of a repository that another hook speaks for is 403, although that hook exists.
pub async fn a_hook_does_not_speak_for_the_repository_of_another(serve: Serve) {
    let of_others = Payload::new("other/models", "refs/heads/main", &sha(1)).json();
    refused(serve, 403, &[Request::push(of_others), push().to("/other").signed_with(OTHER_SECRET)]).await;
}

async fn refused(serve: Serve, status: u16, requests: &[Request]) {
    let site = Site::new(serve).await;
    for request in requests {
        let reply = site.send(request).await;
        assert_eq!(reply.status, status, "{reply:?}");
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    }
    assert!(site.intake.pushes().is_empty());
}

fn push() -> Request {
    Request::push(Payload::new("acme/models", "refs/heads/main", &sha(1)).json())
}
