//! One line, taken apart no further than the top of it: fast, and tolerant of the bare `NaN` that Python writes.

use memchr::memchr2;

/// What of a line is there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// All of it.
    Whole,
    /// Its beginning: what is complete in it counts.
    CutOff,
}

/// Keys and values as they stand in a line; none of a line that is no object. Texts are without their quotes, and still
/// escaped.
pub(super) fn pairs(line: &[u8], ending: Ending) -> Pairs<'_> {
    let mut pairs = Pairs { list: [Pair::NONE; MOST], count: 0 };
    let is_whole = Cursor { line, at: 0 }.object(&mut pairs).is_some();
    if !is_whole && ending == Ending::Whole {
        pairs.count = 0;
    }
    pairs
}

/// The pairs of a line: a training line has about a dozen.
pub(super) struct Pairs<'l> {
    list: [Pair<'l>; MOST],
    count: usize,
}

#[derive(Clone, Copy)]
pub(super) struct Pair<'l> {
    pub(super) key: &'l [u8],
    pub(super) value: &'l [u8],
}

impl<'l> Pair<'l> {
    const NONE: Self = Self { key: b"", value: b"" };
}

impl<'l> Pairs<'l> {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Pair<'l>> {
        self.list[..self.count].iter()
    }

    fn add(&mut self, key: &'l [u8], value: &'l [u8]) {
        if let Some(place) = self.list.get_mut(self.count) {
            *place = Pair { key, value };
            self.count += 1;
        }
    }
}

struct Cursor<'l> {
    line: &'l [u8],
    at: usize,
}

impl<'l> Cursor<'l> {
    /// Reads the whole line as an object; `None` if it is none.
    fn object(&mut self, pairs: &mut Pairs<'l>) -> Option<()> {
        self.expect(b'{')?;
        if self.peek()? == b'}' {
            self.at += 1;
            return self.end();
        }
        loop {
            self.expect(b'"')?;
            let key = self.text()?;
            self.expect(b':')?;
            let value = self.value()?;
            // Only now is it certain that the value is all there.
            let next = self.peek()?;
            pairs.add(key, value);
            self.at += 1;
            match next {
                b',' => {}
                b'}' => return self.end(),
                _ => return None,
            }
        }
    }

    fn value(&mut self) -> Option<&'l [u8]> {
        match self.peek()? {
            b'"' => {
                self.at += 1;
                self.text()
            }
            b'{' | b'[' => self.structure(),
            _ => {
                let rest = &self.line[self.at..];
                let length = rest.iter().position(|byte| b",}] \t\r".contains(byte))?;
                self.at += length;
                Some(&rest[..length])
            }
        }
    }

    /// What stands until the quote that ends a text.
    fn text(&mut self) -> Option<&'l [u8]> {
        let begin = self.at;
        loop {
            let found = self.at + memchr2(b'"', b'\\', self.line.get(self.at..)?)?;
            if self.line[found] == b'"' {
                self.at = found + 1;
                return Some(&self.line[begin..found]);
            }
            self.at = found + 2;
        }
    }

    fn structure(&mut self) -> Option<&'l [u8]> {
        let begin = self.at;
        let mut depth = 0_usize;
        loop {
            let byte = *self.line.get(self.at)?;
            self.at += 1;
            match byte {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                b'"' => {
                    self.text()?;
                }
                _ => {}
            }
            if depth == 0 {
                return Some(&self.line[begin..self.at]);
            }
        }
    }

    fn peek(&mut self) -> Option<u8> {
        while matches!(self.line.get(self.at)?, b' ' | b'\t' | b'\r') {
            self.at += 1;
        }
        self.line.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        let is_there = self.peek()? == byte;
        self.at += 1;
        is_there.then_some(())
    }

    fn end(&mut self) -> Option<()> {
        self.peek().is_none().then_some(())
    }
}

const MOST: usize = 48;
