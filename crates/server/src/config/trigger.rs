//! The part of a recipe that says which pushes train.

use swifthook_core::PathFilter;

use super::model::{Refs, Trigger};
use super::reader::{Fields, Node, Wrong};

pub(super) fn trigger(fields: &Fields<'_>) -> Option<Trigger> {
    let refs = refs(fields);
    let trigger = |refs| Trigger {
        refs,
        paths: fields.get("paths").map(|node| patterns(&node)).unwrap_or_default(),
        each: fields.get("each").and_then(|node| node.read(one_glob)),
        senders: fields.get("senders").map(|node| node.read_items(login)).unwrap_or_default(),
        merge_queue: fields.or("merge_queue", false, |node| node.flag()),
    };
    // Reads the rest even where the refs are wrong, for its mistakes.
    let rest = trigger(Refs::Branches(Vec::new()));
    refs.map(|refs| Trigger { refs, ..rest })
}

fn refs(fields: &Fields<'_>) -> Option<Refs> {
    match (fields.get("branches"), fields.get("tags")) {
        (Some(branches), None) => Some(Refs::Branches(patterns(&branches))),
        (None, Some(tags)) => Some(Refs::Tags(patterns(&tags))),
        (None, None) => {
            fields.wrong(
                Wrong::new("a recipe names `branches` or `tags`: without them every push would train")
                    .instead("for example `branches = [\"main\"]`"),
            );
            None
        }
        (Some(branches), Some(tags)) => {
            patterns(&branches);
            patterns(&tags);
            tags.wrong(
                Wrong::new("a recipe names `branches` or `tags`, never both")
                    .instead("make two recipes of it"),
            );
            None
        }
    }
}

/// Patterns of which the last that matches decides.
fn patterns(node: &Node<'_>) -> Vec<String> {
    let patterns = node.read_items(glob);
    let items = node.items();
    match items.first() {
        None if node.is_list() => node.wrong(Wrong::new("an empty list, which nothing matches")),
        Some(first) if !patterns.is_empty() && patterns.iter().all(|pattern| pattern.starts_with('!')) => {
            first.wrong(
                Wrong::new("every pattern takes back (`!`), so that nothing matches")
                    .instead("begin the list with `\"**\"`"),
            );
        }
        _ => {}
    }
    patterns
}

fn glob(text: &str) -> Result<String, Wrong> {
    let plain = text.strip_prefix('!').unwrap_or(text);
    PathFilter::new([plain])?;
    if plain.starts_with('/') || plain.starts_with("refs/") {
        return Err(Wrong::new(format!("a pattern that nothing matches: `{text}`"))
            .instead("paths begin without `/`, branches and tags without `refs/heads/` or `refs/tags/`"));
    }
    Ok(text.to_owned())
}

fn one_glob(text: &str) -> Result<String, Wrong> {
    if text.starts_with('!') {
        return Err(
            Wrong::new(format!("`each` cannot take back: `{text}`")).instead("take paths back in `paths`")
        );
    }
    glob(text)
}

fn login(text: &str) -> Result<String, Wrong> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_[]".contains(&byte);
    if text.is_empty() || !text.bytes().all(is_plain) {
        return Err(
            Wrong::new(format!("not a login: `{text}`")).instead("for example `octocat` or `renovate[bot]`")
        );
    }
    Ok(text.to_owned())
}
