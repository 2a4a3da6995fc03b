//! Notices runs that are stuck, or whose loss went astray: from what a run has done so far it follows what it is to do
//! next, and when. Without a clock, and without asking anybody.

mod band;
mod pace;
mod watch;

use std::time::Duration;

use swifthook_core::{Progress, Pulse, Reason, Timestamp};

use self::band::Band;
use self::pace::{Kind, Paces};
pub use self::watch::{Then, Watch};

/// Watches one run.
pub(crate) struct Watchdog {
    began: Timestamp,
    last: Option<Sign>,
    paces: Paces,
    band: Band,
    /// The word of what is wrong, as it was told last.
    told: Option<String>,
}

/// The last that the run told.
#[derive(Clone, Copy)]
struct Sign {
    at: Timestamp,
    progress: Progress,
}

/// What is to be told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Finding {
    /// Something is wrong: a word of `silent`, `stalled`, `nan` and `loss`, and a sentence.
    Alarm(Reason),
    /// What was wrong is so no more.
    AllWell,
}

impl Watchdog {
    /// Watches a run that began then, and of which that word was told already.
    pub(crate) fn new(began: Timestamp, told: Option<String>) -> Self {
        Self { began, last: None, paces: Paces::default(), band: Band::default(), told }
    }

    /// Takes in how the run is, and says what is new about it. To be asked every few seconds.
    pub(crate) fn see(
        &mut self,
        watch: &Watch,
        now: Timestamp,
        progress: &Progress,
        pulse: &Pulse,
    ) -> Option<Finding> {
        self.take_in(now, progress, pulse);
        let wrong = self.off(progress).or_else(|| self.silent(watch, now, pulse));
        let word = wrong.as_ref().map(|why| why.word.to_string());
        if word == self.told {
            return None;
        }
        self.told = word;
        Some(wrong.map_or(Finding::AllWell, Finding::Alarm))
    }

    fn take_in(&mut self, now: Timestamp, progress: &Progress, pulse: &Pulse) {
        let at = pulse.told_at.unwrap_or(now).min(now);
        match &self.last {
            None if *progress == Progress::default() => return,
            // What it had told before anybody watched says nothing about its pace, but what it tells itself.
            None => self.paces.guess(progress),
            Some(last) => {
                let Some(kind) = Kind::between(&last.progress, progress) else { return };
                self.paces.note(kind, at.since(last.at), &last.progress, progress);
            }
        }
        self.band.note(self.last.as_ref().and_then(|last| last.progress.step), progress);
        self.last = Some(Sign { at, progress: *progress });
    }

    fn off(&self, progress: &Progress) -> Option<Reason> {
        if let Some(why) = progress.divergence() {
            return Some(Reason::new("nan", why));
        }
        self.band.off().map(|why| Reason::new("loss", why))
    }

    fn silent(&self, watch: &Watch, now: Timestamp, pulse: &Pulse) -> Option<Reason> {
        let (since, limit, what) = match &self.last {
            Some(last) => {
                let (limit, what) = self.paces.limit(watch, &last.progress);
                (last.at, limit, what)
            }
            None if pulse.written_at.is_none() => {
                (self.began, START * watch.at_least, "it starts".to_owned())
            }
            None => (self.began, START * watch.at_least, "before its first step".to_owned()),
        };
        let heard = pulse.written_at.map_or(since, |written| written.max(since));
        if now.since(heard) > limit {
            let silence = told(now.since(heard));
            return Some(Reason::new("silent", format!("nothing was heard of it for {silence}, {what}")));
        }
        // It may write for ever without getting on.
        let is_stalled = now.since(since) > STALL * limit;
        let stall = told(now.since(since));
        is_stalled
            .then(|| Reason::new("stalled", format!("it writes, and has not got on for {stall}, {what}")))
    }
}

/// A duration for people.
fn told(duration: Duration) -> String {
    match duration.as_secs() {
        0..=119 => format!("{} s", duration.as_secs()),
        seconds @ 120..=7_199 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}

/// How many times as long as the floor a run may be silent of whose pace nothing is known yet: loading a model takes longer
/// than a step.
const START: u32 = 3;
/// How many times as long a run may write without getting on as it may be silent.
const STALL: u32 = 3;

#[cfg(test)]
mod tests;
