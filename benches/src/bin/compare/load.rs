use std::cell::Cell;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::body::Requests;

/// What came of a load.
pub(crate) struct Load {
    pub(crate) requests: usize,
    pub(crate) took: Duration,
}

/// Sends `count` of the requests, from the one numbered `first` on, over keep-alive connections, each of which has
/// one under way at any time. Every one has to be answered with `status`.
pub(crate) fn send(
    address: SocketAddr,
    requests: &Rc<Requests>,
    first: usize,
    count: usize,
    status: u16,
) -> Result<Load, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let next = Rc::new(Cell::new(first));
        let began = Instant::now();
        let tasks: Vec<_> = (0..CONNECTIONS.min(count))
            .map(|_| {
                let (requests, next) = (requests.clone(), next.clone());
                tokio::task::spawn_local(async move {
                    connection(address, &requests, &next, first + count, status).await
                })
            })
            .collect();
        for task in tasks {
            task.await??;
        }
        Ok(Load { requests: count, took: began.elapsed() })
    })
}

async fn connection(
    address: SocketAddr,
    requests: &Requests,
    next: &Cell<usize>,
    end: usize,
    status: u16,
) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut reply = Vec::with_capacity(4_096);
    while next.get() < end {
        let index = next.replace(next.get() + 1);
        stream.write_all(requests.get(index)).await?;
        read_reply(&mut stream, &mut reply).await?;
        let expected = format!("HTTP/1.1 {status} ");
        if !reply.starts_with(expected.as_bytes()) {
            return Err(io::Error::other(format!("not {status}: {}", String::from_utf8_lossy(&reply))));
        }
    }
    Ok(())
}

/// Reads one reply, whose length has to be announced.
async fn read_reply(stream: &mut TcpStream, reply: &mut Vec<u8>) -> io::Result<()> {
    reply.clear();
    loop {
        if stream.read_buf(reply).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if whole_length(reply).is_some_and(|length| reply.len() >= length) {
            return Ok(());
        }
    }
}

fn whole_length(reply: &[u8]) -> Option<usize> {
    let end = reply.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&reply[..end]).ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    Some(end + length.unwrap_or(0))
}

pub(crate) const CONNECTIONS: usize = 64;
