use std::collections::BTreeSet;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use swifthook_core::Folder;

use super::json;

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
    let length = folder.read(file, 0, 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    let Some(length) = length.filter(|length| *length <= size.min(LARGEST_HEADER)) else { return false };
    let Some(Ok(Header { end })) = json::read(folder, file, 8, length) else { return false };
    end.saturating_add(8 + length) <= size
}

/// A header of tensors, of which it matters where the last one ends.
struct Header {
    end: u64,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Tensors)
    }
}

struct Tensors;

impl<'de> Visitor<'de> for Tensors {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the header of a file of tensors")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Header, M::Error> {
        #[derive(Deserialize)]
        struct Tensor {
            data_offsets: (u64, u64),
        }
        let mut end = 0;
        while let Some(name) = map.next_key::<Name>()? {
            end = match name.is_metadata {
                true => map.next_value::<IgnoredAny>().map(|_| end)?,
                false => end.max(map.next_value::<Tensor>()?.data_offsets.1),
            };
        }
        Ok(Header { end })
    }
}

/// The name of a tensor, which may be that of something else.
struct Name {
    is_metadata: bool,
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { is_metadata: String::deserialize(deserializer)? == "__metadata__" })
    }
}

/// The files that an index names.
fn parts(folder: &dyn Folder, index: &str) -> Option<BTreeSet<String>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: Parts,
    }
    // An index that is torn, or that nobody would write, names nothing that could be there.
    Some(match json::read::<Index>(folder, index, 0, LARGEST_INDEX)? {
        Ok(index) => index.weight_map.0,
        Err(_) => BTreeSet::from([format!("what {index} should name")]),
    })
}

/// The files in which tensors are, each once.
struct Parts(BTreeSet<String>);

impl<'de> Deserialize<'de> for Parts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Files)
    }
}

struct Files;

impl<'de> Visitor<'de> for Files {
    type Value = Parts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a file for each tensor")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Parts, M::Error> {
        let mut files = BTreeSet::new();
        while map.next_key::<IgnoredAny>()?.is_some() {
            files.insert(map.next_value::<String>()?);
            if files.len() > MOST_PARTS {
                return Err(serde::de::Error::custom("it names too many files"));
            }
        }
        Ok(Parts(files))
    }
}

/// The index of DeepSeek-V3, of 163 files, has 9 MB.
const LARGEST_INDEX: u64 = 64 << 20;
const MOST_PARTS: usize = 10_000;
/// As the format has it.
const LARGEST_HEADER: u64 = 100_000_000;
