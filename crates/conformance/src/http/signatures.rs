use super::Serve;
use super::site::{OTHER_SECRET, Site, push, refused};
use crate::client::{Request, SECRET, SIGNATURE};
use crate::payload::{Payload, sha};
use crate::sign;
use swifthook_core::{Hook, Receiver, SecretSet};

/// No signature, or only the old one, is 401.
pub async fn a_delivery_without_a_signature_is_refused(serve: Serve) {
    let unsigned = push(1).without(SIGNATURE);
    refused(
        serve,
        401,
        &[unsigned.clone(), unsigned.header("X-Hub-Signature", "sha1=01dc10d0c83e72ed246219cd")],
    )
    .await;
}

/// A well-formed signature that is not the right one is 401.
pub async fn a_wrong_signature_is_refused(serve: Serve) {
    let signature = sign(SECRET, &push(1).body);
    let digit = if signature.ends_with('0') { "1" } else { "0" };
    let nearly = format!("{}{digit}", &signature[..signature.len() - 1]);
    refused(
        serve,
        401,
        &[
            push(1).header(SIGNATURE, nearly),
            push(1).header(SIGNATURE, "sha256=".to_owned() + &"0".repeat(64)),
        ],
    )
    .await;
}

/// Two signature headers are 401, even if one of them, or each, is right.
pub async fn a_doubled_signature_is_refused(serve: Serve) {
    let right = sign(SECRET, &push(1).body);
    let wrong = "sha256=".to_owned() + &"0".repeat(64);
    refused(
        serve,
        401,
        &[
            push(1).and_header(SIGNATURE, right.clone()),
            push(1).and_header(SIGNATURE, wrong.clone()),
            push(1).header(SIGNATURE, wrong).and_header(SIGNATURE, right.clone()),
            push(1).header(SIGNATURE, format!("{right}, {right}")),
        ],
    )
    .await;
}

/// What is no `sha256=` and 64 digits is 401 and reads no body.
pub async fn a_malformed_signature_is_refused(serve: Serve) {
    let right = sign(SECRET, &push(1).body);
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
    let requests: Vec<_> = malformed.iter().map(|value| push(1).header(SIGNATURE, value.as_str())).collect();
    refused(serve, 401, &requests).await;
}

/// The signature of another secret is 401, that of another hook's too.
pub async fn another_secret_is_refused(serve: Serve) {
    refused(
        serve,
        401,
        &[
            push(1).signed_with("wrong horse battery staple 2026"),
            push(1).signed_with(""),
            push(1).signed_with(OTHER_SECRET),
        ],
    )
    .await;
}

/// The right secret's signature over another body is 401: a space more, a byte less, nothing.
pub async fn a_signature_over_another_body_is_refused(serve: Serve) {
    let body = push(1).body;
    let longer = [&body[..], b" "].concat();
    let others: [&[u8]; 3] = [&longer, &body[..body.len() - 1], b""];
    let requests = others.map(|other| push(1).header(SIGNATURE, sign(SECRET, other)));
    refused(serve, 401, &requests).await;
}

/// A signed push of a repository that another hook speaks for is 403, although that hook exists.
pub async fn a_hook_does_not_speak_for_the_repository_of_another(serve: Serve) {
    let of_others = Payload::new("other/models", "refs/heads/main", &sha(1)).json();
    refused(serve, 403, &[Request::push(of_others), push(1).to("/other").signed_with(OTHER_SECRET)]).await;
}

/// A hook with `allow_from` takes deliveries from there and from nowhere else: the adapter knows its peers.
pub async fn an_address_that_is_not_allowed_is_refused(serve: Serve) {
    for (network, status) in [("127.0.0.0/8", 200), ("10.0.0.0/8", 403)] {
        let secrets = SecretSet::one(SECRET).expect("the secret is long enough");
        let mut hook = Hook::new("github", "/webhook", secrets, &["acme/*"]).expect("the hook is right");
        hook.allow_from = vec![network.parse().expect("it is a network")];
        let receiver = Receiver::builder().add_hook(hook).build().expect("the configuration is right");
        assert_eq!(
            Site::with_receiver(serve, receiver).await.send(&push(1)).await.status,
            status,
            "{network}"
        );
    }
}
