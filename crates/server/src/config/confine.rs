//! `limits` and `isolation` of a recipe.

use swifthook_core::{RunLimits, Template};
use swifthook_launch::LogCap;

use super::model::Isolation;
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
    if let Some(node) = fields.get("log") {
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
    let user = fields.get("user").and_then(|node| node.read(user)).map(Isolation::User);
    let bubblewrap = fields.get("bubblewrap").and_then(|node| bubblewrap(&node));
    let prefix = fields.get("prefix").and_then(|node| prefix(&node, has_each));
    let count = ["user", "bubblewrap", "prefix"].iter().filter(|key| fields.has(key)).count();
    if count != 1 {
        node.wrong(
            Wrong::new("`isolation` has one of `user`, `bubblewrap` and `prefix`")
                .instead("for example `{ bubblewrap = true }`; a prefix may begin with `bwrap` too"),
        );
    }
    fields.finish();
    user.or(bubblewrap).or(prefix)
}

fn user(text: &str) -> Result<String, Wrong> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.is_empty() || text.starts_with('-') || !text.bytes().all(is_plain) {
        return Err(Wrong::new(format!("not the name of a user: `{text}`")));
    }
    if text == "root" || text == "0" {
        return Err(Wrong::new("a run of `root` is not isolated from anything"));
    }
    if !rustix::process::geteuid().is_root() {
        return Err(Wrong::new(format!("only a server that runs as root can start runs as `{text}`"))
            .instead("`isolation = { bubblewrap = true }` needs no root"));
    }
    Ok(text.to_owned())
}

fn bubblewrap(node: &Node<'_>) -> Option<Isolation> {
    if !node.flag()? {
        node.wrong(Wrong::new("`bubblewrap` is true or is left out"));
        return None;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|folder| folder.join("bwrap").is_file()) {
        node.wrong(
            Wrong::new("no program `bwrap` on this server's PATH")
                .instead("install the package `bubblewrap`"),
        );
    }
    Some(Isolation::Bubblewrap)
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
