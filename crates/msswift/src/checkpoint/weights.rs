use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use swifthook_core::Folder;

/// What keeps the weights of a checkpoint from being whole.
pub(super) fn missing_weights(folder: &dyn Folder, files: &[(String, u64)]) -> Option<String> {
    let mut is_any = false;
    for (file, size) in files.iter().filter(|(file, _)| is_weights(file)) {
        is_any = true;
        if file.ends_with(".safetensors") && !is_whole(folder, file, *size) {
            return Some(format!("`{file}` ends too early"));
        }
    }
    if !is_any {
        return Some("no weights".to_owned());
    }
    let absent = |index: &String| {
        let parts = parts(folder, index)?;
        parts.into_iter().find(|part| !files.iter().any(|(file, _)| file == part))
    };
    let indices = files.iter().map(|(file, _)| file).filter(|file| file.ends_with(".index.json"));
    indices
        .into_iter()
        .find_map(absent)
        .map(|part| format!("no `{part}`, which the index of the weights names"))
}

fn is_weights(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or(file);
    let is_tensors = file.ends_with(".safetensors");
    let is_pickle = name.ends_with(".bin") && (name.contains("model") || name.starts_with("adapter"));
    // Sharded ones of DeepSpeed and FSDP.
    let is_sharded = file.starts_with("global_step") || file.starts_with("pytorch_model_fsdp");
    is_tensors || is_pickle || (is_sharded && file.contains('/'))
}

/// Whether the file is as long as its header says: <https://github.com/huggingface/safetensors#format>.
fn is_whole(folder: &dyn Folder, file: &str, size: u64) -> bool {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Entry {
        Tensor {
            data_offsets: (u64, u64),
        },
        #[expect(dead_code, reason = "the metadata are only passed over")]
        Other(BTreeMap<String, serde_json::Value>),
    }
    let length = folder.read(file, 0, 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    let Some(length) = length.filter(|length| *length <= size) else { return false };
    let header = folder.read(file, 8, usize::try_from(length).unwrap_or(usize::MAX));
    let entries = header.and_then(|json| serde_json::from_slice::<BTreeMap<String, Entry>>(&json).ok());
    let Some(entries) = entries else { return false };
    let ends = entries.values().map(|entry| match entry {
        Entry::Tensor { data_offsets: (_, end) } => *end,
        Entry::Other(_) => 0,
    });
    ends.max().unwrap_or(0).saturating_add(8 + length) <= size
}

/// The files that an index names.
fn parts(folder: &dyn Folder, index: &str) -> Option<BTreeSet<String>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let text = folder.read(index, 0, LARGEST_INDEX)?;
    // An index that is torn names nothing that could be there.
    let torn =
        || Index { weight_map: BTreeMap::from([(String::new(), format!("what {index} should name"))]) };
    let index: Index = serde_json::from_slice(&text).unwrap_or_else(|_| torn());
    Some(index.weight_map.into_values().collect())
}

const LARGEST_INDEX: usize = 64 << 20;
