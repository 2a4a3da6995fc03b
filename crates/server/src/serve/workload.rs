//! What decides how much memory a run needs on its GPUs. What earlier runs of the same recipe needed says something of the
//! next one where the rest of this is equal.

use swifthook_core::{Change, Fingerprint, Job, Workload};
use swifthook_msswift::{Flags, Verb};

/// Of a run of ms-swift, by its flags; the recipe's win.
pub(crate) fn of_swift(
    repository: &str,
    recipe_name: &str,
    verb: Verb,
    config: &Flags,
    recipe: &Flags,
    gpus: usize,
    processes: u32,
) -> Option<Workload> {
    let value = |name: &str| recipe.value(name).or_else(|| config.value(name));
    // What the file says is told by the flags.
    by_flags(parts(repository, recipe_name, "", gpus, processes), verb, value, gpus, processes)
}

fn by_flags<'f>(
    mut parts: Vec<String>,
    verb: Verb,
    value: impl Fn(&str) -> Option<&'f str>,
    gpus: usize,
    processes: u32,
) -> Option<Workload> {
    let gpus = u32::try_from(gpus).ok().filter(|gpus| *gpus > 0)?;
    let first = |names: &[&str]| names.iter().find_map(|name| value(name));
    let number = |names: &[&str]| first(names).map(|text| text.parse::<u64>().ok());
    parts.push(verb.to_string());
    parts.extend(ALIKE.iter().map(|names| first(names).unwrap_or_default().to_owned()));
    Some(Workload {
        alike: Fingerprint::of(parts),
        gpus_per_process: (gpus / processes.max(1)).max(1),
        max_length: number(&["max_length"]).flatten(),
        // Without it ms-swift takes one.
        batch_size: number(&["per_device_train_batch_size", "micro_batch_size"]).unwrap_or(Some(1)),
    })
}

/// Of a run of a command, of which nobody knows what decides it: the same file of the same recipe.
pub(super) fn of_command(job: &Job, gpus: usize) -> Option<Workload> {
    let Change { repository, recipe, config, .. } = &job.change;
    let file = if job.spec.file.is_some() { "" } else { &**config };
    let alike = Fingerprint::of(parts(repository.as_str(), recipe, file, gpus, 1));
    (gpus > 0).then_some(Workload { alike, gpus_per_process: 1, max_length: None, batch_size: None })
}

fn parts(repository: &str, recipe: &str, file: &str, gpus: usize, processes: u32) -> Vec<String> {
    [repository, recipe, file, &gpus.to_string(), &processes.to_string()].map(str::to_owned).into()
}

/// What has to be equal, each by its names in the versions of ms-swift and in Megatron-SWIFT.
const ALIKE: [&[&str]; 8] = [
    &["model", "mcore_model", "load"],
    &["rlhf_type"],
    &["tuner_type", "train_type"],
    &["quant_bits"],
    &["deepspeed"],
    &["gradient_checkpointing", "recompute_granularity"],
    &["tensor_model_parallel_size"],
    &["pipeline_model_parallel_size"],
];

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(flags: &[(&'static str, &'static str)], gpus: usize, processes: u32) -> Option<Workload> {
        let value = |name: &str| flags.iter().find(|(flag, _)| *flag == name).map(|(_, value)| *value);
        by_flags(vec!["acme/models".to_owned()], Verb::of_swift("sft").unwrap(), value, gpus, processes)
    }

    #[test]
    fn what_changes_the_memory_beyond_comparison_makes_another_workload() {
        let first = workload(&[("model", "Qwen/Qwen3-8B"), ("tuner_type", "lora")], 2, 2).unwrap();
        let alike = |flags: &[(&'static str, &'static str)]| workload(flags, 2, 2).unwrap().alike;
        let same = [
            ("model", "Qwen/Qwen3-8B"),
            // Its name of before.
            ("train_type", "lora"),
            ("learning_rate", "1e-4"),
            ("max_length", "4096"),
            ("per_device_train_batch_size", "8"),
        ];
        assert_eq!(alike(&same), first.alike);
        assert_ne!(alike(&[("model", "Qwen/Qwen3-8B"), ("tuner_type", "full")]), first.alike);
        assert_ne!(alike(&[("model", "Qwen/Qwen3-4B"), ("tuner_type", "lora")]), first.alike);
        let quantized = [("model", "Qwen/Qwen3-8B"), ("tuner_type", "lora"), ("quant_bits", "4")];
        assert_ne!(alike(&quantized), first.alike);
    }

    #[test]
    fn what_can_be_compared_is_told_apart_from_what_is_alike() {
        let told = |flags: &[(&'static str, &'static str)], gpus, processes| {
            workload(flags, gpus, processes).map(|one| (one.gpus_per_process, one.max_length, one.batch_size))
        };
        assert_eq!(told(&[], 2, 2), Some((1, None, Some(1))), "as ms-swift has it unless it is told");
        let both = [("max_length", "4096"), ("per_device_train_batch_size", "8")];
        assert_eq!(told(&both, 4, 1), Some((4, Some(4_096), Some(8))));
        assert_eq!(told(&[("micro_batch_size", "many")], 1, 1), Some((1, None, None)));
        assert_eq!(told(&both, 0, 1), None, "without GPUs there is nothing to say");
    }
}
