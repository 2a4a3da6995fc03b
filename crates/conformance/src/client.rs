//! A client that sends deliveries in raw bytes: nothing checks that they are good ones.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::sign::sign;

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: &'static str,
    /// Path and query, as they stand in the request line.
    pub path: String,
    /// The headers, in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, without its framing.
    pub body: Bytes,
}

impl Request {
    /// A delivery as GitHub sends it to `/webhook`, signed with [`SECRET`].
    #[must_use]
    pub fn delivery(event: &str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let request = Self { method: "POST", path: "/webhook".to_owned(), headers: Vec::new(), body };
        request
            .header("Host", "swifthook.test")
            .header("User-Agent", "GitHub-Hookshot/044aadd")
            .header("Accept", "*/*")
            .header("Content-Type", "application/json")
            .header("X-GitHub-Event", event)
            .header("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
            .signed_with(SECRET)
            .announcing_its_length()
    }

    /// A push as GitHub delivers it.
    #[must_use]
    pub fn push(body: impl Into<Bytes>) -> Self {
        Self::delivery("push", body)
    }

    /// The same to another path.
    #[must_use]
    pub fn to(self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self }
    }

    /// The same with this header instead of any of that name.
    #[must_use]
    pub fn header(self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.without(name).and_header(name, value)
    }

    /// The same with this header beside others of that name.
    #[must_use]
    pub fn and_header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The same without the headers of that name.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    /// The same with the signature of another secret.
    #[must_use]
    pub fn signed_with(self, secret: &str) -> Self {
        let signature = sign(secret, &self.body);
        self.header(SIGNATURE, signature)
    }

    /// The same with the content type of a form.
    #[must_use]
    pub fn form_encoded(self) -> Self {
        self.header("Content-Type", "application/x-www-form-urlencoded")
    }

    /// The same in chunks, without its length.
    #[must_use]
    pub fn chunked(self) -> Self {
        self.without("Content-Length").header("Transfer-Encoding", "chunked")
    }

    fn announcing_its_length(self) -> Self {
        let length = self.body.len().to_string();
        self.header("Content-Length", length)
    }

    /// Everything before the body.
    #[must_use]
    pub fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path).into_bytes();
        for (name, value) in &self.headers {
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        head
    }
}

/// A reply as it came over the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// The lines of the head but for `date`, in lower case, sorted.
    pub head: Vec<String>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Reply {
    /// Its body as JSON.
    ///
    /// # Panics
    ///
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in the reply {self:?}"))
    }

    /// The value of a header, in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// One connection. Its methods panic when the server keeps it waiting for half a minute.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    /// A new connection.
    ///
    /// # Panics
    ///
    /// When the server takes none.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server under test accepts connections");
        stream.set_nodelay(true).expect("a fresh socket takes options");
        Self { stream, received: Vec::new() }
    }

    /// Sends all of the request before it looks at any reply, and says whether the server took all of it.
    pub async fn send(&mut self, request: &Request) -> bool {
        let mut is_taken = self.write(&request.head()).await;
        if !request.headers.iter().any(|(name, _)| name == "Transfer-Encoding") {
            return is_taken && self.write(&request.body).await;
        }
        for chunk in request.body.chunks(1 << 16) {
            let framed = [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
            is_taken = is_taken && self.write(&framed).await;
        }
        is_taken && self.write(b"0\r\n\r\n").await
    }

    /// Writes bytes, and says whether the server took them. That it did not is no end: it may have replied.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        let written = timeout(PATIENCE, self.stream.write_all(bytes)).await;
        written.expect("the server under test stopped reading without closing the connection").is_ok()
    }

    /// Ends the sending side.
    ///
    /// # Panics
    ///
    /// When the connection is gone.
    pub async fn finish(&mut self) {
        self.stream.shutdown().await.expect("the connection is open");
    }

    /// The next reply; `None` if the connection ended without one.
    pub async fn reply(&mut self) -> Option<Reply> {
        timeout(PATIENCE, self.read_reply()).await.expect("the server under test gave no reply in time")
    }

    /// The next reply, if it begins within `time`.
    pub async fn reply_within(&mut self, time: Duration) -> Option<Reply> {
        timeout(time, self.receive()).await.ok()??;
        self.reply().await
    }

    /// Whether the server closes the connection within `time`, without another word.
    pub async fn is_closed_within(&mut self, time: Duration) -> bool {
        timeout(time, self.receive()).await.is_ok_and(|more| more.is_none())
    }

    async fn read_reply(&mut self) -> Option<Reply> {
        let end = loop {
            match self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(end) => break end + 4,
                None => self.receive().await?,
            }
        };
        let (status, head) = parse_head(&self.received[..end]);
        let length =
            head.iter().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        while self.received.len() < end + length {
            self.receive().await?;
        }
        let rest = self.received.split_off(end + length);
        let body = std::mem::replace(&mut self.received, rest).split_off(end);
        Some(Reply { status, head, body })
    }

    async fn receive(&mut self) -> Option<()> {
        match self.stream.read_buf(&mut self.received).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(()),
        }
    }
}

fn parse_head(head: &[u8]) -> (u16, Vec<String>) {
    let head = String::from_utf8_lossy(head).to_lowercase();
    let mut lines: Vec<String> = head.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    let status = lines[0].split(' ').nth(1).and_then(|code| code.parse().ok());
    lines.retain(|line| !line.starts_with("date: "));
    lines.sort();
    (status.expect("a reply begins with its status"), lines)
}

/// The secret of the lists.
pub const SECRET: &str = "correct horse battery staple 2026";
/// The header that has the signature.
pub const SIGNATURE: &str = "X-Hub-Signature-256";
const PATIENCE: Duration = Duration::from_secs(120);
