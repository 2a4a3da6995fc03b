use std::collections::HashMap;
use std::sync::OnceLock;

/// What ms-swift does with the value of a key, and so what a pushed config may put there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// A number, true or false, or one of the table's choices.
    Value,
    /// One of these.
    Only(&'static str),
    /// A name that ms-swift looks up among its own.
    Word,
    /// Text for a prompt or a log.
    Text,
    /// Text of a prompt alone.
    Prompt,
    /// A structure of numbers and words.
    Mapping,
    /// A model or adapter.
    Model,
    /// A data set, of this machine or of a hub.
    Data,
    /// Data on this machine alone.
    File,
    /// A branch or tag of a model.
    Revision,
    /// The hub of whatever is named without one.
    Hub,
    /// Set by the run itself: what a config says of it is set aside.
    Ours,
    /// Refused under `trust = "data"`, and why.
    Refused(&'static str),
}

impl Class {
    /// The class of a key; `None` if nobody has looked at what it does.
    pub(crate) fn of(key: &str) -> Option<Self> {
        static CLASSES: OnceLock<HashMap<&'static str, Class>> = OnceLock::new();
        CLASSES.get_or_init(|| parse(include_str!("classes.txt")).expect(WELL_FORMED)).get(key).copied()
    }
}

fn parse(text: &'static str) -> Option<HashMap<&'static str, Class>> {
    let mut classes = HashMap::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (class, words) = line.split_once(": ")?;
        if let Some(key) = class.strip_prefix("only ") {
            classes.insert(key, Class::Only(words));
            continue;
        }
        let class = match class {
            "value" => Class::Value,
            "word" => Class::Word,
            "text" => Class::Text,
            "prompt" => Class::Prompt,
            "mapping" => Class::Mapping,
            "model" => Class::Model,
            "data" => Class::Data,
            "file" => Class::File,
            "revision" => Class::Revision,
            "hub" => Class::Hub,
            "ours" => Class::Ours,
            "path" => Class::Refused("it names files of this machine, or can"),
            "plugin" => Class::Refused("it names code, or can"),
            "secret" => {
                Class::Refused("it is a secret, which belongs into no repository and no command line")
            }
            "environment" => Class::Refused("it sets variables of the environment"),
            "network" => Class::Refused("it says whom the run talks to"),
            "publish" => Class::Refused("it sends what was trained elsewhere"),
            "checkpoint" => Class::Refused(
                "it names a checkpoint, and what it takes to go on from one is loaded as code is",
            ),
            "inherited" => {
                Class::Refused("it takes the names of data from a checkpoint, where nobody has checked them")
            }
            _ => return None,
        };
        for key in words.split(' ') {
            classes.insert(key, class);
        }
    }
    Some(classes)
}

const WELL_FORMED: &str = "the committed classes are well-formed";

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::table::{Kind, Table};
    use crate::verb::Verb;

    #[test]
    fn each_key_has_one_class_and_is_one_of_ms_swift() {
        let mut seen = HashSet::new();
        for line in include_str!("classes.txt").lines().filter(|line| !line.starts_with('#')) {
            let Some((class, words)) = line.split_once(": ") else { continue };
            let keys: Vec<_> = match class.strip_prefix("only ") {
                Some(key) => vec![key],
                None => words.split(' ').collect(),
            };
            for key in keys {
                assert!(seen.insert(key), "{key} has two classes");
                let is_known = Table::all().iter().any(|table| table.verbs_with(key).next().is_some());
                assert!(is_known, "{key} is no flag of any version");
            }
        }
    }

    #[test]
    fn a_key_of_the_class_value_has_a_type_in_each_table() {
        for table in Table::all() {
            for verb in Verb::ALL {
                for argument in table.arguments(verb) {
                    let class = Class::of(argument.name);
                    assert!(
                        class != Some(Class::Value) || argument.kind != Kind::Text,
                        "{} of {verb}",
                        argument.name
                    );
                    assert!(class != Some(Class::Hub) || argument.kind == Kind::Flag);
                }
            }
        }
    }

    #[test]
    fn what_opens_a_way_out_is_in_no_class_that_passes() {
        for key in [
            "external_plugins",
            "custom_register_path",
            "model_kwargs",
            "local_repo_path",
            "custom_dataset_info",
            "hub_token",
            "push_to_hub",
            "vllm_engine_kwargs",
            "callbacks",
            "multi_turn_scheduler",
            "use_ray",
            "reward_model_plugin",
            "vllm_server_host",
            "resume_from_checkpoint",
            "load_data_args",
            "accelerator_config",
            "fsdp_config",
        ] {
            assert!(matches!(Class::of(key), Some(Class::Refused(_))), "{key}");
        }
        for key in ["output_dir", "add_version", "logging_dir"] {
            assert_eq!(Class::of(key), Some(Class::Ours), "{key}");
        }
        for table in Table::all() {
            let revisions = Verb::ALL.into_iter().flat_map(|verb| table.arguments(verb));
            for argument in
                revisions.filter(|one| one.name.ends_with("_revision") && one.name != "hub_revision")
            {
                assert_eq!(Class::of(argument.name), Some(Class::Revision), "{}", argument.name);
            }
        }
        assert_eq!(Class::of("ignore_args_error"), None, "what nobody looked at has no class");
    }
}
