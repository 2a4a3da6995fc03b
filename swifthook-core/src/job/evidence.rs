use std::fmt;

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

/// For people.
impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exit = self.exit();
        match (&exit.message, exit.signal, exit.code) {
            (Some(message), ..) => f.write_str(message),
            (None, Some(signal), _) => write!(f, "signal {signal}"),
            (None, None, Some(code)) => write!(f, "code {code}"),
            (None, None, None) => f.write_str("nobody knows how"),
        }
    }
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
