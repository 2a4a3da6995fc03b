//! The beginning of a data set: whether ms-swift could read it at all.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use serde_json::{Deserializer, Map, Value};

/// What is wrong with a file or folder of data; nothing where it is of a kind that is not looked into.
pub(super) fn amiss(path: &Path) -> io::Result<Option<String>> {
    let metadata = path.metadata()?;
    if metadata.is_dir() {
        let is_empty = path.read_dir()?.next().is_none();
        return Ok(is_empty.then(|| "the folder is empty".to_owned()));
    }
    if !metadata.is_file() {
        return Ok(Some("it is neither a file nor a folder".to_owned()));
    }
    // It may be another by now, and nobody waits for a pipe.
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(Some("it is neither a file nor a folder".to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(HEAD).read_to_end(&mut bytes)?;
    if bytes.is_empty() {
        return Ok(Some("the file is empty".to_owned()));
    }
    let head = Head { bytes: &bytes, is_all: metadata.len() <= bytes.len() as u64 };
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    Ok(match &*ending.to_ascii_lowercase() {
        "jsonl" => head.rows(),
        "json" => head.json(),
        "csv" | "tsv" => head.table(),
        _ => None,
    })
}

/// Code that ms-swift would run for a file or folder of data; nothing if there is none.
///
/// A folder is handed to `datasets`, which before version 4 runs a script in it, and the ending of a file is the name of
/// the loader: one that `datasets` does not have is looked for on Hugging Face, and `pandas` reads pickles.
pub(super) fn brings_code(path: &Path) -> io::Result<Option<String>> {
    if path.is_dir() {
        for entry in path.read_dir()? {
            let name = entry?.file_name();
            if Path::new(&name).extension().is_some_and(|ending| ending == "py") {
                let name = name.to_string_lossy();
                return Ok(Some(format!(
                    "`{name}` is in it, and `datasets` may run it: name the files of data"
                )));
            }
        }
        return Ok(None);
    }
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let is_read = READ.contains(&ending);
    Ok((!is_read).then(|| {
        format!(
            "ms-swift would look for a loader called `{ending}`: the name has to end in one of .{}",
            READ.join(" .")
        )
    }))
}

/// Endings of files that `datasets` reads by itself, in each version that ms-swift takes, and as nothing but data.
const READ: [&str; 8] = ["jsonl", "json", "csv", "parquet", "txt", "text", "arrow", "xml"];

/// The first bytes of a file.
#[derive(Clone, Copy)]
struct Head<'h> {
    bytes: &'h [u8],
    is_all: bool,
}

impl<'h> Head<'h> {
    /// A row in each line.
    fn rows(self) -> Option<String> {
        let mut rows = 0;
        for (number, line) in self.lines().enumerate().filter(|(_, line)| !line.trim_ascii().is_empty()) {
            rows += 1;
            if rows > ROWS {
                break;
            }
            if let Err(why) = row(line) {
                return Some(format!("line {}: {why}", number + 1));
            }
        }
        (rows == 0 && self.is_all).then(|| "there is no row in it".to_owned())
    }

    /// A list of rows, or a row in each line.
    fn json(self) -> Option<String> {
        let text = self.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(self.bytes).trim_ascii_start();
        match text.first() {
            Some(b'[') => self.list(text),
            // An object over several lines is one of a column each, which is as good.
            Some(b'{') => match Deserializer::from_slice(text).into_iter::<Map<String, Value>>().next() {
                Some(Err(error)) if self.is_told_of(&error, text) => Some(error.to_string()),
                _ => None,
            },
            None => Some("there is no row in it".to_owned()),
            Some(_) => Some("neither a list of rows nor a row in each line".to_owned()),
        }
    }

    fn list(self, text: &[u8]) -> Option<String> {
        let rest = text[1..].trim_ascii_start();
        if rest.first() == Some(&b']') {
            return Some("there is no row in it".to_owned());
        }
        match Deserializer::from_slice(rest).into_iter::<Value>().next() {
            Some(Ok(Value::Object(_))) | None => {}
            Some(Ok(_)) => return Some("the first of the list is no row: an object was expected".to_owned()),
            Some(Err(error)) => {
                return self.is_told_of(&error, rest).then(|| format!("the first row: {error}"));
            }
        }
        if !self.is_all {
            return None;
        }
        let whole = serde_json::from_slice::<Vec<Map<String, Value>>>(text);
        whole.err().filter(|error| self.is_told_of(error, text)).map(|error| error.to_string())
    }

    fn table(self) -> Option<String> {
        if self.lines().any(|line| std::str::from_utf8(line).is_err()) {
            return Some("it is not UTF-8".to_owned());
        }
        let filled = self.lines().filter(|line| !line.trim_ascii().is_empty()).count();
        (self.is_all && filled < 2).then(|| "there is no row below its header".to_owned())
    }

    /// Whether an error says something of the file, and not of where its beginning was cut or of the bare `NaN` that
    /// Python writes and reads.
    fn is_told_of(self, error: &serde_json::Error, text: &[u8]) -> bool {
        (self.is_all || !error.is_eof()) && !has_bare_numbers(text)
    }

    /// The lines that are there to their end.
    fn lines(self) -> impl Iterator<Item = &'h [u8]> {
        let end = match self.is_all {
            true => self.bytes.len(),
            false => self.bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0),
        };
        self.bytes[..end].split(|byte| *byte == b'\n')
    }
}

fn row(line: &[u8]) -> Result<(), String> {
    match serde_json::from_slice::<Value>(line) {
        Ok(Value::Object(_)) => Ok(()),
        Ok(_) => Err("no row: an object was expected".to_owned()),
        Err(_) if has_bare_numbers(line) => Ok(()),
        Err(error) => {
            let told = error.to_string();
            let what = told.split(" at line ").next().unwrap_or_default();
            Err(format!("not JSON: {what} (column {})", error.column()))
        }
    }
}

fn has_bare_numbers(text: &[u8]) -> bool {
    [&b"NaN"[..], b"Infinity"].iter().any(|word| text.windows(word.len()).any(|found| found == *word))
}

/// How much of a file is read.
const HEAD: u64 = 256 * 1024;
/// How many rows are looked at.
const ROWS: usize = 20;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn told(name: &str, bytes: &[u8]) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        fs::write(&file, bytes).unwrap();
        amiss(&file).unwrap()
    }

    #[test]
    fn what_ms_swift_can_read_passes() {
        let long = format!("{{\"text\": \"{}\"}}\n", "x".repeat(300_000));
        let rows = "{\"messages\": [{\"role\": \"user\", \"content\": \"é\"}]}\n\n".repeat(10_000);
        for (name, text) in [
            ("a.jsonl", "{\"a\": 1}\n{\"a\": NaN}\n"),
            ("a.jsonl", "{\"a\": 1}"),
            ("a.jsonl", &long),
            ("a.jsonl", &rows),
            ("a.json", "[{\"a\": 1}, {\"a\": Infinity}]"),
            ("a.json", &format!("\u{feff}\n [\n {{\"a\": [1, 2]}},\n{}]", "{\"a\": [3]},".repeat(40_000))),
            ("a.json", &format!("[{long}]")),
            ("a.json", "{\"a\": 1}\n{\"a\": 2}\n"),
            ("a.json", "{\n\"a\": [1],\n\"b\": [2]\n}"),
            ("a.csv", "query,response\n\"one\ntwo\",b\n"),
            ("a.parquet", "PAR1"),
            ("a.txt", "anything"),
        ] {
            assert_eq!(told(name, text.as_bytes()), None, "{name}: {}", &text[..text.len().min(60)]);
        }
    }

    #[test]
    fn what_it_cannot_read_is_told_with_its_line() {
        for (name, text, expected) in [
            ("a.jsonl", &b""[..], "the file is empty"),
            ("a.parquet", b"", "the file is empty"),
            ("a.jsonl", b"\n \n", "there is no row in it"),
            ("a.jsonl", b"{\"a\": 1}\n\n{\"a\": }\n", "line 3: not JSON: expected value (column 7)"),
            ("a.jsonl", b"[1]\n", "line 1: no row: an object was expected"),
            ("a.jsonl", b"query,response\na,b\n", "line 1: not JSON"),
            ("a.json", b"[]", "there is no row in it"),
            ("a.json", b"[1, 2]", "the first of the list is no row"),
            ("a.json", b"[{\"a\": 1},]", "trailing comma"),
            ("a.json", b"[{\"a\": 1}", "EOF while parsing a list"),
            ("a.json", b"hello", "neither a list of rows nor a row in each line"),
            ("a.csv", b"query,response\n", "there is no row below its header"),
            ("a.csv", b"query,response\n\xff,b\n", "it is not UTF-8"),
        ] {
            let told = told(name, text).unwrap_or_else(|| panic!("{name}: {expected}"));
            assert!(told.starts_with(expected), "{told}");
        }
    }

    #[test]
    fn folders_are_not_empty_and_pipes_are_no_data() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(amiss(folder.path()).unwrap().as_deref(), Some("the folder is empty"));
        let pipe = folder.path().join("a.jsonl");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        assert_eq!(amiss(&pipe).unwrap().as_deref(), Some("it is neither a file nor a folder"));
        assert_eq!(amiss(folder.path()).unwrap(), None);
        assert!(amiss(&folder.path().join("absent")).is_err());
    }
}
