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

/// Values of the keys that are known, as they stand in a line; none of a line that is no object. Texts are without their
/// quotes, and still escaped.
pub(super) fn pairs(line: &[u8], ending: Ending) -> Pairs<'_> {
    let mut pairs = Pairs::NONE;
    let is_whole = Cursor { line, at: 0 }.object(&mut pairs).is_some();
    if is_whole || ending == Ending::CutOff { pairs } else { Pairs::NONE }
}

/// The known pairs of a line, however many others it has: ms-swift writes a metric for each channel and each reward, and the
/// step after them.
pub(super) struct Pairs<'l> {
    values: [Option<&'l [u8]>; KNOWN.len()],
}

impl<'l> Pairs<'l> {
    const NONE: Self = Self { values: [None; KNOWN.len()] };

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static [u8], &'l [u8])> {
        KNOWN.into_iter().zip(self.values).filter_map(|(key, value)| Some((key, value?)))
    }

    fn add(&mut self, key: &[u8], value: &'l [u8]) {
        if let Some(place) = KNOWN.iter().position(|known| *known == key) {
            self.values[place] = Some(value);
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

/// What is read of a line.
const KNOWN: [&[u8]; 21] = [
    b"loss",
    b"grad_norm",
    b"learning_rate",
    b"token_acc",
    b"epoch",
    b"eval_loss",
    b"train_loss",
    b"memory(GiB)",
    b"train_speed(s/it)",
    b"train_speed(iter/s)",
    b"global_step/max_steps",
    b"iteration",
    b"step",
    b"max_steps",
    b"eta_s",
    b"checkpoint",
    b"elapsed_time",
    b"remaining_time",
    b"last_model_checkpoint",
    b"best_model_checkpoint",
    b"best_metric",
];
