use std::num::NonZeroU32;
use std::sync::Arc;

/// What a run is to have of a cluster. A launcher of one machine looks at none of it: there GPUs are leased, and the rest
/// is as the environment of the run says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunShape {
    /// How many machines it spans.
    pub nodes: NonZeroU32,
    /// How many processes train on each of them.
    pub processes: NonZeroU32,
    /// How many GPUs it has on each of them.
    pub gpus: u32,
    /// The container image that it runs in, by digest.
    pub image: Option<Arc<str>>,
}

/// One process on one machine.
impl Default for RunShape {
    fn default() -> Self {
        Self { nodes: NonZeroU32::MIN, processes: NonZeroU32::MIN, gpus: 0, image: None }
    }
}
