use std::cell::Cell;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use swifthook_core::text::{printable, printable_lines};

/// Where the demo is watched: a terminal, on which rows fill in while it goes on, or a pipe or file, which gets a
/// plain line for each thing that has happened.
pub(super) struct Screen {
    is_live: bool,
    has_colour: bool,
}

impl Screen {
    pub(super) fn stdout() -> Self {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let is_live = io::stdout().is_terminal() && set("TERM").is_none_or(|term| term != "dumb");
        Self { is_live, has_colour: is_live && set("NO_COLOR").is_none() }
    }

    pub(super) fn line(&self, text: &str) {
        self.write(&printable_lines(text));
    }

    fn write(&self, text: &str) {
        // Whoever has closed the pipe wants no more lines; the demo goes on to its end.
        drop(writeln!(io::stdout(), "{text}"));
    }

    pub(super) fn heading(&self, text: &str) {
        self.write(&self.painted("1", &printable_lines(text)));
    }

    /// A line of less weight.
    pub(super) fn aside(&self, text: &str) {
        self.write(&self.painted("2", &printable_lines(text)));
    }

    /// Rows to be filled in, in their order.
    pub(super) fn timeline(&self, rows: &'static [Row]) -> Timeline<'_> {
        let live = self.is_live.then(|| {
            let all = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
            let bar = |row: &Row| {
                let bar = all.add(ProgressBar::no_length()).with_style(style(PENDING));
                bar.set_prefix(row.name());
                bar.tick();
                bar
            };
            rows.iter().map(bar).collect()
        });
        Timeline { screen: self, rows, live, told: Cell::new(0) }
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if self.has_colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// What happens to a push, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Row {
    Delivery,
    Verdict,
    Job,
    Checkout,
    Training,
    Result,
}

impl Row {
    fn name(self) -> &'static str {
        match self {
            Self::Delivery => "delivery",
            Self::Verdict => "verdict",
            Self::Job => "job",
            Self::Checkout => "checkout",
            Self::Training => "training",
            Self::Result => "result",
        }
    }
}

/// The rows of one push.
pub(super) struct Timeline<'s> {
    screen: &'s Screen,
    rows: &'static [Row],
    live: Option<Vec<ProgressBar>>,
    /// Quarters of the training that a plain screen was told of.
    told: Cell<u64>,
}

/// How a row came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Good,
    /// As it should be, but nothing comes of it.
    Ignored,
    Bad,
}

impl Timeline<'_> {
    /// What is being waited for.
    pub(super) fn begin(&self, row: Row, text: &str) {
        if let Some(bar) = self.bar(row) {
            bar.set_style(style(UNDER_WAY));
            bar.set_message(printable(text).into_owned());
            bar.enable_steady_tick(FRAME);
        }
    }

    pub(super) fn progress(&self, row: Row, step: u64, steps: u64, text: &str) {
        if let Some(bar) = self.bar(row) {
            bar.set_style(style(PROGRESS).progress_chars("━━─"));
            bar.set_length(steps);
            bar.set_position(step);
            bar.set_message(printable(text).into_owned());
            return;
        }
        let quarter = step * 4 / steps.max(1);
        if quarter > self.told.replace(quarter) && step < steps {
            self.plain("…", row, text);
        }
    }

    pub(super) fn end(&self, row: Row, mark: Mark, text: &str) {
        let Some(bar) = self.bar(row) else { return self.plain(mark.sign(), row, text) };
        bar.set_style(style(mark.template()).tick_strings(&[mark.sign(); 2]));
        bar.finish_with_message(printable(text).into_owned());
    }

    /// Nothing more comes: rows that were not reached go away.
    pub(super) fn close(self) {
        let Some(bars) = self.live else { return };
        bars.iter().filter(|bar| !bar.is_finished()).for_each(ProgressBar::finish_and_clear);
        // The cursor stands at the end of the last row.
        self.screen.line("");
    }

    fn bar(&self, row: Row) -> Option<&ProgressBar> {
        let index = self.rows.iter().position(|other| *other == row)?;
        self.live.as_ref().map(|bars| &bars[index])
    }

    fn plain(&self, sign: &str, row: Row, text: &str) {
        self.screen.line(&format!("  {sign} {:WIDTH$}{text}", row.name()));
    }
}

impl Mark {
    fn sign(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Ignored => "–",
            Self::Bad => "✗",
        }
    }

    fn template(self) -> &'static str {
        match self {
            Self::Good => "  {spinner:.green} {prefix:11}{msg}",
            Self::Ignored => "  {spinner:.dim} {prefix:11}{msg}",
            Self::Bad => "  {spinner:.red} {prefix:11}{msg}",
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates below are well formed")
}

const PENDING: &str = "    {prefix:.dim}";
const UNDER_WAY: &str = "  {spinner:.cyan} {prefix:11}{msg}";
const PROGRESS: &str = "  {spinner:.cyan} {prefix:11}{bar:32.cyan/dim} {msg}";
const WIDTH: usize = 11;
const FRAME: Duration = Duration::from_millis(80);
