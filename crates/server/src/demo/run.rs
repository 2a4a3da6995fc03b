use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use swifthook_core::RunKey;
use swifthook_launch::Beneath;

use crate::api::JobView;

/// The directory of a run, as the demo looks into it.
pub(super) struct RunDirectory(PathBuf);

/// How far a training is, by its own account.
pub(super) struct Account {
    pub(super) step: u64,
    pub(super) steps: u64,
    pub(super) first_loss: f64,
    pub(super) loss: f64,
    /// On what it was not trained on, once it has looked.
    pub(super) accuracy: Option<f64>,
}

impl RunDirectory {
    pub(super) fn new(state_dir: &Path, job: &JobView) -> Self {
        let key = RunKey { job: job.id, attempt: job.attempt };
        Self(state_dir.join("runs").join(key.to_string()))
    }

    pub(super) fn tree(&self) -> PathBuf {
        self.0.join("tree")
    }

    /// Whether the training has its process, and so its working tree.
    pub(super) fn has_begun(&self) -> bool {
        self.log().exists()
    }

    pub(super) fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// The learning rate that ms-swift wrote down for this training.
    pub(super) fn learning_rate(&self) -> Option<f64> {
        let text = Beneath::at(&self.0).ok()?.read_all("output/args.json", LONGEST).ok()?;
        serde_json::from_slice::<serde_json::Value>(&text).ok()?.get("learning_rate")?.as_f64()
    }

    /// What `logging.jsonl` says; `None` as long as it says nothing.
    pub(super) fn account(&self) -> io::Result<Option<Account>> {
        match Beneath::at(&self.0).and_then(|run| run.read_all("output/logging.jsonl", LONGEST)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => Ok(account(&String::from_utf8_lossy(&read?))),
        }
    }
}

fn account(text: &str) -> Option<Account> {
    #[derive(Deserialize)]
    struct Line {
        loss: Option<f64>,
        eval_token_acc: Option<f64>,
        #[serde(rename = "global_step/max_steps")]
        steps: Option<String>,
    }
    let lines: Vec<Line> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let (step, steps) = lines.iter().rev().find_map(|line| line.steps.as_ref()?.split_once('/'))?;
    let mut losses = lines.iter().filter_map(|line| line.loss);
    let first_loss = losses.next()?;
    Some(Account {
        step: step.parse().ok()?,
        steps: steps.parse().ok()?,
        first_loss,
        loss: losses.next_back().unwrap_or(first_loss),
        accuracy: lines.iter().rev().find_map(|line| line.eval_token_acc),
    })
}

/// More than the log of a demonstration has.
const LONGEST: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_line_tells_how_far_a_training_is() {
        assert!(account("").is_none());
        let text = "{\"loss\":0.7,\"global_step/max_steps\":\"1/9\"}\n\
                    {\"loss\":0.5,\"global_step/max_steps\":\"2/9\"}\n\
                    {\"eval_loss\":0.6,\"eval_token_acc\":0.9,\"global_step/max_steps\":\"2/9\"}\n\
                    {\"loss\":0.4,\"global_st";
        let account = account(text).unwrap();
        assert_eq!((account.step, account.steps), (2, 9));
        assert_eq!((account.first_loss, account.loss, account.accuracy), (0.7, 0.5, Some(0.9)));
    }
}
