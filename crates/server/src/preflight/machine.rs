//! What a configuration needs of the machine and does not find there. It may come later, so that nothing is refused for it.

use std::collections::BTreeMap;
use std::env::split_paths;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use swifthook_core::text::address_without_user_info;

use crate::config::{Config, Isolation, LauncherKind, Outside, Recipe, Repository, Value};

/// Everything that is missing, each in one line; `variable` looks up a variable of the environment.
pub(crate) fn missing(config: &Config, variable: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    // Who runs nothing fetches nothing: workers elsewhere do.
    if config.worker.slots == 0 {
        return Vec::new();
    }
    let path = variable("PATH").unwrap_or_default();
    let mut missing = Vec::new();
    for repository in &config.repositories {
        missing.extend(of_repository(repository, &path));
    }
    for recipe in config.recipes.iter().filter(|recipe| runs_here(recipe, config)) {
        missing.extend(of_recipe(recipe, config, &path, variable));
    }
    if !config.recipes.is_empty() && find("git", &path).is_none() {
        missing
            .push(format!("no program `git` is on the PATH ({path}), and no commit is fetched without it"));
    }
    missing
}

/// Tells whether a worker of this configuration may run it.
fn runs_here(recipe: &Recipe, config: &Config) -> bool {
    recipe.queueing.labels.iter().all(|label| config.worker.labels.contains(label))
}

fn of_repository(repository: &Repository, path: &str) -> Vec<String> {
    let Repository { name, clone_url, remote, .. } = repository;
    let mut missing = Vec::new();
    if remote.is_local() {
        let shown = address_without_user_info(clone_url);
        let folder = local(clone_url);
        if !folder.exists() {
            missing.push(format!("repository {name}: there is no `{shown}`, from where it is to be fetched"));
        } else if !is_repository(&folder) {
            missing.push(format!("repository {name}: `{shown}` is no repository of git: no `HEAD` is in it"));
        }
    }
    if remote.is_by_ssh() && find("ssh", path).is_none() {
        missing.push(format!(
            "repository {name}: no program `ssh` is on the PATH ({path}), by which it is fetched"
        ));
    }
    let token = match &repository.token {
        Some(Outside::File(file)) => Some(file),
        _ => None,
    };
    for file in repository.key.iter().chain(token).filter(|file| !file.is_file()) {
        missing.push(format!(
            "repository {name}: there is no file `{}`, which its `credentials` name",
            file.display()
        ));
    }
    missing
}

/// The folder that a clone URL of this machine names.
fn local(clone_url: &str) -> PathBuf {
    let path = clone_url.strip_prefix("file://").unwrap_or(clone_url);
    path.strip_prefix("localhost").unwrap_or(path).into()
}

fn is_repository(folder: &Path) -> bool {
    folder.join("HEAD").exists() || folder.join(".git").exists() || folder.is_file()
}

fn of_recipe(
    recipe: &Recipe,
    config: &Config,
    own_path: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Vec<String> {
    let (name, run) = (&recipe.name, &recipe.run);
    let launcher = config.launchers.iter().find(|launcher| launcher.name == run.launcher);
    let mut missing = Vec::new();
    // What runs elsewhere has other programs, and what is in an image or comes with the commit nobody sees from here.
    if !launcher.is_some_and(|launcher| launcher.kind == LauncherKind::Local) || run.image.is_some() {
        return missing;
    }
    if run.uv.is_some() && find("uv", own_path).is_none() {
        missing.push(format!(
            "recipe {name}: no program `uv` is on the PATH ({own_path}), which makes its environment"
        ));
    }
    if run.checkout.lfs && find("git-lfs", own_path).is_none() {
        missing.push(format!(
            "recipe {name}: no program `git-lfs` is on the PATH ({own_path}), as `lfs` asks for"
        ));
    }
    let path = path_of_runs(&run.env, run.venv.as_deref(), own_path, variable);
    let mut programs = Vec::new();
    if let Some(Isolation::Prefix(prefix)) = &run.isolation {
        programs.extend(prefix.first());
    }
    if run.uv.is_none() {
        programs.extend(run.command.first());
    }
    for program in programs.into_iter().filter(|program| program.fields().next().is_none()) {
        let program = program.to_string();
        let why = match Path::new(&program) {
            file if file.is_absolute() && !is_program(file) => {
                format!("there is no program `{program}`, which it runs")
            }
            file if file.components().count() == 1 && find(&program, &path).is_none() => {
                format!("no program `{program}` is on the PATH of its runs ({path})")
            }
            // A relative path leads into the commit.
            _ => continue,
        };
        let with = if run.venv.is_some() {
            ""
        } else {
            "; `environment = { venv = \"…\" }` names a Python environment that has it"
        };
        missing.push(format!("recipe {name}: {why}: every run of it would fail{with}"));
    }
    missing
}

/// As runs are given it.
fn path_of_runs(
    env: &BTreeMap<String, Value>,
    venv: Option<&Path>,
    own_path: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> String {
    match (env.get("PATH"), venv) {
        (Some(Value::Text(path)), _) => path.clone(),
        (Some(Value::Outside(place)), _) => place.value(variable).unwrap_or_default(),
        (None, Some(venv)) => format!("{}:{own_path}", venv.join("bin").display()),
        (None, None) => own_path.to_owned(),
    }
}

fn find(program: &str, path: &str) -> Option<PathBuf> {
    split_paths(path).map(|folder| folder.join(program)).find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
