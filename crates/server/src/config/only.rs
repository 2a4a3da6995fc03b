//! One recipe of a configuration, for whoever has nothing else of its server: neither secrets nor environments.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use swifthook_core::{GpuRequest, Template};
use toml::de::DeTable;

use super::launcher::LOCAL;
use super::load::{read, syntax};
use super::mistake::Mistakes;
use super::model::Swift;
use super::reader::{Fields, Report, WHOLE, Wrong};
use super::{gpus, run, sections, swift};

/// What configs of ms-swift are checked against.
#[derive(Clone, Debug)]
pub struct SwiftRecipe {
    /// The command: program, verb, and what the recipe adds.
    pub command: Vec<Template>,
    /// What a pushed config may say.
    pub swift: Swift,
    /// The Python environment that the recipe names.
    pub venv: Option<PathBuf>,
    /// Which files it trains.
    pub each: Option<String>,
    /// Whether its runs make way when their hours are over.
    pub makes_way: bool,
    /// The repository whose pushes it trains.
    pub repository: String,
    /// What its runs have to themselves.
    pub gpus: Option<GpuRequest>,
    /// How many processes train together.
    pub nproc: NonZeroU32,
    /// What runs it.
    pub launcher: String,
    /// Names of the variables that it sets.
    pub env: BTreeSet<String>,
}

impl SwiftRecipe {
    /// Reads the recipe of this name in a configuration file. Nothing else in it is looked at.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn load(file: &Path, name: &str) -> Result<Self, Mistakes> {
        let (text, folder) = read(file)?;
        let report = Report::new(&text);
        let (document, errors) = DeTable::parse_recoverable(&text);
        syntax(&report, &text, &errors);
        let fields = Fields::new(&report, WHOLE, document.get_ref(), 0);
        let recipe = errors.is_empty().then(|| recipe(&fields, name, &folder)).flatten();
        match recipe {
            Some(recipe) if report.is_clean() => Ok(recipe),
            _ => Err(Mistakes { file: file.to_owned(), list: report.into_mistakes() }),
        }
    }
}

fn recipe(fields: &Fields<'_>, name: &str, folder: &Path) -> Option<SwiftRecipe> {
    let tables = fields.tables("recipe");
    let name_of = |table: &Fields<'_>| table.get("name").and_then(|node| node.text().map(str::to_owned));
    let Some(recipe) = tables.iter().find(|table| name_of(table).as_deref() == Some(name)) else {
        let names: Vec<_> = tables.iter().filter_map(name_of).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        fields.wrong_in_general(sections::unknown("recipe", name, &names));
        return None;
    };
    let node = recipe.need("run", "`run = { swift = \"sft\", config = \"{path}\" }`")?;
    let run = node.fields("`run`")?;
    if !run.has("swift") && !run.has("megatron") {
        node.wrong(Wrong::new(format!("recipe `{name}` runs a command, and no config of ms-swift")));
        return None;
    }
    let told = swift::swift(recipe, &run)?;
    let environment = recipe.get("environment").and_then(|node| node.fields("`environment`"));
    let venv = environment.and_then(|fields| fields.get("venv")?.text());
    let text = |key| recipe.get(key).and_then(|node| node.text());
    Some(SwiftRecipe {
        command: told.command,
        swift: told.swift,
        venv: venv.map(|venv| folder.join(venv)),
        makes_way: recipe.get("outside").and_then(|node| node.text()) == Some("pause"),
        each: recipe.get("each").and_then(|node| node.text()).map(str::to_owned),
        repository: text("repository").unwrap_or_default().to_owned(),
        gpus: recipe.get("gpus").and_then(|node| gpus::read(&node)),
        nproc: run::nproc(recipe),
        env: recipe
            .get("env")
            .and_then(|node| node.fields("`env`"))
            .map(|env| env.entries().into_iter().map(|(name, ..)| name.to_owned()).collect())
            .unwrap_or_default(),
        launcher: text("launcher").unwrap_or(LOCAL).to_owned(),
    })
}
