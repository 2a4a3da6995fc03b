//! The part of a recipe that says what runs, and with what around it.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use swifthook_core::{Checkout, RunLimits, Template};
use swifthook_launch::check_host;
use swifthook_msswift::Trust;

use super::model::{Bubblewrap, Isolation, Run, Swift, Value};
use super::queueing::{check_each, choice};
use super::reader::{Fields, Node, Wrong};
use super::recipe::Known;
use super::secret::Outside;
use super::{confine, launcher, swift, units};

pub(super) fn run(fields: &Fields<'_>, known: &Known<'_>) -> Run {
    let told = what(fields).unwrap_or_else(|| {
        // What is right beside a `run` that is missing or wrong is no further mistake.
        fields.knows(&["trust", "models", "data", "hub_data", "revisions", "hub"]);
        Told::default()
    });
    let may_run_code = told.swift.as_ref().is_none_or(|swift| swift.trust == Trust::Code);
    let environment = fields.get("environment").and_then(|node| environment(&node, known, may_run_code));
    let environment = environment.unwrap_or_default();
    let isolation = fields.get("isolation").and_then(|node| isolation(&node, fields, &environment));
    Run {
        checkout: checkout(fields, told.swift.as_ref()),
        command: told.command,
        file: told.file,
        swift: told.swift,
        venv: environment.venv,
        uv: environment.uv,
        env: fields.get("env").map(|node| env(&node, known)).unwrap_or_default(),
        pass_env: fields.get("pass_env").map(|node| pass_env(&node, known)).unwrap_or_default(),
        limits: RunLimits {
            log: confine::max_log(fields),
            ..fields.get("limits").and_then(|node| confine::limits(&node)).unwrap_or_default()
        },
        isolation,
        image: environment.image,
        nodes: fields.or("nodes", NonZeroU32::MIN, |node| count(&node, "nodes", MOST_NODES)),
        nproc: nproc(fields),
        launcher: launcher(fields, known),
        timeout: fields.get("timeout").and_then(|node| node.read(units::duration)),
        grace: fields.or("grace", GRACE, |node| node.read(units::duration)),
    }
}

fn isolation(node: &Node<'_>, fields: &Fields<'_>, environment: &Environment) -> Option<Isolation> {
    let isolation = confine::isolation(node, fields.has("each"));
    if let Some(Isolation::Bubblewrap(Bubblewrap { network: false, .. })) = &isolation
        && environment.uv.is_some()
    {
        node.wrong(
            Wrong::new("without a network uv makes no environment: `network = false` holds for it too")
                .instead("`environment = { venv = \"…\" }` of this machine"),
        );
    }
    isolation
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
    if !run.has("command") {
        let wrong = Wrong::new("`run` does not say what runs");
        node.wrong(wrong.instead(
            "for example `{ swift = \"sft\", config = \"{path}\" }` (or `megatron`), or `{ command = [\"python\", \"train.py\"] }`",
        ));
        run.knows(&["swift", "megatron", "config", "args", "command"]);
        run.finish();
        return None;
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
    for key in ["models", "data", "hub_data", "revisions", "hub", "preflight"] {
        if let Some(node) = fields.get(key)
            && (!node.is_list() || !node.items().is_empty())
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

/// What Python a run has, besides that of the server's `PATH`.
#[derive(Default)]
struct Environment {
    venv: Option<PathBuf>,
    uv: Option<String>,
    image: Option<Arc<str>>,
}

fn environment(node: &Node<'_>, known: &Known<'_>, may_run_code: bool) -> Option<Environment> {
    let fields = node.fields("`environment`")?;
    let venv = fields.get("venv").and_then(|node| node.read(|text| venv(text, known)));
    let uv = fields.get("uv").and_then(|node| {
        if !may_run_code {
            node.wrong(
                Wrong::new("an environment that the repository names runs its code, which `trust = \"data\"` forbids")
                    .instead("`environment = { venv = \"…\" }` of this machine, or `trust = \"code\"`"),
            );
        }
        node.read(lock_file)
    });
    let image = fields.get("image").and_then(|node| node.read(launcher::image));
    if fields.has("venv") && fields.has("uv") {
        node.wrong(Wrong::new("`environment` has one of `venv` and `uv`"));
    }
    fields.finish();
    Some(Environment { venv, uv, image })
}

fn venv(text: &str, known: &Known<'_>) -> Result<PathBuf, Wrong> {
    let folder = known.folder.join(text);
    if folder.join("bin").is_dir() {
        return Ok(folder);
    }
    Err(Wrong::new(format!("no Python environment: there is no folder `{}`", folder.join("bin").display()))
        .instead("make it with `python -m venv`"))
}

/// The lock of a project, whose `pyproject.toml` stands beside it.
fn lock_file(text: &str) -> Result<String, Wrong> {
    let is_inside = |part: &str| !matches!(part, "" | "." | "..");
    if !text.split('/').all(is_inside)
        || text.contains('\0')
        || !(text == "uv.lock" || text.ends_with("/uv.lock"))
    {
        return Err(Wrong::new(format!("`{text}` is no lock of uv in the repository"))
            .instead("for example `uv.lock` or `training/uv.lock`, with its `pyproject.toml` beside it"));
    }
    Ok(text.to_owned())
}

/// What the working tree is to have. A recipe that is given data alone has no working tree.
fn checkout(fields: &Fields<'_>, swift: Option<&Swift>) -> Checkout {
    let (lfs, submodules) = (fields.get("lfs"), fields.get("submodules"));
    let checkout = Checkout {
        lfs: lfs.as_ref().and_then(Node::flag).unwrap_or_default(),
        submodules: submodules.as_ref().map(|node| node.read_items(check_host)).unwrap_or_default().into(),
    };
    let has_tree = swift.is_none_or(|swift| swift.trust == Trust::Code);
    let asked = [
        ("lfs", lfs.filter(|_| checkout.lfs)),
        ("submodules", submodules.filter(|_| !checkout.submodules.is_empty())),
    ];
    for (key, node) in asked.into_iter().filter(|_| !has_tree) {
        let Some(node) = node else { continue };
        node.wrong(
            Wrong::new(format!("`{key}` is for a working tree, and a run of `trust = \"data\"` has none"))
                .instead("leave it away, or write `trust = \"code\"`"),
        );
    }
    checkout
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

/// The launcher, which has to be able to do what the recipe asks for.
fn launcher(fields: &Fields<'_>, known: &Known<'_>) -> Arc<str> {
    let chosen = match fields.get("launcher") {
        Some(node) => launcher::chosen(&node, known.launchers),
        None => known.launchers.first(),
    };
    chosen
        .inspect(|chosen| launcher::check(fields, chosen))
        .map(|chosen| chosen.name.clone())
        .unwrap_or_default()
}

/// Machines or processes of one training. Each process has a GPU, of which a machine has a few.
/// How many processes train together on a machine.
pub(super) fn nproc(recipe: &Fields<'_>) -> NonZeroU32 {
    recipe.or("nproc", NonZeroU32::MIN, |node| count(&node, "nproc", MOST_PROCESSES))
}

fn count(node: &Node<'_>, key: &str, most: u32) -> Option<NonZeroU32> {
    let count: u32 = node.number()?;
    let counted = NonZeroU32::new(count).filter(|_| count <= most);
    if counted.is_none() {
        node.wrong(Wrong::new(format!("`{key}` cannot be {count}")).instead(format!("1 to {most}")));
    }
    counted
}

/// Saving a checkpoint of a large model takes about a minute.
const GRACE: Duration = Duration::from_secs(60);
const MOST_PROCESSES: u32 = 64;
const MOST_NODES: u32 = 1_024;
