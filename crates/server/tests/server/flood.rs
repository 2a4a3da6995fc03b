//! Strangers who take what there is for connections and bodies, and pushes that are taken all the same.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::world::{Running, World};

/// A world with these lines in its configuration, and a server in it that may have 128 files open: 64 connections.
fn narrow(lines: &str) -> (World, Running, Value) {
    let world = World::new("run = { command = [\"true\"] }");
    let config = fs::read_to_string(world.path("swifthook.toml")).unwrap();
    let config = config.replace("[server]\n", "[server]\ntrusted_proxies = [\"127.0.9.1\"]\n");
    fs::write(world.path("swifthook.toml"), format!("{config}\n{lines}\n")).unwrap();
    let server = world.serve_by(|program| {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "ulimit -n 128; exec \"$0\" \"$@\""])
            .arg(program.get_program())
            .args(program.get_args());
        shell
    });
    let commit = world.commit("x", "x");
    let push = world.push(&commit, &commit, &["x"]);
    (world, server, push)
}

struct Strangers(tokio::runtime::Runtime, Vec<TcpStream>);

impl Strangers {
    fn new() -> Self {
        Self(tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(), Vec::new())
    }

    /// A connection from this address that sends `bytes` and stays.
    fn send(&mut self, server: &Running, from: &str, bytes: &[u8]) {
        let uri: http::Uri = server.hook.parse().unwrap();
        let address = uri.authority().unwrap().as_str().parse().unwrap();
        let stream = self.0.block_on(async {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
            let mut stream = socket.connect(address).await.unwrap();
            // One that is closed at once is an answer too.
            let _ = stream.write_all(bytes).await;
            stream
        });
        self.1.push(stream);
    }

    /// Beginning of the reply to the last of them.
    fn told(&mut self) -> String {
        let (runtime, stream) = (&self.0, self.1.last_mut().unwrap());
        let mut bytes = vec![0; 4_096];
        let read = runtime.block_on(async { stream.read(&mut bytes).await.unwrap() });
        String::from_utf8_lossy(&bytes[..read]).into_owned()
    }

    /// Number of them that the server has closed, or answered and closed.
    fn closed(&mut self) -> usize {
        let (runtime, streams) = (&self.0, &mut self.1);
        let is_closed = |stream: &mut TcpStream| {
            runtime.block_on(async {
                let mut rest = Vec::new();
                tokio::time::timeout(Duration::from_millis(1), stream.read_to_end(&mut rest)).await.is_ok()
            })
        };
        streams.iter_mut().filter_map(|stream| is_closed(stream).then_some(())).count()
    }
}

fn is_taken_soon(server: &Running, push: &Value) {
    let began = Instant::now();
    let answer = server.deliver(push);
    assert!(answer.status.is_success(), "{}", answer.body);
    // Idle connections end after ten seconds, and a lost SYN is sent again after one and three.
    assert!(began.elapsed() < Duration::from_secs(8), "it took {:?}", began.elapsed());
}

fn number(server: &Running, name: &str) -> u64 {
    let (_, text) = server.call("GET", "/metrics", "");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    line.unwrap_or_else(|| panic!("no {name} in {text}"))
}

const ASKED: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
const HEAD: &[u8] = b"POST /webhook HTTP/1.1\r\nHost: x\r\nX-Slow: ";
const EVICTED: &str = "swifthook_connections_evicted_total{port=\"hooks\"}";

#[test]
fn idle_connections_of_one_address_keep_no_push_out() {
    let (world, server, push) = narrow("");
    let mut strangers = Strangers::new();
    (0..100).for_each(|_| strangers.send(&server, "127.0.0.2", ASKED));
    is_taken_soon(&server, &push);
    assert!(number(&server, EVICTED) > 0);
    assert!(strangers.closed() > 0);
    assert_eq!(world.server_log().matches("all connections are taken").count(), 1, "{}", world.server_log());
}

#[test]
fn more_addresses_than_there_are_connections_keep_no_proven_client_out() {
    let (_world, server, push) = narrow("");
    is_taken_soon(&server, &push);
    let mut strangers = Strangers::new();
    for number in 0..200_u8 {
        let bytes = if number.is_multiple_of(2) { HEAD } else { ASKED };
        strangers.send(&server, &format!("127.1.{number}.1"), bytes);
    }
    is_taken_soon(&server, &push);
    // Neither are administrators.
    assert_eq!(server.call("GET", "/api/v1/jobs", "").0, 200);
}

#[test]
fn bodies_of_one_address_leave_room_for_a_large_push() {
    let (_world, server, mut push) = narrow("[limits]\nbody_memory = \"100 MiB\"");
    let mut strangers = Strangers::new();
    let signature = "0".repeat(64);
    let head = format!(
        "POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 20000000\r\n\
         X-Hub-Signature-256: sha256={signature}\r\n\r\n"
    );
    let body = [head.as_bytes(), &vec![b' '; 8 << 20]].concat();
    (0..12).for_each(|_| strangers.send(&server, "127.0.0.2", &body));
    assert!(number(&server, "swifthook_body_bytes") > 8 << 20, "they are held");
    assert!(number(&server, "swifthook_refusals_total{status=\"429\",reason=\"share\"}") > 0);
    push["commits"][0]["message"] = "x".repeat(8 << 20).into();
    is_taken_soon(&server, &push);
}

const UNSIGNED: &[u8] =
    b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\nhello";

/// The head of a body that does not come, with this header beside.
fn endless(header: &str) -> Vec<u8> {
    let signature = "0".repeat(64);
    let head = format!(
        "POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{header}\r\n\
         X-Hub-Signature-256: sha256={signature}\r\n\r\n"
    );
    head.into_bytes()
}

#[test]
fn a_request_behind_one_that_was_refused_is_cut_like_any_other() {
    let (_world, server, push) = narrow("");
    let mut strangers = Strangers::new();
    // The rest of the first is still read when the second has begun, which is not there for that.
    let both = [UNSIGNED, &endless("Content-Length: 900000")].concat();
    for number in 0..100_u8 {
        strangers.send(&server, &format!("127.2.{number}.1"), &both);
    }
    is_taken_soon(&server, &push);
}

#[test]
fn a_refused_body_that_is_not_read_ends_its_connection_with_notice() {
    let (_world, server, _) = narrow("");
    let mut strangers = Strangers::new();
    for path in ["/webhook", "/elsewhere", "/readyz"] {
        for header in ["Expect: 100-continue\r\n", ""] {
            let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\n{header}Content-Length: 70000\r\n\r\n");
            strangers.send(&server, "127.0.0.2", head.as_bytes());
            let told = strangers.told();
            assert!(told.to_lowercase().contains("\r\nconnection: close\r\n"), "{path} {header} {told}");
        }
    }
    strangers.send(&server, "127.0.0.2", ASKED);
    assert!(!strangers.told().to_lowercase().contains("connection: close"), "nothing was left unread");
}

#[test]
fn bodies_in_pieces_of_a_byte_count_with_the_room_that_is_held_for_them() {
    let (_world, server, _) = narrow("");
    let mut strangers = Strangers::new();
    let pieces = [&endless("Transfer-Encoding: chunked")[..], b"1\r\na\r\n1\r\nb\r\n"].concat();
    (0..20).for_each(|number| strangers.send(&server, &format!("127.3.{number}.1"), &pieces));
    let counted = (0..100).map(|_| {
        std::thread::sleep(Duration::from_millis(10));
        number(&server, "swifthook_body_bytes")
    });
    let most = counted.max().unwrap();
    assert!((20 * 1_024..20 << 16).contains(&most), "{most}");
}

#[test]
fn behind_a_proxy_the_share_is_that_of_the_client() {
    let (_world, server, push) = narrow("");
    let mut strangers = Strangers::new();
    let slow = b"POST /webhook HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 127.1.1.1\r\nContent-Length: 9\r\n\
        Content-Type: application/json\r\nX-Hub-Signature-256: sha256=";
    let slow = [slow.as_slice(), "0".repeat(64).as_bytes(), b"\r\n\r\n{"].concat();
    (0..64).for_each(|_| strangers.send(&server, "127.0.9.1", &slow));
    // Until its heads are read the connections are the proxy's.
    let begun = Instant::now();
    while number(&server, EVICTED) < 16 {
        assert!(begun.elapsed() < Duration::from_secs(20), "its client gives up none");
        std::thread::sleep(Duration::from_millis(20));
    }
    is_taken_soon(&server, &push);
}

#[test]
fn more_connections_than_files_are_refused_at_the_start() {
    let world = World::new("run = { command = [\"true\"] }");
    let config = fs::read_to_string(world.path("swifthook.toml")).unwrap();
    let lines = "[limits]\nconnections = 1000000\n";
    fs::write(world.path("swifthook.toml"), format!("{config}\n{lines}")).unwrap();
    let program = world.program(&["serve"]);
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "ulimit -n 1024; exec \"$0\" \"$@\""])
        .arg(program.get_program())
        .args(program.get_args());
    shell.current_dir(world.path(""));
    let output = shell.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("`connections = 1000000`") && said.contains("say at most 640"), "{said}");
}
