//! A process of git from its start to its end: how long it may take, and what is read of what it says.

use std::fs;
use std::io;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::sleep;

use super::failure::Failure;
use super::lock::Holder;
use crate::process::Process;

/// How long a call may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    whole: Duration,
    /// For how long nothing at all may happen.
    idle: Option<Duration>,
}

impl Limits {
    /// Longer than anything sane takes on one disk.
    pub(super) const LOCAL: Self = Self { whole: Duration::from_secs(60 * 60), idle: None };
    /// A server that is slow is waited for as long as bytes come; one that hangs is not.
    pub(super) const REMOTE: Self =
        Self { whole: Duration::from_secs(24 * 60 * 60), idle: Some(Duration::from_secs(120)) };
}

/// What the command writes, if it succeeds. Whatever it has started ends with it, also where this is dropped.
pub(super) async fn output(
    what: &'static str,
    mut command: Command,
    limits: Limits,
    holder: Option<fs::File>,
) -> Result<Vec<u8>, Failure> {
    let failed = |message: String| Failure::new(what, message);
    let child = command.spawn().map_err(|error| failed(format!("cannot run git: {error}")))?;
    let mut group = Group(child.id());
    if let (Some(file), Some(pid)) = (holder, child.id()) {
        // Without it a git that outlives us is waited for, and not ended.
        let _ = Holder::of_child(pid).map(|holder| holder.write(&file));
    }
    let outcome = tokio::select! {
        outcome = finish(child) => outcome.map_err(|error| failed(format!("cannot run git: {error}")))?,
        () = sleep(limits.whole) => {
            return Err(failed(format!("it took longer than {} min", limits.whole.as_secs() / 60)));
        }
        () = idle(group.0, limits.idle) => {
            let idle = limits.idle.unwrap_or_default().as_secs();
            return Err(failed(format!("the server hangs: nothing has come for {idle} s")));
        }
    };
    group.0 = None;
    match outcome {
        Outcome { code: Some(0), stdout, .. } => Ok(stdout),
        Outcome { code, stderr, .. } => Err(Failure::of_git(what, code, &stderr)),
    }
}

struct Outcome {
    code: Option<i32>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

async fn finish(mut child: Child) -> io::Result<Outcome> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr, status) =
        tokio::try_join!(read_all(stdout, MOST_OUTPUT), read_end(stderr, MOST_ERRORS), child.wait())?;
    Ok(Outcome { code: status.code(), stdout, stderr })
}

/// All of it, unless it is more than anything sane.
async fn read_all(from: Option<impl AsyncRead + Unpin>, most: u64) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    if let Some(from) = from {
        from.take(most + 1).read_to_end(&mut all).await?;
    }
    if all.len() as u64 > most {
        return Err(io::Error::other(format!("it wrote more than {} MiB", most >> 20)));
    }
    Ok(all)
}

/// The end of it. A server may say as much as it likes.
async fn read_end(from: Option<impl AsyncRead + Unpin>, most: usize) -> io::Result<Vec<u8>> {
    let (mut end, mut piece) = (Vec::new(), [0; 4096]);
    let Some(mut from) = from else { return Ok(end) };
    loop {
        match from.read(&mut piece).await? {
            0 => return Ok(end),
            length => end.extend_from_slice(&piece[..length]),
        }
        let superfluous = end.len().saturating_sub(most);
        end.drain(..superfluous);
    }
}

/// Returns when nothing has happened in the process group for that long.
async fn idle(group: Option<u32>, limit: Option<Duration>) {
    let (Some(group), Some(limit)) = (group, limit) else { return std::future::pending().await };
    let pause = limit / LOOKS;
    // A tenth of a pause, in the hundredths of a second in which processor time is told: waiting costs a little too.
    let work = u64::try_from(pause.as_millis() / 100).unwrap_or(u64::MAX).max(1);
    let (mut last, mut idle) = (Activity::of(group.cast_signed()), 0);
    while idle < LOOKS {
        sleep(pause).await;
        let now = Activity::of(group.cast_signed());
        idle = if now.is_more_than(&last, work) { 0 } else { idle + 1 };
        last = now;
    }
}

/// What the processes of a group have done so far.
#[derive(Debug, Default)]
struct Activity {
    /// Bytes that went through any of git's own. What else there is, such as `ssh`, also talks where nothing comes.
    bytes: u64,
    ticks: u64,
    is_known: bool,
}

impl Activity {
    fn of(group: i32) -> Self {
        let mut activity = Self::default();
        let members = Process::all_alive().unwrap_or_default();
        for member in members.iter().filter(|member| member.group == group) {
            if !member.is_called("git") {
                continue;
            }
            let io = fs::read_to_string(format!("/proc/{}/io", member.pid)).unwrap_or_default();
            let counts = io.lines().filter_map(|line| {
                let (name, count) = line.split_once(": ")?;
                ["rchar", "wchar", "read_bytes"].contains(&name).then(|| count.parse::<u64>().ok())?
            });
            activity.bytes += counts.sum::<u64>();
            activity.ticks += member.ticks();
            activity.is_known |= !io.is_empty();
        }
        activity
    }

    fn is_more_than(&self, last: &Self, work: u64) -> bool {
        !self.is_known || self.bytes != last.bytes || self.ticks >= last.ticks + work
    }
}

/// The process group of a git that has not ended: what it has started ends with it.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0.and_then(|id| Pid::from_raw(id.cast_signed())) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

const MOST_OUTPUT: u64 = 512 << 20;
const MOST_ERRORS: usize = 16 << 10;
/// How often a call is looked at within the time for which nothing may happen.
const LOOKS: u32 = 24;

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    /// A script in place of git, which must finish within five minutes and may rest for four seconds.
    async fn run(text: &str) -> Result<Vec<u8>, Failure> {
        // It is called as git is, or nobody looks at what it does. Written by another process: what this one writes, others
        // that it is starting have open too, and so it cannot be run.
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("git-script");
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" >\"$0\" && chmod 755 \"$0\"";
        let written = Command::new("sh").args(["-c", write]).arg(&program).arg(text).status().await.unwrap();
        assert!(written.success());
        let mut command = Command::new(&program);
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let limits = Limits { whole: Duration::from_secs(300), idle: Some(Duration::from_secs(4)) };
        output("try", command, limits, None).await
    }

    #[tokio::test]
    async fn whoever_hangs_is_ended() {
        let failure = run("sleep 600").await.unwrap_err();
        assert!(failure.to_string().contains("hangs"), "{failure}");
    }

    #[tokio::test]
    async fn whoever_is_slow_goes_on_while_anything_comes() {
        let slowly = "n=0; while [ $n -lt 30 ]; do echo $n; n=$((n + 1)); sleep 0.2; done";
        let told = run(slowly).await.unwrap();
        assert_eq!(told.split(|byte| *byte == b'\n').count(), 31);
    }

    #[tokio::test]
    async fn a_server_may_say_as_much_as_it_likes_and_its_last_words_are_told() {
        let failure = run("yes 0123456789 | head -n 100000 >&2; echo last >&2; exit 3").await.unwrap_err();
        assert!(failure.to_string().ends_with("0123456789; 0123456789; last"), "{failure}");
    }
}
