//! The part of a recipe that says what runs, and with what around it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use swifthook_core::Template;

use super::model::{Run, Swift, Value};
use super::queueing::{check_each, choice};
use super::reader::{Fields, Node, Wrong};
use super::recipe::Known;
use super::secret::Outside;
use super::{sections, swift, units};

pub(super) fn run(fields: &Fields<'_>, known: &Known<'_>) -> Run {
    unsupported(fields);
    let told = what(fields).unwrap_or_default();
    Run {
        command: told.command,
        file: told.file,
        swift: told.swift,
        venv: fields.get("environment").and_then(|node| venv(&node, known)),
        env: fields.get("env").map(|node| env(&node, known)).unwrap_or_default(),
        pass_env: fields.get("pass_env").map(|node| pass_env(&node, known)).unwrap_or_default(),
        launcher: fields.or("launcher", Arc::from("local"), |node| launcher(&node, known)),
        timeout: fields.get("timeout").and_then(|node| node.read(units::duration)),
    }
}

/// What runs.
#[derive(Default)]
struct Told {
    command: Vec<Template>,
    file: Option<Template>,
    swift: Option<Swift>,
}

fn what(fields: &Fields<'_>) -> Option<Told> {
    let node = fields.need("run", "`run = { swift = \"sft\", config = \"{path}\" }`")?;
    let run = node.fields("`run`")?;
    if run.has("swift") || run.has("megatron") {
        let swift::Told { command, file, swift } = swift::swift(fields, &run)?;
        return Some(Told { command, file, swift: Some(swift) });
    }
    Some(Told { command: command(fields, &run)?, ..Told::default() })
}

fn command(fields: &Fields<'_>, run: &Fields<'_>) -> Option<Vec<Template>> {
    let trust = fields.get("trust");
    let has_each = fields.has("each");
    let command = run.need("command", "`command = [\"python\", \"train.py\"]`").map(|node| {
        let command = node.read_items(|text| {
            let item = Template::parse(text)?;
            check_each(&item, has_each)?;
            if text.contains('\0') {
                return Err(Wrong::new("an argument with a zero byte, which no system can pass on"));
            }
            Ok(item)
        });
        if node.is_list() && node.items().is_empty() {
            node.wrong(Wrong::new("an empty command").instead("for example `[\"python\", \"train.py\"]`"));
        }
        command
    });
    trusted(fields, trust.as_ref());
    for key in ["models", "data"] {
        if let Some(node) = fields.get(key)
            && !node.items().is_empty()
        {
            node.wrong(Wrong::new(format!(
                "`{key}` says what a config of ms-swift may name, and this recipe runs a command"
            )));
        }
    }
    run.finish();
    command
}

/// A command runs code of the repository, which has to be said.
fn trusted(fields: &Fields<'_>, trust: Option<&Node<'_>>) {
    let Some(node) = trust else {
        fields.wrong(
            Wrong::new(
                "`command` lets whoever may push run code here, and the recipe does not say that it may",
            )
            .instead("write `trust = \"code\"`"),
        );
        return;
    };
    node.read(|text| match text {
        "code" => Ok(()),
        "data" => Err(Wrong::new("`command` runs code of the repository, which `trust = \"data\"` forbids")
            .instead("write `trust = \"code\"`")),
        _ => Err(choice("trust", text, &["code", "data"])),
    });
}

fn venv(node: &Node<'_>, known: &Known<'_>) -> Option<PathBuf> {
    let fields = node.fields("`environment`")?;
    let venv = fields.get("venv").and_then(|node| {
        node.read(|text| {
            let folder = known.folder.join(text);
            if folder.join("bin").is_dir() {
                return Ok(folder);
            }
            Err(Wrong::new(format!(
                "no Python environment: there is no folder `{}`",
                folder.join("bin").display()
            ))
            .instead("make it with `python -m venv`"))
        })
    });
    fields.not_yet(&["image", "uv"]);
    fields.finish();
    venv
}

fn env(node: &Node<'_>, known: &Known<'_>) -> BTreeMap<String, Value> {
    let Some(fields) = node.fields("`env`") else { return BTreeMap::new() };
    let entry = |(name, at, node): (&str, usize, Node<'_>)| {
        if let Err(wrong) = variable_name(name) {
            node.wrong_at(at, wrong);
        }
        let value = node.read(|text| match Outside::parse(text, known.folder) {
            None => Ok(Value::Text(text.to_owned())),
            Some(place) if known.own_secrets.contains(&place) => Err(own_secret(&place)),
            Some(place) => place.value(known.variable).map(|_| Value::Outside(place)).map_err(Wrong::from),
        });
        value.map(|value| (name.to_owned(), value))
    };
    fields.entries().into_iter().filter_map(entry).collect()
}

fn pass_env(node: &Node<'_>, known: &Known<'_>) -> Vec<String> {
    node.read_items(|text| {
        variable_name(text)?;
        let place = Outside::Variable(text.to_owned());
        if known.own_secrets.contains(&place) {
            return Err(own_secret(&place));
        }
        if known.run_secrets.contains(text) {
            return Err(Wrong::new(format!("`{text}` holds a secret of a recipe"))
                .instead(format!("write `env = {{ {text} = \"env:{text}\" }}`, and logs will not show it")));
        }
        Ok(text.to_owned())
    })
}

fn own_secret(place: &Outside) -> Wrong {
    Wrong::new(format!("`{place}` holds a secret of this server, and no run is given it"))
}

fn variable_name(text: &str) -> Result<(), Wrong> {
    if text.is_empty() || text.contains(['=', '\0']) {
        return Err(Wrong::new(format!("not the name of a variable: `{text}`")));
    }
    if text.starts_with("SWIFTHOOK_") {
        return Err(Wrong::new(format!("`{text}`: names that begin with `SWIFTHOOK_` are ours to set")));
    }
    Ok(())
}

fn launcher(node: &Node<'_>, known: &Known<'_>) -> Option<Arc<str>> {
    let name = node.read(sections::word)?;
    if &*name != "local" && !known.launchers.contains(&name) {
        let names: Vec<_> = std::iter::once("local").chain(known.launchers.names()).collect();
        node.wrong(sections::unknown("launcher", &name, &names));
    }
    Some(name)
}

/// What is reserved; the values that say what happens anyway are accepted.
fn unsupported(fields: &Fields<'_>) {
    for key in ["nodes", "nproc"] {
        if let Some(node) = fields.get(key)
            && node.number::<u32>().is_some_and(|count| count != 1)
        {
            node.wrong(Wrong::not_yet(format!("`{key}` other than 1")));
        }
    }
    if let Some(node) = fields.get("lfs")
        && node.flag() == Some(true)
    {
        node.wrong(Wrong::not_yet("`lfs = true`"));
    }
    if let Some(node) = fields.get("submodules")
        && !node.items().is_empty()
    {
        node.wrong(Wrong::not_yet("`submodules`"));
    }
}
