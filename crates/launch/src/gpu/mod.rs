//! The GPUs of this machine: asked of NVIDIA's library, else of its program.

mod backend;
mod config;
mod history;
mod nvidia_smi;
mod nvml;
mod reading;

pub use backend::GpuProbe;
pub use config::GpuRules;
