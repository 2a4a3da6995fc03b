use swifthook_core::{Folder, Progress, TraceReader, Traces};

use crate::checkpoint;
use crate::progress::LogReader;

/// What runs of ms-swift write and leave. The lines of `SWIFTHOOK_PROGRESS`, which other trainers write, are read too.
#[derive(Clone, Copy, Debug, Default)]
pub struct SwiftTraces;

impl Traces for SwiftTraces {
    fn reader(&self) -> Box<dyn TraceReader> {
        Box::new(LogReader::default())
    }

    fn step_of(&self, directory: &str) -> Option<u64> {
        checkpoint::step_of(directory)
    }

    fn missing(&self, step: u64, folder: &dyn Folder) -> Option<String> {
        checkpoint::missing(step, folder)
    }
}

impl TraceReader for LogReader {
    fn push(&mut self, bytes: &[u8]) {
        self.push(bytes);
    }

    fn progress(&self) -> Progress {
        self.log().progress()
    }

    fn checkpoint(&self) -> Option<&str> {
        self.log().checkpoint.as_deref()
    }
}
