//! One request a connection: the server may be killed in the middle of any, and a pool would hide that.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A reply, or as much of it as came before the connection ended.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// Sends a request with these lines of head, and reads what comes.
pub(crate) fn ask(
    address: SocketAddr,
    request: &str,
    head: &str,
    body: &[u8],
    patience: Duration,
) -> io::Result<Reply> {
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let length = body.len();
    let mut bytes = format!(
        "{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n{head}\r\n"
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    stream.write_all(&bytes)?;
    let mut reply = Vec::new();
    // A connection that breaks after the head has told its status all the same.
    let broken = stream.read_to_end(&mut reply).err();
    parse(&reply).ok_or_else(|| broken.unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()))
}

fn parse(reply: &[u8]) -> Option<Reply> {
    let end = reply.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&reply[..end]).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Reply { status, body: reply[end + 4..].to_vec() })
}
