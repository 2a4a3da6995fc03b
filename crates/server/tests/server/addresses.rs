//! From where deliveries are taken: `allow_from = "github"`.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use crate::world::World;

/// What GitHub would say; asked by one client after the other.
fn meta(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/meta", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4_096]);
            let length = answer.len();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(format!("{head}{answer}").as_bytes());
        }
    });
    url
}

/// A world whose hook takes deliveries from GitHub alone, as this URL tells of it.
fn world(meta: &str) -> World {
    let world = World::new("run = { command = [\"true\"] }");
    let config = fs::read_to_string(world.path("swifthook.toml")).unwrap();
    let config = config
        .replace("[server]\n", &format!("[server]\ngithub_meta = \"{meta}\"\n"))
        .replace("[[hook]]\n", "[[hook]]\nallow_from = \"github\"\n");
    fs::write(world.path("swifthook.toml"), config).unwrap();
    world
}

#[test]
fn the_addresses_that_github_publishes_are_asked_for_and_kept() {
    let world = world(&meta(
        r#"{"verifiable_password_authentication":false,"hooks":["192.30.252.0/22","127.0.0.0/8"]}"#,
    ));
    let commit = world.commit("x", "x");
    let push = world.push(&commit, &commit, &["x"]);
    assert_eq!(world.serve().deliver(&push).status.as_u16(), 202);

    // GitHub is out of reach by now.
    let config = fs::read_to_string(world.path("swifthook.toml")).unwrap();
    let start = config.find("http://").unwrap();
    let url = config[start..].split('"').next().unwrap();
    fs::write(world.path("swifthook.toml"), config.replace(url, "http://127.0.0.1:1/meta")).unwrap();
    let server = world.serve();
    assert_eq!(server.deliver(&push).status.as_u16(), 200, "it is known already");
    assert!(world.server_log().contains("those of an earlier start"), "{}", world.server_log());
}

#[test]
fn who_is_not_github_is_refused() {
    let world = world(&meta(r#"{"hooks":["192.30.252.0/22","2606:50c0::/32"]}"#));
    let server = world.serve();
    let commit = world.commit("x", "x");
    assert_eq!(server.deliver(&world.push(&commit, &commit, &["x"])).status.as_u16(), 403);
}

#[test]
fn a_hook_for_github_alone_is_never_open_to_all() {
    for (answer, expected) in [
        (Some(r#"{"hooks":[]}"#), "a list that is empty"),
        (Some(r#"{"hooks":["0.0.0.0/0"]}"#), "a range of all addresses"),
        (Some(r#"{"hooks":["nonsense"]}"#), "no list of address ranges"),
        (Some(r#"{"message":"rate limit"}"#), "no list of address ranges"),
        (None, "does not say from where GitHub delivers"),
    ] {
        let world = world(&answer.map_or("http://127.0.0.1:1/meta".into(), meta));
        // One that starts would never end.
        let mut serve = assert_cmd::Command::from_std(world.program(&["serve"]));
        let output = serve.timeout(Duration::from_secs(180)).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}
