//! NVIDIA's management library, which is loaded when it is first asked: a machine without it needs none.
//!
//! What it answers: <https://docs.nvidia.com/deploy/nvml-api/>.

use std::collections::HashMap;
use std::sync::Arc;

use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::struct_wrappers::device::ProcessInfo;
use nvml_wrapper::{Device, Nvml};

use super::reading::{Memory, Process, Reading, Source};

pub(super) struct Library(Nvml);

impl Library {
    pub(super) fn open() -> Result<Self, String> {
        // Without the version number it is the name that only development packages have.
        let names = ["libnvidia-ml.so.1", "libnvidia-ml.so"];
        let mut refused = String::new();
        for name in names {
            match Nvml::builder().lib_path(name.as_ref()).init() {
                Ok(nvml) => return Ok(Self(nvml)),
                Err(NvmlError::LibloadingError(_)) if refused.is_empty() => {
                    refused = format!("there is no {name}");
                }
                Err(NvmlError::LibloadingError(_)) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Err(refused)
    }
}

impl Source for Library {
    fn look(&mut self) -> Result<Vec<Reading>, String> {
        let count = self.0.device_count().map_err(|error| error.to_string())?;
        Ok((0..count).flat_map(|index| at(&self.0, index)).collect())
    }

    fn minors(&mut self) -> HashMap<Arc<str>, u32> {
        let devices =
            (0..self.0.device_count().unwrap_or(0)).filter_map(|index| self.0.device_by_index(index).ok());
        devices.filter_map(|device| Some((device.uuid().ok()?.into(), device.minor_number().ok()?))).collect()
    }

    fn name(&self) -> &'static str {
        "NVML"
    }
}

/// The GPU of this number, or its slices in place of it.
fn at(nvml: &Nvml, index: u32) -> Vec<Reading> {
    let device = match nvml.device_by_index(index) {
        Ok(device) => device,
        Err(error) => return vec![told(index, false, Told::nothing(&error))],
    };
    let is_sliced = device.mig_mode().is_ok_and(|mode| mode.current == SLICED);
    if !is_sliced {
        return vec![told(index, false, ask(&device))];
    }
    let count = device.mig_device_count().unwrap_or(0);
    // Numbers that no slice has are passed over.
    let slices = (0..count).filter_map(|slice| device.mig_device_by_index(slice).ok());
    slices.map(|slice| told(index, true, ask(&slice))).collect()
}

/// What the library answers about a device.
struct Told {
    uuid: Result<String, NvmlError>,
    name: Result<String, NvmlError>,
    memory: Result<Memory, NvmlError>,
    utilization: Result<u32, NvmlError>,
    processes: Result<Vec<ProcessInfo>, NvmlError>,
}

impl Told {
    /// Of a device that cannot even be had.
    fn nothing(error: &NvmlError) -> Self {
        Self {
            uuid: Err(same(error)),
            name: Err(same(error)),
            memory: Err(same(error)),
            utilization: Err(same(error)),
            processes: Err(same(error)),
        }
    }
}

fn ask(device: &Device<'_>) -> Told {
    let memory = device.memory_info();
    Told {
        uuid: device.uuid(),
        name: device.name(),
        memory: memory.map(|info| Memory { total: info.total, used: info.used, free: info.free }),
        utilization: device.utilization_rates().map(|rates| rates.gpu),
        processes: device.running_compute_processes(),
    }
}

/// One that does not tell its memory, or who it is, is of no use. That it does not tell how busy it is need not be: slices
/// do not, and neither do some virtual ones.
fn told(index: u32, is_slice: bool, told: Told) -> Reading {
    let unknown = || Arc::from(format!("number {index}"));
    let memory = match (&told.uuid, &told.utilization, &told.memory) {
        (Ok(_), Ok(_) | Err(NvmlError::NotSupported), Ok(memory)) => Ok(*memory),
        (Err(error), ..) | (_, _, Err(error)) | (_, Err(error), _) => Err(error.to_string()),
    };
    let processes = told.processes.unwrap_or_default();
    Reading {
        uuid: told.uuid.map_or_else(|_| unknown(), Into::into),
        name: told.name.map_or_else(|_| unknown(), Into::into),
        index,
        is_slice,
        memory,
        utilization: told.utilization.ok(),
        processes: processes.iter().map(process).collect(),
    }
}

fn process(info: &ProcessInfo) -> Process {
    let memory = match info.used_gpu_memory {
        UsedGpuMemory::Used(bytes) => Some(bytes),
        UsedGpuMemory::Unavailable => None,
    };
    Process { pid: info.pid, memory }
}

/// The library's errors cannot be copied.
fn same(error: &NvmlError) -> NvmlError {
    match error {
        NvmlError::GpuLost => NvmlError::GpuLost,
        NvmlError::ResetRequired => NvmlError::ResetRequired,
        NvmlError::NoPermission => NvmlError::NoPermission,
        NvmlError::InsufficientPower => NvmlError::InsufficientPower,
        NvmlError::IrqIssue => NvmlError::IrqIssue,
        _ => NvmlError::Unknown,
    }
}

const SLICED: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn a100() -> Told {
        Told {
            uuid: Ok("GPU-9c73eb7b-8d6d-6c0e-dc13-97873e2ede40".into()),
            name: Ok("NVIDIA A100-SXM4-80GB".into()),
            memory: Ok(Memory { total: 81_920 * MIB, used: 455 * MIB, free: 81_465 * MIB }),
            utilization: Ok(0),
            processes: Ok(vec![
                ProcessInfo {
                    pid: 4711,
                    used_gpu_memory: UsedGpuMemory::Used(412 * MIB),
                    gpu_instance_id: None,
                    compute_instance_id: None,
                },
                ProcessInfo {
                    pid: 7,
                    used_gpu_memory: UsedGpuMemory::Unavailable,
                    gpu_instance_id: None,
                    compute_instance_id: None,
                },
            ]),
        }
    }

    #[test]
    fn a_gpu_is_read_as_the_library_tells_of_it() {
        let reading = told(0, false, a100());
        assert_eq!(
            (&*reading.uuid, &*reading.name),
            ("GPU-9c73eb7b-8d6d-6c0e-dc13-97873e2ede40", "NVIDIA A100-SXM4-80GB")
        );
        assert_eq!((reading.utilization, reading.memory.unwrap().free), (Some(0), 81_465 * MIB));
        let processes = [Process { pid: 4711, memory: Some(412 * MIB) }, Process { pid: 7, memory: None }];
        assert_eq!(reading.processes, processes);
    }

    #[test]
    fn a_slice_does_not_tell_how_busy_it_is_and_is_of_use_all_the_same() {
        let slice = Told {
            uuid: Ok("MIG-a686709d-6dc2-542a-8851-0d2508448c10".into()),
            utilization: Err(NvmlError::NotSupported),
            processes: Err(NvmlError::NotSupported),
            ..a100()
        };
        let reading = told(0, true, slice);
        assert_eq!((reading.utilization, reading.memory.is_ok(), reading.is_slice), (None, true, true));
    }

    #[test]
    fn what_fell_off_the_bus_or_has_to_be_reset_is_told_and_of_no_use() {
        let lost = told(3, false, Told::nothing(&NvmlError::GpuLost));
        assert_eq!(
            (&*lost.uuid, lost.memory.unwrap_err().as_str()),
            ("number 3", "device fell off the bus or has otherwise become inacessible")
        );
        for (broken, why) in [
            (Told { memory: Err(NvmlError::ResetRequired), ..a100() }, "device requires a reset"),
            (Told { memory: Err(NvmlError::NotSupported), ..a100() }, "not available on the target device"),
            (Told { utilization: Err(NvmlError::Unknown), ..a100() }, "internal driver error"),
            (Told { uuid: Err(NvmlError::Unknown), ..a100() }, "internal driver error"),
        ] {
            let said = told(0, false, broken).memory.unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }
}
