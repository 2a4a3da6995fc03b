//! Text of a table with commas, as the C parser of pandas takes it apart.

/// A table, as far as it is there.
#[derive(Default)]
pub(super) struct Table {
    /// Lines with something in them, the header among them.
    pub(super) lines: usize,
    /// Why it cannot be read, and in which of those lines.
    pub(super) wrong: Option<(String, usize)>,
    /// True if the text ends within quotes.
    pub(super) is_open: bool,
    /// Cells of the last line, with those that were left away.
    cells: usize,
}

/// Reads all lines; the last counts only if the text `is_all`.
pub(super) fn read(text: &[u8], is_all: bool) -> Table {
    let mut table = Table::default();
    let mut line = Line::default();
    let mut at = 0;
    while at < text.len() {
        let byte = text[at];
        at += 1;
        match (line.state, byte) {
            (State::Quoted, b'"') if text.get(at) == Some(&b'"') => at += 1,
            (State::Quoted, b'"') => line.state = State::Within,
            (State::Quoted, _) => {}
            (_, b'\r' | b'\n') => {
                if byte == b'\r' && text.get(at) == Some(&b'\n') {
                    at += 1;
                }
                table.end(std::mem::take(&mut line));
            }
            (_, b',') => {
                line.cells += 1;
                line.state = State::Begin;
            }
            (State::Begin, b'"') => {
                line.state = State::Quoted;
                line.is_filled = true;
            }
            (_, byte) => {
                line.state = State::Within;
                line.is_filled |= byte != b' ';
            }
        }
    }
    table.is_open = line.state == State::Quoted;
    if is_all && !table.is_open {
        table.end(line);
    }
    table
}

impl Table {
    fn end(&mut self, line: Line) {
        if !line.is_filled && line.cells == 0 {
            return;
        }
        let cells = line.cells + 1;
        // The first row may have more than the header: they are taken for an index.
        if self.lines >= 2 && cells > self.cells && self.wrong.is_none() {
            let why = format!("{cells} cells, and the line before has {}", self.cells);
            self.wrong = Some((why, self.lines + 1));
        }
        self.cells = if self.lines == 0 { cells } else { cells.max(self.cells) };
        self.lines += 1;
    }
}

#[derive(Default)]
struct Line {
    state: State,
    /// Commas outside of quotes.
    cells: usize,
    is_filled: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Begin,
    Within,
    Quoted,
}
