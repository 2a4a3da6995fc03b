use serde::{Deserialize, Serialize};

use super::Exit;

/// What is known of the end of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// It ended so.
    Exited(Exit),
    /// It is gone, and left no word.
    Vanished,
    /// It never began: its launcher refused it, or was told never to begin it.
    NeverRan,
}

impl Evidence {
    pub(super) fn exit(&self) -> Exit {
        let untold = |message: &str| Exit { message: Some(message.into()), ..Exit::default() };
        match self {
            Self::Exited(exit) => exit.clone(),
            Self::Vanished => untold("the run is gone and left no word"),
            Self::NeverRan => untold("the run never began"),
        }
    }
}
