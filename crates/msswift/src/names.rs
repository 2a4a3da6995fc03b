//! Names that changed from version to version, and names that were meant.

use crate::table::Table;
use crate::verb::Verb;

/// What a key is called in the installed version.
pub(crate) enum Name<'k> {
    /// So.
    Is(&'k str),
    /// It is not known; what would be right, where that can be said.
    Unknown(Option<String>),
}

/// Looks a key up. A name that only changed is translated.
pub(crate) fn resolve<'k>(table: &Table, verb: Verb, key: &'k str, may_suggest: bool) -> Name<'k> {
    let is_known = |name: &str| table.argument(verb, name).is_some();
    if is_known(key) {
        return Name::Is(key);
    }
    let same = SAME.iter().find_map(|(old, new)| match key {
        _ if key == *old => Some(*new),
        _ if key == *new => Some(*old),
        _ => None,
    });
    if let Some(same) = same.filter(|same| is_known(same)) {
        return Name::Is(same);
    }
    let instead = MEANT.iter().find(|(old, new)| key == *old && is_known(new)).map(|(_, new)| *new);
    if let Some(instead) = instead.or_else(|| may_suggest.then(|| closest(table, verb, key)).flatten()) {
        return Name::Unknown(Some(format!("did you mean `{instead}`?")));
    }
    let elsewhere: Vec<_> = table.verbs_with(key).map(|verb| format!("`{verb}`")).collect();
    Name::Unknown((!elsewhere.is_empty()).then(|| format!("it is one of {}", elsewhere.join(", "))))
}

/// What a choice is called in the installed version.
pub(crate) fn choice<'c>(choices: &[&'c str], key: &str, value: &str) -> Option<&'c str> {
    let find = |word: &str| choices.iter().find(|choice| **choice == word).copied();
    find(value).or_else(|| match (key, value) {
        ("infer_backend" | "sampler_engine", "pt") => find("transformers"),
        ("infer_backend" | "sampler_engine", "transformers") => find("pt"),
        _ => None,
    })
}

/// The name that somebody may have meant.
fn closest<'t>(table: &'t Table, verb: Verb, key: &str) -> Option<&'t str> {
    if key.len() > LONGEST_MEANT {
        return None;
    }
    let scored = table.arguments(verb).map(|one| (strsim::jaro_winkler(key, one.name), one.name));
    let best = scored.max_by(|one, other| one.0.total_cmp(&other.0))?;
    (best.0 > 0.88).then_some(best.1)
}

/// Longer than any flag, and what is compared with each takes time.
const LONGEST_MEANT: usize = 64;

/// Names of one thing, before and after version 4.
const SAME: [(&str, &str); 2] = [("train_type", "tuner_type"), ("custom_register_path", "external_plugins")];

/// Names of version 2, of other trainers and of tutorials, and what they are here; not translated, since their values
/// may mean something else.
const MEANT: [(&str, &str); 24] = [
    ("sft_type", "tuner_type"),
    ("sft_type", "train_type"),
    ("model_id_or_path", "model"),
    ("model_name_or_path", "model"),
    ("ckpt_dir", "adapters"),
    ("template_type", "template"),
    ("dtype", "torch_dtype"),
    ("quantization_bit", "quant_bits"),
    ("load_in_4bit", "quant_bits"),
    ("use_flash_attn", "attn_impl"),
    ("batch_size", "per_device_train_batch_size"),
    ("evaluation_strategy", "eval_strategy"),
    ("lora_target_modules", "target_modules"),
    ("lora_r", "lora_rank"),
    ("cutoff_len", "max_length"),
    ("learning_rate", "lr"),
    ("num_train_epochs", "max_epochs"),
    ("save_interval", "save_steps"),
    ("save_steps", "save_interval"),
    ("eval_interval", "eval_steps"),
    ("eval_steps", "eval_interval"),
    ("load", "mcore_model"),
    ("adapter_load", "mcore_adapter"),
    ("tensor_parallel_size", "vllm_tensor_parallel_size"),
];
