use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::problem::opaque_problem;

/// The GPUs of the machine that a worker runs on. Asked at the claim of a job whose recipe asks for GPUs.
///
/// It tells how they are, and nothing of leases: whose they are is the store's to know.
#[async_trait]
pub trait Gpus: Send + Sync {
    /// The name under which the GPUs of this machine are leased: the same for all workers that see the same GPUs.
    fn machine(&self) -> Arc<str>;

    /// Whether there is a driver that can be asked. Answers at once. Where it says no, others get a first look at jobs
    /// that wait for GPUs.
    fn are_there(&self) -> bool;

    /// All of them, as they are at the moment. Answers within seconds, whatever the driver does.
    ///
    /// # Errors
    ///
    /// When nobody can tell, for people to read; a job waits then, and does not fail.
    async fn all(&self) -> Result<Vec<Gpu>, Untold>;

    /// The models of those that were there when somebody last looked, for people who look after workers. Answers at once.
    /// By itself it knows of none.
    fn models(&self) -> Vec<Arc<str>> {
        Vec::new()
    }
}

opaque_problem! {
    /// How the GPUs are cannot be told.
    Untold
}

/// A GPU, or a slice of one, as it was just seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// What tells it from every other of its machine, as `CUDA_VISIBLE_DEVICES` takes it: `GPU-…`, or `MIG-…` of a
    /// slice.
    pub uuid: Arc<str>,
    /// Its model.
    pub name: Arc<str>,
    /// Its number as `nvidia-smi` counts, in the order of the PCI bus; of a slice, that of its GPU.
    pub index: u32,
    /// Whether it is a slice of a GPU (MIG). A process sees at most one slice, so these are for runs of a single GPU.
    pub is_slice: bool,
    /// Its memory, in bytes.
    pub total_memory: u64,
    /// How much of that nobody uses, in bytes.
    pub free_memory: u64,
    /// Whether anybody uses it who has no lease.
    pub standing: Standing,
}

/// How a GPU is, apart from leases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Nobody has used it for a while.
    Idle,
    /// Nobody uses it, but not for long enough.
    Settling,
    /// Somebody uses it, in words.
    InUse(String),
    /// It cannot be used, in words.
    Broken(String),
}

/// A machine without GPUs.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoGpus;

#[async_trait]
impl Gpus for NoGpus {
    fn machine(&self) -> Arc<str> {
        "".into()
    }

    fn are_there(&self) -> bool {
        false
    }

    async fn all(&self) -> Result<Vec<Gpu>, Untold> {
        Ok(Vec::new())
    }
}
