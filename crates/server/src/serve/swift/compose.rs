use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use swifthook_core::{Job, Reason};
use swifthook_msswift::{Config, Flags, Launch, Mistake, Processes, Rules, Table, Trust, Verb, check};
use swifthook_runner::{Compose, Composed, Draft, Uncomposed};

use super::installed::{Installed, Versions};
use crate::config::Swift;

/// Makes runs of ms-swift from the configs of one recipe, within what the recipe allows at the moment.
pub(in crate::serve) struct SwiftComposer {
    pub(in crate::serve) swift: Swift,
    /// The variables that the recipe itself sets: they stay.
    pub(in crate::serve) set_by_recipe: BTreeSet<String>,
    pub(in crate::serve) versions: Arc<Versions>,
}

#[async_trait]
impl Compose for SwiftComposer {
    fn most_bytes(&self) -> usize {
        Config::MOST_BYTES
    }

    async fn compose(&self, job: &Job, draft: Draft) -> Result<Composed, Uncomposed> {
        let Draft { file, argv, env, output_dir } = draft;
        let verb =
            verb_of(&argv).ok_or_else(|| refusal("the job's command is none of ms-swift".to_owned()))?;
        let path = env.get("PATH").map(String::as_str);
        let installed = self.versions.installed(verb.program(), path).await?;
        let table = table_of(&installed).map_err(refusal)?;
        let name = job.spec.file.as_deref().unwrap_or_default();
        let mistaken = |mistakes: &[Mistake]| refusal(listed(name, mistakes));

        let rules = Rules {
            table,
            verb,
            trust: self.swift.trust,
            models: &self.swift.models,
            data: &self.swift.data,
        };
        let config = Config::read(&file).map_err(|mistake| mistaken(&[mistake]))?;
        let flags = check(&config, rules).map_err(|mistakes| mistaken(&mistakes))?;
        let absent = absent(&flags).await;
        if !absent.is_empty() {
            return Err(mistaken(&absent));
        }
        let recipe = Config::of_arguments(&argv[2..])
            .map_err(|mistake| vec![mistake])
            .and_then(|config| check(&config, Rules { trust: Trust::Code, ..rules }))
            .map_err(|mistakes| refusal(listed("the recipe's args", &mistakes)))?;

        let launch = Launch {
            table,
            verb,
            config: &flags,
            recipe: &recipe,
            output_dir: &output_dir,
            resume: None,
            processes: Processes::default(),
            is_offline: false,
        };
        let command = launch.command();
        let mut argv = command.argv;
        // What was asked for its version is what runs.
        argv[0] = installed.program.display().to_string();
        Ok(Composed { argv, env: self.environment(env, command.env) })
    }
}

impl SwiftComposer {
    /// What the command wants to be set and cleared, except where the recipe itself says otherwise.
    fn environment(
        &self,
        mut env: BTreeMap<String, String>,
        wanted: BTreeMap<String, Option<String>>,
    ) -> BTreeMap<String, String> {
        for (name, value) in wanted.into_iter().filter(|(name, _)| !self.set_by_recipe.contains(name)) {
            match value {
                Some(value) => env.insert(name, value),
                None => env.remove(&name),
            };
        }
        env
    }
}

fn verb_of(argv: &[String]) -> Option<Verb> {
    match argv {
        [program, word, ..] if program == "swift" => Verb::of_swift(word).ok(),
        [program, word, ..] if program == "megatron" => Verb::of_megatron(word).ok(),
        _ => None,
    }
}

fn table_of(installed: &Installed) -> Result<&'static Table, String> {
    Table::of(installed.version).ok_or_else(|| {
        let known: Vec<_> = Table::all().iter().map(|table| table.version().to_string()).collect();
        format!(
            "`{}` is ms-swift {}, whose arguments are not known here; known are {} and other releases of their series",
            installed.program.display(),
            installed.version,
            known.join(", ")
        )
    })
}

/// Models and data that the config names and that are not on this machine.
async fn absent(flags: &Flags) -> Vec<Mistake> {
    let named: Vec<_> = flags.paths().map(|(line, path)| (line, path.to_owned())).collect();
    let is_absent = |(line, path): (Option<usize>, PathBuf)| {
        let missing = path.metadata().err()?;
        Some(Mistake { line, what: format!("`{}`: {missing}", path.display()) })
    };
    let look = move || named.into_iter().filter_map(is_absent).collect();
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
}

fn listed(name: &str, mistakes: &[Mistake]) -> String {
    let lines: Vec<_> = mistakes.iter().take(MOST_TOLD).map(ToString::to_string).collect();
    let more = match mistakes.len().saturating_sub(MOST_TOLD) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!("{name}: {}{more}", lines.join("; "))
}

fn refusal(why: String) -> Uncomposed {
    Uncomposed::Unfit(Reason::new("config", why))
}

const MOST_TOLD: usize = 20;
