//! `swifthook check`.

use std::fmt::Write;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::ExitCode;

use humantime::format_duration;
use rustix::process::geteuid;
use swifthook_core::Template;
use swifthook_core::text::{address_without_user_info, is_printable, printable_lines, without_user_info};
use swifthook_msswift::{Allowed, Permissions, Trust, Version};

use super::environment::variable;
use super::failure::{complain, mistaken};
use super::{CommonArguments, check_configs, makes_way, shared_user};
use crate::config::{Config, Refs, Swift};
use crate::preflight::missing;

/// What to check.
#[derive(Debug, clap::Args)]
pub struct CheckArguments {
    /// Check these files against this recipe; neither a server nor its secrets are needed.
    #[arg(long, value_name = "NAME", requires = "files")]
    pub recipe: Option<String>,
    /// The version of ms-swift that it is for; without, the one that the recipe finds here.
    #[arg(long, value_name = "VERSION", requires = "recipe")]
    pub ms_swift: Option<Version>,
    /// Do not look for models, data, repositories and programs: they are on another machine.
    #[arg(long)]
    pub elsewhere: bool,
    /// Configs of ms-swift.
    #[arg(value_name = "FILE", requires = "recipe")]
    pub files: Vec<PathBuf>,
}

pub(super) fn run(common: &CommonArguments, arguments: &CheckArguments) -> ExitCode {
    if let Some(recipe) = &arguments.recipe {
        return check_configs::run(common, recipe, arguments);
    }
    let config = match Config::load(&common.config, &variable) {
        Ok(config) => config,
        Err(mistakes) => return mistaken(&mistakes),
    };
    let missing = if arguments.elsewhere { Vec::new() } else { missing(&config, &variable) };
    let count = config.warnings.len() + missing.len();
    for warning in &config.warnings {
        complain(warning.told(&config.file, "warning: ").trim_end());
    }
    for what in missing {
        complain(&format!("{}: warning: {what}", config.file.display()));
    }
    if count > 0 {
        complain(&format!("{count} {}", if count == 1 { "warning" } else { "warnings" }));
    }
    match io::Write::write_all(&mut io::stdout(), shown(&summary(&config, count)).as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Commands may name addresses too.
fn shown(summary: &str) -> String {
    printable_lines(&without_user_info(summary)).into_owned()
}

/// What the configuration would do, for people.
fn summary(config: &Config, warnings: usize) -> String {
    let well = if warnings == 0 { "nothing wrong" } else { "no mistakes" };
    let mut text = format!("{}: {well}\n", config.file.display());
    if let Some(intake) = &config.intake {
        let _ = writeln!(text, "\npushes go to {intake}, and from there into the store");
    }
    for hook in &config.hooks {
        let secrets = match hook.secrets.len() {
            1 => "1 secret".to_owned(),
            count => format!("{count} secrets"),
        };
        let _ = writeln!(
            text,
            "\nhook {}: POST http://{}{}, {secrets}, for {}",
            hook.name,
            config.server.listen,
            hook.path,
            hook.repositories.join(", ")
        );
    }
    for repository in &config.repositories {
        let pulled = repository.pull.map(|every| format!(", pulled every {}", format_duration(every)));
        let _ = writeln!(
            text,
            "\nrepository {}: from {}{}",
            repository.name,
            address_without_user_info(&repository.clone_url),
            pulled.unwrap_or_default()
        );
        for recipe in config.recipes.iter().filter(|recipe| recipe.repository == repository.name) {
            let _ = writeln!(text, "  recipe {}", recipe.name);
            let trigger = &recipe.trigger;
            let (kind, patterns) = match &trigger.refs {
                Refs::Branches(patterns) => ("branch", patterns),
                Refs::Tags(patterns) => ("tag", patterns),
            };
            let _ = writeln!(text, "    on pushes to a {kind} {}", patterns.join(", "));
            if !trigger.paths.is_empty() {
                let _ = writeln!(text, "    that change {}", trigger.paths.join(", "));
            }
            if matches!(trigger.refs, Refs::Tags(_)) && (!trigger.paths.is_empty() || trigger.each.is_some())
            {
                let _ = writeln!(
                    text,
                    "    compared with the newest earlier tag of these among its ancestors, or with nothing"
                );
            }
            if !trigger.senders.is_empty() {
                let _ = writeln!(text, "    by {}", trigger.senders.join(", "));
                if repository.pull.is_some() {
                    let _ = writeln!(
                        text,
                        "    warning: who pushed is not known of what is pulled: none of it trains"
                    );
                }
            }
            let runs = match &trigger.each {
                Some(each) => format!("for each changed {each}"),
                None => "once".to_owned(),
            };
            let command: Vec<_> = recipe.run.command.iter().map(quoted).collect();
            let _ = writeln!(text, "    {runs}: {} (launcher {})", command.join(" "), recipe.run.launcher);
            if let Some(gpus) = &recipe.gpus {
                let _ = writeln!(text, "    on {gpus}, to itself");
            }
            if let Some(warning) = makes_way::warning(recipe) {
                let _ = writeln!(text, "    warning: {warning}");
            }
            if let Some(warning) = shared_user::warning_of_the_servers(recipe, is_of_root(config)) {
                let _ = writeln!(text, "    warning: {warning}");
            }
            if let Some(warning) = shared_user::warning(recipe, &config.recipes) {
                let _ = writeln!(text, "    warning: {warning}");
            }
            if let (Some(file), Some(swift)) = (&recipe.run.file, &recipe.run.swift) {
                let _ = writeln!(text, "    with {file} of the commit, {}", may(swift));
            }
        }
    }
    text
}

/// Tells whether the server is root's, by its state directory where there is one.
fn is_of_root(config: &Config) -> bool {
    config.store.state_dir.metadata().map_or_else(|_| geteuid().is_root(), |metadata| metadata.uid() == 0)
}

/// What a pushed config may do.
fn may(swift: &Swift) -> String {
    let listed = |what: &str, allowed: &Allowed| {
        let patterns: Vec<_> = allowed.patterns().collect();
        if patterns.is_empty() { format!("no {what}") } else { format!("{what} {}", patterns.join(", ")) }
    };
    match swift.trust {
        Trust::Data => {
            let Permissions { hub, models, data, hub_data, revisions } = &swift.permissions;
            let mut parts = vec![listed("models", models), listed("data", data)];
            if hub_data.patterns().next().is_some() {
                parts.push(listed("data sets of a hub", hub_data));
            }
            let revisions: Vec<_> = revisions.patterns().collect();
            if !revisions.is_empty() {
                parts.push(format!("revisions {}", revisions.join(", ")));
            }
            format!("which may name {}; its hub is {}", parts.join(" and "), hub.unwrap_or_default())
        }
        Trust::Code => "which may run code".to_owned(),
    }
}

/// An argument so that it is seen where it ends.
fn quoted(argument: &Template) -> String {
    let text = argument.to_string();
    let is_plain =
        !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '"' || !is_printable(c));
    if is_plain { text } else { format!("{text:?}") }
}
