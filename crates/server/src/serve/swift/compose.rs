use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use swifthook_core::{Change, Fingerprint, Job, Reason, RunKey};
use swifthook_launch::Looks;
use swifthook_msswift::{Config, Format, Launch, Mistake, Packages, Processes, Rules, Table, Trust, Verb};
use swifthook_runner::{Composed, Draft, Uncomposed};

use super::installed::{Installed, Versions};
use crate::config::Swift;
use crate::preflight::{Amiss, Ask, Inspected, inspect};
use crate::serve::workload;

/// Makes runs of ms-swift from the configs of one recipe, within what the recipe allows at the moment.
pub(in crate::serve) struct SwiftComposer {
    pub(in crate::serve) swift: Swift,
    /// How many processes train together.
    pub(in crate::serve) nproc: u32,
    /// The variables that the recipe itself sets: they stay.
    pub(in crate::serve) set_by_recipe: BTreeSet<String>,
    /// Those of them that are no secret: who changes one runs something else.
    pub(in crate::serve) visible: BTreeMap<String, String>,
    pub(in crate::serve) versions: Arc<Versions>,
    /// Looks at models and data.
    pub(in crate::serve) looks: Looks,
}

impl SwiftComposer {
    /// The largest config that is read, in bytes.
    pub(in crate::serve) const MOST_BYTES: usize = Config::MOST_BYTES;

    /// The command of a run, or everything that is wrong with its config. What is asked of its environment is asked `within`.
    pub(in crate::serve) async fn compose(
        &self,
        job: &Job,
        draft: Draft,
        environment: Option<&str>,
        within: &[String],
    ) -> Result<Composed, Uncomposed> {
        let Draft { file, argv, env, output_dir, resume, gpus, gpu_kinds, .. } = draft;
        let count = gpus;
        // Which ones it gets is not known before it begins, but of which kinds they may be.
        let gpus = format!("{gpus} GPUs of {}", gpu_kinds.join(", "));
        let verb =
            verb_of(&argv).ok_or_else(|| refusal("the job's command is none of ms-swift".to_owned()))?;
        let path = env.get("PATH").map(String::as_str);
        let installed = self.versions.installed(verb.program(), path, within).await?;
        let table = table_of(&installed).map_err(refusal)?;
        let name = job.spec.file.as_deref().unwrap_or_default();
        let run = RunKey { job: job.id, attempt: job.state.attempt };
        let asked = Asked { run, table, verb, packages: installed.packages.clone() };
        let (Inspected { config, recipe, doubts }, marks) =
            self.inspect(asked, name, file, argv[2..].to_vec()).await?;

        let launch = Launch {
            table,
            verb,
            config: &config,
            recipe: &recipe,
            output_dir: &output_dir,
            resume: resume.as_deref(),
            processes: Processes { per_node: self.nproc, ..Processes::default() },
            is_offline: false,
            hub: self.swift.permissions.hub,
        };
        let command = launch.command();
        let warnings = self.notes(config.notes().chain(&doubts), &launch);
        let fingerprint = self.fingerprint(job, &installed, &launch, environment, gpus, marks);
        let Change { repository, recipe: of, .. } = &job.change;
        let workload = workload::of_swift(repository.as_str(), of, verb, &config, &recipe, count, self.nproc);
        let mut argv = command.argv;
        // What was asked for its version is what runs.
        argv[0] = installed.program.display().to_string();
        let env = self.environment(env, command.env);
        let fingerprint = Some(fingerprint);
        Ok(Composed { argv, env, fingerprint, workload, warnings, ..Composed::default() })
    }

    /// What whoever pushed the config is told although nothing is wrong with it.
    fn notes<'n>(&self, told: impl Iterator<Item = &'n Mistake>, launch: &Launch<'_>) -> Vec<Reason> {
        let of_env = launch.notes(|name| self.set_by_recipe.contains(name));
        let notes: Vec<_> =
            told.map(ToString::to_string).chain(of_env.iter().map(ToString::to_string)).collect();
        let notes = &notes[..notes.len().min(MOST_NOTES)];
        if notes.is_empty() { Vec::new() } else { vec![Reason::new("config", notes.join("; "))] }
    }

    /// Everything that decides what the run does: the version, the flags, the data as they are now, and of a repository
    /// that may run code its commit.
    fn fingerprint(
        &self,
        job: &Job,
        installed: &Installed,
        launch: &Launch<'_>,
        environment: Option<&str>,
        gpus: String,
        marks: Vec<String>,
    ) -> Fingerprint {
        let command = Launch { output_dir: "", resume: None, ..launch.clone() }.command();
        let mut parts = vec![installed.version.to_string(), environment.unwrap_or_default().to_owned()];
        parts.push(gpus);
        parts.extend(command.argv);
        // It changes nothing of what is trained.
        let env = command.env.into_iter().filter(|(name, _)| name != "HF_HUB_OFFLINE");
        parts.extend(env.map(|(name, value)| format!("{name}={}", value.unwrap_or_default())));
        parts.extend(self.visible.iter().map(|(name, value)| format!("{name}={value}")));
        parts.extend(marks);
        if self.swift.trust == Trust::Code {
            parts.push(job.change.head.to_string());
        }
        Fingerprint::of(parts)
    }

    /// Everything that is wrong, at once; else also the marks of the data as they are now. A disk that hangs keeps nobody but
    /// this job.
    async fn inspect(
        &self,
        asked: Asked,
        name: &str,
        file: Vec<u8>,
        args: Vec<String>,
    ) -> Result<(Inspected, Vec<String>), Uncomposed> {
        let Swift { trust, permissions, looks_into } = self.swift.clone();
        let Asked { run, table, verb, packages } = asked;
        let format = Format::of(name);
        let look = self.looks.look(&run, move || {
            let rules = Rules { table, verb, trust, permissions: &permissions };
            let packages = Some(&packages);
            let ask = Ask { format, rules, args: &args, packages, is_here: true, looks_into };
            let inspected = inspect(&file, ask)?;
            let locals = inspected.config.locals().chain(inspected.recipe.locals());
            let marks = locals.map(|local| marks(local.found(Path::exists))).collect();
            Ok((inspected, marks))
        });
        match look.await {
            Ok(Ok(inspected)) => Ok(inspected),
            Ok(Err(Amiss::Wrong(wrong))) => Err(refusal(wrong.of(name))),
            Ok(Err(Amiss::NotNow(why))) => Err(Uncomposed::NotNow(why)),
            Err(late) => Err(Uncomposed::NotNow(format!("models and data could not be looked at: {late}"))),
        }
    }

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

/// More than anybody reads.
const MOST_NOTES: usize = 20;

/// Purposes for which a config is looked at.
struct Asked {
    run: RunKey,
    table: &'static Table,
    verb: Verb,
    packages: Packages,
}

pub(crate) fn verb_of(argv: &[String]) -> Option<Verb> {
    match argv {
        [program, word, ..] if program == "swift" => Verb::of_swift(word).ok(),
        [program, word, ..] if program == "megatron" => Verb::of_megatron(word).ok(),
        _ => None,
    }
}

pub(crate) fn table_of(installed: &Installed) -> Result<&'static Table, String> {
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

/// What tells a file from what was there before under its name.
fn marks(path: &Path) -> String {
    let Ok(metadata) = path.metadata() else { return String::new() };
    format!("{} {} {}", metadata.len(), metadata.mtime(), metadata.mtime_nsec())
}

fn refusal(why: String) -> Uncomposed {
    Uncomposed::Unfit(Reason::new("config", why))
}

/// Limit of looks at the models and data of one attempt that may hang.
pub(in crate::serve) const MOST_LOOKS: usize = 2;
/// A disk that is far away answers within seconds.
pub(in crate::serve) const PATIENCE: Duration = Duration::from_secs(20);
