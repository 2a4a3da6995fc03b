use std::fmt;
use std::path::{Path, PathBuf};

use swifthook_core::text::printable;

/// Something wrong in a configuration: where, what, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where it is; `None` where it concerns the file as a whole.
    pub place: Option<Place>,
    /// What is wrong.
    pub what: String,
    /// What would be right, where that can be said.
    pub instead: Option<String>,
}

/// A position in a file, both counted from 1; columns are characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// Everything that is wrong with a configuration, in the order of the file.
///
/// A line of the file is never quoted whole: it may hold a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes {
    /// The file.
    pub file: PathBuf,
    /// The mistakes; never empty.
    pub list: Vec<Mistake>,
}

impl Place {
    /// The position of a byte of `text`.
    pub(super) fn of(text: &str, byte: usize) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

impl Mistake {
    /// In lines that begin with its place in `file`, so that editors find it; `kind` is a word such as `warning: `.
    #[must_use]
    pub fn told(&self, file: &Path, kind: &str) -> String {
        let mut text = printable(&file.to_string_lossy()).into_owned();
        if let Some(Place { line, column }) = self.place {
            text += &format!(":{line}:{column}");
        }
        text += &format!(": {kind}{}\n", self.what);
        if let Some(instead) = &self.instead {
            text += &format!("    {instead}\n");
        }
        text
    }
}

/// In one line, without its place.
impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.instead.as_ref().map_or(Ok(()), |instead| write!(f, ": {instead}"))
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in &self.list {
            f.write_str(&mistake.told(&self.file, ""))?;
        }
        match self.list.len() {
            1 => write!(f, "1 mistake"),
            count => write!(f, "{count} mistakes"),
        }
    }
}
