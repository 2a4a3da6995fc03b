//! What a run of ms-swift cannot do without, and neither its config nor its recipe names.

use swifthook_msswift::{Flags, Verb};

/// What is lacking, each in one line. ms-swift says the same after it has loaded all of torch.
pub(crate) fn lacks(verb: Verb, config: &Flags, recipe: &Flags) -> Vec<String> {
    let has = |name: &&str| {
        let value = |flags: &Flags| flags.value(name).is_some_and(|value| !value.trim().is_empty());
        value(config) || value(recipe)
    };
    let mut lacking = Vec::new();
    if needs_model(verb) && !MODELS.iter().any(&has) {
        lacking.push(format!(
            "no `model`: `{verb}` needs one, by `model`, or by `adapters` or another checkpoint that says which"
        ));
    }
    if needs_data(verb) && !DATA.iter().any(has) {
        lacking
            .push(format!("no `dataset`: `{verb}` has nothing to train on (`dataset` or `cached_dataset`)"));
    }
    lacking
}

fn needs_model(verb: Verb) -> bool {
    // An evaluation may be of a server elsewhere.
    !matches!(verb, Verb::Eval)
}

fn needs_data(verb: Verb) -> bool {
    matches!(
        verb,
        Verb::Pt | Verb::Sft | Verb::Rlhf | Verb::MegatronPt | Verb::MegatronSft | Verb::MegatronRlhf
    )
}

/// By any of these a run comes to a model, in one version or another.
const MODELS: [&str; 9] = [
    "model",
    "adapters",
    "ckpt_dir",
    "resume_from_checkpoint",
    "mcore_model",
    "mcore_adapter",
    "mcore_adapters",
    "load",
    "perform_initialization",
];
/// By any of these a training comes to data: the last takes them from its checkpoint.
const DATA: [&str; 3] = ["dataset", "cached_dataset", "load_data_args"];

#[cfg(test)]
mod tests {
    use swifthook_msswift::{Config, Permissions, Rules, Table, Trust, look};

    use super::*;

    fn flags(text: &str, verb: Verb) -> Flags {
        let rules =
            Rules { table: &Table::all()[0], verb, trust: Trust::Code, permissions: &Permissions::default() };
        look(&Config::read(text.as_bytes()).unwrap(), rules).0
    }

    #[test]
    fn a_training_needs_a_model_and_data_from_its_config_or_its_recipe() {
        let sft = |config: &str, recipe: &str| {
            lacks(Verb::Sft, &flags(config, Verb::Sft), &flags(recipe, Verb::Sft)).len()
        };
        assert_eq!(sft("learning_rate: 1e-4\n", "seed: 1\n"), 2);
        assert_eq!(sft("model: /m\n", "seed: 1\n"), 1);
        assert_eq!(sft("model: /m\ndataset: /d.jsonl\n", "seed: 1\n"), 0);
        assert_eq!(sft("dataset: [/d.jsonl]\n", "model: /m\n"), 0);
        assert_eq!(sft("adapters: /a\ncached_dataset: /c\n", "seed: 1\n"), 0);
    }

    #[test]
    fn what_serves_needs_no_data_and_what_asks_a_server_no_model() {
        let of = |verb, text: &str| lacks(verb, &flags(text, verb), &Flags::default()).len();
        assert_eq!(of(Verb::Deploy, "adapters: /a\n"), 0);
        assert_eq!(of(Verb::Deploy, "port: 8000\n"), 1);
        assert_eq!(of(Verb::Eval, "eval_limit: 3\n"), 0);
        assert_eq!(of(Verb::MegatronSft, "model: /m\n"), 1);
    }
}
