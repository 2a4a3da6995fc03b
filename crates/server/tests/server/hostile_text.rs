//! What others have written, where a person or a program reads it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{Running, World, until};

const RUNS: &str = "run = { command = [\"true\"] }";

#[test]
fn what_a_push_says_is_shown_escaped_wherever_it_is_read() {
    let world = World::new(RUNS);
    let server = world.serve();
    let before = world.git(&["rev-parse", "HEAD"]);
    let after = world.commit("a.txt", "1\n");
    let mut push = world.push(&before, &after, &["configs/gnp.\u{202e}lmay", "b\u{200b}.yaml"]);
    push["sender"]["login"] = json!("ada\u{2066}\u{9b}2J");
    let payload = world.path("push.json");
    fs::write(&payload, push.to_string()).unwrap();
    let ask = |arguments: &[&str]| {
        let output = world.program(arguments).args(["--server", &server.admin]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let sent = server.deliver(&push);
    let id = serde_json::from_str::<Value>(&sent.body).unwrap()["delivery"].as_str().unwrap().to_owned();
    let list = ask(&["deliveries"]);
    let show = ask(&["deliveries", "show", &id]);
    let explain = ask(&["deliveries", "explain", &id]);
    let as_json = ask(&["deliveries", "show", &id, "--json"]);
    for told in [&list, &show, &explain, &as_json, &server_log(&world)] {
        let is_hidden = |c: char| matches!(c, '\u{202e}' | '\u{200b}' | '\u{2066}' | '\u{9b}');
        assert!(!told.contains(is_hidden), "{told:?}");
    }
    assert!(list.contains("ada\\u{2066}\\u{9b}2J"), "{list}");
    assert!(show.contains("configs/gnp.\\u{202e}lmay") && show.contains("b\\u{200b}.yaml"), "{show}");
    let read: Value = serde_json::from_str(&as_json).unwrap();
    assert_eq!(read["sender"], "ada\u{2066}\u{9b}2J", "JSON says what it is");
}

fn server_log(world: &World) -> String {
    until(|| Some(world.server_log()).filter(|log| !log.is_empty())).unwrap()
}

#[test]
fn check_shows_names_of_files_and_what_stands_in_them_escaped() {
    let world = World::new("run = { swift = \"sft\", config = \"{path}\" }\neach = \"configs/*.yaml\"");
    let name = "gnp.\u{202e}lmay\n.yaml";
    fs::write(world.path(name), "\"mo\u{202e}del\": 1\n").unwrap();
    let check = ["check", "--recipe", "sft", "--ms-swift", "4.6.0", "--elsewhere", name];
    let output = world.program(&check).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("gnp.\\u{202e}lmay\\n.yaml:1: ") && !told.contains('\u{202e}'), "{told}");
}

#[test]
fn no_program_repeats_a_token_in_an_address() {
    let world = World::new(RUNS);
    let config = fs::read_to_string(world.path("swifthook.toml")).unwrap();
    let good = format!("file://{}", world.path("repository").display());
    for url in ["HTTPS://x:ghp_secret@git.example/a/b", "htps://ghp_secret@git.example/a/b"] {
        fs::write(world.path("swifthook.toml"), config.replace(&good, url)).unwrap();
        for command in ["check", "serve", "jobs"] {
            let output = world.program(&[command]).output().unwrap();
            let told = format!("{output:?}");
            assert!(!told.contains("ghp_secret"), "{told}");
            assert!(command == "jobs" || told.contains("…@git.example/a/b"), "{told}");
        }
    }
    let asked = world.program(&["jobs", "--server", "http://ada:ghp_secret@127.0.0.1:1"]);
    let output = { asked }.env("SWIFTHOOK_ADMIN_TOKEN", "correct-horse-battery-staple").output().unwrap();
    let told = format!("{output:?}");
    assert!(told.contains("cannot be reached") && !told.contains("ghp_secret"), "{told}");
}

/// The whole answer to a request.
fn answer(server: &Running, method: &str, path: &str, body: &str) -> String {
    let address = server.admin.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        server.token,
        body.len()
    )
    .unwrap();
    let mut told = Vec::new();
    stream.read_to_end(&mut told).unwrap();
    String::from_utf8(told).unwrap()
}

#[test]
fn every_refusal_of_the_admin_side_has_one_form() {
    let world = World::new(RUNS);
    let server = world.serve();
    let id = "0199a0a0-0000-7000-8000-000000000000";
    let command = format!("/api/v1/jobs/{id}/cancel");
    // The one byte too many is the last: none is left unread, which would cut the connection off before the answer.
    let large = "x".repeat((2 << 20) + 1);
    for (method, path, body, status) in [
        ("POST", &*command, &*large, 413),
        ("POST", "/api/v1/store/prune", &large, 413),
        ("POST", &format!("/api/v1/deliveries/{id}/replay"), &large, 413),
        ("POST", &command, "{", 400),
        ("POST", &command, "", 404),
        ("GET", "/api/v1/jobs/%ff", "", 400),
        ("GET", "/api/v1/jobs/%ff/log", "", 400),
        ("GET", "/api/v1/jobs?limit=many", "", 400),
        ("GET", "/api/v1/jobs/x", "", 404),
        ("GET", "/nothing", "", 404),
        ("DELETE", "/api/v1/jobs", "", 405),
        ("POST", "/metrics", "", 405),
        ("POST", "/readyz", "", 405),
    ] {
        let told = answer(&server, method, path, body);
        let (head, told) = told.split_once("\r\n\r\n").unwrap();
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{method} {path}: {head}");
        assert!(head.contains("content-type: application/problem+json"), "{method} {path}: {head}");
        let problem: Value = serde_json::from_str(told).unwrap();
        assert_eq!(problem["status"], status);
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{told}");
    }
}
