use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;

use swifthook_core::{Progress, TraceReader, Traces};

use crate::beneath::Beneath;

/// A log that grows, read as far as it was there at the last look.
///
/// What a training writes is no evidence of anything, so a file that cannot be read counts as one that says no more.
pub(super) struct Tail {
    name: &'static str,
    reader: Box<dyn TraceReader>,
    /// Device and number of the file: another one begins anew.
    file: Option<(u64, u64)>,
    read: u64,
    written: Option<SystemTime>,
    /// The step at which the run last called a checkpoint whole.
    checkpoint: Option<(String, u64)>,
}

impl Tail {
    pub(super) fn new(name: &'static str, reader: Box<dyn TraceReader>) -> Self {
        Self { name, reader, file: None, read: 0, written: None, checkpoint: None }
    }

    /// Reads what is new.
    pub(super) fn look(&mut self, dir: &Beneath, traces: &dyn Traces) {
        let Ok(file) = dir.file(self.name) else { return };
        let Ok(metadata) = file.metadata() else { return };
        let is_same = self.file == Some((metadata.dev(), metadata.ino())) && metadata.len() >= self.read;
        if is_same && metadata.len() == self.read {
            return;
        }
        if !is_same {
            *self = Self::new(self.name, traces.reader());
            self.file = Some((metadata.dev(), metadata.ino()));
        }
        if self.read_more(file, metadata.len()).is_ok() {
            self.written = metadata.modified().ok();
        }
        self.note_checkpoint();
    }

    pub(super) fn progress(&self) -> Progress {
        self.reader.progress()
    }

    /// When it was written last, as far as it was read.
    pub(super) fn written(&self) -> Option<SystemTime> {
        self.written
    }

    /// The place of the last checkpoint that the run itself calls whole.
    pub(super) fn checkpoint(&self) -> Option<&str> {
        self.reader.checkpoint()
    }

    pub(super) fn checkpoint_step(&self) -> Option<u64> {
        self.checkpoint.as_ref().map(|(_, step)| *step)
    }

    fn read_more(&mut self, mut file: File, length: u64) -> io::Result<()> {
        if length - self.read > MOST_BEHIND {
            // Of what was missed for so long each thing's last mention is all that matters. What comes first is most
            // likely the rest of a line, which says nothing, and must not be taken for that of another.
            self.read = length - MOST_BEHIND;
            self.reader.push(b"\n");
        }
        file.seek(SeekFrom::Start(self.read))?;
        let mut piece = vec![0; PIECE.min(usize::try_from(length - self.read).unwrap_or(PIECE))];
        while self.read < length {
            let most = piece.len().min(usize::try_from(length - self.read).unwrap_or(usize::MAX));
            let count = file.read(&mut piece[..most])?;
            if count == 0 {
                break;
            }
            self.reader.push(&piece[..count]);
            self.read += count as u64;
        }
        Ok(())
    }

    /// The step is that of the moment when it was told.
    fn note_checkpoint(&mut self) {
        let Some(place) = self.reader.checkpoint() else { return };
        if self.checkpoint.as_ref().is_none_or(|(known, _)| known != place)
            && let Some(step) = self.reader.progress().step
        {
            self.checkpoint = Some((place.to_owned(), step));
        }
    }
}

const PIECE: usize = 64 * 1024;
/// The most that is read at one look.
const MOST_BEHIND: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::path::Path;

    use swifthook_core::Folder;

    use super::*;

    /// Counts what it is given, and takes the last whole line for a step.
    #[derive(Default)]
    struct Counting {
        waiting: Vec<u8>,
        step: Option<u64>,
        bytes: u64,
    }

    impl TraceReader for Counting {
        fn push(&mut self, bytes: &[u8]) {
            self.bytes += bytes.len() as u64;
            self.waiting.extend_from_slice(bytes);
            while let Some(end) = self.waiting.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.waiting.drain(..=end).collect();
                self.step = String::from_utf8_lossy(&line).trim().parse().ok().or(self.step);
            }
        }

        fn progress(&self) -> Progress {
            Progress { step: self.step, max_steps: Some(self.bytes), ..Progress::default() }
        }

        fn checkpoint(&self) -> Option<&str> {
            None
        }
    }

    struct Plain;

    impl Traces for Plain {
        fn reader(&self) -> Box<dyn TraceReader> {
            Box::<Counting>::default()
        }

        fn step_of(&self, _directory: &str) -> Option<u64> {
            None
        }

        fn missing(&self, _step: u64, _checkpoint: &dyn Folder) -> Option<String> {
            None
        }
    }

    fn told(tail: &mut Tail, dir: &Path) -> (Option<u64>, u64) {
        tail.look(&Beneath::at(dir).unwrap(), &Plain);
        (tail.progress().step, tail.progress().max_steps.unwrap())
    }

    #[test]
    fn each_look_reads_only_what_is_new() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut tail = Tail::new("log", Plain.reader());
        assert_eq!(told(&mut tail, dir.path()), (None, 0));
        let mut file = File::create(&path).unwrap();
        file.write_all(b"1\n2").unwrap();
        assert_eq!(told(&mut tail, dir.path()), (Some(1), 3));
        assert_eq!(told(&mut tail, dir.path()), (Some(1), 3));
        file.write_all(b"2\n").unwrap();
        assert_eq!(told(&mut tail, dir.path()), (Some(22), 5));
    }

    #[test]
    fn another_file_in_its_place_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut tail = Tail::new("log", Plain.reader());
        fs::write(&path, "1\n2\n3\n").unwrap();
        assert_eq!(told(&mut tail, dir.path()), (Some(3), 6));
        File::options().write(true).open(&path).unwrap().set_len(2).unwrap();
        assert_eq!(told(&mut tail, dir.path()), (Some(1), 2), "it was cut off");
        fs::write(dir.path().join("other"), "7\n8\n").unwrap();
        fs::rename(dir.path().join("other"), &path).unwrap();
        assert_eq!(told(&mut tail, dir.path()), (Some(8), 4), "it was replaced");
    }

    #[test]
    fn of_a_log_that_was_missed_for_long_the_end_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut file = File::create(&path).unwrap();
        file.set_len(3 * MOST_BEHIND).unwrap();
        file.seek(SeekFrom::End(0)).unwrap();
        file.write_all(b"\n9\n").unwrap();
        let mut tail = Tail::new("log", Plain.reader());
        assert_eq!(told(&mut tail, dir.path()), (Some(9), MOST_BEHIND + 1));
    }

    #[test]
    fn a_pipe_where_the_log_should_be_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        assert_eq!(told(&mut Tail::new("log", Plain.reader()), dir.path()), (None, 0));
    }

    #[test]
    fn a_link_where_the_log_should_be_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("secret"), "1\n2\n").unwrap();
        fs::create_dir(dir.path().join("run")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("secret"), dir.path().join("run/log")).unwrap();
        assert_eq!(told(&mut Tail::new("log", Plain.reader()), &dir.path().join("run")), (None, 0));
    }
}
