//! `[[hook]]`.

use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use swifthook_core::{Dialect, Secret, SecretSet};

use super::model::{Hook, Purpose};
use super::reader::{Fields, Node, Unique, Wrong};
use super::secret::{self, Outside};
use super::{sections, units};
use crate::serve::random;

/// Where hooks look for what they refer to.
pub(super) struct Around<'k> {
    pub(super) purpose: Purpose,
    pub(super) folder: &'k Path,
    pub(super) variable: &'k dyn Fn(&str) -> Option<String>,
    /// The names of the repositories.
    pub(super) repositories: &'k Unique,
}

/// The hooks; `None` where something is wrong with one of them.
pub(super) fn hooks(tables: Vec<Fields<'_>>, around: &Around<'_>) -> Option<Vec<Hook>> {
    let mut names = Unique::new("hooks called");
    let mut paths = Unique::new("hooks with the path");
    let read: Vec<_> =
        tables.into_iter().map(|fields| hook(fields, around, &mut names, &mut paths)).collect();
    read.into_iter().collect()
}

fn hook(fields: Fields<'_>, around: &Around<'_>, names: &mut Unique, paths: &mut Unique) -> Option<Hook> {
    let name = match fields.get("name") {
        Some(node) => node.read(sections::word).inspect(|name| names.check(&node, name)),
        None => Some("github".into()),
    };
    let path = match fields.get("path") {
        Some(node) => node.read(path).inspect(|path: &String| paths.check(&node, path)),
        None => Some("/webhook".to_owned()),
    };
    let secrets = fields
        .need("secrets", "`secrets = [\"env:GITHUB_WEBHOOK_SECRET\"]`")
        .and_then(|node| secrets(&node, around));
    let repositories = repositories(&fields, around.repositories);
    let kind = fields.get("kind").and_then(|node| node.read(kind));
    let allow_from = fields.get("allow_from").map(|node| addresses(&node)).unwrap_or_default();
    let max_body =
        fields.or("max_body", DEFAULT_BODY, |node| node.read(|text| units::size(text, LARGEST_BODY)));
    let max_age = fields.or("max_age", Some(7 * DAY), |node| node.read(units::duration_or_off));
    let redelivery = fields.or("redelivery", 3 * DAY, |node| node.read(units::duration));
    fields.finish();
    let (name, path, (secrets, set)) = (name?, path?, secrets?);
    // Why there is none has been told.
    if repositories.is_empty() {
        return None;
    }
    let patterns: Vec<_> = repositories.iter().map(String::as_str).collect();
    let made = swifthook_core::Hook::new(&name, &path, set, &patterns);
    let mut hook = made.map_err(|error| fields.wrong(error.into())).ok()?;
    let from_github = allow_from.contains(&From::GitHub);
    hook.allow_from = allow_from.into_iter().filter_map(From::range).collect();
    hook.kind = kind;
    hook.max_body = max_body;
    hook.max_age = max_age;
    hook.redelivery = redelivery;
    Some(Hook { name: name.to_string(), path, secrets, repositories, from_github, hook })
}

fn kind(text: &str) -> Result<Dialect, Wrong> {
    let expected = "`kind = \"github\"`, or `kind = \"gitea\"` for Gitea and Forgejo";
    text.parse().map_err(|_| Wrong::new(format!("not a kind of hook: `{text}`")).instead(expected))
}

/// The path of a hook, and where its first secret stands.
pub(super) fn target(fields: &Fields<'_>, folder: &Path) -> Option<(String, Outside)> {
    let path = fields.get("path").map_or(Some("/webhook".to_owned()), |node| node.read(path))?;
    let secrets = fields.need("secrets", "`secrets = [\"env:GITHUB_WEBHOOK_SECRET\"]`")?;
    let items = secrets.items();
    let Some(first) = items.first() else {
        secrets
            .wrong(Wrong::new("`secrets` is empty").instead("for example `[\"env:GITHUB_WEBHOOK_SECRET\"]`"));
        return None;
    };
    Some((path, first.read(|text| secret::reference(text, folder))?))
}

/// Whose deliveries are taken.
#[derive(PartialEq)]
enum From {
    GitHub,
    Range(IpNet),
}

impl From {
    fn range(self) -> Option<IpNet> {
        match self {
            Self::GitHub => None,
            Self::Range(range) => Some(range),
        }
    }
}

/// A list, or the one word `"github"`.
fn addresses(node: &Node<'_>) -> Vec<From> {
    let one = |text: &str| match text {
        "github" => Ok(From::GitHub),
        range => units::cidr(range).map(From::Range),
    };
    if node.is_list() { node.read_items(one) } else { node.read(one).into_iter().collect() }
}

/// Without the key, all repositories of the configuration.
fn repositories(fields: &Fields<'_>, all: &Unique) -> Vec<String> {
    let Some(node) = fields.get("repositories") else {
        return all.names().into_iter().map(str::to_owned).collect();
    };
    if node.is_list() && node.items().is_empty() {
        node.wrong(Wrong::new("`repositories` is empty, so that every push would be refused"));
    }
    let patterns = node.read_items(pattern);
    for (item, pattern) in node.items().iter().zip(&patterns) {
        sections::warn_of_ending(item, pattern);
    }
    patterns
}

fn secrets(node: &Node<'_>, around: &Around<'_>) -> Option<(Vec<Outside>, SecretSet)> {
    let items = node.items();
    let one = |item: &Node<'_>| {
        let place = item.read(|text| secret::reference(text, around.folder))?;
        let value = match around.purpose {
            Purpose::Serve => {
                place.value(around.variable).map_err(|missing| item.wrong(missing.into())).ok()?
            }
            // Whoever takes no pushes need not have it: in its place stands one that nobody knows.
            Purpose::Work => random().map_err(|error| item.wrong(error.into())).ok()?,
        };
        let refused = "GitHub signs without it, and every delivery would be answered with 401";
        if let Some(wrong) =
            secret::warning(&place, &value, refused).filter(|_| around.purpose == Purpose::Serve)
        {
            item.warn(wrong);
        }
        let length = value.len();
        let Ok(secret) = Secret::new(&place.to_string(), value) else {
            item.wrong(
                Wrong::new(format!("the secret in `{place}` has {length} bytes"))
                    .instead("at least 16; `openssl rand -hex 32` makes a good one"),
            );
            return None;
        };
        Some((place, secret))
    };
    let read: Vec<_> = items.iter().map(one).collect();
    let (places, secrets): (Vec<_>, Vec<_>) =
        read.into_iter().collect::<Option<Vec<_>>>()?.into_iter().unzip();
    let set = SecretSet::new(secrets).map_err(|error| {
        node.wrong(Wrong::from(error).instead("1 to 4: the new one beside the old one while it is changed"));
    });
    Some((places, set.ok()?))
}

/// A path, without a slash at its end, which makes no difference.
fn path(text: &str) -> Result<String, Wrong> {
    let text = text.strip_suffix('/').filter(|text| !text.is_empty()).unwrap_or(text);
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
/// GitHub sends 25 MB at most. Much more than this would never fit into the budget for bytes in flight.
const LARGEST_BODY: usize = 100 << 20;
