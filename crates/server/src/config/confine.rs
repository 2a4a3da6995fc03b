//! `limits` and `isolation` of a recipe.

use std::path::{Path, PathBuf};

use swifthook_core::{RunLimits, Template};
use swifthook_launch::{LogCap, can_sandbox};

use super::model::{Bubblewrap, Isolation, Recipe};
use super::queueing::check_each;
use super::reader::{Fields, Node, Wrong};
use super::units;

pub(super) fn limits(node: &Node<'_>) -> Option<RunLimits> {
    let fields = node.fields("`limits`")?;
    let limits = RunLimits {
        memory: fields.get("memory").and_then(|node| node.read(units::bytes)),
        cpu_time: fields.get("cpu_time").and_then(|node| node.read(units::duration)),
        files: fields.get("files").and_then(|node| files(&node)),
        disk: fields.get("disk").and_then(|node| node.read(units::bytes)),
        processes: fields.get("processes").and_then(|node| processes(&node)),
        log: None,
    };
    if let Some(node) = fields.misplaced("log") {
        node.wrong(
            Wrong::new("the size of a log is no limit that ends a run, but where its middle is cut out")
                .instead("`max_log = \"256 MiB\"` in the recipe, beside `limits`"),
        );
    }
    fields.finish();
    Some(limits)
}

fn files(node: &Node<'_>) -> Option<u64> {
    let files: u64 = node.number::<i64>()?.try_into().unwrap_or(0);
    if files < FEWEST_FILES {
        node.wrong(
            Wrong::new(format!("`files` is {files}, with which no Python starts"))
                .instead(format!("at least {FEWEST_FILES}, for example 65536")),
        );
    }
    Some(files)
}

fn processes(node: &Node<'_>) -> Option<u64> {
    let processes: u64 = node.number::<i64>()?.try_into().unwrap_or(0);
    if processes < FEWEST_PROCESSES {
        node.wrong(
            Wrong::new(format!(
                "`processes` is {processes}, and threads count too: no training starts with so few"
            ))
            .instead(format!("at least {FEWEST_PROCESSES}, for example 4096")),
        );
    }
    Some(processes)
}

/// Reads the size of the log of a run; `None` for as large as it gets.
pub(super) fn max_log(fields: &Fields<'_>) -> Option<u64> {
    fields.or("max_log", Some(MAX_LOG), |node| node.read(log_size))
}

fn log_size(text: &str) -> Result<Option<u64>, Wrong> {
    if matches!(text, "off" | "none") {
        return Ok(None);
    }
    let least = LogCap::LEAST >> 20;
    match units::bytes(text) {
        Ok(bytes) if bytes >= LogCap::LEAST => Ok(Some(bytes)),
        Ok(_) => Err(Wrong::new(format!("too small for a log: `{text}`"))
            .instead(format!("at least `{least} MiB`, or `off`"))),
        Err(_) => Err(Wrong::new(format!("not a size: `{text}`")).instead("for example `256 MiB`, or `off`")),
    }
}

pub(super) fn isolation(node: &Node<'_>, has_each: bool) -> Option<Isolation> {
    let fields = node.fields("`isolation`")?;
    let user = fields.get("user").and_then(|node| node.read(user));
    let program = fields.get("bubblewrap").and_then(|node| bubblewrap(&node));
    let prefix = fields.get("prefix").and_then(|node| prefix(&node, has_each));
    let is_sandbox = fields.has("bubblewrap");
    let sandbox = sandbox(&fields, is_sandbox);
    let is_either =
        if is_sandbox { !fields.has("prefix") } else { fields.has("prefix") != fields.has("user") };
    if !is_either {
        node.wrong(
            Wrong::new("`isolation` has one of `user`, `bubblewrap` and `prefix`, or the first two")
                .instead("for example `{ bubblewrap = true }`"),
        );
    }
    fields.finish();
    match program {
        Some(program) if is_either => {
            cannot(&program, sandbox.network).into_iter().for_each(|wrong| node.wrong(wrong));
            Some(Isolation::Bubblewrap(Bubblewrap { program, user, ..sandbox }))
        }
        _ => user.map(Isolation::User).or(prefix),
    }
}

/// The keys that a sandbox alone has.
fn sandbox(fields: &Fields<'_>, is_sandbox: bool) -> Bubblewrap {
    for key in ["network", "caches", "home"] {
        if let Some(node) = fields.get(key).filter(|_| !is_sandbox) {
            node.wrong(
                Wrong::new(format!("only a sandbox has `{key}`")).instead("`bubblewrap = true` beside it"),
            );
        }
    }
    Bubblewrap {
        program: PathBuf::new(),
        user: None,
        network: fields.or("network", true, |node| node.flag()),
        caches: fields.get("caches").map(|node| node.read_items(cache)).unwrap_or_default(),
        home: fields.get("home").map(|node| node.read_items(of_home)),
    }
}

/// The reason for which this machine cannot give the sandbox: a weaker one is none.
fn cannot(program: &Path, network: bool) -> Option<Wrong> {
    let is_root = rustix::process::geteuid().is_root();
    let why = can_sandbox(program, is_root.then_some((NOBODY_ELSE, NOBODY_ELSE)), network).err()?;
    Some(Wrong::new(format!("this machine gives no sandbox: {why}")).instead(
        "user namespaces have to be allowed (`user.max_user_namespaces`, `kernel.apparmor_restrict_unprivileged_userns`), \
         and nothing may cover a part of `/proc`, as containers do, and units of systemd with `ProtectKernelTunables`, \
         `ProtectKernelLogs` or `ProtectHostname`",
    ))
}

fn cache(text: &str) -> Result<PathBuf, Wrong> {
    let is_deep = text.trim_matches('/').contains('/');
    if !text.starts_with('/') || !is_deep || !is_plain(text) {
        return Err(Wrong::new(format!("no folder for a cache: `{text}`"))
            .instead("an absolute path with two parts or more and without `..`, as `/data/hf-cache`"));
    }
    Ok(text.into())
}

/// A cache in the cache of the same recipe or of another: whoever writes to the outer one may put a link in the place of the
/// inner one, and so chooses what is shown.
pub(super) fn nested(recipes: &[Recipe]) -> Option<Wrong> {
    let caches = recipes.iter().flat_map(|recipe| match &recipe.run.isolation {
        Some(Isolation::Bubblewrap(of)) => of.caches.as_slice(),
        _ => &[],
    });
    let mut caches: Vec<&PathBuf> = caches.collect();
    caches.sort();
    let mut pairs = caches.iter().flat_map(|outer| caches.iter().map(move |inner| (outer, inner)));
    let (outer, inner) = pairs.find(|(outer, inner)| inner.starts_with(outer) && inner != outer)?;
    let (outer, inner) = (outer.display(), inner.display());
    Some(
        Wrong::new(format!("the cache `{inner}` is within the cache `{outer}`, to which runs write"))
            .instead(format!(
                "`caches = [\"{outer}\"]` alone, which has it too, or a folder beside `{outer}`"
            )),
    )
}

fn of_home(text: &str) -> Result<PathBuf, Wrong> {
    if text.starts_with('/') || text.starts_with('~') || !is_plain(text) || matches!(text, "" | ".") {
        return Err(Wrong::new(format!("not a part of a home directory: `{text}`"))
            .instead("a path that is relative to it and without `..`, as `miniconda3` or `data/sft`"));
    }
    Ok(text.into())
}

fn is_plain(path: &str) -> bool {
    !path.contains('\0') && !path.split('/').any(|part| part == "..")
}

fn user(text: &str) -> Result<String, Wrong> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.is_empty() || text.starts_with('-') || !text.bytes().all(is_plain) {
        return Err(Wrong::new(format!("not the name of a user: `{text}`")));
    }
    if text == "root" || text.bytes().all(|byte| byte == b'0') {
        return Err(Wrong::new("a run of `root` is not isolated from anything"));
    }
    if !rustix::process::geteuid().is_root() {
        return Err(Wrong::new(format!("only a server that runs as root can start runs as `{text}`"))
            .instead("`isolation = { bubblewrap = true }` needs no root"));
    }
    Ok(text.to_owned())
}

fn bubblewrap(node: &Node<'_>) -> Option<PathBuf> {
    if !node.flag()? {
        node.wrong(Wrong::new("`bubblewrap` is true or is left out"));
        return None;
    }
    let program = program("bwrap");
    if program.is_none() {
        node.wrong(
            Wrong::new("no program `bwrap` on this server's PATH")
                .instead("install the package `bubblewrap`"),
        );
    }
    program
}

/// A program on the server's own `PATH`, by its absolute path: that of a run may lead into what a repository has chosen.
#[must_use]
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut files = std::env::split_paths(&path).map(|folder| folder.join(name));
    files.find(|file| file.is_absolute() && file.is_file())
}

fn prefix(node: &Node<'_>, has_each: bool) -> Option<Isolation> {
    let items = node.read_items(|text| {
        let item = Template::parse(text)?;
        check_each(&item, has_each)?;
        if text.contains('\0') {
            return Err(Wrong::new("an argument with a zero byte, which no system can pass on"));
        }
        Ok(item)
    });
    if node.is_list() && node.items().is_empty() {
        node.wrong(Wrong::new("an empty prefix").instead("for example `[\"nice\", \"-n\", \"10\"]`"));
    }
    Some(Isolation::Prefix(items))
}

const FEWEST_FILES: u64 = 64;
const FEWEST_PROCESSES: u64 = 64;
/// Logs of trainings have some megabytes.
const MAX_LOG: u64 = 256 << 20;
/// The first of the users that nobody gives away: <https://systemd.io/UIDS-GIDS/>.
pub const NOBODY_ELSE: u32 = 0x7000_0000;
