//! Text of JSON, as far as it is there, by the rules of whoever reads it in the `datasets` of ms-swift.

/// A reader of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// The one of Arrow (RapidJSON), of which rows follow one another. Strict, and knows `NaN` and `Infinity`.
    Arrow,
    /// That of pandas (ujson), to which a file goes as a whole. It takes control characters and first halves of surrogate pairs
    /// in text, keys that stand twice, zeros before a number, and numbers that are cut off.
    Pandas,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An object without, or with, keys.
    Object {
        is_empty: bool,
    },
    List,
    Null,
    Other,
}

/// Why reading stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The text ends within a value.
    End,
    /// What follows is deeper than is looked into.
    Deep,
    /// No JSON to this reader: why, and where.
    Wrong { why: &'static str, at: usize },
}

/// A place in a text.
#[derive(Clone)]
pub(super) struct Cursor<'t> {
    pub(super) text: &'t [u8],
    pub(super) at: usize,
    pub(super) reader: Reader,
}

impl Cursor<'_> {
    /// Goes on to what stands next; `None` at the end.
    pub(super) fn peek(&mut self) -> Option<u8> {
        while matches!(self.text.get(self.at)?, b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    /// Reads a value.
    pub(super) fn value(&mut self) -> Result<Kind, Stop> {
        self.value_within(0)
    }

    fn value_within(&mut self, depth: usize) -> Result<Kind, Stop> {
        if depth > DEEPEST {
            return Err(Stop::Deep);
        }
        match self.peek().ok_or(Stop::End)? {
            b'{' => self.object(depth),
            b'[' => self.list(depth),
            b'"' => self.string().map(|_| Kind::Other),
            b'-' | b'0'..=b'9' => self.number().map(|()| Kind::Other),
            _ => self.word(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Kind, Stop> {
        self.at += 1;
        if self.peek().ok_or(Stop::End)? == b'}' {
            self.at += 1;
            return Ok(Kind::Object { is_empty: true });
        }
        let mut keys = std::collections::HashSet::new();
        loop {
            if self.peek().ok_or(Stop::End)? != b'"' {
                return Err(self.wrong("a key in double quotes was expected"));
            }
            let at = self.at;
            let key = self.string()?;
            if self.reader == Reader::Arrow && depth == 0 && !keys.insert(key) {
                return Err(Stop::Wrong { why: "a key stands twice in a row", at });
            }
            if self.peek().ok_or(Stop::End)? != b':' {
                return Err(self.wrong("`:` was expected"));
            }
            self.at += 1;
            self.value_within(depth + 1)?;
            match self.peek().ok_or(Stop::End)? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Ok(Kind::Object { is_empty: false });
                }
                _ => return Err(self.wrong("`,` or `}` was expected")),
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Kind, Stop> {
        self.at += 1;
        if self.peek().ok_or(Stop::End)? == b']' {
            self.at += 1;
            return Ok(Kind::List);
        }
        loop {
            self.value_within(depth + 1)?;
            match self.peek().ok_or(Stop::End)? {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Ok(Kind::List);
                }
                _ => return Err(self.wrong("`,` or `]` was expected")),
            }
        }
    }

    /// A text, as it stands there.
    fn string(&mut self) -> Result<Vec<u8>, Stop> {
        self.at += 1;
        let begin = self.at;
        loop {
            match *self.text.get(self.at).ok_or(Stop::End)? {
                b'"' => {
                    self.at += 1;
                    return Ok(self.text[begin..self.at - 1].to_vec());
                }
                b'\\' => self.escape()?,
                byte if byte < 0x20 && self.reader == Reader::Arrow => {
                    return Err(
                        self.wrong("a control character in text, such as a tab, has to be written as `\\t`")
                    );
                }
                _ => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Result<(), Stop> {
        match *self.text.get(self.at + 1).ok_or(Stop::End)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
                self.at += 2;
                Ok(())
            }
            b'u' => {
                let at = self.at;
                let unit = self.unit()?;
                let is_half = match self.reader {
                    Reader::Arrow => (0xd800..0xe000).contains(&unit),
                    Reader::Pandas => (0xdc00..0xe000).contains(&unit),
                };
                if !is_half {
                    return self.after_high(unit);
                }
                let half = Stop::Wrong { why: "half of a surrogate pair (`\\ud800`) is no character", at };
                if unit >= 0xdc00 || self.text.get(self.at).is_some_and(|byte| *byte != b'\\') {
                    return Err(half);
                }
                if self.text.get(self.at + 1).is_some_and(|byte| *byte != b'u') {
                    return Err(half);
                }
                if (0xdc00..0xe000).contains(&self.unit()?) { Ok(()) } else { Err(half) }
            }
            _ => Err(self.wrong("no escape that JSON has")),
        }
    }

    /// Passes what pandas takes for the second half of a pair.
    fn after_high(&mut self, unit: u32) -> Result<(), Stop> {
        if (0xd800..0xdc00).contains(&unit) && self.text[self.at..].starts_with(b"\\u") {
            self.unit()?;
        }
        Ok(())
    }

    /// `\u00e9`.
    fn unit(&mut self) -> Result<u32, Stop> {
        let digits = self.text.get(self.at + 2..self.at + 6).ok_or(Stop::End)?;
        let digits =
            std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
        let unit = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let unit = unit.ok_or_else(|| self.wrong("no escape that JSON has"))?;
        self.at += 6;
        Ok(unit)
    }

    fn number(&mut self) -> Result<(), Stop> {
        let begin = self.at;
        if self.text[begin] == b'-' {
            self.at += 1;
            if self.text.get(self.at) == Some(&b'I') {
                return self.is_word("Infinity");
            }
        }
        let whole = self.digits()?;
        if whole.len() > 1 && whole[0] == b'0' && self.reader == Reader::Arrow {
            return Err(Stop::Wrong { why: "a number does not begin with a zero", at: begin });
        }
        let mut is_whole = true;
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
            is_whole = false;
        }
        if matches!(self.text.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.text.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
            is_whole = false;
        }
        if self.at == self.text.len() {
            // It may go on.
            return Ok(());
        }
        let number = std::str::from_utf8(&self.text[begin..self.at]).unwrap_or_default();
        let is_too_large = match self.reader {
            Reader::Arrow => number.parse::<f64>().is_ok_and(f64::is_infinite),
            Reader::Pandas => {
                is_whole && number != "-" && number.parse::<i64>().is_err() && number.parse::<u64>().is_err()
            }
        };
        if is_too_large { Err(Stop::Wrong { why: "a number too large", at: begin }) } else { Ok(()) }
    }

    fn digits(&mut self) -> Result<&[u8], Stop> {
        let begin = self.at;
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        match self.text.get(self.at) {
            None if self.at == begin => Err(Stop::End),
            // ujson reads `1.`, `1e` and `-`.
            _ if self.at == begin && self.reader == Reader::Arrow => Err(self.wrong("a digit was expected")),
            _ => Ok(&self.text[begin..self.at]),
        }
    }

    fn word(&mut self) -> Result<Kind, Stop> {
        match self.text[self.at] {
            b'n' => self.is_word("null").map(|()| Kind::Null),
            b't' => self.is_word("true").map(|()| Kind::Other),
            b'f' => self.is_word("false").map(|()| Kind::Other),
            b'N' => self.is_word("NaN").map(|()| Kind::Other),
            b'I' if self.reader == Reader::Arrow && !self.text[self.at..].starts_with(b"Infi") => {
                self.is_word("Inf").map(|()| Kind::Other)
            }
            b'I' => self.is_word("Infinity").map(|()| Kind::Other),
            _ => Err(self.wrong("a value was expected")),
        }
    }

    fn is_word(&mut self, word: &str) -> Result<(), Stop> {
        let rest = &self.text[self.at..];
        let there = &rest[..rest.len().min(word.len())];
        match word.as_bytes().strip_prefix(there) {
            Some([]) => {
                self.at += word.len();
                Ok(())
            }
            Some(_) if there.len() == rest.len() => Err(Stop::End),
            _ => Err(self.wrong("a value was expected")),
        }
    }

    fn wrong(&self, why: &'static str) -> Stop {
        Stop::Wrong { why, at: self.at }
    }
}

/// Deeper than any row; what is deeper is not judged.
const DEEPEST: usize = 200;
