//! What a run of ms-swift tells of itself in `logging.jsonl`.

mod line;
mod log;
mod reader;

pub use log::Log;
pub use reader::LogReader;
