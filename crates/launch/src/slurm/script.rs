//! What is handed to Slurm and to the shell on the node, made from typed values.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use swifthook_core::{RunKey, RunSpec};

use super::config::SlurmOptions;
use super::quote::{quote, quote_all};

/// Something of a run that no script can say, in a person's words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unsayable(pub(super) String);

/// What the name of a Slurm job says: by this a run is found again.
pub(super) fn job_name(key: &RunKey) -> String {
    format!("swifthook-{key}")
}

/// What its comment says. Name and comment together are ours; a name alone may be anybody's.
pub(super) fn comment(key: &RunKey) -> String {
    format!("swifthook run {key}")
}

/// The arguments of `sbatch`. What is said here overrides `#SBATCH` lines, so none of it can be undone by one
/// (<https://slurm.schedmd.com/sbatch.html>).
pub(super) fn arguments(options: &SlurmOptions, key: &RunKey, run: &RunSpec) -> Vec<String> {
    let warning = (run.grace + BEFORE_THE_LIMIT).as_secs();
    let mut arguments = vec![
        "--parsable".to_owned(),
        format!("--job-name={}", job_name(key)),
        format!("--comment={}", comment(key)),
        format!("--chdir={}", run.run_dir.display()),
        // Relative to that: a whole path could hold `%`, which means something in it.
        "--output=log".to_owned(),
        "--error=log".to_owned(),
        "--open-mode=append".to_owned(),
        "--input=/dev/null".to_owned(),
        // Of the environment of `sbatch`, which holds nothing but what finds Slurm.
        "--export=ALL".to_owned(),
        // Slurm would begin it anew; we go on from its checkpoint.
        "--no-requeue".to_owned(),
        format!("--signal=B:TERM@{warning}"),
        format!("--nodes={0}-{0}", run.shape.nodes),
        "--ntasks-per-node=1".to_owned(),
    ];
    let mut add = |name: &str, value: Option<String>| {
        arguments.extend(value.map(|value| format!("--{name}={value}")));
    };
    add("partition", options.partition.clone());
    add("account", options.account.clone());
    add("qos", options.qos.clone());
    add("cpus-per-task", options.cpus.map(|count| count.to_string()));
    add("gres", (run.shape.gpus > 0).then(|| format!("{}:{}", options.gres, run.shape.gpus)));
    add("mem", run.limits.memory.map(|bytes| format!("{}M", bytes.div_ceil(1 << 20))));
    add("time", options.time.map(minutes));
    arguments
}

/// The batch script: the site's own lines, and the run. Neither the command nor its environment is in it, since
/// `scontrol write batch_script` shows it.
pub(super) fn script(
    options: &SlurmOptions,
    control: &Path,
    key: &RunKey,
    run: &RunSpec,
) -> Result<String, Unsayable> {
    let mut body = String::new();
    let values = [
        ("key", key.to_string()),
        ("control", text(control)?.to_owned()),
        ("grace", seconds(run.grace)),
        ("timeout", run.timeout.map(seconds).unwrap_or_default()),
        ("max_log", run.limits.log.map(|bytes| bytes.to_string()).unwrap_or_default()),
        ("nodes", run.shape.nodes.to_string()),
    ];
    for (name, value) in values {
        let value = quote(&value).ok_or_else(|| zero_byte(name))?;
        let _ = writeln!(body, "{name}={value}");
    }
    body.push_str(RUN);
    Ok(options.framed(&body))
}

/// The file `command`: what becomes the training on each node.
pub(super) fn command(control: &Path, key: &RunKey, run: &RunSpec) -> Result<String, Unsayable> {
    let is_alone = run.shape.nodes.get() == 1;
    let argv: Vec<_> = started_by(run, is_alone).into_iter().chain(run.argv.iter().cloned()).collect();
    let argv = quote_all(&argv).ok_or_else(|| zero_byte("an argument"))?;
    let mut text_of =
        String::from("# What becomes the training. Its environment is what stands in `environment`.\n");
    if is_alone {
        text_of.push_str("echo $$ >session\n");
    }
    text_of.push_str("unset ENVIRONMENT HOSTNAME\n. ./environment\n");
    let _ = writeln!(text_of, "export SWIFTHOOK_RUN='{key}'");
    if !is_alone {
        text_of.push_str(TORCHRUN);
        let _ = writeln!(text_of, "export NPROC_PER_NODE={}", run.shape.processes);
    }
    if let Some(files) = run.limits.files {
        let _ = writeln!(text_of, "ulimit -n {files}");
    }
    let working_dir = quote(text(&run.working_dir)?).ok_or_else(|| zero_byte("the working directory"))?;
    let missing = quote(text(&control.join(MISSING))?).ok_or_else(|| zero_byte("the folder of control"))?;
    let _ = writeln!(text_of, "cd {working_dir} || exit 126\nunset OLDPWD\nset -- {argv}");
    let _ = writeln!(text_of, "command -v \"$1\" >/dev/null || {{ : >{missing}; exit 127; }}");
    let mut exec = "exec \"$@\"".to_owned();
    if run.enclosure.sandbox.is_some() {
        let sandbox =
            quote(text(&control.join(SANDBOX))?).ok_or_else(|| zero_byte("the folder of control"))?;
        let _ = write!(exec, " {SANDBOX_FD}<{sandbox}");
        if !is_alone {
            // Slurm tells every process of the step, and this one would take the others along.
            text_of.push_str("trap '' TERM\n");
        }
    }
    let _ = writeln!(text_of, "{exec}{}", if is_alone { " 2>&3 3>&-" } else { "" });
    Ok(text_of)
}

/// The program that executes the command.
fn started_by(run: &RunSpec, is_alone: bool) -> Vec<String> {
    let Some(sandbox) = &run.enclosure.sandbox else { return run.enclosure.prefix.clone() };
    let mut words = vec![sandbox.program.clone(), "--args".into(), SANDBOX_FD.to_string(), "--".into()];
    if !is_alone {
        words.extend(["env", "--default-signal=TERM"].map(str::to_owned));
    }
    words
}

/// The file `environment`.
pub(super) fn environment(run: &RunSpec) -> Result<String, Unsayable> {
    let mut text = String::new();
    for (name, value) in &run.env {
        if !is_sayable(name) {
            let why =
                format!("the variable `{name}` cannot be handed on: a shell sets the environment there");
            return Err(Unsayable(why));
        }
        let value = quote(value).ok_or_else(|| zero_byte(name))?;
        let _ = writeln!(text, "export {name}={value}");
    }
    Ok(text)
}

/// Names that a POSIX shell can set; a few are its own and may not be set in all of them.
fn is_sayable(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty()
        && name.bytes().all(is_plain)
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && !OF_THE_SHELL.contains(&name)
}

fn text(path: &Path) -> Result<&str, Unsayable> {
    path.to_str().ok_or_else(|| Unsayable(format!("the path `{}` is not UTF-8", path.display())))
}

fn zero_byte(what: &str) -> Unsayable {
    Unsayable(format!("{what} holds a zero byte, which no script can"))
}

/// Slurm counts limits in minutes: a begun one is a whole one.
fn minutes(time: Duration) -> String {
    time.as_secs().div_ceil(60).max(1).to_string()
}

/// As `sleep` takes them.
pub(super) fn seconds(time: Duration) -> String {
    format!("{}.{:03}", time.as_secs(), time.subsec_millis())
}

/// The file that says that the program of a run is not there.
pub(super) const MISSING: &str = "missing";
/// The file with what bubblewrap is told, and the descriptor at which it finds it.
pub(super) const SANDBOX: &str = "sandbox";
const SANDBOX_FD: u8 = 9;
/// How long before the limit a run is asked to end, beside its grace: to write down how it ended, and since Slurm looks
/// now and then only.
pub(super) const BEFORE_THE_LIMIT: Duration = Duration::from_secs(30);
const RUN: &str = include_str!("run.sh");
const OF_THE_SHELL: [&str; 6] = ["UID", "EUID", "PPID", "SHELLOPTS", "BASHOPTS", "BASH_VERSINFO"];
/// One command per node, as torchrun wants it. The port is that of nobody else's run on the first node, most likely.
const TORCHRUN: &str = "\
export NNODES=\"$SLURM_NNODES\" NODE_RANK=\"$SLURM_NODEID\"
export MASTER_ADDR=\"$(scontrol show hostnames \"$SLURM_JOB_NODELIST\" | head -n 1)\"
export MASTER_PORT=\"$((20000 + SLURM_JOB_ID % 20000))\"
";

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs::{self, OpenOptions};
    use std::io::Read;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::process::{Command, Stdio};
    use std::sync::Arc;
    use std::time::Instant;

    use serde_json::json;
    use swifthook_core::{Enclosure, JobId, Mount, RunLimits, RunShape, Sandbox, State};

    use super::*;
    use crate::log::LogReader;
    use crate::sandbox::told;

    /// The end of a run as its node writes it down, with `max_log` bytes of a log, and `PATH` with `first` before it.
    fn ran(dir: &Path, command: &str, max_log: &str, first: &str) -> String {
        let path = dir.to_str().unwrap();
        let values = format!("key=k\ncontrol={path}\ngrace=20.000\ntimeout=\nnodes=1\nmax_log={max_log}\n");
        fs::write(dir.join("text"), command).unwrap();
        fs::write(dir.join("command"), "echo $$ >session\nexec sh ./text 2>&3 3>&-\n").unwrap();
        let log = OpenOptions::new().append(true).create(true).open(dir.join("log")).unwrap();
        let status = Command::new("sh")
            .args(["-c", &(values + RUN)])
            .env("SLURM_JOB_ID", "7")
            .env("PATH", format!("{first}{}", std::env::var("PATH").unwrap()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .status();
        assert!(status.unwrap().success());
        fs::read_to_string(dir.join("exit.json")).unwrap()
    }

    #[test]
    fn of_a_log_that_is_too_large_beginning_and_end_are_kept_on_a_node_too() {
        let dir = tempfile::tempdir().unwrap();
        let text = "echo begins; head -c 60000000 /dev/zero | tr '\\0' x
            until grep -q swifthook: log; do :; done
            head -c 60000000 /dev/zero | tr '\\0' x; echo; echo ends; exit 5";
        let end = ran(dir.path(), text, "2097152", "");
        assert!(end.contains("\"code\":5,\"signal\":null,\"stopped\":null"), "{end}");
        let log = dir.path().join("log");
        let metadata = log.metadata().unwrap();
        assert!(metadata.blocks() * 512 <= 2 << 20 && metadata.len() > 120_000_000, "{metadata:?}");
        let mut text = String::new();
        LogReader::all(fs::File::open(log).unwrap()).unwrap().read_to_string(&mut text).unwrap();
        assert!(text.starts_with("begins\nx") && text.ends_with("x\nends\n"), "{} bytes", text.len());
        assert_eq!(text.matches("\n[swifthook: ").count(), 1, "the same line as ours");
        assert!(!dir.path().join("log.over").exists());
    }

    #[test]
    fn a_log_that_no_node_can_cut_ends_its_run() {
        let dir = tempfile::tempdir().unwrap();
        let programs = dir.path().join("programs");
        fs::create_dir(&programs).unwrap();
        fs::write(programs.join("fallocate"), "#!/bin/sh\nexit 1\n").unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(programs.join("fallocate"), executable).unwrap();
        let text = "trap 'exit 6' TERM; head -c 60000000 /dev/zero; while :; do sleep 0.05; done";
        let end = ran(dir.path(), text, "2097152", &format!("{}:", programs.display()));
        assert!(end.contains("\"code\":6,\"signal\":null,\"stopped\":\"limit\""), "{end}");
        assert!(end.contains("its log has more than 2097152 bytes (max_log)"), "{end}");
    }

    #[test]
    fn a_log_may_be_as_large_as_it_gets() {
        let dir = tempfile::tempdir().unwrap();
        let end = ran(dir.path(), "head -c 3000000 /dev/zero | tr '\\0' x; exit 4", "", "");
        assert!(end.contains("\"code\":4"), "{end}");
        assert_eq!(fs::read(dir.path().join("log")).unwrap(), vec![b'x'; 3_000_000]);
    }

    fn key() -> RunKey {
        RunKey { job: JobId([1; 16]), attempt: 1 }
    }

    /// A run in a sandbox that shows its own directory.
    fn run(state_dir: &Path, text: &str) -> RunSpec {
        let job = json!({
            "id": key().job, "before": null, "sender": null, "pushed_at": null, "source": "person",
            "change": { "repository": "acme/models", "ref_name": { "branch": "main" }, "head": "a".repeat(40),
                        "recipe": "sft", "config": "", "run": 0 },
            "spec": { "recipe": "sft", "config": null, "group": "sft", "priority": 0, "launcher": "cluster",
                      "labels": [], "command": [], "superseded": "keep", "debounce": null,
                      "retry": swifthook_core::Retry::default() },
            "state": State::queued(None, None), "created_at": 0, "rerun_of": null, "superseded_by": null,
            "progress": null,
        });
        let run_dir = state_dir.join("runs").join(key().to_string());
        let output = run_dir.join("output");
        fs::create_dir_all(&output).unwrap();
        let at = output.to_str().unwrap().to_owned();
        let mounts =
            vec![Mount::Empty(state_dir.to_str().unwrap().into()), Mount::Writable { from: at.clone(), at }];
        let sandbox = Sandbox {
            program: "/usr/bin/bwrap".into(),
            network: true,
            mounts,
            working_dir: "/".into(),
            ..Sandbox::default()
        };
        RunSpec {
            job: Arc::new(serde_json::from_value(job).unwrap()),
            argv: ["sh", "-c", text].map(str::to_owned).into(),
            env: BTreeMap::from([("OUTPUT".to_owned(), output.to_str().unwrap().to_owned())]),
            working_dir: "/".into(),
            checkout: None,
            output_dir: output,
            run_dir,
            timeout: None,
            grace: Duration::from_secs(60),
            limits: RunLimits::default(),
            enclosure: Enclosure { sandbox: Some(sandbox), outlives_command: true, ..Enclosure::default() },
            shape: RunShape::default(),
        }
    }

    #[test]
    fn a_run_in_a_sandbox_tells_bubblewrap_nothing_on_its_command_line() {
        let state_dir = tempfile::tempdir().unwrap();
        let mut run = run(state_dir.path(), "true");
        let alone = command(CONTROL.as_ref(), &key(), &run).unwrap();
        assert!(alone.contains("set -- '/usr/bin/bwrap' '--args' '9' '--' 'sh' '-c' 'true'\n"), "{alone}");
        assert!(alone.contains("exec \"$@\" 9<'/state/control/sandbox' 2>&3 3>&-\n"), "{alone}");
        run.shape.nodes = 2.try_into().unwrap();
        let together = command(CONTROL.as_ref(), &key(), &run).unwrap();
        assert!(together.contains("'--' 'env' '--default-signal=TERM' 'sh'"), "{together}");
        assert!(together.contains("trap '' TERM\nexec"), "{together}");
    }

    /// The node is this machine, and Slurm the one who sends a signal to the batch script.
    #[test]
    #[ignore = "needs bubblewrap"]
    fn a_run_in_a_sandbox_is_asked_to_end_and_has_its_grace() {
        let state_dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let text = "trap 'echo saved >\"$OUTPUT/saved\"; exit 7' TERM; touch \"$OUTPUT/up\"; ls \"$OUTPUT/..\"; while :; do sleep 0.05; done";
        let run = run(state_dir.path(), text);
        let control = state_dir.path().join("control").join(key().to_string());
        fs::create_dir_all(&control).unwrap();
        let write = |name: &str, text: &[u8]| fs::write(control.join(name), text).unwrap();
        write(SANDBOX, &told(run.enclosure.sandbox.as_ref().unwrap()).unwrap());
        write("command", command(&control, &key(), &run).unwrap().as_bytes());
        write("environment", environment(&run).unwrap().as_bytes());
        write("batch", script(&SlurmOptions::default(), &control, &key(), &run).unwrap().as_bytes());
        let mut batch = Command::new("sh");
        if rustix::process::geteuid().is_root() {
            fs::set_permissions(state_dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
            for folder in ["runs", "control"] {
                crate::local::give(&state_dir.path().join(folder), 61_234, 61_234).unwrap();
            }
            batch = Command::new("setpriv");
            batch.args(["--reuid=61234", "--regid=61234", "--clear-groups", "sh"]);
        }
        batch.arg(control.join("batch")).env("SLURM_JOB_ID", "7").stdin(Stdio::null());
        batch.stdout(fs::File::create(run.run_dir.join("log")).unwrap()).stderr(Stdio::null());
        let mut batch = batch.spawn().unwrap();
        until(|| run.output_dir.join("up").exists());
        write("stop.grace.json", b"{}");
        assert!(Command::new("kill").arg(batch.id().to_string()).status().unwrap().success());
        batch.wait().unwrap();
        let end = fs::read_to_string(control.join("exit.json")).unwrap();
        assert!(end.contains("\"code\":7") && end.contains("\"stopped\":\"cancel\""), "{end}");
        assert_eq!(fs::read_to_string(run.output_dir.join("saved")).unwrap(), "saved\n");
        assert_eq!(fs::read_to_string(run.run_dir.join("log")).unwrap(), "output\n", "it sees nothing else");
    }

    fn until(is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_so() {
            assert!(Instant::now() < deadline, "it is not so");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    const CONTROL: &str = "/state/control";
}
