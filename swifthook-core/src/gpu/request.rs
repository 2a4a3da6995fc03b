use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Gpu;
use crate::condition::{Glob, InvalidPattern};

/// What a run asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuRequest {
    /// How many; at least 1.
    pub count: u32,
    /// How much memory each has to have free, in bytes.
    #[serde(default)]
    pub min_free_memory: u64,
    /// Globs of which one has to match the name of each; empty for any name.
    #[serde(default)]
    pub names: Vec<Arc<str>>,
    /// Their numbers as `nvidia-smi` counts; empty for any number.
    #[serde(default)]
    pub indices: Vec<u32>,
}

impl GpuRequest {
    /// So many, of any kind.
    #[must_use]
    pub fn of(count: u32) -> Self {
        Self { count, min_free_memory: 0, names: Vec::new(), indices: Vec::new() }
    }

    /// Whether a text can stand in [`names`](Self::names).
    ///
    /// # Errors
    ///
    /// When it is no glob.
    pub fn check_name(pattern: &str) -> Result<(), InvalidPattern> {
        let invalid = |why: String| InvalidPattern { pattern: pattern.to_owned(), why };
        match pattern {
            "" => Err(invalid("no GPU has an empty name".to_owned())),
            _ if pattern.starts_with('!') => Err(invalid("these patterns take nothing back".to_owned())),
            _ => Glob::parse(pattern).map(drop).map_err(|error| invalid(error.kind().to_string())),
        }
    }

    /// Whether this GPU could ever be one of those that are asked for.
    #[must_use]
    pub fn suits(&self, gpu: &Gpu) -> bool {
        gpu.total_memory >= self.min_free_memory
            && self.is_of_kind(gpu)
            && (self.indices.is_empty() || self.indices.contains(&gpu.index))
            && !(gpu.is_slice && self.count > 1)
    }

    fn is_of_kind(&self, gpu: &Gpu) -> bool {
        let matches =
            |name: &Arc<str>| Glob::parse(name).is_ok_and(|glob| glob.is_match(gpu.name.as_bytes()));
        self.names.is_empty() || self.names.iter().any(matches)
    }

    /// Why a machine with these GPUs can never serve it, whoever goes; `None` if it can.
    ///
    /// # Examples
    ///
    /// ```
    /// # use swifthook_core::GpuRequest;
    /// assert_eq!(GpuRequest::of(1).unmet_by(&[]).as_deref(), Some("this machine has no GPU"));
    /// ```
    #[must_use]
    pub fn unmet_by(&self, gpus: &[Gpu]) -> Option<String> {
        let suitable = gpus.iter().filter(|gpu| self.suits(gpu)).count();
        if gpus.is_empty() {
            return Some("this machine has no GPU".to_owned());
        }
        match suitable {
            enough if enough >= self.count as usize => None,
            0 => Some(format!("this machine has no such GPU: {}", self.why_none(gpus))),
            1 => Some("this machine has 1 such GPU".to_owned()),
            few => Some(format!("this machine has {few} such GPUs")),
        }
    }

    /// What none of them has: the first thing that is missing of all that is asked for.
    fn why_none(&self, gpus: &[Gpu]) -> String {
        let of_kind: Vec<&Gpu> = gpus.iter().filter(|gpu| self.is_of_kind(gpu)).collect();
        if of_kind.is_empty() {
            let names: BTreeSet<&str> = gpus.iter().map(|gpu| &*gpu.name).collect();
            return format!("it has {}", names.into_iter().collect::<Vec<_>>().join(", "));
        }
        if of_kind.iter().all(|gpu| gpu.is_slice) && self.count > 1 {
            return "it has slices, and a run sees one of these at most".to_owned();
        }
        match of_kind.iter().map(|gpu| gpu.total_memory).max() {
            Some(most) if most < self.min_free_memory => format!("the largest has {}", Memory(most)),
            _ => "it has none of these numbers that would do".to_owned(),
        }
    }
}

/// As a person would say it: `2 GPUs with 20 GiB free`.
impl fmt::Display for GpuRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} GPU{}", self.count, if self.count == 1 { "" } else { "s" })?;
        if !self.names.is_empty() {
            write!(f, " of {}", self.names.join(" or "))?;
        }
        if !self.indices.is_empty() {
            let numbers: Vec<_> = self.indices.iter().map(u32::to_string).collect();
            write!(f, " among number {}", numbers.join(", "))?;
        }
        if self.min_free_memory > 0 {
            write!(f, " with {} free", Memory(self.min_free_memory))?;
        }
        Ok(())
    }
}

/// An amount of memory, for people.
pub(super) struct Memory(pub(super) u64);

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (gib, mib) = (self.0 >> 30, self.0 >> 20);
        match self.0 {
            bytes if bytes == gib << 30 => write!(f, "{gib} GiB"),
            _ if gib >= 10 => write!(f, "{:.1} GiB", self.0 as f64 / f64::from(1 << 30)),
            _ => write!(f, "{mib} MiB"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::Standing;

    #[test]
    fn a_gpu_suits_by_name_number_memory_and_kind() {
        let a100 = Gpu {
            uuid: "GPU-1".into(),
            name: "NVIDIA A100-SXM4-80GB".into(),
            index: 2,
            is_slice: false,
            total_memory: 80 << 30,
            free_memory: 0,
            standing: Standing::InUse("by all".into()),
        };
        let any = GpuRequest::of(1);
        let slice = Gpu { is_slice: true, ..a100.clone() };
        for (request, gpu, expected) in [
            (any.clone(), &a100, true),
            (any.clone(), &slice, true),
            (GpuRequest::of(2), &a100, true),
            (GpuRequest::of(2), &slice, false),
            (GpuRequest { names: vec!["*H100*".into(), "*A100*".into()], ..any.clone() }, &a100, true),
            (GpuRequest { names: vec!["*H100*".into()], ..any.clone() }, &a100, false),
            (GpuRequest { names: vec!["[".into()], ..any.clone() }, &a100, false),
            (GpuRequest { indices: vec![0, 2], ..any.clone() }, &a100, true),
            (GpuRequest { indices: vec![0, 1], ..any.clone() }, &a100, false),
            (GpuRequest { min_free_memory: 80 << 30, ..any.clone() }, &a100, true),
            (GpuRequest { min_free_memory: 81 << 30, ..any.clone() }, &a100, false),
        ] {
            assert_eq!(request.suits(gpu), expected, "{request}");
        }
    }

    #[test]
    fn what_a_machine_can_never_serve_is_told_with_what_is_missing() {
        let h200 = |index| Gpu {
            uuid: format!("GPU-{index}").into(),
            name: "NVIDIA H200".into(),
            index,
            is_slice: false,
            total_memory: 140 << 30,
            free_memory: 0,
            standing: Standing::InUse("by all".into()),
        };
        let two = [h200(0), h200(1)];
        let slices = [Gpu { is_slice: true, ..h200(0) }];
        let any = GpuRequest::of(1);
        for (request, gpus, told) in [
            (GpuRequest::of(2), &two[..], None),
            (GpuRequest::of(3), &two, Some("this machine has 2 such GPUs")),
            (GpuRequest { indices: vec![1], ..GpuRequest::of(2) }, &two, Some("this machine has 1 such GPU")),
            (
                GpuRequest { names: vec!["*A100*".into()], ..any.clone() },
                &two,
                Some("this machine has no such GPU: it has NVIDIA H200"),
            ),
            (
                GpuRequest { min_free_memory: 200 << 30, ..any.clone() },
                &two,
                Some("this machine has no such GPU: the largest has 140 GiB"),
            ),
            (
                GpuRequest { indices: vec![7], ..any.clone() },
                &two,
                Some("this machine has no such GPU: it has none of these numbers that would do"),
            ),
            (
                GpuRequest::of(2),
                &slices,
                Some("this machine has no such GPU: it has slices, and a run sees one of these at most"),
            ),
            (any, &[], Some("this machine has no GPU")),
        ] {
            assert_eq!(request.unmet_by(gpus).as_deref(), told, "{request}");
        }
    }

    #[test]
    fn a_request_is_told_in_words() {
        let any = GpuRequest::of(1);
        for (request, words) in [
            (any.clone(), "1 GPU"),
            (GpuRequest { min_free_memory: 20 << 30, ..GpuRequest::of(2) }, "2 GPUs with 20 GiB free"),
            (GpuRequest { min_free_memory: 512 << 20, ..any.clone() }, "1 GPU with 512 MiB free"),
            (GpuRequest { min_free_memory: 22_000_000_000, ..any.clone() }, "1 GPU with 20.5 GiB free"),
            (
                GpuRequest { names: vec!["*A100*".into()], indices: vec![0, 1], ..any },
                "1 GPU of *A100* among number 0, 1",
            ),
        ] {
            assert_eq!(request.to_string(), words);
        }
    }
}
