//! JSON of which little is wanted, read by pieces: how long a file is, and how deep, its run has decided.

use std::io::{self, BufRead, BufReader, Read};

use serde::de::DeserializeOwned;
use swifthook_core::Folder;

/// Text wanted of the `most` bytes of a file from `from` on, or of as many as there are; `None` if it cannot be read at
/// all. Beside that no more of it is in memory than a piece and its longest text.
///
/// The bare `NaN`, `Infinity` and `-Infinity` that Python writes are taken for `null`.
pub(super) fn read<T: DeserializeOwned>(
    folder: &dyn Folder,
    file: &str,
    from: u64,
    most: u64,
) -> Option<Result<T, String>> {
    folder.read(file, from, 0)?;
    let pieces =
        BufReader::with_capacity(PIECE, Pieces { folder, file, at: from, end: from.saturating_add(most) });
    let read = serde_json::from_reader(Strict::new(pieces));
    Some(read.map_err(|error| error.to_string()))
}

/// A part of a file, as [`Folder::read`] gives it.
struct Pieces<'f> {
    folder: &'f dyn Folder,
    file: &'f str,
    at: u64,
    end: u64,
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
        let bytes = self.folder.read(self.file, self.at, most);
        let bytes = bytes.ok_or_else(|| io::Error::other("it takes too long, or is gone"))?;
        let count = bytes.len().min(most);
        into[..count].copy_from_slice(&bytes[..count]);
        self.at += count as u64;
        Ok(count)
    }
}

/// Text of JSON as serde takes it, within bounds: a parser keeps a text whole, and a mark for each list in a list.
struct Strict<R> {
    from: R,
    /// Position of what is given next.
    put: &'static [u8],
    depth: usize,
    /// The length of the text that it is in.
    text: Option<usize>,
    is_escaped: bool,
}

impl<R: BufRead> Strict<R> {
    fn new(from: R) -> Self {
        Self { from, put: b"", depth: 0, text: None, is_escaped: false }
    }

    fn next(&mut self) -> io::Result<Option<u8>> {
        if let [first, rest @ ..] = self.put {
            self.put = rest;
            return Ok(Some(*first));
        }
        let Some(byte) = self.take()? else { return Ok(None) };
        match self.text {
            Some(length) => self.in_text(byte, length),
            None => self.outside(byte),
        }
    }

    fn in_text(&mut self, byte: u8, length: usize) -> io::Result<Option<u8>> {
        if length >= LONGEST_TEXT {
            return Err(io::Error::other("a text in it is too long"));
        }
        let is_end = byte == b'"' && !self.is_escaped;
        self.is_escaped = byte == b'\\' && !self.is_escaped;
        self.text = (!is_end).then_some(length + 1);
        Ok(Some(byte))
    }

    fn outside(&mut self, byte: u8) -> io::Result<Option<u8>> {
        match byte {
            b'"' => self.text = Some(0),
            b'[' | b'{' => self.depth += 1,
            b']' | b'}' => self.depth = self.depth.saturating_sub(1),
            b'N' => return self.null_for(b"aN"),
            b'I' => return self.null_for(b"nfinity"),
            b'-' if self.peek()? == Some(b'I') => return self.null_for(b"Infinity"),
            _ => {}
        }
        if self.depth > DEEPEST {
            return Err(io::Error::other("its lists are too deep"));
        }
        Ok(Some(byte))
    }

    fn null_for(&mut self, rest: &[u8]) -> io::Result<Option<u8>> {
        for expected in rest {
            if self.take()? != Some(*expected) {
                return Err(io::Error::other("no JSON"));
            }
        }
        self.put = b"ull";
        Ok(Some(b'n'))
    }

    fn take(&mut self) -> io::Result<Option<u8>> {
        let next = self.peek()?;
        if next.is_some() {
            self.from.consume(1);
        }
        Ok(next)
    }

    fn peek(&mut self) -> io::Result<Option<u8>> {
        Ok(self.from.fill_buf()?.first().copied())
    }
}

impl<R: BufRead> Read for Strict<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        while let Some(place) = into.get_mut(count)
            && let Some(byte) = self.next()?
        {
            *place = byte;
            count += 1;
        }
        Ok(count)
    }
}

const PIECE: usize = 64 * 1024;
/// Longer than any name of a tensor, or of a file.
const LONGEST_TEXT: usize = 1 << 20;
/// As deep as serde goes where it wants what it finds.
const DEEPEST: usize = 100;

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn read(text: &str) -> Result<Value, String> {
        serde_json::from_reader(Strict::new(text.as_bytes())).map_err(|error| error.to_string())
    }

    #[test]
    fn bare_numbers_are_null_and_stay_in_texts() {
        for (text, same) in [
            (
                r#"{"NaN": NaN, "a\"": -Infinity, "-1": -1, "I\\": Infinity}"#,
                r#"{"NaN": null, "a\"": null, "-1": -1, "I\\": null}"#,
            ),
            (r#"["é\u00e9", "-Infinity", "\\", "N"]"#, r#"["é\u00e9", "-Infinity", "\\", "N"]"#),
        ] {
            assert_eq!(read(text), Ok(serde_json::from_str(same).unwrap()), "{text}");
        }
        for wrong in ["[Nan]", "[Infinite]", "[-]", "[", "", "[NaN"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn neither_a_text_nor_lists_in_lists_are_kept_without_bounds() {
        let long = format!("[\"{}\"]", "x".repeat(LONGEST_TEXT + 1));
        assert!(read(&long).unwrap_err().contains("too long"));
        let deep = "[".repeat(1_000_000);
        let ignored = serde_json::from_reader::<_, serde::de::IgnoredAny>(Strict::new(deep.as_bytes()));
        assert!(ignored.unwrap_err().to_string().contains("too deep"));
    }
}
