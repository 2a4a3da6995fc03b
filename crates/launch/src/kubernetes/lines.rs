//! The lines of a log, each with its time in front, as the cluster gives them.

use serde::{Deserialize, Serialize};

/// Takes the times off, and leaves out what was there before.
pub(super) struct Lines {
    before: Option<Cut>,
    /// How many lines of the time of `before` were seen again.
    again: u32,
    current: Option<Cut>,
    whole: Option<Cut>,
    state: State,
}

enum State {
    /// In the time in front of a line.
    Time(Vec<u8>),
    /// In a line that is wanted.
    Text,
    /// In one that is there already.
    Known,
}

/// A time, and how many lines have it: a cut between two lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cut {
    time: String,
    lines: u32,
}

impl Lines {
    /// Those that come after a cut.
    pub(super) fn after(before: Option<Cut>) -> Self {
        let (current, whole) = (before.clone(), before.clone());
        Self { before, again: 0, current, whole, state: State::Time(Vec::new()) }
    }

    /// The time from which on to ask, by whole seconds: the client would round it, and may not round it up.
    pub(super) fn since(&self) -> Option<String> {
        self.before.as_ref().map(|cut| format!("{}Z", order(&cut.time).0))
    }

    /// Where the last line ended that came as a whole.
    pub(super) fn last_whole(&self) -> Option<Cut> {
        self.whole.clone()
    }

    /// Takes in the next bytes, and adds to `text` what is new of them.
    pub(super) fn push(&mut self, mut bytes: &[u8], text: &mut Vec<u8>) {
        while !bytes.is_empty() {
            bytes = match &mut self.state {
                State::Time(time) => match bytes.iter().position(|byte| *byte == b' ' || *byte == b'\n') {
                    Some(end) => {
                        time.extend_from_slice(&bytes[..end]);
                        let time = String::from_utf8_lossy(time).into_owned();
                        self.state = self.begin(time);
                        // An empty line may lack the space.
                        &bytes[end + usize::from(bytes[end] == b' ')..]
                    }
                    None => {
                        time.extend_from_slice(bytes);
                        &[]
                    }
                },
                State::Text | State::Known => {
                    let is_new = matches!(self.state, State::Text);
                    let end = bytes.iter().position(|byte| *byte == b'\n');
                    let piece = &bytes[..end.map_or(bytes.len(), |end| end + 1)];
                    if is_new {
                        text.extend_from_slice(piece);
                    }
                    if end.is_some() {
                        if is_new {
                            self.whole = self.current.clone();
                        }
                        self.state = State::Time(Vec::new());
                    }
                    &bytes[piece.len()..]
                }
            };
        }
    }

    /// A line of this time begins.
    fn begin(&mut self, time: String) -> State {
        if let Some(before) = &self.before {
            match order(&time).cmp(&order(&before.time)) {
                std::cmp::Ordering::Less => return State::Known,
                std::cmp::Ordering::Equal if self.again < before.lines => {
                    self.again += 1;
                    return State::Known;
                }
                _ => {}
            }
        }
        match &mut self.current {
            Some(current) if current.time == time => current.lines += 1,
            current => *current = Some(Cut { time, lines: 1 }),
        }
        State::Text
    }
}

/// `2026-11-28T13:21:09.05Z`, so that it compares: the fraction has as many digits as it needs.
fn order(time: &str) -> (&str, &str) {
    let time = time.strip_suffix('Z').unwrap_or(time);
    let (seconds, fraction) = time.split_once('.').unwrap_or((time, ""));
    (seconds, fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "2026-11-28T13:21:09Z one\n2026-11-28T13:21:09.05Z two\n2026-11-28T13:21:09.05Z two again\n\
                       2026-11-28T13:21:09.5Z \n2026-11-28T13:21:10Z four, and no end";
    const TEXT: &str = "one\ntwo\ntwo again\n\nfour, and no end";

    #[test]
    fn times_are_taken_off_whatever_pieces_a_log_comes_in() {
        for size in 1..LOG.len() {
            let (mut lines, mut text) = (Lines::after(None), Vec::new());
            LOG.as_bytes().chunks(size).for_each(|piece| lines.push(piece, &mut text));
            assert_eq!(String::from_utf8(text).unwrap(), TEXT);
            assert_eq!(lines.last_whole().unwrap().time, "2026-11-28T13:21:09.5Z");
        }
    }

    #[test]
    fn a_copy_that_is_interrupted_anywhere_goes_on_where_its_last_line_ended() {
        for interrupted in 0..LOG.len() {
            let (mut lines, mut text) = (Lines::after(None), Vec::new());
            lines.push(&LOG.as_bytes()[..interrupted], &mut text);
            text.truncate(text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1));
            let mut lines = Lines::after(lines.last_whole());
            // The server begins with the second that it was asked for.
            let from = lines.since().map_or(0, |since| LOG.find(&since[..19]).unwrap());
            lines.push(&LOG.as_bytes()[from..], &mut text);
            assert_eq!(String::from_utf8(text).unwrap(), TEXT, "interrupted at {interrupted}");
        }
    }
}
