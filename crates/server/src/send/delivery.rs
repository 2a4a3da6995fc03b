use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use http::Uri;
use sha2::Sha256;

use super::Answer;

/// A delivery that is ready to be signed and sent.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The event: `push`.
    pub event: String,
    /// GitHub's identification of the event; the same again is a redelivery.
    pub guid: String,
    /// The payload, as JSON.
    pub payload: Vec<u8>,
    /// How it is written into the body.
    pub encoding: Encoding,
}

/// How a payload is written into the body: the content type of a hook on GitHub.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// `application/json`.
    #[default]
    Json,
    /// `application/x-www-form-urlencoded`, GitHub's default: the payload is the field `payload`.
    Form,
}

impl Delivery {
    /// A push, as JSON, under a GUID of its own.
    pub fn push(payload: impl Into<Vec<u8>>) -> Self {
        Self {
            event: "push".to_owned(),
            guid: uuid::Uuid::now_v7().to_string(),
            payload: payload.into(),
            encoding: Encoding::Json,
        }
    }

    /// Signs it with `secret`, posts it to `url` and waits for the answer, ten seconds as GitHub does. Blocks.
    ///
    /// Goes straight to the server, past any proxy of the environment, and follows no redirect.
    ///
    /// # Errors
    ///
    /// When no answer came. A refusal is an answer.
    pub fn post(&self, url: &Uri, secret: &[u8]) -> Result<Answer, SendError> {
        let body = self.body();
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(PATIENCE))
            .user_agent(USER_AGENT)
            .build()
            .into();
        let request = agent
            .post(url)
            .header("Content-Type", self.encoding.media_type())
            .header("X-GitHub-Event", &self.event)
            .header("X-GitHub-Delivery", &self.guid)
            .header("X-Hub-Signature-256", signature(secret, &body));
        let sent = Instant::now();
        let failed = |source| SendError { url: url.to_string(), source };
        let mut response = request.send(&body[..]).map_err(failed)?;
        let body = response.body_mut().read_to_string().map_err(failed)?;
        Ok(Answer { status: response.status(), body, took: sent.elapsed() })
    }

    fn body(&self) -> Vec<u8> {
        match self.encoding {
            Encoding::Json => self.payload.clone(),
            Encoding::Form => {
                let field = form_urlencoded::byte_serialize(&self.payload);
                std::iter::once("payload=").chain(field).collect::<String>().into_bytes()
            }
        }
    }
}

impl Encoding {
    fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Form => "application/x-www-form-urlencoded",
        }
    }
}

/// No answer came.
#[derive(Debug, thiserror::Error)]
#[error("no answer from {url}")]
pub struct SendError {
    url: String,
    source: ureq::Error,
}

/// The value of `X-Hub-Signature-256`
/// (<https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>).
fn signature(secret: &[u8], body: &[u8]) -> String {
    let mut hmac = Hmac::<Sha256>::new_from_slice(secret).expect("an HMAC takes keys of any length");
    hmac.update(body);
    format!("sha256={}", base16ct::lower::encode_string(&hmac.finalize().into_bytes()))
}

const PATIENCE: Duration = Duration::from_secs(10);
const USER_AGENT: &str = concat!("GitHub-Hookshot/swifthook-", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// From GitHub's documentation.
    #[test]
    fn signatures_are_those_of_github() {
        assert_eq!(
            signature(b"It's a Secret to Everybody", b"Hello, World!"),
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        );
        let form = Delivery { encoding: Encoding::Form, ..Delivery::push(r#"{"ref":"refs/heads/main"}"#) };
        assert_eq!(form.body(), b"payload=%7B%22ref%22%3A%22refs%2Fheads%2Fmain%22%7D");
        assert_eq!(
            signature(b"It's a Secret to Everybody", &form.body()),
            "sha256=720493f557150a271b7cfdd9904c5fe4697f30c44588f8b452d36abc47b8796c"
        );
    }

    #[test]
    fn a_delivery_has_the_headers_of_github_and_a_refusal_is_an_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/webhook", listener.local_addr().unwrap()).parse().unwrap();
        let server = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let request = read_until(&mut stream, "{}");
            stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").unwrap();
            request
        });
        let delivery = Delivery { guid: "the-guid".to_owned(), ..Delivery::push("{}") };
        let answer = delivery.post(&url, b"correct horse battery staple 2026").unwrap();
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (403, "no"));
        let request = server.join().unwrap().to_ascii_lowercase();
        for line in [
            "post /webhook http/1.1",
            "content-type: application/json",
            "x-github-event: push",
            "x-github-delivery: the-guid",
            "x-hub-signature-256: sha256=",
            "user-agent: github-hookshot/",
        ] {
            assert!(request.contains(line), "{line} is not in\n{request}");
        }
    }

    #[test]
    fn a_server_that_is_not_there_is_an_error_that_names_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let url = format!("http://{address}/webhook");
        let error = Delivery::push("{}").post(&url.parse().unwrap(), b"x").unwrap_err();
        assert_eq!(error.to_string(), format!("no answer from {url}"));
    }

    fn read_until(stream: &mut TcpStream, end: &str) -> String {
        let mut text = Vec::new();
        let mut part = [0; 1_024];
        while !text.ends_with(end.as_bytes()) {
            let count = stream.read(&mut part).unwrap();
            assert_ne!(count, 0, "the request ended early");
            text.extend_from_slice(&part[..count]);
        }
        String::from_utf8(text).unwrap()
    }
}
