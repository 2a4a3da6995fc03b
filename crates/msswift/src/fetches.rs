use std::collections::{HashMap, HashSet};

use crate::hub::Hub;
use crate::verb::Verb;

/// Table of the repositories and models that one version of ms-swift fetches besides those that it is asked for.
///
/// Made by `scripts/ms-swift-fetches` from the source of the installed package.
#[derive(Debug, Default)]
pub(crate) struct Fetches {
    types: HashMap<&'static str, Fetch>,
    /// Model types by the names of models that imply them.
    models: HashMap<&'static str, &'static str>,
    optimizers: HashMap<&'static str, Fetch>,
    /// Ids on ModelScope and on Hugging Face, by short name.
    data: HashMap<&'static str, [&'static str; 2]>,
    /// Data sets whose preparation fetches media, whoever's copy it is.
    media: HashSet<&'static str>,
}

/// Things that one loader fetches.
#[derive(Debug, Default)]
pub(crate) struct Fetch {
    /// Repositories that it clones, and runs.
    pub(crate) clones: Vec<&'static str>,
    /// Models that it takes from the run's hub.
    pub(crate) models: Vec<&'static str>,
}

impl Fetches {
    /// The fetch that a value of a key brings about; `None` where there is none.
    pub(crate) fn of(&self, verb: Verb, key: &str, value: &str) -> Option<&Fetch> {
        match key {
            _ if key.ends_with("model_type") => self.types.get(value),
            // That of Megatron-SWIFT is one of Megatron's own.
            "optimizer" if !verb.is_megatron() => self.optimizers.get(value),
            _ => None,
        }
    }

    /// The fetch of a model whose type ms-swift takes from its name.
    pub(crate) fn of_model(&self, id_or_path: &str) -> Option<&Fetch> {
        self.models.get(&*model_name(id_or_path)).and_then(|name| self.types.get(name))
    }

    /// The id that a short name of a data set stands for on a hub.
    pub(crate) fn data_set(&self, name: &str, hub: Hub) -> Option<&'static str> {
        let [modelscope, hugging_face] = self.data.get(name)?;
        let id = match hub {
            Hub::ModelScope => modelscope,
            Hub::HuggingFace => hugging_face,
        };
        Some(id).filter(|id| **id != "-").copied()
    }

    /// Returns the registered data set that ms-swift takes an id or a path for, if its preparation fetches media. See
    /// `get_dataset_name` and `_get_matched_dataset_meta` in ms-swift; more is told here than would match, not less.
    pub(crate) fn media(&self, id_or_path: &str) -> Option<&'static str> {
        let whole = id_or_path.trim().trim_end_matches('/');
        let last = whole.rsplit('/').next().unwrap_or(whole);
        let in_cache = |name: &&&str| {
            let ends = |(at, _)| whole[..at].strip_suffix(**name).is_some_and(|above| above.ends_with("--"));
            whole.match_indices("/snapshots/").any(ends)
        };
        self.media.get(last).or_else(|| self.media.iter().find(in_cache)).copied()
    }

    /// Reads the lines below the first; `None` of text that the script does not write.
    pub(crate) fn parse(text: &'static str) -> Option<Self> {
        let mut fetches = Self::default();
        for line in text.lines().skip(1) {
            let words: Vec<_> = line.split(' ').collect();
            match *words {
                ["type", name, kind, ref what @ ..] => {
                    fetches.types.entry(name).or_default().add(kind, what)?;
                }
                ["optimizer", name, kind, ref what @ ..] => {
                    fetches.optimizers.entry(name).or_default().add(kind, what)?;
                }
                ["model", name, of] => {
                    fetches.models.insert(name, of);
                }
                ["data", name, modelscope, hugging_face] => {
                    fetches.data.insert(name, [modelscope, hugging_face]);
                }
                ["media", name] => {
                    fetches.media.insert(name);
                }
                _ => return None,
            }
        }
        let is_known = |of: &&str| fetches.types.contains_key(of);
        fetches.models.values().all(is_known).then_some(fetches)
    }
}

impl Fetch {
    fn add(&mut self, kind: &str, what: &[&'static str]) -> Option<()> {
        let list = match kind {
            "git" => &mut self.clones,
            "hub" => &mut self.models,
            _ => return None,
        };
        list.extend(what);
        (!what.is_empty()).then_some(())
    }
}

/// The name of a model, as `get_model_name` in ms-swift has it: the last part of an id or path, or the part of a path into
/// the cache of a hub that says which model it is.
fn model_name(id_or_path: &str) -> String {
    let path = id_or_path.trim_end_matches('/');
    let cached = path.split_once("/snapshots/").and_then(|(folder, _)| {
        let (above, name) = folder.rsplit_once('/')?;
        let name = match name.strip_prefix("models--") {
            Some(name) => name,
            None if above.ends_with("/models") => name,
            None => return None,
        };
        Some(name.split_once("--").map_or(name, |(_, name)| name))
    });
    let name = cached.map_or_else(
        || path.rsplit_once('/').map_or(path, |(_, name)| name).replace("___", "."),
        str::to_owned,
    );
    name.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Table;

    #[test]
    fn a_model_in_the_cache_of_a_hub_has_the_name_that_it_has_on_the_hub() {
        for path in [
            "deepseek-ai/Janus-Pro-7B",
            "/models/Janus-Pro-7B/",
            "/c/models--deepseek-ai--Janus-Pro-7B/snapshots/master",
            "/c/models/deepseek-ai--Janus-Pro-7B/snapshots/master",
        ] {
            assert_eq!(model_name(path), "janus-pro-7b", "{path}");
        }
        assert_eq!(model_name("/c/deepseek-ai/deepseek-vl-1___3b-chat"), "deepseek-vl-1.3b-chat");
    }

    #[test]
    fn each_version_has_a_table_of_what_it_fetches() {
        for table in Table::all() {
            let fetches = table.fetches();
            let clones = |kind, value| !fetches.of(Verb::Sft, kind, value).unwrap().clones.is_empty();
            assert!(clones("model_type", "deepseek_janus") && clones("reward_model_type", "yi_vl"));
            assert!(clones("optimizer", "muon"));
            assert!(fetches.of(Verb::MegatronSft, "optimizer", "muon").is_none());
            assert!(fetches.of(Verb::Sft, "model_type", "qwen3").is_none());
            assert!(fetches.of_model("x/Janus-Pro-7B").is_some() && fetches.of_model("x/Qwen3-8B").is_none());
            assert_eq!(fetches.media("/data/LLaVA-Pretrain/"), Some("LLaVA-Pretrain"));
            assert!(fetches.media("/data/LLaVA-Pretrain.jsonl").is_none());
            let id = |hub| fetches.data_set("self-cognition", hub);
            assert_eq!(id(Hub::ModelScope), Some("swift/self-cognition"));
            assert_eq!(id(Hub::HuggingFace), Some("modelscope/self-cognition"));
        }
    }
}
