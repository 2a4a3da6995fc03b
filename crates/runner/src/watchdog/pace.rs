use std::collections::VecDeque;
use std::time::Duration;

use swifthook_core::Progress;

use super::watch::Watch;
use super::{START, told};

/// What a run did between two signs of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Steps,
    Evaluation,
    Saving,
}

impl Kind {
    /// What came about between the two; `None` if nothing did. A look may come so late that it sees several things: then
    /// it is the one that takes longest.
    pub(super) fn between(before: &Progress, after: &Progress) -> Option<Self> {
        if before.eval_loss != after.eval_loss {
            return Some(Self::Evaluation);
        }
        if before.checkpoint != after.checkpoint {
            return Some(Self::Saving);
        }
        (before.step != after.step).then_some(Self::Steps)
    }
}

/// How long the things that a run does take it, and when it does them.
#[derive(Default)]
pub(super) struct Paces {
    steps: Recent,
    evaluation: Recent,
    saving: Recent,
    /// How many steps there are between two lines of its log.
    stride: u64,
    evaluates_every: Every,
    saves_every: Every,
}

impl Paces {
    /// What a run tells of its own pace.
    pub(super) fn guess(&mut self, progress: &Progress) {
        self.stride = 1;
        if let Some(seconds) = progress.seconds_per_step.filter(|seconds| (0.0..1e7).contains(seconds)) {
            self.steps.push(Duration::from_secs_f64(seconds));
        }
    }

    pub(super) fn note(&mut self, kind: Kind, took: Duration, before: &Progress, after: &Progress) {
        let step = after.step.unwrap_or(0);
        match kind {
            Kind::Steps => {
                self.stride = step.saturating_sub(before.step.unwrap_or(0)).max(1);
                self.steps.push(took);
            }
            Kind::Evaluation => {
                self.evaluates_every.note(step);
                self.evaluation.push(took);
            }
            Kind::Saving => {
                self.saves_every.note(after.checkpoint.unwrap_or(step));
                self.saving.push(took);
            }
        }
    }

    /// How long the next sign may take, and what that follows from.
    pub(super) fn limit(&self, watch: &Watch, last: &Progress) -> (Duration, String) {
        let next = last.step.unwrap_or(0)..last.step.unwrap_or(0) + 2 * self.stride.max(1);
        let may_evaluate = self.evaluates_every.is_due(&next);
        let may_save = self.saves_every.is_due(&next);
        let expected = [
            (self.steps.median(), true, "its lines"),
            (self.evaluation.median(), may_evaluate, "an evaluation"),
            (self.saving.median(), may_save, "a checkpoint"),
        ];
        let expected = expected.into_iter().filter(|(_, may_come, _)| *may_come);
        let longest =
            expected.filter_map(|(median, _, what)| Some((median?, what))).max_by_key(|(median, _)| *median);
        let step = last.step.map_or("before its first step".to_owned(), |step| format!("after step {step}"));
        match longest {
            Some((median, what)) => {
                let usual = format!("{step}, where {what} took {} each", exactly(median));
                (median.saturating_mul(watch.factor).max(watch.at_least), usual)
            }
            None => (START * watch.at_least, step),
        }
    }
}

/// The last of many durations.
#[derive(Default)]
struct Recent(VecDeque<Duration>);

impl Recent {
    fn push(&mut self, duration: Duration) {
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(duration);
    }

    fn median(&self) -> Option<Duration> {
        let mut sorted: Vec<_> = self.0.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    }
}

/// The number of steps of which the steps of something are multiples.
#[derive(Default)]
struct Every(Option<u64>);

impl Every {
    fn note(&mut self, step: u64) {
        self.0 = Some(self.0.map_or(step, |every| greatest_common_divisor(every, step)));
    }

    /// Whether it may come at any of these steps.
    fn is_due(&self, steps: &std::ops::Range<u64>) -> bool {
        self.0.is_some_and(|every| every == 0 || steps.clone().any(|step| step % every == 0))
    }
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

fn exactly(duration: Duration) -> String {
    if duration.as_secs() < 10 { format!("{:.1} s", duration.as_secs_f64()) } else { told(duration) }
}

const MOST: usize = 31;
