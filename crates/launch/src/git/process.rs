//! A process of git from its start to its end: how long it may take, and what is read of what it says.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process_group, prlimit};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::sleep;

use super::failure::Failure;
use super::lock::Holder;
use crate::process::Process;

/// How long a call may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) whole: Duration,
    /// For how long nothing at all may happen.
    idle: Option<Duration>,
    /// Limit in bytes of what is kept of its output; of one that writes more nothing is.
    pub(super) output: usize,
    /// Bytes of memory that it may have for what it works on.
    pub(super) memory: Option<u64>,
}

impl Limits {
    /// Longer than anything sane takes on one disk.
    pub(super) const LOCAL: Self =
        Self { whole: Duration::from_secs(60 * 60), idle: None, output: MOST_OUTPUT, memory: None };
    /// A server that is slow is waited for as long as bytes come; one that hangs is not.
    pub(super) const REMOTE: Self = Self {
        whole: Duration::from_secs(24 * 60 * 60),
        idle: Some(Duration::from_secs(120)),
        output: MOST_OUTPUT,
        memory: None,
    };
}

/// Whoever looks at what a command writes while it does.
pub(super) trait Reader: Send {
    /// Takes the next piece. Breaks when that is enough: then the command is ended, as one that succeeded.
    ///
    /// # Errors
    ///
    /// If it cannot be what was asked for: then the command is ended, as one that failed.
    fn read(&mut self, piece: &[u8]) -> io::Result<ControlFlow<()>>;
}

/// All of it, unless it is more than anything sane.
pub(super) struct Whole {
    pub(super) most: usize,
    pub(super) bytes: Vec<u8>,
}

impl Reader for Whole {
    fn read(&mut self, piece: &[u8]) -> io::Result<ControlFlow<()>> {
        if self.bytes.len() + piece.len() > self.most {
            return Err(io::Error::other(format!("it wrote more than {} KiB", self.most >> 10)));
        }
        self.bytes.extend_from_slice(piece);
        Ok(ControlFlow::Continue(()))
    }
}

/// Records with a byte at the end of each, one after the other. One that is longer than `LONGEST_RECORD` is none that
/// git means.
pub(super) struct Records<F> {
    end: u8,
    rest: Vec<u8>,
    each: F,
}

impl<F: FnMut(&[u8]) -> ControlFlow<()> + Send> Records<F> {
    pub(super) fn new(end: u8, each: F) -> Self {
        Self { end, rest: Vec::new(), each }
    }
}

impl<F: FnMut(&[u8]) -> ControlFlow<()> + Send> Reader for Records<F> {
    fn read(&mut self, piece: &[u8]) -> io::Result<ControlFlow<()>> {
        let end = self.end;
        let mut parts = piece.split(|byte| *byte == end);
        // What follows the last end is the beginning of a record.
        let last = parts.next_back().unwrap_or_default();
        for part in parts {
            self.keep(part)?;
            let record = std::mem::take(&mut self.rest);
            if (self.each)(&record).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            self.rest = record;
            self.rest.clear();
        }
        self.keep(last)?;
        Ok(ControlFlow::Continue(()))
    }
}

impl<F> Records<F> {
    fn keep(&mut self, part: &[u8]) -> io::Result<()> {
        if self.rest.len() + part.len() > LONGEST_RECORD {
            return Err(io::Error::other(format!(
                "it wrote a name of more than {} KiB",
                LONGEST_RECORD >> 10
            )));
        }
        self.rest.extend_from_slice(part);
        Ok(())
    }
}

/// Runs a command and shows `reader` what it writes. Whatever it has started ends with it, also where this is dropped.
pub(super) async fn run(
    what: &'static str,
    mut command: Command,
    limits: Limits,
    holder: Option<fs::File>,
    reader: &mut impl Reader,
) -> Result<(), Failure> {
    let failed = |message: String| Failure::new(what, message);
    let child = command.spawn().map_err(|error| failed(format!("cannot run git: {error}")))?;
    let mut group = Group(child.id());
    if let (Some(most), Some(pid)) = (limits.memory, group.0.and_then(|id| Pid::from_raw(id.cast_signed()))) {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        // Of one that has ended already there is nothing to bound.
        let _ = prlimit(Some(pid), Resource::Data, limit);
    }
    if let (Some(file), Some(pid)) = (holder, child.id()) {
        // Without it a git that outlives us is waited for, and not ended.
        let _ = Holder::of_child(pid).map(|holder| holder.write(&file));
    }
    let outcome = tokio::select! {
        outcome = finish(child, reader) => outcome.map_err(|error| failed(format!("cannot run git: {error}")))?,
        () = sleep(limits.whole) => {
            return Err(failed(format!("it took longer than {} min", limits.whole.as_secs() / 60)));
        }
        () = idle(group.0, limits.idle) => {
            let idle = limits.idle.unwrap_or_default().as_secs();
            return Err(failed(format!("the server hangs: nothing has come for {idle} s")));
        }
    };
    // Of one that nobody reads to its end, the rest is ended now.
    let Some(Outcome { status, stderr }) = outcome else { return Ok(()) };
    group.0 = None;
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (None, Some(signal)) => Err(Failure::of_signal(what, signal, &stderr)),
        (code, _) => Err(Failure::of_git(what, code, &stderr)),
    }
}

struct Outcome {
    status: ExitStatus,
    stderr: Vec<u8>,
}

/// Reads until the end; `None` where the reader had enough before.
async fn finish(mut child: Child, reader: &mut impl Reader) -> io::Result<Option<Outcome>> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let reading = async {
        match show(stdout, reader).await? {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Stop::Enough),
        }
    };
    let errors = async { Ok(read_end(stderr, MOST_ERRORS).await?) };
    let ending = async { Ok(child.wait().await?) };
    match tokio::try_join!(reading, errors, ending) {
        Ok(((), stderr, status)) => Ok(Some(Outcome { status, stderr })),
        Err(Stop::Enough) => Ok(None),
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// Reasons for which a command is not waited for any more.
enum Stop {
    Enough,
    Failed(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

async fn show(from: Option<impl AsyncRead + Unpin>, reader: &mut impl Reader) -> io::Result<ControlFlow<()>> {
    let Some(mut from) = from else { return Ok(ControlFlow::Continue(())) };
    let mut piece = vec![0; 64 << 10];
    loop {
        match from.read(&mut piece).await? {
            0 => return Ok(ControlFlow::Continue(())),
            length if reader.read(&piece[..length])?.is_break() => return Ok(ControlFlow::Break(())),
            // Others are to have their turn, however fast it writes.
            _ => tokio::task::yield_now().await,
        }
    }
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

/// Hashes, sizes and one entry of a tree: whoever asks for more says so, or reads it piece by piece.
const MOST_OUTPUT: usize = 1 << 20;
/// Longer than the longest path that any system has.
const LONGEST_RECORD: usize = 64 << 10;
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
        let limits = Limits {
            whole: Duration::from_secs(300),
            idle: Some(Duration::from_secs(4)),
            output: 0,
            memory: None,
        };
        let mut all = Whole { most: 1_000, bytes: Vec::new() };
        super::run("try", command, limits, None, &mut all).await?;
        Ok(all.bytes)
    }

    #[tokio::test]
    async fn whoever_writes_without_end_is_ended_and_nothing_of_it_is_kept() {
        for endless in ["yes 0123456789", "cat /dev/zero"] {
            let failure = run(endless).await.unwrap_err();
            assert!(failure.to_string().contains("more than 0 KiB"), "{failure}");
        }
    }

    #[test]
    fn records_are_whole_however_they_come() {
        let mut seen = Vec::new();
        let mut records = Records::new(0, |record: &[u8]| {
            seen.push(String::from_utf8_lossy(record).into_owned());
            if record == b"last" { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        for piece in ["a", "b\0", "", "c\0d", "\0\0"] {
            assert!(records.read(piece.as_bytes()).unwrap().is_continue());
        }
        assert!(records.read(b"la").unwrap().is_continue());
        assert!(records.read(b"st\0more\0").unwrap().is_break());
        drop(records);
        assert_eq!(seen, ["ab", "c", "d", "", "last"]);
        let mut endless = Records::new(0, |_: &[u8]| ControlFlow::Continue(()));
        let refused = (0..3).find_map(|_| endless.read(&[b'x'; 32 << 10]).err());
        assert!(refused.unwrap().to_string().contains("a name of more than 64 KiB"));
    }

    #[tokio::test]
    async fn a_git_that_crashes_says_nothing_and_is_told_all_the_same() {
        let failure = run("kill -SEGV $$").await.unwrap_err().to_string();
        assert!(failure.starts_with("cannot try: git was ended by signal 11 (SIGSEGV"), "{failure}");
        let failure = run("echo last >&2; kill -KILL $$").await.unwrap_err().to_string();
        assert_eq!(failure, "cannot try: git was ended by signal 9 (SIGKILL): last");
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
