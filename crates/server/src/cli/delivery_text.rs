//! Deliveries, as a person reads them.

use std::fmt::Write;
use std::time::SystemTime;

use swifthook_core::Stage;

use super::id::short;
use super::job_text::short_ref;
use super::screen::{ago, harmless, table};
use crate::api::{DeliveryView, LedTo, ReplayView, ReplayedJob, VerdictView};

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
            if said.duplicate { "duplicate".to_owned() } else { said.verdict.clone() },
            said.reason.clone().unwrap_or_default(),
            said.detail.as_deref().map(harmless).unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = delivery.verdicts.iter().map(row).collect();
    text.push('\n');
    text += &table(["RECIPE", "VERDICT", "REASON", "DETAIL"], &rows);
    for job in delivery.led_to.iter().flatten() {
        let _ =
            writeln!(text, "job {} ({}{})", job.id, state(job), if job.new { "" } else { ", known already" });
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
    let led_to = delivery.led_to.as_deref().unwrap_or_default();
    for said in &delivery.verdicts {
        let own: Vec<_> = led_to.iter().filter(|job| job.recipe.as_deref() == Some(&said.recipe)).collect();
        text += &sentence(said, &own);
        for job in own {
            text += &course(job);
        }
    }
    for job in led_to.iter().filter(|job| job.recipe.is_none()) {
        text += &course(job);
    }
    if !led_to.is_empty() {
        text.push('\n');
    }
    for job in led_to.iter().filter(|job| job.state.is_some()) {
        let _ = writeln!(text, "See `swifthook jobs show {}`", job.id);
    }
    text
}

/// What became of a job since.
fn course(job: &LedTo) -> String {
    let of = job.config.as_deref().map(|config| format!(" for {}", harmless(config))).unwrap_or_default();
    let is_over = matches!(job.state.as_deref(), Some("succeeded"));
    let why = match (&job.reason, &job.detail) {
        (Some(word), Some(detail)) if !is_over => format!(", because of {word}: {}", harmless(detail)),
        _ => String::new(),
    };
    let known = if job.new { "" } else { ", known before this delivery," };
    format!("  job {}{of}{known} {}{why}\n", job.id, predicate(job))
}

fn predicate(job: &LedTo) -> &'static str {
    match job.state.as_deref() {
        Some("queued") => "is queued",
        Some("held") => "waits for an answer before it trains",
        Some("running") => "runs",
        Some("finishing") => "is about to end",
        Some("succeeded") => "has succeeded",
        Some("failed") => "has failed",
        Some("cancelled") => "was cancelled",
        Some("superseded") => "was superseded",
        Some("quarantined") => "is in quarantine",
        Some(_) => "is in a state that this version does not know",
        None => "was removed for its age",
    }
}

fn state(job: &LedTo) -> &str {
    job.state.as_deref().unwrap_or("removed")
}

fn sentence(said: &VerdictView, jobs: &[&LedTo]) -> String {
    if said.duplicate {
        return format!("{} begins nothing new: its change is known\n", said.recipe);
    }
    // What a job was held for is answered once it waits no more.
    let was_held = said.verdict == "hold" && !jobs.iter().any(|job| job.state.as_deref() == Some("held"));
    if was_held && !jobs.is_empty() {
        let why = said.detail.as_deref().map(harmless).unwrap_or_default();
        let word = said.reason.as_deref().unwrap_or_default();
        return format!("{} waited for an answer first, because of {word}: {why}\n", said.recipe);
    }
    sentences(std::slice::from_ref(said))
}

/// What came of a replay.
pub(super) fn replayed(replay: &ReplayView) -> String {
    let mut text = sentences(&replay.verdicts);
    if replay.verdicts.is_empty() {
        text.push_str("No recipe looks at this repository.\n");
    }
    for job in &replay.jobs {
        let known = if job.new { "new" } else { "known already" };
        let of = job
            .config
            .as_deref()
            .map_or_else(|| job.recipe.clone(), |config| format!("{} of {config}", job.recipe));
        let _ = match job.id {
            Some(id) => writeln!(text, "job {id} ({}, {known})", job.state),
            None => writeln!(text, "a new job of {} ({})", harmless(&of), job.state),
        };
    }
    let ended = |job: &&ReplayedJob| !job.new && Stage::from_word(&job.state).is_some_and(Stage::is_final);
    if replay.jobs.iter().any(|job| ended(&job)) {
        text.push_str("What is known is not trained again; `swifthook jobs retry JOB` does that, by its recipe of the moment.\n");
    }
    if replay.dry_run {
        text.push_str("Nothing was done.\n");
    }
    text
}

pub(super) fn sentences(verdicts: &[VerdictView]) -> String {
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
        _ if said.duplicate => format!("{} duplicate", said.recipe),
        Some(word) => format!("{} {} ({word})", said.recipe, said.verdict),
        None => format!("{} {}", said.recipe, said.verdict),
    }
}
