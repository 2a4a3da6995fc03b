use std::fs::File;
use std::io;
use std::ops::Range;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

/// Returns the next piece of a file that is there, from `at` on; `None` when nothing comes any more.
///
/// On a file system that does not tell, all of a file is there.
pub(super) fn next_piece(file: &File, at: u64, end: u64) -> io::Result<Option<Range<u64>>> {
    let begin = match seek(file, SeekFrom::Data(at)) {
        Ok(begin) => begin,
        Err(Errno::NXIO) => return Ok(None),
        Err(Errno::INVAL) => return Ok((at < end).then_some(at..end)),
        Err(error) => return Err(error.into()),
    };
    let until = seek(file, SeekFrom::Hole(begin)).unwrap_or(end).min(end);
    Ok((begin < until).then_some(begin..until))
}

/// Returns the line that says how much is not there, with the ends of the lines before it and of its own. All are of the same
/// length, so that one can be written over another.
pub(super) fn marker(bytes: u64) -> String {
    let text = format!("[swifthook: {bytes} bytes are cut out of the log here]");
    format!("\n{text:<0$}\n", MARKER - 2)
}

/// Bytes of a [`marker`].
pub(super) const MARKER: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_has_always_the_same_length_and_is_a_line_of_its_own() {
        for bytes in [0, 65_536, u64::MAX] {
            let marker = marker(bytes);
            assert_eq!((marker.len(), marker.lines().count()), (MARKER, 2), "{marker}");
            assert!(marker.contains(&format!(" {bytes} bytes are cut")), "{marker}");
        }
    }
}
