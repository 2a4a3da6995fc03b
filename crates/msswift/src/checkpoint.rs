//! When a checkpoint of ms-swift is whole: its run may have been killed while it wrote it.
//!
//! ms-swift saves as transformers' `Trainer` does: the weights, the state of the optimiser, of the schedule and of the
//! random numbers, and last `trainer_state.json`, each written in its place. So whatever is there may be half of it.

use serde::Deserialize;
use swifthook_core::Folder;

use weights::missing_weights;

mod json;
mod weights;

/// The step of a directory that is called as checkpoints are: `checkpoint-120`.
pub(crate) fn step_of(directory: &str) -> Option<u64> {
    let digits = directory.strip_prefix("checkpoint-")?;
    digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// What keeps the checkpoint of `step` from being whole.
pub(crate) fn missing(step: u64, folder: &dyn Folder) -> Option<String> {
    let files = folder.files();
    let has = |name: &str| files.iter().any(|(file, _)| file == name);
    if has(IN_PROGRESS) {
        return Some(format!("it is being written: there is `{IN_PROGRESS}`"));
    }
    if !has(STATE) {
        return Some(format!("no `{STATE}`, which is written last"));
    }
    missing_weights(folder, &files)
        .or_else(|| missing_state(folder, &files))
        .or_else(|| torn(folder, &files))
        .or_else(|| wrong_step(step, folder))
}

/// What else a run needs to go on as if nothing had been.
fn missing_state(folder: &dyn Folder, files: &[(String, u64)]) -> Option<String> {
    let any = |is: &dyn Fn(&str) -> bool| files.iter().any(|(file, _)| is(file));
    // DeepSpeed keeps optimiser, schedule and weights in a folder of its own, and FSDP the optimiser.
    let is_deepspeed = any(&|file| file.starts_with("global_step") && file.contains('/'));
    let has_optimizer = is_deepspeed
        || any(&|file| matches!(file, "optimizer.pt" | "optimizer.bin") || file.starts_with("optimizer_0/"));
    if is_deepspeed && !any(&|file| file == "latest") {
        return Some("no `latest`, by which DeepSpeed finds its state".to_owned());
    }
    if saves_model_only(folder) {
        return None;
    }
    if !has_optimizer {
        return Some("no state of the optimiser".to_owned());
    }
    if !is_deepspeed && !any(&|file| file == "scheduler.pt") {
        return Some("no `scheduler.pt`".to_owned());
    }
    let has_random = any(&|file| file.starts_with("rng_state") && file.ends_with(".pth"));
    (!has_random).then(|| "no state of the random numbers".to_owned())
}

/// Whether the run was told to keep the weights alone: its arguments lie beside them.
fn saves_model_only(folder: &dyn Folder) -> bool {
    #[derive(Deserialize)]
    struct Arguments {
        #[serde(default)]
        save_only_model: bool,
    }
    let arguments = json::read(folder, "args.json", 0, LARGEST_ARGUMENTS);
    arguments.is_some_and(|read| read.is_ok_and(|arguments: Arguments| arguments.save_only_model))
}

/// What PyTorch writes is a zip archive, whose directory stands at its end.
fn torn(folder: &dyn Folder, files: &[(String, u64)]) -> Option<String> {
    let is_torch = |file: &str| [".pt", ".pth", ".bin"].iter().any(|ending| file.ends_with(ending));
    let is_torn = |(file, size): &&(String, u64)| {
        let begins_as_zip = folder.read(file, 0, 4).is_some_and(|bytes| bytes == *b"PK\x03\x04");
        let ends = || folder.read(file, size.saturating_sub(END_OF_ZIP), 4);
        *size == 0 || (begins_as_zip && ends().is_none_or(|bytes| bytes != *b"PK\x05\x06"))
    };
    let found = files.iter().filter(|(file, _)| is_torch(file)).find(is_torn)?;
    Some(format!("`{}` ends too early", found.0))
}

fn wrong_step(step: u64, folder: &dyn Folder) -> Option<String> {
    #[derive(Deserialize)]
    struct State {
        global_step: u64,
    }
    match json::read::<State>(folder, STATE, 0, LARGEST_JSON)? {
        Ok(State { global_step }) if global_step == step => None,
        Ok(State { global_step }) => Some(format!("`{STATE}` is of step {global_step}")),
        Err(why) => Some(format!("`{STATE}` cannot be read: {why}")),
    }
}

/// What transformers leaves in a checkpoint while it saves because of a signal.
const IN_PROGRESS: &str = "checkpoint-is-incomplete.txt";
const STATE: &str = "trainer_state.json";
/// The history of a run that logged a million times.
const LARGEST_JSON: u64 = 256 << 20;
/// Some hundred arguments.
const LARGEST_ARGUMENTS: u64 = 16 << 20;
/// The last record of a zip archive without a comment.
const END_OF_ZIP: u64 = 22;

#[cfg(test)]
mod tests;
