//! The part of a recipe that says which pushes train.

use std::borrow::Cow;

use swifthook_core::PathFilter;

use super::model::{Refs, Trigger};
use super::reader::{Fields, Node, Wrong};

pub(super) fn trigger(fields: &Fields<'_>) -> Option<Trigger> {
    let refs = refs(fields);
    let trigger = |refs| Trigger {
        refs,
        paths: fields.get("paths").map(|node| patterns(&node, Of::Paths)).unwrap_or_default(),
        each: fields.get("each").and_then(|node| {
            node.read(one_glob).inspect(|text: &String| warn_in_vain(&node, text, Of::Paths))
        }),
        senders: fields.get("senders").map(|node| node.read_items(login)).unwrap_or_default(),
        merge_queue: fields.or("merge_queue", false, |node| node.flag()),
    };
    // Reads the rest even where the refs are wrong, for its mistakes.
    let rest = trigger(Refs::Branches(Vec::new()));
    refs.map(|refs| Trigger { refs, ..rest })
}

fn refs(fields: &Fields<'_>) -> Option<Refs> {
    match (fields.get("branches"), fields.get("tags")) {
        (Some(branches), None) => Some(Refs::Branches(patterns(&branches, Of::Refs))),
        (None, Some(tags)) => Some(Refs::Tags(patterns(&tags, Of::Refs))),
        (None, None) => {
            fields.wrong(
                Wrong::new("a recipe names `branches` or `tags`: without them every push would train")
                    .instead("for example `branches = [\"main\"]`"),
            );
            None
        }
        (Some(branches), Some(tags)) => {
            patterns(&branches, Of::Refs);
            patterns(&tags, Of::Refs);
            tags.wrong(
                Wrong::new("a recipe names `branches` or `tags`, never both")
                    .instead("make two recipes of it"),
            );
            None
        }
    }
}

/// Patterns of which the last that matches decides.
fn patterns(node: &Node<'_>, of: Of) -> Vec<String> {
    let items = node.items();
    let read = |item: &Node<'_>| item.read(glob).inspect(|text: &String| warn_in_vain(item, text, of));
    let patterns: Vec<_> = items.iter().filter_map(read).collect();
    match items.first() {
        None if node.is_list() => node.wrong(Wrong::new("an empty list, which nothing matches")),
        Some(first) if !patterns.is_empty() && patterns.iter().all(|pattern| pattern.starts_with('!')) => {
            first.wrong(
                Wrong::new("every pattern takes back (`!`), so that nothing matches")
                    .instead("begin the list with `\"**\"`"),
            );
        }
        Some(first) if patterns.len() == items.len() && patterns[0].starts_with('!') => {
            first.warn(
                Wrong::new(format!("`{}` takes back what no pattern before it took", patterns[0])).instead(
                    "the last pattern that matches decides: put it behind those that it is to take from",
                ),
            );
        }
        _ => {}
    }
    patterns
}

/// What patterns are compared with.
#[derive(Clone, Copy, PartialEq)]
enum Of {
    Paths,
    Refs,
}

/// Warns of a pattern that nothing ever matches.
fn warn_in_vain(node: &Node<'_>, text: &str, of: Of) {
    let (back, plain) = text.strip_prefix('!').map_or(("", text), |plain| ("!", plain));
    let in_vain = match of {
        Of::Paths => no_path(plain),
        Of::Refs => no_ref(plain),
    };
    let Some((why, instead)) = in_vain else { return };
    let wrong = Wrong::new(format!("a pattern that nothing matches: `{text}`: {why}"));
    node.warn(match instead {
        Some(instead) => wrong.instead(format!("for example `{back}{instead}`")),
        None => wrong,
    });
}

/// Why no path of a commit is like this, and what may be meant.
fn no_path(text: &str) -> Option<(&'static str, Option<String>)> {
    let bare = without_classes(text);
    let is_meta = |letter: char| r"*?[]{}!\-".contains(letter);
    let escapes_nothing =
        text.match_indices('\\').any(|(at, _)| !text[at + 1..].chars().next().is_some_and(is_meta));
    if let Some(trimmed) = trimmed(text) {
        return Some(("white space at its beginning or end counts", Some(trimmed)));
    }
    if let Some(folder) = text.strip_suffix('/') {
        return Some(("paths are those of files, and end without `/`", Some(format!("{folder}/**"))));
    }
    if bare.split('/').any(|part| matches!(part, "." | ".." | "")) {
        let parts = text.split('/').filter(|part| !matches!(*part, "." | ""));
        let meant = (!bare.split('/').any(|part| part == "..")).then(|| parts.collect::<Vec<_>>().join("/"));
        return Some(("paths begin at the root of the repository, without `./`, `../` and `//`", meant));
    }
    escapes_nothing.then(|| {
        (
            "`\\` takes its meaning from what follows, and folders are parted by `/`",
            Some(text.replace('\\', "/")),
        )
    })
}

/// Why no branch or tag is called like this, by the rules of `git check-ref-format`, and what may be meant.
fn no_ref(text: &str) -> Option<(&'static str, Option<String>)> {
    let bare = without_classes(text);
    if let Some(trimmed) = trimmed(text) {
        return Some(("white space at its beginning or end counts", Some(trimmed)));
    }
    if let Some(folder) = text.strip_suffix('/') {
        return Some(("no name of a branch or tag ends with `/`", Some(format!("{folder}/**"))));
    }
    if bare.contains(char::is_whitespace) {
        return Some(("no name of a branch or tag has white space in it", None));
    }
    if bare.contains(['~', '^', ':', '\\']) || bare.contains("..") || bare.contains("@{") {
        return Some((
            "no name of a branch or tag has `~`, `^`, `:`, `\\`, `..` or `@{` in it; patterns are globs",
            None,
        ));
    }
    let is_odd = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    (bare.split('/').any(is_odd) || bare.ends_with('.')).then_some((
        "no part of the name of a branch or tag is empty, begins with `.`, or ends with `.lock`; patterns are globs",
        None,
    ))
}

fn trimmed(text: &str) -> Option<String> {
    (text.trim() != text).then(|| text.trim().to_owned())
}

/// The pattern with a letter in place of each class, in which signs mean something else.
fn without_classes(pattern: &str) -> Cow<'_, str> {
    let Some((before, rest)) = pattern.split_once('[') else { return pattern.into() };
    // A `]` that comes first is one of the class.
    let Some(end) = rest.char_indices().skip(1).find(|(_, letter)| *letter == ']') else {
        return pattern.into();
    };
    format!("{before}x{}", without_classes(&rest[end.0 + 1..])).into()
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
