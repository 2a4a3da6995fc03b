use std::time::Duration;

/// When a GPU that nobody has a lease of counts as free. People who use the machine by hand ask nobody, so that it is
/// left alone while it looks as if somebody did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuRules {
    /// The GPUs that may be used, by their numbers; empty for all. The others are not even shown.
    pub indices: Vec<u32>,
    /// In use above so many percent. Slices do not tell.
    pub max_utilization: u32,
    /// In use above so many bytes. Drivers and desktops take some hundred MiB.
    pub max_used_memory: u64,
    /// How long it has to be free before it is given away.
    pub settle: Duration,
}

impl Default for GpuRules {
    fn default() -> Self {
        Self {
            indices: Vec::new(),
            max_utilization: 10,
            max_used_memory: 1 << 30,
            settle: Duration::from_secs(5),
        }
    }
}
