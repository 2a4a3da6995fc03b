use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, FileType, fallocate, fstat};
use rustix::io::{Errno, retry_on_intr};

use super::hole::{MARKER, marker};

/// Keeps a log to a size: when it has more, what is between its beginning and its end is cut out.
///
/// A quarter of the size is for the beginning, and at least half of it for the end. Between two looks it may grow beyond:
/// see [`look`](Self::look).
#[derive(Debug)]
pub struct LogCap {
    /// Opened anew: what the run does to its own descriptor changes nothing here, and what is in the place of the file
    /// has no part in it.
    file: File,
    most: u64,
    /// End of what was cut out.
    cut_to: u64,
    seen: (Instant, u64),
}

impl LogCap {
    /// Returns the cap of the log that is opened as `log`, at `most` bytes, and at [`LEAST`](Self::LEAST) of them. `None`
    /// where it is no file, but a pipe or a terminal.
    ///
    /// # Errors
    ///
    /// If it cannot be opened to write.
    pub fn of(log: impl AsFd, most: u64) -> io::Result<Option<Self>> {
        let stat = fstat(&log)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        let place = format!("/proc/self/fd/{}", log.as_fd().as_raw_fd());
        let file = OpenOptions::new().read(true).write(true).open(place)?;
        Ok(Some(Self { file, most: most.max(Self::LEAST), cut_to: 0, seen: (Instant::now(), 0) }))
    }

    /// The least that a log can be kept to.
    pub const LEAST: u64 = 1 << 20;

    /// Cuts, if there is more than there may be, and returns the time until the next look.
    ///
    /// Waits a quarter of a second at most, and less where the log grows fast: half of the time in which it would be
    /// full. So one that begins to grow by 2 GB a second may have half a gigabyte too much, for so long.
    ///
    /// # Errors
    ///
    /// If it has too much and cannot be cut, such as on a file system that has no holes.
    pub fn look(&mut self, now: Instant) -> Result<Duration, Uncut> {
        let length = match self.size() {
            Ok((length, blocks)) if self.is_within(length, blocks) => length,
            Ok((length, _)) => {
                self.cut(length)?;
                length
            }
            Err(error) => {
                return Err(Uncut { why: format!("its log cannot be looked at: {error}"), is_by_far: false });
            }
        };
        Ok(self.pause(length, now))
    }

    /// Returns its length, and the bytes that it takes of the disk.
    fn size(&self) -> io::Result<(u64, u64)> {
        let metadata = self.file.metadata()?;
        Ok((metadata.len(), std::os::unix::fs::MetadataExt::blocks(&metadata) * 512))
    }

    /// Leaves file systems some room on the disk: they set more aside than is written, and some count it late.
    fn is_within(&mut self, length: u64, blocks: u64) -> bool {
        // The run may have cut it itself.
        if length < self.cut_to {
            self.cut_to = 0;
        }
        self.kept(length) <= self.most && blocks <= 2 * self.most && length <= LONGEST
    }

    fn kept(&self, length: u64) -> u64 {
        length.saturating_sub(self.cut_to.saturating_sub(self.beginning()))
    }

    fn beginning(&self) -> u64 {
        (self.most / 4).next_multiple_of(UNIT)
    }

    fn cut(&mut self, length: u64) -> Result<(), Uncut> {
        if length > LONGEST {
            let why = format!("its log is {} TiB long, and may be {} TiB", length >> 40, LONGEST >> 40);
            return Err(Uncut { why, is_by_far: false });
        }
        let (from, to) = (self.beginning(), length.saturating_sub(self.most / 2) / UNIT * UNIT);
        if from < to {
            let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            match retry_on_intr(|| fallocate(&self.file, how, from, to - from)) {
                Ok(()) => self.cut_to = to,
                // A full disk may have no room to note a hole. Nor has it any for what the run writes.
                Err(Errno::NOSPC) => return Ok(()),
                Err(error) => return Err(self.too_much(&format!("the file system cannot cut it: {error}"))),
            }
            // On a full disk even that may fail. Whoever reads with us is told anyway.
            let _ = self.file.write_all_at(marker(to - from).as_bytes(), from - MARKER as u64);
        }
        match self.size() {
            Ok((length, blocks)) if blocks > 4 * self.kept(length).max(self.most) + SET_ASIDE => {
                Err(self.too_much(&format!("it takes {} MiB of the disk, also when it is cut", blocks >> 20)))
            }
            _ => Ok(()),
        }
    }

    fn too_much(&self, why: &str) -> Uncut {
        let is_by_far = self
            .size()
            .is_ok_and(|(length, blocks)| self.kept(length).max(blocks) > 2 * self.most + SET_ASIDE);
        Uncut {
            why: format!("its log has more than {} MiB (`max_log`), and {why}", self.most >> 20),
            is_by_far,
        }
    }

    fn pause(&mut self, length: u64, now: Instant) -> Duration {
        let (then, before) = std::mem::replace(&mut self.seen, (now, length));
        let grown = length.saturating_sub(before);
        if grown == 0 {
            return LONGEST_PAUSE;
        }
        let room = self.most.saturating_sub(self.kept(length));
        #[expect(clippy::cast_precision_loss, reason = "no estimate is so exact")]
        let share = room as f64 / (2 * grown) as f64;
        let pause = now.saturating_duration_since(then).as_secs_f64() * share;
        Duration::from_secs_f64(pause.clamp(SHORTEST_PAUSE.as_secs_f64(), LONGEST_PAUSE.as_secs_f64()))
    }
}

/// A log that has too much and cannot be cut.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Uncut {
    why: String,
    is_by_far: bool,
}

impl Uncut {
    /// Returns true if it has so much that whoever writes it cannot be waited for.
    #[must_use]
    pub fn is_by_far(&self) -> bool {
        self.is_by_far
    }
}

/// Unit of a cut: a multiple of the blocks of most file systems.
const UNIT: u64 = 64 << 10;
/// Greatest length of a log, with what is cut out of it. Beyond 16 TiB ext4 takes nothing any more.
const LONGEST: u64 = 8 << 40;
/// Space that a file system may set aside for a file that grows.
const SET_ASIDE: u64 = 64 << 20;
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::fs::MetadataExt;

    use super::super::LogReader;
    use super::*;

    const MIB: u64 = 1 << 20;

    fn log() -> (File, LogCap) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let log = OpenOptions::new().append(true).open(file.path()).unwrap();
        let cap = LogCap::of(&log, MIB).unwrap().unwrap();
        (log, cap)
    }

    fn write(log: &mut File, lines: std::ops::Range<u32>) {
        let text: String = lines.map(|number| format!("{number:>63}\n")).collect();
        log.write_all(text.as_bytes()).unwrap();
    }

    fn read(cap: &LogCap) -> String {
        let mut text = String::new();
        LogReader::all(cap.file.try_clone().unwrap()).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn of_a_log_that_grows_beginning_and_end_are_kept_and_the_rest_is_told() {
        let (mut log, mut cap) = log();
        for round in 0..40 {
            write(&mut log, round * 8_192..(round + 1) * 8_192);
            cap.look(Instant::now()).unwrap();
            assert!(cap.file.metadata().unwrap().blocks() * 512 <= MIB + 2 * UNIT, "in round {round}");
        }
        let text = read(&cap);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!((lines[0], lines[1], *lines.last().unwrap()), ("0", "1", "327679"));
        let told: Vec<_> = lines.iter().filter(|line| line.starts_with("[swifthook: ")).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        let cut: u64 = told[0].split(' ').nth(1).unwrap().parse().unwrap();
        // What was written over by the line about it is not in the count.
        assert_eq!(text.len() as u64 + cut, 40 * 8_192 * 64);
        assert!(text.len() as u64 >= MIB * 3 / 4);
        assert_eq!(cap.file.metadata().unwrap().len(), 40 * 8_192 * 64, "who follows it stays where he is");
    }

    #[test]
    fn a_small_log_is_left_as_it_is() {
        let (mut log, mut cap) = log();
        write(&mut log, 0..16_384);
        cap.look(Instant::now()).unwrap();
        assert_eq!(read(&cap).len() as u64, MIB);
    }

    #[test]
    fn a_log_without_lines_that_is_cut_off_and_grows_again_is_kept_small() {
        let (mut log, mut cap) = log();
        for _ in 0..3 {
            log.write_all(&vec![b'x'; 8 << 20]).unwrap();
            cap.look(Instant::now()).unwrap();
            assert!(cap.file.metadata().unwrap().blocks() * 512 <= MIB + 2 * UNIT);
            log.set_len(0).unwrap();
            cap.look(Instant::now()).unwrap();
        }
        write(&mut log, 7..8);
        cap.look(Instant::now()).unwrap();
        assert_eq!(read(&cap).trim(), "7");
    }

    #[test]
    fn what_a_run_writes_far_out_or_into_the_hole_is_cut_too() {
        let (log, mut cap) = log();
        let run = OpenOptions::new().write(true).open(format!("/proc/self/fd/{}", log.as_raw_fd())).unwrap();
        run.write_all_at(b"far", 1 << 40).unwrap();
        cap.look(Instant::now()).unwrap();
        run.write_all_at(&vec![b'x'; 16 << 20], 100 << 20).unwrap();
        cap.look(Instant::now()).unwrap();
        assert!(cap.file.metadata().unwrap().blocks() * 512 <= 2 * MIB);
        run.write_all_at(b"farther", LONGEST).unwrap();
        let told = cap.look(Instant::now()).unwrap_err();
        assert_eq!(told.to_string(), "its log is 8 TiB long, and may be 8 TiB");
    }

    #[test]
    fn what_is_set_aside_beyond_the_end_and_cannot_be_cut_is_told() {
        let (log, mut cap) = log();
        // What a run can do to its own output.
        fallocate(&log, FallocateFlags::KEEP_SIZE, 0, 128 << 20).unwrap();
        let told = cap.look(Instant::now()).unwrap_err();
        assert!(told.is_by_far(), "{told}");
        let told = told.to_string();
        assert!(told.starts_with("its log has more than 1 MiB (`max_log`), and it takes 128 MiB"), "{told}");
    }

    #[test]
    fn the_faster_it_grows_the_sooner_it_is_looked_at_again() {
        let (mut log, mut cap) = log();
        let begun = Instant::now();
        cap.seen = (begun, 0);
        assert_eq!(cap.look(begun), Ok(LONGEST_PAUSE));
        write(&mut log, 0..8_192);
        assert_eq!(cap.look(begun + Duration::from_millis(100)), Ok(Duration::from_millis(50)));
        write(&mut log, 8_192..16_300);
        assert_eq!(cap.look(begun + Duration::from_millis(200)), Ok(SHORTEST_PAUSE));
    }

    #[test]
    fn a_pipe_is_no_log_that_can_be_cut() {
        let (reader, _writer) = io::pipe().unwrap();
        assert!(LogCap::of(&reader, MIB).unwrap().is_none());
    }
}
