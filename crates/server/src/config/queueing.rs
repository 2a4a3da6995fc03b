//! The part of a recipe that says when, in which order and how often its jobs run.

use std::sync::Arc;
use std::time::Duration;

use swifthook_core::schedule::{Outside, Schedule, Window};
use swifthook_core::{Debounce, Retry, Superseding, Template};

use super::model::Queueing;
use super::reader::{Fields, Node, Wrong};
use super::recipe::Known;
use super::{sections, units};

pub(super) fn queueing(fields: &Fields<'_>, known: &Known<'_>) -> Queueing {
    let has_each = fields.has("each");
    approval(fields);
    Queueing {
        labels: fields.get("labels").map(|node| labels(&node, known)).unwrap_or_default(),
        schedule: schedule(fields),
        priority: fields.or("priority", 0, |node| node.number()),
        group: fields.get("group").and_then(|node| node.read(|text| group(text, has_each))),
        superseded: fields.or("superseded", Superseding::default(), |node| node.read(superseding)),
        debounce: fields.get("debounce").and_then(|node| debounce(&node)),
        retry: fields.get("retry").and_then(|node| retry(&node)).unwrap_or_default(),
    }
}

fn labels(node: &Node<'_>, known: &Known<'_>) -> Vec<Arc<str>> {
    node.read_items(|text| {
        let label = sections::word(text)?;
        if known.has_other_workers || known.worker.labels.contains(&label) {
            return Ok(label);
        }
        Err(Wrong::new(format!("the worker has no label `{label}`, so that this would never run"))
            .instead("add it to `[worker] labels`".to_string()))
    })
}

fn schedule(fields: &Fields<'_>) -> Option<Schedule> {
    let windows: Option<Vec<_>> = fields.get("schedule").map(|node| {
        if node.is_list() && node.items().is_empty() {
            node.wrong(Wrong::new("an empty schedule, so that nothing would ever start"));
        }
        node.items().iter().filter_map(window).collect()
    });
    let zone = fields
        .get("timezone")
        .and_then(|node| node.read(|zone| Schedule::new(zone, [], Outside::Hold).map(|_| zone.to_owned())));
    let outside = fields.or("outside", Outside::Hold, |node| {
        node.read(|text| match text {
            "hold" => Ok(Outside::Hold),
            "skip" => Ok(Outside::Skip),
            "pause" => Ok(Outside::Pause),
            _ => Err(choice("outside", text, &["hold", "skip", "pause"])),
        })
    });
    Schedule::new(zone.as_deref().unwrap_or("UTC"), windows?, outside).ok()
}

fn window(node: &Node<'_>) -> Option<Window> {
    let fields = node.fields("`schedule`")?;
    let days = fields.get("days").map_or(Some("mon-sun"), |node| node.text());
    let hours = fields.need("hours", "`hours = \"08:00-20:00\"`").and_then(|node| node.text());
    fields.finish();
    Window::parse(days?, hours?).map_err(|error| node.wrong(error.into())).ok()
}

fn group(text: &str, has_each: bool) -> Result<Template, Wrong> {
    let group = Template::parse(text)?;
    if let Some(late) = group.fields().find(|field| field.is_late()) {
        return Err(Wrong::new(format!("`{{{}}}` is known only when a job runs", late.name())));
    }
    check_each(&group, has_each)?;
    Ok(group)
}

/// Refuses fields of a changed file in a recipe that has no such file.
pub(super) fn check_each(template: &Template, has_each: bool) -> Result<(), Wrong> {
    match template.fields().find(|field| field.needs_each()) {
        Some(field) if !has_each => Err(Wrong::new(format!(
            "`{{{}}}` in a recipe without `each`: it has one job per push, and no file",
            field.name()
        ))
        .instead("add for example `each = \"configs/*.yaml\"`")),
        _ => Ok(()),
    }
}

fn superseding(text: &str) -> Result<Superseding, Wrong> {
    match text {
        "keep" => Ok(Superseding::Keep),
        "cancel-queued" => Ok(Superseding::CancelQueued),
        "cancel-running" => Ok(Superseding::CancelRunning),
        _ => Err(choice("superseded", text, &["keep", "cancel-queued", "cancel-running"])),
    }
}

fn debounce(node: &Node<'_>) -> Option<Debounce> {
    let fields = node.fields("`debounce`")?;
    let quiet = fields.need("quiet", "`quiet = \"30s\"`").and_then(|node| node.read(units::duration));
    let at_most = fields.need("at_most", "`at_most = \"5m\"`").and_then(|node| node.read(units::duration));
    fields.finish();
    let debounce = Debounce { quiet: quiet?, at_most: at_most? };
    if debounce.at_most < debounce.quiet {
        node.wrong(Wrong::new("`at_most` is shorter than `quiet`"));
    }
    Some(debounce)
}

fn retry(node: &Node<'_>) -> Option<Retry> {
    let fields = node.fields("`retry`")?;
    let default = Retry::default();
    let retry = Retry {
        attempts: fields.or("attempts", default.attempts, |node| {
            let attempts = node.number()?;
            if attempts == 0 {
                node.wrong(Wrong::new("`attempts` counts the first run too").instead("at least 1"));
            }
            Some(attempts)
        }),
        backoff: fields.or("backoff", default.backoff, |node| node.read(longest_backoff)),
        exit_codes: fields.get("exit_codes").map(|node| exit_codes(&node)).unwrap_or_default(),
    };
    fields.finish();
    Some(retry)
}

fn longest_backoff(text: &str) -> Result<Duration, Wrong> {
    let backoff = units::duration(text)?;
    if backoff > Duration::from_secs(24 * 3_600) {
        return Err(Wrong::new(format!("too long a pause: `{text}`")).instead("at most a day"));
    }
    Ok(backoff)
}

fn exit_codes(node: &Node<'_>) -> Vec<i32> {
    let code = |item: &Node<'_>| {
        let code: i32 = item.number()?;
        if !(1..=255).contains(&code) {
            item.wrong(Wrong::new(format!("not the exit code of a failure: {code}")).instead("1 to 255"));
        }
        Some(code)
    };
    node.items().iter().filter_map(code).collect()
}

fn approval(fields: &Fields<'_>) {
    let Some(node) = fields.get("approval") else { return };
    let Some(approval) = node.fields("`approval`") else { return };
    let when = approval.need("when", "`when = \"never\"`");
    when.and_then(|node| {
        node.read(|text| match text {
            "never" => Ok(()),
            "always" | "over" => Err(Wrong::not_yet(format!("`when = \"{text}\"`"))),
            _ => Err(choice("when", text, &["never"])),
        })
    });
    approval.not_yet(&["gpus"]);
    approval.finish();
}

/// A word that is none of those that there are.
pub(super) fn choice(key: &str, text: &str, words: &[&str]) -> Wrong {
    let wrong = Wrong::new(format!("`{key}` cannot be `{text}`"));
    wrong.instead(match super::reader::closest(text, words) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there is {}", super::reader::listed(words)),
    })
}
