//! `[[launcher]]` of kind `slurm`.

use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use swifthook_launch::SlurmOptions;

use super::reader::{Fields, Node, Wrong};
use super::units;

pub(super) fn slurm(fields: &Fields<'_>, folder: &Path) -> SlurmOptions {
    let defaults = SlurmOptions::default();
    let word = |key| fields.get(key).and_then(|node| node.read(word));
    SlurmOptions {
        partition: word("partition"),
        account: word("account"),
        qos: word("qos"),
        gres: fields.or("gres", defaults.gres, |node| node.read(gres)),
        cpus: fields.get("cpus").and_then(|node| cpus(&node)),
        time: fields.get("time").and_then(|node| node.read(units::duration)),
        lines: fields.get("lines").map(|node| node.read_items(line)).unwrap_or_default(),
        template: fields.get("template").and_then(|node| node.read(|text| template(&folder.join(text)))),
        programs: fields.get("programs").and_then(|node| node.read(|text| programs(folder.join(text)))),
        conf: fields.get("conf").and_then(|node| node.text().map(|text| folder.join(text))),
        poll: fields.or("poll", defaults.poll, |node| node.read(poll)),
    }
}

/// A name, or several with commas, as Slurm takes them.
fn word(text: &str) -> Result<String, Wrong> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.,".contains(&byte);
    if text.is_empty() || !text.bytes().all(is_plain) {
        return Err(Wrong::new(format!("not a name that Slurm has: `{text}`")).instead("for example `gpu`"));
    }
    Ok(text.to_owned())
}

fn gres(text: &str) -> Result<String, Wrong> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    let parts: Vec<_> = text.split(':').collect();
    let has_count = parts.last().is_some_and(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    if !text.bytes().all(is_plain) || parts.contains(&"") || parts.len() > 2 || has_count {
        return Err(Wrong::new(format!("not a generic resource without its count: `{text}`"))
            .instead("for example `gpu` or `gpu:a100`; how many a run has is `gpus` of its recipe"));
    }
    Ok(text.to_owned())
}

fn cpus(node: &Node<'_>) -> Option<NonZeroU32> {
    let cpus = NonZeroU32::new(node.number()?);
    if cpus.is_none() {
        node.wrong(Wrong::new("`cpus` is 0, with which nothing runs"));
    }
    cpus
}

fn line(text: &str) -> Result<String, Wrong> {
    if !SlurmOptions::is_line(text) {
        return Err(Wrong::new(format!("not an option of sbatch: `{text}`"))
            .instead("what follows `#SBATCH` on its line, for example `--constraint=a100`"));
    }
    Ok(text.to_owned())
}

fn template(file: &Path) -> Result<String, Wrong> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Wrong::new(format!("`{}` cannot be read: {error}", file.display())))?;
    if !SlurmOptions::is_template(&text) {
        return Err(Wrong::new(format!("`{}` is no script with a place for a run", file.display()))
            .instead(format!("a first line like `#!/bin/sh`, and one line `{}`", SlurmOptions::HERE)));
    }
    Ok(text)
}

fn programs(folder: std::path::PathBuf) -> Result<std::path::PathBuf, Wrong> {
    if folder.join("sbatch").is_file() {
        return Ok(folder);
    }
    Err(Wrong::new(format!("there is no `sbatch` in `{}`", folder.display())))
}

fn poll(text: &str) -> Result<Duration, Wrong> {
    let poll = units::duration(text)?;
    if poll > LONGEST_POLL {
        return Err(Wrong::new(format!("too long: `{text}`")).instead("at most `10m`"));
    }
    Ok(poll)
}

const LONGEST_POLL: Duration = Duration::from_secs(600);
