//! What a training writes of itself, and leaves: how it is read, without files.

use crate::launcher::Progress;

/// Knows what a kind of trainer writes. A launcher that has the files brings them here: what stands in them it does not
/// know itself.
///
/// What a training writes is no evidence of anything, so nothing here fails: what cannot be read says nothing.
pub trait Traces: Send + Sync {
    /// A reader of one log, from its beginning.
    fn reader(&self) -> Box<dyn TraceReader>;

    /// The step of a directory of this name among the results of a run, if that is how a checkpoint is called.
    fn step_of(&self, directory: &str) -> Option<u64>;

    /// What keeps the checkpoint of `step` from being whole, such as one whose writer was killed; `None` if a run can go
    /// on from it.
    fn missing(&self, step: u64, checkpoint: &dyn Folder) -> Option<String>;
}

/// Reads a log by whatever pieces it comes in.
pub trait TraceReader: Send {
    /// Takes in what was written next.
    fn push(&mut self, bytes: &[u8]);

    /// What was told so far.
    fn progress(&self) -> Progress;

    /// The place of the last checkpoint that the run itself calls whole.
    fn checkpoint(&self) -> Option<&str>;
}

/// A directory, as far as a look at a checkpoint needs one.
pub trait Folder {
    /// The files in it and in the folders in it: their names, with `/`, and their sizes.
    fn files(&self) -> Vec<(String, u64)>;

    /// At most `most` bytes of a file from `from` on; `None` if it cannot be read.
    fn read(&self, file: &str, from: u64, most: usize) -> Option<Vec<u8>>;
}
