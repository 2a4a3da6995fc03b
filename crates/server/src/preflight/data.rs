//! The beginning of a file of data: whether the loader that ms-swift has installed could read it.
//!
//! What it cannot read is wrong. What it reads, and nobody meant so, or what cannot be judged, is told. The rules are those of
//! `datasets` 4.8 over pyarrow and pandas; `loader.jsonl` has files with what it says of them.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use super::json_text::{Cursor, Kind, Reader, Stop};
use super::table_text;

/// What is to be said of a file or folder of data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing, or it is of a kind that is not looked into.
    Fine,
    /// Something that may not be meant.
    Doubtful(String),
    /// The loader cannot read it, and why.
    Wrong(String),
}

/// Looks at a file or folder.
pub(super) fn look(path: &Path) -> io::Result<Verdict> {
    let metadata = path.metadata()?;
    if metadata.is_dir() {
        let is_empty = path.read_dir()?.next().is_none();
        return Ok(if is_empty { wrong("the folder is empty") } else { Verdict::Fine });
    }
    if !metadata.is_file() {
        return Ok(wrong("it is neither a file nor a folder"));
    }
    // It may be another by now, and nobody waits for a pipe.
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let mut file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(wrong("it is neither a file nor a folder"));
    }
    let mut bytes = Vec::new();
    (&file).take(HEAD).read_to_end(&mut bytes)?;
    if bytes.is_empty() {
        return Ok(wrong("the file is empty"));
    }
    if COMPRESSED.iter().any(|magic| bytes.starts_with(magic)) {
        return Ok(Verdict::Doubtful("it is compressed, and was not looked into".to_owned()));
    }
    let head = Head { bytes: &bytes, is_all: metadata.len() <= bytes.len() as u64 };
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    // As ms-swift does: the ending is the name of a loader, to the letter.
    Ok(match ending {
        "jsonl" | "json" => head.json(),
        "csv" => head.table(),
        "txt" | "text" => head.text(),
        "parquet" if !is_parquet(&mut file, &bytes)? => wrong("it is no file of Parquet, or was cut off"),
        "" => wrong("its name has no ending, which says how it is read"),
        _ if READ.contains(&ending) || OTHERS.contains(&ending) => Verdict::Fine,
        _ if ["tsv", "yaml", "yml", "xls", "xlsx", "md"].contains(&ending) => {
            wrong(format!("there is no loader called `{ending}`"))
        }
        _ if READ.contains(&&*ending.to_ascii_lowercase()) => {
            wrong(format!("there is no loader called `{ending}`: write the ending in small letters"))
        }
        _ => Verdict::Doubtful(format!("ms-swift looks for a loader called `{ending}`, which may be none")),
    })
}

fn wrong(why: impl Into<String>) -> Verdict {
    Verdict::Wrong(why.into())
}

/// Returns true if it begins and ends as a file of Parquet does.
fn is_parquet(file: &mut File, head: &[u8]) -> io::Result<bool> {
    const MAGIC: [&[u8]; 2] = [b"PAR1", b"PARE"];
    if !MAGIC.iter().any(|magic| head.starts_with(magic)) || head.len() < 12 {
        return Ok(false);
    }
    let mut tail = [0; 4];
    file.seek(SeekFrom::End(-4))?;
    file.read_exact(&mut tail)?;
    Ok(MAGIC.contains(&&tail[..]))
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

/// Other loaders of `datasets` that read single files.
const OTHERS: [&str; 8] = ["pandas", "pickle", "sql", "webdataset", "tar", "h5", "hdf5", "lance"];
/// Beginnings of files that `datasets` unpacks before it reads them: gzip, zip, xz, bzip2, zstd, lz4, 7-Zip and RAR.
const COMPRESSED: [&[u8]; 8] = [
    b"\x1f\x8b",
    b"PK\x03\x04",
    b"\xfd7zXZ\0",
    b"BZh",
    b"\x28\xb5\x2f\xfd",
    b"\x04\x22\x4d\x18",
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!",
];
/// Endings of files that `datasets` reads by itself, in each version that ms-swift takes, and as nothing but data.
const READ: [&str; 8] = ["jsonl", "json", "csv", "parquet", "txt", "text", "arrow", "xml"];

/// The first bytes of a file.
#[derive(Clone, Copy)]
struct Head<'h> {
    bytes: &'h [u8],
    is_all: bool,
}

impl<'h> Head<'h> {
    /// One list of rows, or rows one after another, whatever the ending says.
    fn json(self) -> Verdict {
        if self.bytes.starts_with(b"[") {
            return self.list();
        }
        let text = self.bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(self.bytes);
        let mut cursor = Cursor { text, at: 0, reader: Reader::Arrow };
        if cursor.peek() == Some(b'[') {
            let what = if text.len() < self.bytes.len() { "a byte order mark" } else { "space" };
            return wrong(format!("{what} stands before its list, which has to be the first of the file"));
        }
        let (mut rows, mut has_columns, mut has_null) = (0, false, false);
        while cursor.peek().is_some() {
            let begin = cursor.at;
            match cursor.value() {
                Ok(Kind::Object { is_empty }) => has_columns |= !is_empty,
                // A process that reads such a file dies of it.
                Ok(Kind::Null) if rows == 0 => return wrong("the first row is `null`"),
                Ok(Kind::Null) => has_null = true,
                Ok(_) => return wrong(format!("{}: no row: an object was expected", line(text, begin))),
                Err(Stop::End) if self.is_all => {
                    return wrong(format!("{}: it ends within a row", line(text, begin)));
                }
                Err(Stop::End | Stop::Deep) => return Verdict::Fine,
                // A file that is one object goes to pandas then.
                Err(Stop::Wrong { .. }) if rows == 0 && self.may_be_columns(text) => {
                    return Verdict::Doubtful("it is read as one object of columns, if at all".to_owned());
                }
                Err(Stop::Wrong { why, at }) => return wrong(not_json(text, why, at)),
            }
            rows += 1;
        }
        match (self.is_all, rows, has_columns) {
            (true, 0, _) => wrong("there is no row in it"),
            (true, _, false) => wrong("there is no column in any row"),
            _ if has_null => Verdict::Doubtful("a row of it is `null`".to_owned()),
            _ => Verdict::Fine,
        }
    }

    /// Tells whether it may be one object of columns, each a list or a mapping, to pandas, which is less strict.
    fn may_be_columns(self, text: &[u8]) -> bool {
        let mut cursor = Cursor { text, at: 0, reader: Reader::Pandas };
        let is_one = match cursor.value() {
            Ok(Kind::Object { is_empty: false }) => cursor.peek().is_none() && columns(text) == Some(true),
            Err(Stop::End | Stop::Deep) => !self.is_all,
            _ => false,
        };
        is_one && !self.is_broken_text() && text.len() == self.bytes.len()
    }

    /// One list, which goes to pandas first.
    fn list(self) -> Verdict {
        let text = self.bytes;
        if self.is_all && std::str::from_utf8(text).is_err() {
            return wrong("it is not UTF-8");
        }
        // As the loader asks: whether it is one of objects, or of texts.
        let beginning = &text[..text.len().min(100)];
        let is_of_objects =
            beginning.split(|byte| *byte == b'"').next().is_some_and(|part| part.contains(&b'{'));
        let mut cursor = Cursor { text, at: 1, reader: Reader::Pandas };
        let (mut first, mut has_columns, mut has_null) = (None, false, false);
        let wrong_at = |stop: Stop| match stop {
            Stop::Wrong { why, at } => wrong(not_json(text, why, at)),
            Stop::End if self.is_all => wrong("it ends within its list"),
            Stop::End | Stop::Deep => Verdict::Fine,
        };
        if cursor.peek() == Some(b']') {
            return wrong("there is no row in it");
        }
        loop {
            let begin = cursor.at;
            let kind = match cursor.value() {
                Ok(kind) => kind,
                Err(stop) => return wrong_at(stop),
            };
            if is_of_objects {
                let is_like_first = match first {
                    Some(Kind::Object { .. }) => matches!(kind, Kind::Object { .. } | Kind::Null),
                    Some(first) => kind == first && first != Kind::Other,
                    None => kind != Kind::Other,
                };
                if !is_like_first {
                    return wrong(format!("{}: no row: an object was expected", line(text, begin)));
                }
                match (first, kind) {
                    (None, Kind::Null) => return wrong("the first row is `null`"),
                    (_, Kind::Object { is_empty }) => has_columns |= !is_empty,
                    (Some(_), Kind::Null) => has_null = true,
                    _ => {}
                }
            }
            first = first.or(Some(kind));
            match cursor.peek() {
                Some(b',') => cursor.at += 1,
                Some(b']') => {
                    cursor.at += 1;
                    break;
                }
                Some(_) => return wrong(not_json(text, "`,` or `]` was expected", cursor.at)),
                None => return wrong_at(Stop::End),
            }
            // A comma after the last.
            cursor.peek();
        }
        if self.is_all && cursor.peek().is_some() {
            return wrong(not_json(text, "something follows its list", cursor.at));
        }
        match first {
            Some(Kind::Object { .. }) if !has_columns => wrong("there is no column in any row"),
            Some(Kind::Object { .. }) if has_null => Verdict::Doubtful("a row of it is `null`".to_owned()),
            Some(Kind::Object { .. }) if is_of_objects => Verdict::Fine,
            _ => Verdict::Doubtful(
                "it is a list of no objects: each is read as a row with a column `text`".to_owned(),
            ),
        }
    }

    fn table(self) -> Verdict {
        if self.is_broken_text() {
            return wrong("it is not UTF-8");
        }
        let text = self.bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(self.bytes);
        let table = table_text::read(text, self.is_all);
        if self.is_all && table.is_open {
            return wrong("it ends within quotes");
        }
        if let Some((why, number)) = table.wrong {
            return wrong(format!("line {number}: {why}"));
        }
        if self.is_all && table.lines < 2 {
            return wrong("there is no row below its header");
        }
        match text.first() {
            Some(b'{' | b'[') => Verdict::Doubtful("it looks like JSON, and is read as a table".to_owned()),
            _ if text.contains(&0) => Verdict::Doubtful("there is a zero byte in it".to_owned()),
            _ => Verdict::Fine,
        }
    }

    fn text(self) -> Verdict {
        if self.is_broken_text() { wrong("it is not UTF-8") } else { Verdict::Fine }
    }

    /// Tells whether it is no UTF-8, but for a character that was cut.
    fn is_broken_text(self) -> bool {
        match std::str::from_utf8(self.bytes) {
            Ok(_) => false,
            Err(error) => self.is_all || error.error_len().is_some(),
        }
    }
}

/// Tells whether a value of an object is a list or an object, which pandas needs for columns; `None` where that cannot be told.
fn columns(text: &[u8]) -> Option<bool> {
    let mut cursor = Cursor { text, at: 0, reader: Reader::Pandas };
    cursor.peek().filter(|byte| *byte == b'{')?;
    cursor.at += 1;
    let mut has_columns = false;
    loop {
        cursor.value().ok()?;
        cursor.peek().filter(|byte| *byte == b':')?;
        cursor.at += 1;
        has_columns |= matches!(cursor.value().ok()?, Kind::List | Kind::Object { .. });
        match cursor.peek()? {
            b',' => cursor.at += 1,
            _ => return Some(has_columns),
        }
    }
}

fn not_json(text: &[u8], why: &str, at: usize) -> String {
    let begin =
        text[..at.min(text.len())].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    format!("{}: not JSON: {why} (column {})", line(text, at), at + 1 - begin)
}

fn line(text: &[u8], at: usize) -> String {
    let number = text[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1;
    format!("line {number}")
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// How much of a file is read.
const HEAD: u64 = 256 * 1024;

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::Value;

    use super::*;

    fn told(name: &str, bytes: &[u8]) -> Verdict {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        fs::write(&file, bytes).unwrap();
        look(&file).unwrap()
    }

    /// Files with what the loader of ms-swift 4.6.0 said of them: `"rows"`, or `"error"`. The real one is asked in the tests
    /// with ms-swift.
    fn recorded() -> Vec<(String, Vec<u8>, Value)> {
        let read = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            let hex = line["bytes"].as_str().unwrap();
            let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
            (line["name"].as_str().unwrap().to_owned(), bytes.collect(), line)
        };
        include_str!("loader.jsonl").lines().map(read).collect()
    }

    #[test]
    fn what_the_loader_reads_passes_and_what_it_cannot_read_is_refused() {
        let mut odd = Vec::new();
        for (name, bytes, line) in recorded() {
            let verdict = told(&name, &bytes);
            let is_read = line["error"].is_null();
            let agrees = match verdict {
                Verdict::Fine => is_read,
                Verdict::Wrong(_) => !is_read,
                Verdict::Doubtful(_) => is_read || COMPRESSED.iter().any(|magic| bytes.starts_with(magic)),
            };
            if !agrees {
                odd.push(format!("{name} {:?}: {verdict:?}, {line}", String::from_utf8_lossy(&bytes)));
            }
        }
        assert!(odd.is_empty(), "{}", odd.join("\n"));
    }

    #[test]
    fn a_long_file_is_judged_by_its_beginning() {
        let long = format!("{{\"text\": \"{}\"}}\n", "x".repeat(300_000));
        let rows = "{\"messages\": [{\"role\": \"user\", \"content\": \"é\"}]}\n\n".repeat(10_000);
        let list = format!("[\n {{\"a\": [1, 2]}},\n{}]", "{\"a\": [3]},".repeat(40_000));
        let table = format!("q,r\n{}", "é,ü\n".repeat(60_000));
        let quoted = format!("q,r\n\"{}", "é\n".repeat(120_000));
        for (name, text) in [
            ("a.jsonl", &long),
            ("a.jsonl", &rows),
            ("a.json", &list),
            ("a.json", &format!("[{long}]")),
            ("a.csv", &table),
            ("a.csv", &quoted),
            ("a.txt", &"é".repeat(200_001)),
        ] {
            assert_eq!(told(name, text.as_bytes()), Verdict::Fine, "{name}: {:?}", text.get(..40));
        }
        let broken = format!("{rows}{{\"a\": }}\n");
        assert_eq!(told("a.jsonl", broken.as_bytes()), Verdict::Fine, "it is too far down");
        let broken = format!("{{\"a\": }}\n{rows}");
        assert!(matches!(told("a.jsonl", broken.as_bytes()), Verdict::Wrong(_)));
    }

    #[test]
    fn what_it_cannot_read_is_told_with_its_line() {
        for (name, text, expected) in [
            ("a.jsonl", &b""[..], "the file is empty"),
            ("a.parquet", b"", "the file is empty"),
            ("a.jsonl", b"\n \n", "there is no row in it"),
            ("a.jsonl", b"{\"a\": 1}\n\n{\"a\": }\n", "line 3: not JSON: a value was expected (column 7)"),
            ("a.jsonl", b"{\"a\": 1}\n[1]\n", "line 2: no row: an object was expected"),
            ("a.jsonl", b"query,response\na,b\n", "line 1: not JSON"),
            ("a.json", b"[]", "there is no row in it"),
            ("a.json", b"[{\"a\": 1},]", "line 1: not JSON: a value was expected (column 11)"),
            ("a.json", b"[{\"a\": 1}", "it ends within its list"),
            ("a.json", b"\n[{\"a\": 1}]", "space stands before its list"),
            ("a.csv", b"query,response\n", "there is no row below its header"),
            ("a.csv", b"query,response\n\xff,b\n", "it is not UTF-8"),
            ("a.csv", b"q,r\na,b\nc,d,e\n", "line 3: 3 cells, and the line before has 2"),
        ] {
            let Verdict::Wrong(told) = told(name, text) else { panic!("{name}: {expected}") };
            assert!(told.starts_with(expected), "{told}");
        }
    }

    #[test]
    fn folders_are_not_empty_and_pipes_are_no_data() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(look(folder.path()).unwrap(), wrong("the folder is empty"));
        let pipe = folder.path().join("a.jsonl");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        assert_eq!(look(&pipe).unwrap(), wrong("it is neither a file nor a folder"));
        assert_eq!(look(folder.path()).unwrap(), Verdict::Fine);
        assert!(look(&folder.path().join("absent")).is_err());
    }
}
