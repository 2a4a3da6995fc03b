use std::collections::HashSet;
use std::fmt;

use swifthook_msswift::{
    Config, Flags, Format, Mistake, Packages, Rules, Trust, look, look_at_kernels, look_together,
};

use super::local::{self, Found};
use super::port;

/// What a config is looked at for.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    /// What its name says of its form.
    pub(crate) format: Format,
    /// What it may say.
    pub(crate) rules: Rules<'a>,
    /// What the recipe adds, as `--name=value`.
    pub(crate) args: &'a [String],
    /// Packages installed where it runs, if that is known.
    pub(crate) packages: Option<&'a Packages>,
    /// Whether models, data and ports are on this machine.
    pub(crate) is_here: bool,
    /// True if models and data are looked into.
    pub(crate) looks_into: bool,
}

/// Flags in which nothing is wrong.
pub(crate) struct Inspected {
    /// Those of the config.
    pub(crate) config: Flags,
    /// Those of the recipe.
    pub(crate) recipe: Flags,
    /// What is to be told of models and data although nothing is wrong.
    pub(crate) doubts: Vec<Mistake>,
}

/// What is wrong.
#[derive(Debug)]
pub(crate) enum Amiss {
    /// Everything that is wrong for good.
    Wrong(Wrong),
    /// What may be right another time.
    NotNow(String),
}

/// Everything that is wrong for good.
#[derive(Debug, Default)]
pub(crate) struct Wrong {
    /// With the config, in its order.
    pub(crate) config: Vec<Mistake>,
    /// With what the recipe adds.
    pub(crate) recipe: Vec<Mistake>,
}

/// Looks at a config, at what its recipe adds, and at the models and data that both name on this machine. It may wait
/// for a disk.
pub(crate) fn inspect(file: &[u8], ask: Ask<'_>) -> Result<Inspected, Amiss> {
    let (config, mut wrong_config) = match Config::read_as(ask.format, file) {
        Ok(config) => look(&config, ask.rules),
        Err(mistake) => (Flags::default(), vec![mistake]),
    };
    let (recipe, mut wrong_recipe) = match Config::of_arguments(ask.args) {
        Ok(args) => look(&args, Rules { trust: Trust::Code, ..ask.rules }),
        Err(mistake) => (Flags::default(), vec![mistake]),
    };
    wrong_config.extend(look_together(&config, &recipe, ask.rules));
    wrong_config.extend(ask.packages.and_then(|packages| look_at_kernels(&config, &recipe, packages)));
    let (mut not_now, mut doubts) = (Vec::new(), Vec::new());
    if ask.is_here {
        let told = look_at_files(&config, &mut wrong_config, ask);
        let rules = Rules { trust: Trust::Code, ..ask.rules };
        let of_recipe = look_at_files(&recipe, &mut wrong_recipe, Ask { rules, ..ask });
        for Told { not_now: why, doubts: more } in [told, of_recipe] {
            not_now.extend(why);
            doubts.extend(more);
        }
        not_now.extend(port::taken(ask.rules.verb, &config, &recipe));
    }
    if !wrong_config.is_empty() || !wrong_recipe.is_empty() {
        wrong_config.sort_by_key(|mistake| mistake.line);
        return Err(Amiss::Wrong(Wrong { config: wrong_config, recipe: wrong_recipe }));
    }
    match not_now.is_empty() {
        true => Ok(Inspected { config, recipe, doubts }),
        false => Err(Amiss::NotNow(not_now.join("; "))),
    }
}

/// Faults of each file or folder, which is looked at once however often it is named.
fn look_at_files(flags: &Flags, wrong: &mut Vec<Mistake>, ask: Ask<'_>) -> Told {
    let mut told = Told::default();
    let mut seen = HashSet::new();
    let locals = flags.locals().filter(|local| seen.insert((local.key, local.path)));
    for found in locals.filter_map(|local| local::look(local, ask.rules, ask.looks_into)) {
        match found {
            Found::Wrong(mistake) => wrong.push(mistake),
            Found::Doubtful(doubt) => told.doubts.push(doubt),
            Found::NotNow(why) => told.not_now.push(why),
        }
    }
    told
}

/// What is not wrong for certain.
#[derive(Default)]
struct Told {
    not_now: Vec<String>,
    doubts: Vec<Mistake>,
}

impl Wrong {
    /// In one line, for the reason of a job.
    pub(crate) fn of(&self, name: &str) -> String {
        let parts = [(name, &self.config), ("the recipe's args", &self.recipe)];
        let parts = parts.into_iter().filter(|(_, list)| !list.is_empty());
        parts.map(|(name, list)| format!("{name}: {}", Listed(list))).collect::<Vec<_>>().join("; ")
    }
}

struct Listed<'m>(&'m [Mistake]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().take(MOST_TOLD).map(ToString::to_string).collect();
        f.write_str(&lines.join("; "))?;
        match self.0.len().saturating_sub(MOST_TOLD) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

const MOST_TOLD: usize = 20;

#[cfg(test)]
mod tests {
    use std::fs;

    use swifthook_msswift::{Allowed, Permissions, Table, Verb};

    use super::*;

    fn told(text: &str, args: &[&str], is_here: bool) -> Result<Inspected, String> {
        let permissions = Permissions {
            models: Allowed::models(["/**", "hf:acme/*"]).unwrap(),
            data: Allowed::files(["/**"]).unwrap(),
            ..Permissions::default()
        };
        let rules =
            Rules { table: &Table::all()[0], verb: Verb::Sft, trust: Trust::Data, permissions: &permissions };
        let args: Vec<_> = args.iter().map(|&arg| arg.to_owned()).collect();
        inspect(
            text.as_bytes(),
            Ask { format: Format::Yaml, rules, args: &args, packages: None, is_here, looks_into: true },
        )
        .map_err(|amiss| match amiss {
            Amiss::Wrong(wrong) => wrong.of("sft.yaml"),
            Amiss::NotNow(why) => why,
        })
    }

    #[test]
    fn mistakes_of_keys_models_data_and_of_the_recipe_are_told_at_once_in_the_order_of_the_lines() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display();
        fs::create_dir_all(folder.path().join("model")).unwrap();
        fs::write(folder.path().join("bad.jsonl"), "{\n").unwrap();
        fs::write(folder.path().join("file"), "x").unwrap();
        let text = format!(
            "model: {at}/model\nadapters: [{at}/file, {at}/absent]\nlerning_rate: 1\ndataset: {at}/bad.jsonl#5\n"
        );
        let args = [&*format!("--val_dataset={at}/none.csv"), "--max_steps=many"];
        let told = told(&text, &args, true).map(|_| ()).unwrap_err();
        let expected = format!(
            "sft.yaml: line 1: `model`: `{at}/model`: there is no `config.json` in it, so it is no model; \
             line 2: `adapters`: `{at}/file`: it is no folder, as a model is; \
             line 2: `adapters`: `{at}/absent`: No such file or directory (os error 2); \
             line 3: `swift sft` of ms-swift 4.6.0 has no `lerning_rate`: did you mean `learning_rate`?; \
             line 4: `dataset`: `{at}/bad.jsonl`: line 1: it ends within a row; \
             the recipe's args: `max_steps`: `many` is not a whole number; \
             `val_dataset`: `{at}/none.csv`: No such file or directory (os error 2)"
        );
        assert_eq!(told, expected);
    }

    #[test]
    fn a_folder_with_a_script_and_a_file_that_no_loader_of_ours_reads_are_no_data() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display();
        for (name, text) in [("x/x.py", "import os"), ("x/a.jsonl", "{}"), ("y/a.jsonl", "{}")] {
            let file = folder.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        for name in ["a.squad", "a.pandas", "a.JSONL", "a", "a.jsonl"] {
            fs::write(folder.path().join(name), "{\"a\": 1}\n").unwrap();
        }
        let dataset = |name: &str| told(&format!("dataset: {at}/{name}\n"), &[], true).map(|_| ()).err();
        assert_eq!(dataset("y"), None);
        assert_eq!(dataset("a.jsonl#5"), None);
        let script = dataset("x").unwrap();
        assert!(script.contains("`x.py` is in it, and `datasets` may run it"), "{script}");
        for (name, loader) in [("a.squad", "squad"), ("a.pandas", "pandas"), ("a.JSONL", "JSONL"), ("a", "")]
        {
            let told = dataset(name).unwrap();
            assert!(told.contains(&format!("ms-swift would look for a loader called `{loader}`")), "{told}");
        }
        // What the operator says is the operator's.
        assert!(told("", &[&format!("--dataset={at}/x")], true).is_err_and(|why| why.contains("empty")));
        assert!(told("seed: 1\n", &[&format!("--dataset={at}/x")], true).is_ok());
    }

    #[test]
    fn a_config_does_not_choose_the_hub_of_what_the_recipe_names() {
        let config = "use_hf: true\nadapters: acme/a\n";
        assert!(told(config, &["--model=/models/x"], false).is_ok());
        let why = told(config, &["--model=Qwen/Qwen3-8B"], false).map(|_| ()).unwrap_err();
        assert!(
            why.contains("line 1: `use_hf`: the recipe's args name `Qwen/Qwen3-8B` of ModelScope"),
            "{why}"
        );
        assert!(told(config, &["--dataset=ms::acme/x"], false).is_ok(), "its hub is named");
        assert!(told(config, &["--dataset=acme/x"], false).is_err());
    }

    #[test]
    fn a_file_that_is_named_often_is_looked_at_and_told_once() {
        let text = format!("dataset: [{}]\n", vec!["/no/such.jsonl"; 90].join(", "));
        let why = told(&text, &[], true).map(|_| ()).unwrap_err();
        assert_eq!(why.matches("/no/such.jsonl").count(), 1, "{why}");
        assert!(!why.contains("more"), "{why}");
    }

    #[test]
    fn a_folder_that_steers_its_loader_or_leads_out_is_refused_to_a_config_alone() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().canonicalize().unwrap();
        fs::write(at.join("train.jsonl"), "{\"a\": 1}\n").unwrap();
        let named = format!("dataset: {}\n", at.display());
        assert!(told(&named, &[], true).is_ok());
        fs::write(at.join("dataset_infos.json"), "{}").unwrap();
        let why = told(&named, &[], true).map(|_| ()).unwrap_err();
        assert!(why.contains("`dataset_infos.json` is in it"), "{why}");
        let recipe = format!("--dataset={}", at.display());
        assert!(told("seed: 1\n", &[&recipe], true).is_ok(), "what the operator says is the operator's");
    }

    #[test]
    fn elsewhere_the_files_are_not_looked_at() {
        assert!(told("model: /no/such/model\ndataset: /no/such.jsonl\n", &[], false).is_ok());
        assert!(told("model: /no/such/model\n", &[], true).is_err());
        assert!(told("model: [\n", &[], false).is_err());
    }
}
