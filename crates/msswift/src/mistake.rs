use std::fmt;

/// Something wrong with a config, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The line, from 1; `None` where it is about the file as a whole.
    pub line: Option<usize>,
    /// What is wrong, and where there is something to say, what would be right.
    pub what: String,
}

impl Mistake {
    pub(crate) fn at(line: usize, what: impl Into<String>) -> Self {
        Self { line: (line > 0).then_some(line), what: what.into() }
    }

    pub(crate) fn of_the_file(what: impl Into<String>) -> Self {
        Self { line: None, what: what.into() }
    }
}

/// `line 3: …`.
impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// Text of a config for a message: short, and without what a terminal would take for more than text.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String =
        text.chars().take(SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

const SHOWN: usize = 60;
