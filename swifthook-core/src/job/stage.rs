use std::fmt;

use serde::{Deserialize, Serialize};

/// The stage of a job, by the word that scripts see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Waits for time and machines, by itself.
    Queued,
    /// Waits for an answer.
    Held,
    /// Has an attempt; from before its launch until its end is known.
    Running,
    /// Is being stopped, or what its run left is being collected. Still owns group, slot and GPUs.
    Finishing,
    /// Trained.
    Succeeded,
    /// Did not.
    Failed,
    /// A person or a rule ended it.
    Cancelled,
    /// A newer change took its place.
    Superseded,
    /// Lost its workers three times in a row; kept out of their way, with the evidence.
    Quarantined,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 9] = [
        Self::Queued,
        Self::Held,
        Self::Running,
        Self::Finishing,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Superseded,
        Self::Quarantined,
    ];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Held => "held",
            Self::Running => "running",
            Self::Finishing => "finishing",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
            Self::Quarantined => "quarantined",
        }
    }

    /// The stage of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.word() == word)
    }

    /// Whether nothing leads out of it.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Held | Self::Running | Self::Finishing)
    }

    /// Whether it owns its group, a slot and its GPUs.
    #[must_use]
    pub fn is_active(self) -> bool {
        matches!(self, Self::Running | Self::Finishing)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}
