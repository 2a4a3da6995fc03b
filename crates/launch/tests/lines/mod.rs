//! How the runs of these tests tell how far they are, and what their checkpoints are.

use serde_json::Value;
use swifthook_core::{Folder, Progress, TraceReader, Traces};

/// Lines of JSON, and checkpoints that are whole with a file `whole`.
pub(crate) struct Lines;

impl Traces for Lines {
    fn reader(&self) -> Box<dyn TraceReader> {
        Box::<Reader>::default()
    }

    fn step_of(&self, directory: &str) -> Option<u64> {
        directory.strip_prefix("checkpoint-")?.parse().ok()
    }

    fn missing(&self, _step: u64, checkpoint: &dyn Folder) -> Option<String> {
        let is_whole = checkpoint.files().iter().any(|(file, _)| file == "whole");
        (!is_whole).then(|| "no file `whole`".to_owned())
    }
}

#[derive(Default)]
struct Reader {
    waiting: Vec<u8>,
    progress: Progress,
    checkpoint: Option<String>,
}

impl Reader {
    fn hear(&mut self, line: &Value) {
        let progress = &mut self.progress;
        progress.step = line["step"].as_u64().or(progress.step);
        progress.max_steps = line["max_steps"].as_u64().or(progress.max_steps);
        progress.loss = line["loss"].as_f64().or(progress.loss);
        progress.eta_s = line["eta_s"].as_u64().or(progress.eta_s);
        self.checkpoint = line["checkpoint"].as_str().map(str::to_owned).or(self.checkpoint.take());
    }
}

impl TraceReader for Reader {
    fn push(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
        while let Some(end) = self.waiting.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.waiting.drain(..=end).collect();
            self.hear(&serde_json::from_slice(&line).unwrap_or_default());
        }
    }

    fn progress(&self) -> Progress {
        self.progress
    }

    fn checkpoint(&self) -> Option<&str> {
        self.checkpoint.as_deref()
    }
}
