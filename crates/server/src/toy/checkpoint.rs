use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::model::Model;

/// What a checkpoint holds beside the weights: enough to go on as if nothing had been.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct TrainerState {
    pub(super) global_step: u64,
    pub(super) best_metric: Option<f64>,
    pub(super) best_model_checkpoint: Option<PathBuf>,
}

/// Writes `checkpoint-N`, which is either whole or not there: it is written beside its place and then renamed.
pub(super) fn save(output_dir: &Path, model: &Model, state: &TrainerState) -> io::Result<PathBuf> {
    let place = path(output_dir, state.global_step);
    let draft = place.with_extension("draft");
    for leftover in [&place, &draft] {
        if leftover.exists() {
            fs::remove_dir_all(leftover)?;
        }
    }
    fs::create_dir_all(&draft)?;
    fs::write(draft.join(MODEL), serde_json::to_vec_pretty(model)?)?;
    fs::write(draft.join(STATE), serde_json::to_vec_pretty(state)?)?;
    fs::rename(&draft, &place)?;
    Ok(place)
}

pub(super) fn load(checkpoint: &Path) -> io::Result<(Model, TrainerState)> {
    let read = |name| fs::read(checkpoint.join(name));
    Ok((serde_json::from_slice(&read(MODEL)?)?, serde_json::from_slice(&read(STATE)?)?))
}

pub(super) fn path(output_dir: &Path, step: u64) -> PathBuf {
    output_dir.join(format!("checkpoint-{step}"))
}

const MODEL: &str = "model.json";
const STATE: &str = "trainer_state.json";
