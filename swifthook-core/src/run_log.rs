use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::launcher::RunKey;

/// The end of a run's log, as whoever runs it last told. The whole log is a file on the machine of the run; this is
/// for those who ask from another one, or when the file is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunLog {
    /// Whose log it is.
    pub run: RunKey,
    /// The machine that has the file.
    pub host: Arc<str>,
    /// The file's path there.
    pub file: Arc<str>,
    /// How many bytes the file had.
    pub length: u64,
    /// The last of it, at most [`RunLog::MOST`] bytes.
    pub tail: String,
}

impl RunLog {
    /// How many bytes are kept.
    pub const MOST: usize = 64 << 10;
}
