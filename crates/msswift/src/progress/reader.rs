use memchr::memchr;

use super::line::{Ending, pairs};
use super::log::Log;

/// Reads `logging.jsonl`, by whatever pieces it comes in.
///
/// Lines that are not whole yet wait; lines that are no JSON are passed over, since what a training writes is no evidence
/// of anything. A line longer than [`LogReader::LONGEST_LINE`] is read up to there: the summary at the end has its
/// history last. So memory is bounded whatever is written.
///
/// # Examples
///
/// ```
/// let mut reader = swifthook_msswift::LogReader::default();
/// reader.push(b"{\"loss\": 6.29, \"global_step/max_steps\": \"1/12\", \"remaining_");
/// assert_eq!(reader.log().step, None);
/// reader.push(b"time\": \"1m 4s\"}\n");
/// assert_eq!((reader.log().step, reader.log().eta_s), (Some(1), Some(64)));
/// ```
#[derive(Clone, Debug, Default)]
pub struct LogReader {
    log: Log,
    /// The beginning of a line that is not whole yet.
    waiting: Vec<u8>,
    /// Whether what follows belongs to a line that was too long.
    is_skipping: bool,
}

impl LogReader {
    /// The longest line that is read to its end, in bytes.
    pub const LONGEST_LINE: usize = 1024 * 1024;

    /// Takes in what was written next.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while let Some(end) = memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            if self.is_skipping {
                self.is_skipping = false;
            } else if self.waiting.is_empty() && line.len() <= Self::LONGEST_LINE {
                self.log.hear(&pairs(line, Ending::Whole));
            } else {
                self.wait_for_more(line);
                if !self.is_skipping {
                    self.log.hear(&pairs(&self.waiting, Ending::Whole));
                }
                self.is_skipping = false;
                self.waiting.clear();
            }
            bytes = rest;
        }
        if !self.is_skipping {
            self.wait_for_more(bytes);
        }
    }

    /// What was told so far.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    fn wait_for_more(&mut self, bytes: &[u8]) {
        let room = Self::LONGEST_LINE - self.waiting.len();
        self.waiting.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if bytes.len() > room {
            self.log.hear(&pairs(&self.waiting, Ending::CutOff));
            self.waiting = Vec::new();
            self.is_skipping = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use swifthook_core::Measure;

    use super::*;

    const LINES: &str = "\
        {\"loss\": 6.29321957, \"grad_norm\": 0.89481491, \"learning_rate\": 0.0005, \"token_acc\": 0.0, \
        \"epoch\": 0.0625, \"global_step/max_steps\": \"1/12\", \"elapsed_time\": \"0s\", \
        \"remaining_time\": \"1d 2h 3m 4s\", \"memory(GiB)\": 11.5, \"train_speed(s/it)\": 0.089923}\n\
        {\"eval_loss\": 4.5, \"eval_runtime\": 0.1, \"epoch\": 1.0}\n\
        {\"loss\": NaN, \"grad_norm\": Infinity, \"global_step/max_steps\": \"2/12\", \"percentage\": \"16%\", \
        \"train_speed(iter/s)\": 4.0}\n\
        {\"train_runtime\": 2.5, \"train_loss\": 5.5}\n\
        {\"last_model_checkpoint\": \"/o/checkpoint-12\", \"best_model_checkpoint\": \"/o/\\u0063heckpoint-6\", \
        \"best_metric\": 4.5, \"global_step\": 12, \"log_history\": [{\"loss\": 9.0}, \"]}\\\"\"], \"memory\": null}\n";

    fn read(pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Log {
        let mut reader = LogReader::default();
        pieces.into_iter().for_each(|piece| reader.push(piece.as_ref()));
        reader.log().clone()
    }

    #[test]
    fn the_four_kinds_of_line_of_both_generations_are_read() {
        let first: String = LINES.lines().take(1).map(|line| format!("{line}\n")).collect();
        let log = read([&first]);
        assert_eq!((log.step, log.max_steps, log.eta_s), (Some(1), Some(12), Some(93_784)));
        assert_eq!(
            (log.loss, log.grad_norm, log.learning_rate),
            (Some(6.29321957), Some(0.89481491), Some(0.0005))
        );
        assert_eq!(
            (log.memory_gib, log.seconds_per_step, log.elapsed_s),
            (Some(11.5), Some(0.089923), Some(0))
        );
        let log = read([LINES]);
        assert!(log.loss.unwrap().is_nan() && log.grad_norm.unwrap().is_infinite());
        assert_eq!((log.step, log.seconds_per_step, log.eval_loss), (Some(2), Some(0.25), Some(4.5)));
        assert_eq!((log.train_loss, log.best_metric, log.is_over), (Some(5.5), Some(4.5), true));
        assert_eq!(log.last_checkpoint.as_deref(), Some("/o/checkpoint-12"));
        assert_eq!(log.best_checkpoint.as_deref(), Some("/o/checkpoint-6"));
        assert_eq!(log.progress().loss, None, "what is no number is not shown as one");
        assert_eq!(log.is_done(), Some(false), "the summary is written after an exception too");
    }

    #[test]
    fn any_division_into_pieces_says_the_same() {
        let whole = format!("{:?}", read([LINES]));
        for size in [1, 2, 3, 7, 64, 300] {
            assert_eq!(format!("{:?}", read(LINES.as_bytes().chunks(size))), whole, "{size}");
        }
    }

    #[test]
    fn a_line_that_is_not_whole_says_nothing() {
        assert_eq!(read(["{\"global_step/max_steps\": \"3/12\"}"]).step, None);
        assert_eq!(read(["{\"global_step/max_steps\": \"3/12\"\n"]).step, None);
        assert_eq!(read(["{\"global_step/max_steps\": \"3/12\"} x\n"]).step, None);
        assert_eq!(read(["{'loss': 1, 'global_step/max_steps': '3/12'}\n"]).step, None);
        assert_eq!(read(["", "\n\n{}\n[]\n", "{\"global_step/max_steps\": \"3/12\"}\r\n"]).step, Some(3));
    }

    /// The measure that shows, after each line, that the training has diverged.
    fn diverged(lines: &[&str]) -> Vec<Option<Measure>> {
        let mut reader = LogReader::default();
        let after = |line: &&str| {
            reader.push(format!("{line}\n").as_bytes());
            reader.log().progress().diverged
        };
        lines.iter().map(after).collect()
    }

    #[test]
    fn a_training_whose_loss_hides_that_it_is_no_number_has_diverged_all_the_same() {
        // As ms-swift 4.6.0 writes with `learning_rate: 1e30`.
        let lines = [
            r#"{"loss": 6.29, "grad_norm": 0.89, "global_step/max_steps": "1/3"}"#,
            r#"{"loss": 0.0, "grad_norm": NaN, "global_step/max_steps": "2/3"}"#,
            r#"{"eval_loss": NaN, "global_step/max_steps": "2/3"}"#,
            r#"{"eval_loss": 2.5, "grad_norm": 1.0, "global_step/max_steps": "3/3"}"#,
        ];
        assert_eq!(diverged(&lines), [None, Some(Measure::GradNorm), Some(Measure::EvalLoss), None]);
        for (line, measure) in [
            (r#"{"loss": NaN}"#, Measure::Loss),
            (r#"{"loss": "nan"}"#, Measure::Loss),
            (r#"{"loss": 1.0, "eval_loss": Infinity}"#, Measure::EvalLoss),
            (r#"{"loss": 1.0, "learning_rate": -Infinity}"#, Measure::LearningRate),
            (r#"{"train_loss": NaN}"#, Measure::TrainLoss),
            (r#"{"loss": 1.0, "token_acc": NaN}"#, Measure::TokenAcc),
            (r#"{"last_model_checkpoint": null, "best_metric": NaN}"#, Measure::BestMetric),
            (r#"{"loss": 1.0, "grad_norm": NaN, "global_step/max_steps": "3/3"}"#, Measure::GradNorm),
        ] {
            assert_eq!(diverged(&[line]), [Some(measure)], "{line}");
        }
    }

    #[test]
    fn mixed_precision_may_skip_its_first_steps() {
        let line = r#"{"loss": 2.5, "grad_norm": Infinity, "global_step/max_steps": "1/9"}"#;
        assert_eq!(diverged(&[line; 3]), [None, None, Some(Measure::GradNorm)]);
        let good = r#"{"loss": 2.5, "grad_norm": 1.0, "global_step/max_steps": "1/9"}"#;
        assert_eq!(diverged(&[line, line, good, line, line]), [None; 5]);
    }

    #[test]
    fn a_line_of_megabytes_is_read_as_far_as_it_fits_and_kept_no_further() {
        let history = "{\"loss\": 1.0},".repeat(200_000);
        let line = format!("{{\"last_model_checkpoint\": \"/o/c-1\", \"log_history\": [{history}]}}\n");
        let next = "{\"global_step/max_steps\": \"2/2\"}\n";
        for size in [1_000, 70_000, 10_000_000] {
            let mut reader = LogReader::default();
            for piece in line.as_bytes().chunks(size) {
                reader.push(piece);
                assert!(reader.waiting.len() <= LogReader::LONGEST_LINE);
            }
            reader.push(next.as_bytes());
            assert_eq!(reader.log().last_checkpoint.as_deref(), Some("/o/c-1"), "{size}");
            assert_eq!((reader.log().step, reader.log().is_done()), (Some(2), Some(true)), "{size}");
        }
    }
}
