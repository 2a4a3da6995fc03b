//! The demo, and the commands that it leaves its watcher with.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;

#[test]
fn the_demo_trains_the_pushed_commit_and_what_it_prints_works() {
    let mut demo = Command::new(cargo_bin("swifthook"));
    let output = demo.arg("demo").env("PATH", path_without_swift()).output().unwrap();
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
    let [deliveries, logs, serve, send, remove] = &commands[..] else { panic!("{commands:?}") };
    let size = size(&folder.0);
    assert!(size < 4 << 20, "{size} bytes are left in {}", folder.0.display());
    let listed = folder.succeed(deliveries);
    assert!(listed.contains("skip") && listed.contains("launch"), "{listed}");
    let log = folder.succeed(logs);
    assert!(log.starts_with("This is swifthook's toy trainer") && log.ends_with("done: 80 steps\n"), "{log}");
    assert!(
        !folder.0.join("swifthook.db.reserve").exists(),
        "to look takes no room that a server would need"
    );
    let server = folder.start(serve);
    let answer = folder.succeed(send);
    assert!(answer.starts_with("duplicate") && answer.contains("known already"), "{answer}");
    drop(server);
    assert!(folder.0.exists());
    folder.succeed(remove);
    assert!(!folder.0.exists());
}

#[test]
fn a_demo_that_is_interrupted_ends_what_it_began_and_removes_its_folder() {
    for (signal, code, at) in [
        ("INT", 130, "swifthook demo: "),
        ("TERM", 143, "✓ delivery "),
        ("INT", 130, "✓ job "),
        ("HUP", 129, "✓ checkout "),
        ("INT", 130, "… training "),
    ] {
        let temporary = tempfile::Builder::new().prefix("interrupted").tempdir().unwrap();
        let mut demo = Command::new(cargo_bin("swifthook"));
        demo.arg("demo").env("PATH", path_without_swift()).env("TMPDIR", temporary.path());
        let mut child = demo.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.by_ref().any(|line| line.trim_start().starts_with(at)), "{at} is told");
        let sent = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        let rest = lines.collect::<Vec<_>>().join("\n");
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{at}: {rest}\n{}", whole(&output));
        assert!(
            rest.contains("Ended: nothing of the demo runs any more, and its folder is removed."),
            "{rest}"
        );
        assert!(!rest.contains("✓ result"), "{rest}");
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0, "{at}: {rest}");
        assert_eq!(processes_of(temporary.path()), [""; 0], "{at}: {rest}");
    }
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

/// With ms-swift it would train with that.
fn path_without_swift() -> OsString {
    let path = std::env::var_os("PATH").expect("there is a PATH");
    let path = std::env::split_paths(&path).filter(|folder| !folder.join("swift").exists());
    std::env::join_paths(path).expect("its folders were in one")
}

/// What takes room on the disk below a folder, in bytes.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("it is there").map(|entry| entry.expect("it is read").path());
    let sizes = entries.map(|path| match fs::symlink_metadata(&path).expect("it is there") {
        meta if meta.is_dir() => size(&path),
        meta => meta.blocks() * 512,
    });
    sizes.sum()
}

/// The commands of processes that name a folder, or work in it.
fn processes_of(folder: &Path) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("this is Linux").flatten().map(|entry| entry.path());
    let of_it = processes.filter_map(|process| {
        let command = String::from_utf8_lossy(&fs::read(process.join("cmdline")).ok()?).replace('\0', " ");
        let works_in_it = fs::read_link(process.join("cwd")).is_ok_and(|at| at.starts_with(folder));
        (works_in_it || command.contains(&*folder.to_string_lossy())).then_some(command)
    });
    of_it.collect()
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
