use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

/// `logging.jsonl` in ms-swift's shape: lines of training, of evaluation, of the end, and a summary.
pub(super) struct Log {
    file: File,
    history: Vec<Value>,
}

impl Log {
    /// Opens the log of `output_dir`; what a run that is resumed here wrote stays.
    pub(super) fn open(output_dir: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(output_dir.join("logging.jsonl"))?;
        Ok(Self { file, history: Vec::new() })
    }

    /// Appends a line, in one write so that a reader never sees half of it.
    pub(super) fn write(&mut self, line: &impl Serialize) -> io::Result<()> {
        self.history.push(serde_json::to_value(line)?);
        self.append(line)
    }

    /// Appends the last line, which repeats all that was logged.
    pub(super) fn summarize(&mut self, summary: Summary) -> io::Result<()> {
        let line = Summary { log_history: std::mem::take(&mut self.history), ..summary };
        self.append(&line)
    }

    fn append(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.file.write_all(&text)
    }
}

/// Tells of a checkpoint that is whole, by the contract of `SWIFTHOOK_PROGRESS`.
pub(super) fn tell_checkpoint(file: &Path, step: u64, place: &Path) -> io::Result<()> {
    let line = serde_json::json!({ "step": step, "checkpoint": place });
    let mut file = OpenOptions::new().create(true).append(true).open(file)?;
    file.write_all(format!("{line}\n").as_bytes())
}

#[derive(Serialize)]
pub(super) struct Training {
    pub(super) loss: f64,
    pub(super) grad_norm: f64,
    pub(super) learning_rate: f64,
    /// The accuracy over the batch: each example counts as one token.
    pub(super) token_acc: f64,
    #[serde(flatten)]
    pub(super) pace: Pace,
}

#[derive(Serialize)]
pub(super) struct Evaluation {
    pub(super) eval_loss: f64,
    pub(super) eval_token_acc: f64,
    #[serde(flatten)]
    pub(super) pace: Pace,
}

#[derive(Serialize)]
pub(super) struct End {
    pub(super) train_runtime: f64,
    pub(super) train_samples_per_second: f64,
    pub(super) train_steps_per_second: f64,
    pub(super) train_loss: f64,
    #[serde(flatten)]
    pub(super) pace: Pace,
}

#[derive(Default, Serialize)]
pub(super) struct Summary {
    pub(super) last_model_checkpoint: Option<PathBuf>,
    pub(super) best_model_checkpoint: Option<PathBuf>,
    pub(super) best_metric: Option<f64>,
    pub(super) global_step: u64,
    pub(super) log_history: Vec<Value>,
}

/// How far the run is, as each of ms-swift's lines tells it.
#[derive(Serialize)]
pub(super) struct Pace {
    epoch: f64,
    #[serde(rename = "global_step/max_steps")]
    steps: String,
    elapsed_time: String,
    remaining_time: String,
    #[serde(rename = "train_speed(s/it)")]
    seconds_per_step: f64,
}

impl Pace {
    /// After `step` of `max_steps`, of which `done` took `elapsed` since the run began or was resumed.
    pub(super) fn new(step: u64, max_steps: u64, done: u64, elapsed: Duration, epoch: f64) -> Self {
        let speed = elapsed.as_secs_f64() / done.max(1) as f64;
        let remaining = Duration::from_secs_f64(speed * max_steps.saturating_sub(step) as f64);
        Self {
            epoch: rounded(epoch),
            steps: format!("{step}/{max_steps}"),
            elapsed_time: duration_text(elapsed),
            remaining_time: duration_text(remaining),
            seconds_per_step: rounded(speed),
        }
    }
}

/// Eight decimal places, as ms-swift writes them.
pub(super) fn rounded(number: f64) -> f64 {
    (number * 1e8).round() / 1e8
}

/// `1d 2h 3m 4s`, from the first part that is not zero.
fn duration_text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let parts =
        [(seconds / 86_400, 'd'), (seconds / 3_600 % 24, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')];
    let first = parts.iter().position(|&(count, _)| count > 0).unwrap_or(parts.len() - 1);
    parts[first..].iter().map(|(count, unit)| format!("{count}{unit}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_ms_swift_writes_them() {
        for (seconds, text) in
            [(0, "0s"), (59, "59s"), (60, "1m 0s"), (3_600, "1h 0m 0s"), (93_784, "1d 2h 3m 4s")]
        {
            assert_eq!(duration_text(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn a_training_line_has_the_keys_of_ms_swift_in_their_order() {
        let pace = Pace::new(1, 12, 1, Duration::from_millis(90), 0.0625);
        let line = Training { loss: 6.25, grad_norm: 0.5, learning_rate: 0.0005, token_acc: 0.0, pace };
        assert_eq!(
            serde_json::to_string(&line).unwrap(),
            r#"{"loss":6.25,"grad_norm":0.5,"learning_rate":0.0005,"token_acc":0.0,"epoch":0.0625,"global_step/max_steps":"1/12","elapsed_time":"0s","remaining_time":"0s","train_speed(s/it)":0.09}"#
        );
    }
}
