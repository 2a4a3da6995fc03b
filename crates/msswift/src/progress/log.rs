use swifthook_core::{Measure, Progress};

use super::line::Pairs;

/// What a run told, each thing as the last line says that mentions it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Log {
    /// Steps done.
    pub step: Option<u64>,
    /// Steps in all.
    pub max_steps: Option<u64>,
    /// Passes over the data, done.
    pub epoch: Option<f64>,
    /// The training loss; may be no number, which is why it is told.
    pub loss: Option<f64>,
    /// The loss on the validation data.
    pub eval_loss: Option<f64>,
    /// The mean loss of the whole training, once it is over.
    pub train_loss: Option<f64>,
    /// The norm of the gradient.
    pub grad_norm: Option<f64>,
    /// How many lines in a row told of a norm of the gradient that is no number.
    pub overflows: u32,
    /// The learning rate.
    pub learning_rate: Option<f64>,
    /// The share of tokens that were right.
    pub token_acc: Option<f64>,
    /// Memory of the accelerator in use, in GiB.
    pub memory_gib: Option<f64>,
    /// How long a step takes.
    pub seconds_per_step: Option<f64>,
    /// Seconds since the first step.
    pub elapsed_s: Option<u64>,
    /// Seconds to go.
    pub eta_s: Option<u64>,
    /// The last checkpoint that the run itself calls whole, of a trainer that keeps to the contract of
    /// `SWIFTHOOK_PROGRESS`.
    pub checkpoint: Option<String>,
    /// The last checkpoint, once the run tells its end.
    pub last_checkpoint: Option<String>,
    /// The best checkpoint, once the run tells its end.
    pub best_checkpoint: Option<String>,
    /// What the best checkpoint was best by.
    pub best_metric: Option<f64>,
    /// Whether the summary is there. It says nothing about success: it is written after an exception too.
    pub is_over: bool,
}

impl Log {
    /// Whether all steps are done; `None` where the run does not tell. An exit code of 0 is not enough: a run that was
    /// asked to save and end exits so too.
    #[must_use]
    pub fn is_done(&self) -> Option<bool> {
        self.progress().is_done()
    }

    /// What a job keeps of it.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let finite = |number: Option<f64>| number.filter(|number| number.is_finite());
        Progress {
            step: self.step,
            max_steps: self.max_steps,
            loss: finite(self.loss),
            eta_s: self.eta_s,
            loss_is_nan: self.loss.is_some_and(|loss| !loss.is_finite()),
            diverged: self.diverged(),
            eval_loss: finite(self.eval_loss),
            learning_rate: finite(self.learning_rate),
            grad_norm: finite(self.grad_norm),
            memory_gib: finite(self.memory_gib),
            seconds_per_step: finite(self.seconds_per_step),
            checkpoint: None,
        }
    }

    /// What shows that the training has diverged.
    ///
    /// transformers logs the last good loss, or 0, in place of one that is no number (`logging_nan_inf_filter`), so that any
    /// other measure has to be looked at. A norm of the gradient alone may be none for a few steps: mixed precision skips a
    /// step that overflows, and begins with such.
    fn diverged(&self) -> Option<Measure> {
        let is_over =
            self.is_over || self.train_loss.is_some() || self.step.is_some() && self.step >= self.max_steps;
        let counts = is_over || self.overflows >= OVERFLOWS || self.loss.is_none_or(|loss| loss == 0.0);
        let measures = [
            (Measure::Loss, self.loss),
            (Measure::EvalLoss, self.eval_loss),
            (Measure::GradNorm, self.grad_norm.filter(|_| counts)),
            (Measure::LearningRate, self.learning_rate),
            (Measure::TrainLoss, self.train_loss),
            (Measure::TokenAcc, self.token_acc),
            (Measure::BestMetric, self.best_metric),
        ];
        let is_none = |value: Option<f64>| value.is_some_and(|value| !value.is_finite());
        measures.into_iter().find_map(|(measure, value)| is_none(value).then_some(measure))
    }

    pub(super) fn hear(&mut self, pairs: &Pairs<'_>) {
        for (key, value) in pairs.iter() {
            match key {
                b"loss" => self.loss = number(value),
                b"grad_norm" => {
                    self.grad_norm = number(value);
                    let is_none = self.grad_norm.is_some_and(|norm| !norm.is_finite());
                    self.overflows = if is_none { self.overflows.saturating_add(1) } else { 0 };
                }
                b"learning_rate" => self.learning_rate = number(value),
                b"token_acc" => self.token_acc = number(value),
                b"epoch" => self.epoch = number(value),
                b"eval_loss" => self.eval_loss = number(value),
                b"train_loss" => self.train_loss = number(value),
                b"memory(GiB)" => self.memory_gib = number(value),
                b"train_speed(s/it)" => self.seconds_per_step = number(value),
                // Until 3.12.4.
                b"train_speed(iter/s)" => {
                    self.seconds_per_step = number(value).map(f64::recip).filter(|speed| speed.is_finite());
                }
                // The second is Megatron-SWIFT's.
                b"global_step/max_steps" | b"iteration" => {
                    if let Some((step, max_steps)) = text(value).and_then(of_all) {
                        (self.step, self.max_steps) = (Some(step), Some(max_steps));
                    }
                }
                // Of trainers that keep to the contract of `SWIFTHOOK_PROGRESS`.
                b"step" => self.step = whole(value).or(self.step),
                b"max_steps" => self.max_steps = whole(value).or(self.max_steps),
                b"eta_s" => self.eta_s = whole(value),
                b"checkpoint" => self.checkpoint = unescaped(value).or(self.checkpoint.take()),
                b"elapsed_time" => self.elapsed_s = text(value).and_then(seconds),
                b"remaining_time" => self.eta_s = text(value).and_then(seconds),
                b"last_model_checkpoint" => {
                    self.is_over = true;
                    self.last_checkpoint = unescaped(value);
                }
                b"best_model_checkpoint" => self.best_checkpoint = unescaped(value),
                b"best_metric" => self.best_metric = number(value),
                _ => {}
            }
        }
    }
}

fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok()
}

/// Also `NaN` and `Infinity`, which Python writes.
fn number(value: &[u8]) -> Option<f64> {
    text(value)?.parse().ok()
}

/// A whole number, also one that is written with a fraction (`9.0`).
fn whole(value: &[u8]) -> Option<u64> {
    let text = text(value)?;
    let rounded = || number(value).filter(|number| (0.0..=MOST).contains(number)).map(f64::round);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within the bounds just checked"
    )]
    text.parse().ok().or_else(|| rounded().map(|number| number as u64))
}

/// A text as it was meant; `null` is none.
fn unescaped(value: &[u8]) -> Option<String> {
    if value == b"null" {
        return None;
    }
    serde_json::from_str(&format!("\"{}\"", text(value)?)).ok()
}

/// `1/12`.
fn of_all(text: &str) -> Option<(u64, u64)> {
    let (step, max_steps) = text.split_once('/')?;
    Some((step.trim().parse().ok()?, max_steps.trim().parse().ok()?))
}

/// `1d 2h 3m 4s`, in seconds.
fn seconds(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().try_fold(0u64, |sum, part| {
        let (count, unit) = part.split_at_checked(part.len().checked_sub(1)?)?;
        let factor = match unit {
            "d" => 86_400,
            "h" => 3_600,
            "m" => 60,
            "s" => 1,
            _ => return None,
        };
        sum.checked_add(count.parse::<u64>().ok()?.checked_mul(factor)?)
    })
}

/// Overflows in a row that are more than the beginning of mixed precision.
const OVERFLOWS: u32 = 3;
/// The largest whole number that is read where it has a fraction.
const MOST: f64 = 1e15;
