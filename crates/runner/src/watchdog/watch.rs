use std::time::Duration;

/// How closely a run is watched, and what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// What is done about a run that is stuck or astray, besides telling.
    pub then: Then,
    /// How many times as long as usual something may take.
    pub factor: u32,
    /// The shortest silence that means anything, however quick the run is.
    pub at_least: Duration,
}

/// What is done about a run that is stuck or astray. It is told in any case, with evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    #[default]
    Tell,
    /// It is killed, and its job fails.
    Stop,
    /// It is killed, and another attempt goes on from its last checkpoint, as after a failure of the machine.
    Resume,
}

impl Default for Watch {
    fn default() -> Self {
        Self { then: Then::Tell, factor: 5, at_least: Duration::from_secs(600) }
    }
}
