//! What is read of a request's headers. Only the body is signed, so each of them may be forged: a header may make
//! a delivery fail, never succeed.

use std::sync::Arc;

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName};

use crate::receiver::Refusal;
use crate::signature::{Claimed, SignatureProblem};

/// How the body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MediaType {
    Json,
    Form,
}

/// What `X-GitHub-Event` says: a hint, as it is not signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EventHint {
    Push,
    Ping,
    Other(Arc<str>),
    None,
}

impl MediaType {
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let value = single(headers, &CONTENT_TYPE).map_err(|_| Refusal::MediaType)?;
        let text = value.and_then(|value| std::str::from_utf8(value).ok()).ok_or(Refusal::MediaType)?;
        let name = text.split(';').next().unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case("application/json") {
            Ok(Self::Json)
        } else if name.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            Ok(Self::Form)
        } else {
            Err(Refusal::MediaType)
        }
    }
}

impl EventHint {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        match headers.get(EVENT).map(|value| value.as_bytes()) {
            None => Self::None,
            Some(b"push") => Self::Push,
            Some(b"ping") => Self::Ping,
            Some(other) => Self::Other(printable(other, 40)),
        }
    }
}

/// GitHub's id of the delivery; empty where there is none.
pub(crate) fn guid(headers: &HeaderMap) -> Arc<str> {
    headers.get(DELIVERY).map_or_else(|| "".into(), |value| printable(value.as_bytes(), 64))
}

pub(crate) fn refuse_encoded(headers: &HeaderMap) -> Result<(), Refusal> {
    let is_identity = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    match headers.get_all(CONTENT_ENCODING).iter().all(is_identity) {
        true => Ok(()),
        false => Err(Refusal::ContentEncoding),
    }
}

pub(crate) fn announced_length(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let Some(value) = single(headers, &CONTENT_LENGTH).map_err(|_| Refusal::MalformedLength)? else {
        return Ok(None);
    };
    let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    let length = digits.and_then(|digits| digits.parse().ok()).ok_or(Refusal::MalformedLength)?;
    Ok(Some(length))
}

pub(crate) fn signature(headers: &HeaderMap) -> Result<Claimed, SignatureProblem> {
    match single(headers, &SIGNATURE).map_err(|_| SignatureProblem::Doubled)? {
        Some(value) => Claimed::parse(value),
        None if headers.contains_key(SIGNATURE_SHA1) => Err(SignatureProblem::Sha1Only),
        None => Err(SignatureProblem::Missing),
    }
}

/// The value of a header that may stand once.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h [u8]>, Doubled> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Doubled),
        (first, None) => Ok(first.map(|value| value.as_bytes())),
    }
}

struct Doubled;

/// The text of a header as far as it is printable: what is not signed goes into stores and logs.
fn printable(bytes: &[u8], at_most: usize) -> Arc<str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() <= at_most && bytes.iter().all(u8::is_ascii_graphic) => text.into(),
        _ => {
            let kept = bytes.iter().filter(|b| b.is_ascii_graphic()).take(at_most);
            kept.map(|b| char::from(*b)).collect::<String>().into()
        }
    }
}

const SIGNATURE: HeaderName = HeaderName::from_static("x-hub-signature-256");
const SIGNATURE_SHA1: HeaderName = HeaderName::from_static("x-hub-signature");
const EVENT: HeaderName = HeaderName::from_static("x-github-event");
const DELIVERY: HeaderName = HeaderName::from_static("x-github-delivery");
