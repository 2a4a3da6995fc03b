use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use swifthook_core::{Gpu, Gpus, Standing, Untold};

/// The GPUs of a machine of the simulated world: as many as it is given, of 80 GiB each, used as a test says. Nothing
/// of it is real: no driver is asked.
pub struct ScriptedGpus {
    machine: Arc<str>,
    table: Mutex<Result<Vec<Gpu>, String>>,
}

impl ScriptedGpus {
    /// A machine with `count` of them that nobody uses: `GPU-0`, `GPU-1`, ….
    #[must_use]
    pub fn new(machine: &str, count: u32) -> Self {
        let gpu = |index: u32| Gpu {
            uuid: format!("GPU-{index}").into(),
            name: "NVIDIA A100-SXM4-80GB".into(),
            index,
            is_slice: false,
            total_memory: 80 << 30,
            free_memory: 80 << 30,
            standing: Standing::Idle,
        };
        Self { machine: machine.into(), table: Mutex::new(Ok((0..count).map(gpu).collect())) }
    }

    /// From now on this one is so.
    pub fn set(&self, index: usize, standing: Standing) {
        if let Ok(gpus) = &mut *self.table() {
            gpus[index].standing = standing;
        }
    }

    /// From now on nobody can tell how they are.
    pub fn fall_silent(&self, why: &str) {
        *self.table() = Err(why.to_owned());
    }

    fn table(&self) -> MutexGuard<'_, Result<Vec<Gpu>, String>> {
        self.table.lock().expect("nothing panics under this lock")
    }
}

#[async_trait]
impl Gpus for ScriptedGpus {
    fn machine(&self) -> Arc<str> {
        self.machine.clone()
    }

    fn are_there(&self) -> bool {
        self.table().as_ref().is_ok_and(|gpus| !gpus.is_empty())
    }

    async fn all(&self) -> Result<Vec<Gpu>, Untold> {
        self.table().clone().map_err(Untold::passing)
    }
}
