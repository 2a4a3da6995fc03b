//! Deliveries, as a person reads them.

use std::fmt::Write;
use std::time::SystemTime;

use super::id::short;
use super::job_text::short_ref;
use super::screen::{ago, harmless, table};
use crate::api::{DeliveryView, ReplayView, VerdictView};

pub(super) fn list(deliveries: &[DeliveryView], is_more: bool, now: SystemTime) -> String {
    if deliveries.is_empty() {
        return "no deliveries\n".to_owned();
    }
    let row = |delivery: &DeliveryView| {
        [
            short(&delivery.id.to_string()).to_owned(),
            ago(&delivery.received_at, now),
            delivery.repository.clone(),
            harmless(short_ref(&delivery.ref_name)),
            delivery
                .commit
                .as_ref()
                .map_or_else(|| "deleted".to_owned(), |sha| sha.chars().take(12).collect()),
            delivery.sender.as_deref().map(harmless).unwrap_or_default(),
            match &delivery.verdicts[..] {
                [] => "not configured".to_owned(),
                verdicts => verdicts.iter().map(in_short).collect::<Vec<_>>().join(", "),
            },
        ]
    };
    let rows: Vec<_> = deliveries.iter().map(row).collect();
    let heading = ["DELIVERY", "RECEIVED", "REPOSITORY", "REF", "COMMIT", "SENDER", "VERDICTS"];
    table(heading, &rows) + if is_more { "…and more: `--limit N`\n" } else { "" }
}

pub(super) fn whole(delivery: &DeliveryView) -> String {
    let mut text = format!("delivery {}\n", delivery.id);
    let lines = [
        ("received", Some(delivery.received_at.clone())),
        ("source", Some(delivery.source.clone())),
        ("hook", delivery.hook.as_deref().map(str::to_owned)),
        ("guid", delivery.guid.as_deref().map(str::to_owned)),
        ("repository", Some(delivery.repository.clone())),
        ("ref", Some(delivery.ref_name.clone())),
        ("before", delivery.before.clone()),
        ("commit", delivery.commit.clone()),
        ("sender", delivery.sender.as_deref().map(str::to_owned)),
        ("config", Some(delivery.config.chars().take(12).collect())),
    ];
    for (name, value) in lines {
        if let Some(value) = value {
            let _ = writeln!(text, "  {name:12}{}", harmless(&value));
        }
    }
    let row = |said: &VerdictView| {
        [
            said.recipe.to_string(),
            said.verdict.clone(),
            said.reason.clone().unwrap_or_default(),
            said.detail.as_deref().map(harmless).unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = delivery.verdicts.iter().map(row).collect();
    text.push('\n');
    text += &table(["RECIPE", "VERDICT", "REASON", "DETAIL"], &rows);
    for job in &delivery.jobs {
        let _ = writeln!(text, "job {job}");
    }
    let _ = writeln!(text, "\n{} changed paths listed", delivery.path_count);
    for path in delivery.paths.iter().flatten() {
        let mark = if path.exists { ' ' } else { '-' };
        let _ = writeln!(text, "  {mark} {}", harmless(&path.path));
    }
    text
}

/// The same in sentences: why it trained, or did not.
pub(super) fn explained(delivery: &DeliveryView) -> String {
    let who =
        delivery.sender.as_deref().map(|sender| format!(" by {}", harmless(sender))).unwrap_or_default();
    let what = match &delivery.commit {
        Some(commit) => format!("moved {} to {commit}", harmless(&delivery.ref_name)),
        None => format!("deleted {}", harmless(&delivery.ref_name)),
    };
    let mut text =
        format!("A push{who} of {} {what}.\nReceived {}.\n\n", delivery.repository, delivery.received_at);
    if delivery.verdicts.is_empty() {
        text.push_str("No recipe looks at this repository.\n");
    }
    text += &sentences(&delivery.verdicts);
    if !delivery.jobs.is_empty() {
        text.push('\n');
    }
    for job in &delivery.jobs {
        let _ = writeln!(text, "See `swifthook jobs show {job}`");
    }
    text
}

/// What came of a replay.
pub(super) fn replayed(replay: &ReplayView) -> String {
    let mut text = sentences(&replay.verdicts);
    if replay.verdicts.is_empty() {
        text.push_str("No recipe looks at this repository.\n");
    }
    for job in &replay.jobs {
        let known = if job.new { "new" } else { "known already" };
        let _ = writeln!(text, "job {} ({}, {known})", job.id, job.state);
    }
    if replay.dry_run {
        text.push_str("Nothing was done.\n");
    }
    text
}

fn sentences(verdicts: &[VerdictView]) -> String {
    let mut text = String::new();
    for said in verdicts {
        let what = match &*said.verdict {
            "launch" => "trains",
            "hold" => "waits for an answer before it trains",
            _ => "does not train",
        };
        let why = match (&said.reason, &said.detail) {
            (Some(word), Some(detail)) => format!(", because of {word}: {}", harmless(detail)),
            _ => String::new(),
        };
        let _ = writeln!(text, "{} {what}{why}", said.recipe);
    }
    text
}

fn in_short(said: &VerdictView) -> String {
    match &said.reason {
        Some(word) => format!("{} {} ({word})", said.recipe, said.verdict),
        None => format!("{} {}", said.recipe, said.verdict),
    }
}
