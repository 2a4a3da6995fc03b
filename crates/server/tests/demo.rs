//! The demo, and the commands that it leaves its watcher with.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;

#[test]
fn the_demo_trains_the_pushed_commit_and_what_it_prints_works() {
    // With ms-swift it would train with that.
    let path = std::env::var_os("PATH").unwrap();
    let path = std::env::split_paths(&path).filter(|folder| !folder.join("swift").exists());
    let path = std::env::join_paths(path).unwrap();
    let output = Command::new(cargo_bin("swifthook")).arg("demo").env("PATH", path).output().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{}", whole(&output));
    assert!(!text.contains('\x1b'), "a pipe gets no control codes: {text:?}");
    let folder = Folder(text.lines().find_map(|line| line.trim().strip_prefix("cd ")).unwrap().into());
    for row in [
        "✓ delivery   signature verified, answered 200 in ",
        "– verdict    skip, paths: `README.md` does not match ",
        "✓ delivery   signature verified, answered 202 in ",
        "✓ verdict    launch: recipe sft-demo trains configs/sft_demo.yaml",
        "✓ job        0",
        "✓ checkout   commit ",
        "✓ training   80 steps, loss 0.693 → ",
        "✓ result     succeeded, ",
    ] {
        assert!(text.lines().any(|line| line.trim_start().starts_with(row)), "{row}\nis not in\n{text}");
    }
    // At which step it is when somebody looks is not in anybody's hand.
    let is_on_its_way = |row: &str| row.starts_with("… training    ") && row.contains("/80  loss ");
    assert!(text.lines().any(|line| is_on_its_way(line.trim_start())), "{text}");
    assert!(!text.contains(&fs::read_to_string(folder.0.join("secret")).unwrap()));
    let commands = printed_commands(&text);
    let [deliveries, logs, serve, send] = &commands[..] else { panic!("{commands:?}") };
    let listed = folder.succeed(deliveries);
    assert!(listed.contains("skip") && listed.contains("launch"), "{listed}");
    let log = folder.succeed(logs);
    assert!(log.starts_with("This is swifthook's toy trainer") && log.ends_with("done: 80 steps\n"), "{log}");
    let server = folder.start(serve);
    let answer = folder.succeed(send);
    assert!(answer.starts_with("duplicate") && answer.contains("known already"), "{answer}");
    drop(server);
}

#[test]
fn without_git_the_demo_says_so_and_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let mut demo = Command::new(cargo_bin("swifthook"));
    demo.arg("demo").env("PATH", "/nowhere").env("TMPDIR", temporary.path());
    let output = demo.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", whole(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("git cannot be run"), "{}", whole(&output));
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0, "nothing is left behind");
}

/// The folder of a demo, which goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec {line}")]).current_dir(&self.0);
        command
    }

    fn succeed(&self, line: &str) -> String {
        let output = self.command(line).output().expect("sh starts");
        assert!(output.status.success(), "{line}: {}", whole(&output));
        String::from_utf8(output.stdout).expect("UTF-8 is printed")
    }

    /// A server that answers already.
    fn start(&self, line: &str) -> Server {
        let server = Server(
            self.command(line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("sh starts"),
        );
        let config =
            fs::read_to_string(self.0.join("swifthook.toml")).expect("the demo leaves its configuration");
        let address = config
            .lines()
            .find_map(|line| line.strip_prefix("listen = "))
            .expect("it listens")
            .trim_matches('"');
        let deadline = Instant::now() + Duration::from_secs(120);
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "nobody listens on {address}");
            std::thread::sleep(Duration::from_millis(10));
        }
        server
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The lines below the one that begins with `cd`, without comments.
fn printed_commands(text: &str) -> Vec<String> {
    let below = text.lines().map(str::trim).skip_while(|line| !line.starts_with("cd ")).skip(1);
    below.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

fn whole(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{}\n{out}{err}", output.status)
}
