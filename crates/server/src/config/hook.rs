//! `[[hook]]`.

use std::path::Path;
use std::time::Duration;

use super::model::{Hook, Repository};
use super::reader::{Fields, Node, Unique, Wrong};
use super::secret::{self, Outside};
use super::{sections, units};

pub(super) fn hooks(
    tables: Vec<Fields<'_>>,
    folder: &Path,
    variable: &dyn Fn(&str) -> Option<String>,
    repositories: &[Repository],
) -> Vec<Hook> {
    let mut names = Unique::new("hooks called");
    let mut paths = Unique::new("hooks with the path");
    let one = |fields| hook(fields, folder, variable, repositories, &mut names, &mut paths);
    tables.into_iter().map(one).collect()
}

fn hook(
    fields: Fields<'_>,
    folder: &Path,
    variable: &dyn Fn(&str) -> Option<String>,
    repositories: &[Repository],
    names: &mut Unique,
    paths: &mut Unique,
) -> Hook {
    let name = match fields.get("name") {
        Some(node) => node.read(sections::word).inspect(|name| names.check(&node, name)),
        None => Some("github".into()),
    };
    let path = match fields.get("path") {
        Some(node) => node.read(path).inspect(|path| paths.check(&node, path)),
        None => Some("/webhook".to_owned()),
    };
    let all = || repositories.iter().map(|repository| repository.name.to_string()).collect();
    let hook = Hook {
        name: name.as_deref().unwrap_or_default().to_owned(),
        path: path.unwrap_or_default(),
        secrets: fields
            .need("secrets", "`secrets = [\"env:GITHUB_WEBHOOK_SECRET\"]`")
            .map(|node| secrets(&node, folder, variable))
            .unwrap_or_default(),
        repositories: fields.get("repositories").map_or_else(all, |node| {
            let patterns = node.read_items(pattern);
            if patterns.is_empty() && node.items().is_empty() {
                node.wrong(Wrong::new("`repositories` is empty, so that every push would be refused"));
            }
            patterns
        }),
        allow_from: fields.get("allow_from").map(|node| node.read_items(units::cidr)).unwrap_or_default(),
        max_body: fields
            .or("max_body", DEFAULT_BODY, |node| node.read(|text| units::size(text, LARGEST_BODY))),
        max_age: fields.or("max_age", Some(7 * DAY), |node| node.read(units::duration_or_off)),
        redelivery: fields.or("redelivery", 3 * DAY, |node| node.read(units::duration)),
    };
    fields.finish();
    hook
}

fn secrets(node: &Node<'_>, folder: &Path, variable: &dyn Fn(&str) -> Option<String>) -> Vec<Outside> {
    let items = node.items();
    if items.len() > MOST_SECRETS || items.is_empty() {
        node.wrong(
            Wrong::new(format!("`secrets` has {} entries", items.len()))
                .instead("1 to 4: the new one beside the old one while it is being changed"),
        );
    }
    let one = |item: &Node<'_>| {
        let place = item.read(|text| secret::reference(text, folder))?;
        match place.value(variable) {
            Err(missing) => item.wrong(missing.into()),
            Ok(value) if value.len() < SHORTEST_SECRET => item.wrong(
                Wrong::new(format!("the secret in `{place}` has {} bytes", value.len()))
                    .instead("at least 16; `openssl rand -hex 32` makes a good one"),
            ),
            Ok(_) => {}
        }
        Some(place)
    };
    items.iter().filter_map(one).collect()
}

fn path(text: &str) -> Result<String, Wrong> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte);
    if !text.starts_with('/') || text.len() < 2 || text.contains("//") || !text.bytes().all(is_plain) {
        return Err(Wrong::new(format!("not a path for a hook: `{text}`")).instead("for example `/webhook`"));
    }
    if matches!(text, "/healthz" | "/readyz") {
        return Err(Wrong::new(format!("`{text}` is taken")).instead("for example `/webhook`"));
    }
    Ok(text.to_owned())
}

/// `owner/name`, each with `*`.
fn pattern(text: &str) -> Result<String, Wrong> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.*".contains(&byte);
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(is_plain);
    match text.split_once('/') {
        Some((owner, name)) if is_part(owner) && is_part(name) => Ok(text.to_owned()),
        _ => Err(Wrong::new(format!("not a pattern for repositories: `{text}`"))
            .instead("for example `acme/models` or `acme/*`")),
    }
}

const DAY: Duration = Duration::from_secs(24 * 3_600);
const DEFAULT_BODY: usize = 25 << 20;
/// GitHub sends 25 MB at most; whoever else sends may send more, but not so much that it fills the memory.
const LARGEST_BODY: usize = 256 << 20;
const MOST_SECRETS: usize = 4;
const SHORTEST_SECRET: usize = 16;
