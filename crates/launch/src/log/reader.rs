use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use super::hole::{MARKER, marker, next_piece};

/// Reads a log as far as it was there at first, without its holes: in the place of each a line says how much is not there.
///
/// A hole costs nothing, however large it is.
#[derive(Debug)]
pub struct LogReader {
    file: File,
    end: u64,
    at: u64,
    /// End of the piece that is there.
    until: u64,
    /// Bytes that were read last: they may be the line about the hole that comes.
    last: Vec<u8>,
    /// A line of ours that is being given out.
    line: VecDeque<u8>,
}

impl LogReader {
    /// Returns a reader of all of it.
    ///
    /// # Errors
    ///
    /// If the file cannot be asked how long it is.
    pub fn all(file: File) -> io::Result<Self> {
        let end = file.metadata()?.len();
        Ok(Self { file, end, at: 0, until: 0, last: Vec::new(), line: VecDeque::new() })
    }

    /// Returns a reader of the last `bytes` that are there.
    ///
    /// # Errors
    ///
    /// If the file cannot be asked what is there of it.
    pub fn last(file: File, bytes: u64) -> io::Result<Self> {
        let mut reader = Self::all(file)?;
        reader.at = reader.beginning_of(bytes)?;
        Ok(reader)
    }

    /// Returns the place from which on so many bytes are there, and not many more.
    fn beginning_of(&self, bytes: u64) -> io::Result<u64> {
        let simple = self.end.saturating_sub(bytes);
        let is_whole = next_piece(&self.file, simple, self.end)? == Some(simple..self.end);
        if is_whole {
            return Ok(simple);
        }
        let (mut at, mut pieces) = (0, Vec::new());
        while let Some(piece) = next_piece(&self.file, at, self.end)? {
            if pieces.len() == MOST_PIECES {
                return Ok(simple);
            }
            at = piece.end;
            pieces.push(piece);
        }
        let mut wanted = bytes;
        for piece in pieces.iter().rev() {
            let length = piece.end - piece.start;
            if length >= wanted {
                return Ok(piece.end - wanted);
            }
            wanted -= length;
        }
        Ok(0)
    }

    /// Goes on to what is there next, past a hole that is told.
    fn go_on(&mut self) -> io::Result<()> {
        let next = next_piece(&self.file, self.at, self.end)?;
        let begin = next.as_ref().map_or(self.end, |piece| piece.start);
        if begin > self.at {
            let line = marker(begin - self.at);
            // The same stands in the file if we have cut it.
            if !self.last.ends_with(line.as_bytes()) {
                let at_the_beginning = self.last.is_empty() || self.last.ends_with(b"\n");
                self.line.extend(line.bytes().skip(usize::from(at_the_beginning)));
            }
            self.at = begin;
        }
        self.file.seek(SeekFrom::Start(begin))?;
        self.until = next.map_or(self.end, |piece| piece.end);
        Ok(())
    }

    fn read_piece(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.until - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read(&mut buffer[..most])?;
        self.at = if count == 0 { self.end } else { self.at + count as u64 };
        let read = &buffer[..count];
        self.last.extend_from_slice(&read[count.saturating_sub(MARKER)..]);
        self.last.drain(..self.last.len().saturating_sub(MARKER));
        Ok(count)
    }
}

impl Read for LogReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.line.is_empty() {
                return self.line.read(buffer);
            }
            if self.at >= self.end {
                return Ok(0);
            }
            if self.at < self.until {
                return self.read_piece(buffer);
            }
            self.go_on()?;
        }
    }
}

/// The most pieces of a file that are looked through for its end. We leave two; a run may make more.
const MOST_PIECES: usize = 4_096;

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::os::unix::fs::FileExt;

    use super::*;

    const PAGE: u64 = 64 << 10;

    /// A file with these pieces, each of one byte again and again, and so long.
    fn file(pieces: &[(Range<u64>, u8)], length: u64) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(length).unwrap();
        for (place, byte) in pieces {
            file.write_all_at(&vec![*byte; usize::try_from(place.end - place.start).unwrap()], place.start)
                .unwrap();
        }
        file
    }

    fn text(mut reader: LogReader) -> String {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_log_without_holes_is_read_as_it_is() {
        let file = file(&[(0..5, b'x')], 5);
        assert_eq!(text(LogReader::all(file.try_clone().unwrap()).unwrap()), "xxxxx");
        assert_eq!(text(LogReader::last(file, 2).unwrap()), "xx");
    }

    #[test]
    fn in_the_place_of_a_hole_stands_how_much_is_not_there_once() {
        let log = || file(&[(0..PAGE, b'a'), (5 * PAGE..5 * PAGE + 3, b'b')], 5 * PAGE + 3);
        let told = marker(4 * PAGE);
        let read = text(LogReader::all(log()).unwrap());
        assert_eq!(read, format!("{}{told}bbb", "a".repeat(64 << 10)));
        assert_eq!(text(LogReader::last(log(), 5).unwrap()), format!("aa{told}bbb"), "of what is there");
        let marked = log();
        marked.write_all_at(told.as_bytes(), PAGE - MARKER as u64).unwrap();
        assert_eq!(text(LogReader::last(marked, MARKER as u64 + 3).unwrap()), format!("{told}bbb"));
        let other = log();
        other.write_all_at(marker(7).as_bytes(), PAGE - MARKER as u64).unwrap();
        assert!(
            text(LogReader::all(other).unwrap()).contains(told.trim_start()),
            "another one tells nothing"
        );
    }

    #[test]
    fn a_log_of_nothing_but_a_hole_costs_nothing() {
        let begun = std::time::Instant::now();
        let length = (1 << 43) + 1;
        let told = text(LogReader::all(file(&[], length)).unwrap());
        assert_eq!(told, marker(length).trim_start());
        let end = text(LogReader::last(file(&[(length - 1..length, b'x')], length), 1 << 40).unwrap());
        assert!(end.ends_with('x') && end.len() < 5_000, "{}", end.len());
        assert!(begun.elapsed().as_secs() < 5);
    }

    #[test]
    fn what_comes_while_it_is_read_is_not_waited_for() {
        let log = file(&[(0..3, b'x')], 3);
        let mut reader = LogReader::all(log.try_clone().unwrap()).unwrap();
        log.write_all_at(b"yyy", 3).unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "xxx");
    }
}
