//! Jobs, as a person reads them.

use std::fmt::Write;
use std::time::SystemTime;

use swifthook_core::signal_in_words;

use super::id::short;
use super::many::Order;
use super::screen::{ago, coloured, harmless, table};
use crate::api::{CheckpointView, JobView, TimelineView};

pub(super) fn list(jobs: &[JobView], next: Option<&str>, now: SystemTime) -> String {
    if jobs.is_empty() {
        return "no jobs\n".to_owned();
    }
    let row = |job: &JobView| {
        [
            short(&job.id.to_string()).to_owned(),
            job.state.clone(),
            job.recipe.to_string(),
            harmless(short_ref(&job.ref_name)),
            job.commit.chars().take(12).collect(),
            job.config.as_deref().map(harmless).unwrap_or_default(),
            ago(&job.created_at, now),
            harmless(&with_warnings(note(job), job)),
        ]
    };
    let rows: Vec<_> = jobs.iter().map(row).collect();
    let heading = ["JOB", "STATE", "RECIPE", "REF", "COMMIT", "CONFIG", "QUEUED", ""];
    let states: Vec<_> = jobs.iter().map(|job| job.state.as_str()).collect();
    let mut text = coloured(table(heading, &rows), &distinct(&states));
    if let Some(next) = next {
        let _ = writeln!(text, "…and more: `--limit N`, or `--cursor {next}`");
    }
    text
}

pub(super) fn whole(job: &JobView, timeline: &[TimelineView]) -> String {
    let mut text = format!("job {}  {}\n", job.id, job.state);
    let exit = job.exit.as_ref().map(|exit| match (exit.code, exit.signal, &exit.message) {
        (_, _, Some(message)) => message.to_string(),
        (_, Some(signal), None) => signal_in_words(signal),
        (Some(code), None, None) => format!("code {code}"),
        (None, None, None) => "unknown".to_owned(),
    });
    let why = match (job.reason.as_ref().or(job.waits_for.as_ref()), &job.detail) {
        (Some(word), Some(detail)) => Some(format!("{word}: {detail}")),
        (word, _) => word.cloned(),
    };
    let lines = [
        ("why", why),
        ("recipe", Some(job.recipe.to_string())),
        ("repository", Some(job.repository.clone())),
        ("ref", Some(job.ref_name.clone())),
        ("commit", Some(job.commit.clone())),
        ("config", job.config.as_deref().map(str::to_owned)),
        ("group", Some(job.group.to_string())),
        ("launcher", Some(job.launcher.to_string())),
        ("host", job.host.as_deref().map(str::to_owned)),
        ("attempt", Some(job.attempt.to_string())),
        ("environment", job.environment.as_deref().map(str::to_owned)),
        ("resumed from", job.resumed_from.as_ref().map(checkpoint)),
        ("checkpoint", job.checkpoint.as_ref().map(checkpoint)),
        ("gpus", (!job.gpus.is_empty()).then(|| job.gpus.join(", "))),
        ("progress", progress(job)),
        ("peak memory", job.peak_memory_gib.map(|gib| format!("{gib} GiB"))),
        ("exit", exit),
        ("not before", job.not_before.clone()),
        ("repeats", job.rerun_of.map(|id| id.to_string())),
        ("superseded by", job.superseded_by.map(|id| id.to_string())),
    ];
    let warnings = job.warnings.iter().map(|warning| ("warning", Some(warning.detail.clone())));
    for (name, value) in lines.into_iter().chain(warnings) {
        if let Some(value) = value {
            let _ = writeln!(text, "  {name:14}{}", harmless(&value));
        }
    }
    text.push('\n');
    let row = |entry: &TimelineView| {
        [
            entry.at.clone(),
            entry.what.to_string(),
            entry.state.clone(),
            harmless(&entry.who),
            entry.why.as_deref().map(harmless).unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = timeline.iter().map(row).collect();
    text + &table(["WHEN", "WHAT", "STATE", "WHO", "WHY"], &rows)
}

/// What became of a job after a command.
pub(super) fn after(order: Order<'_>, job: &JobView, differs: Option<&str>) -> String {
    let id = job.id;
    match (order.word, &*job.state) {
        ("retry", state) if order.from_start => format!("job {id} begins anew ({state})\n"),
        ("retry", _) => {
            let differs = differs.map_or(String::new(), |differs| format!("  {}\n", harmless(differs)));
            format!("job {id} trains it again (run {}, {})\n{differs}", job.run, job.state)
        }
        ("cancel", "finishing") if order.saves => format!("job {id} is to save and end\n"),
        ("cancel", "finishing") => format!("job {id} is being stopped\n"),
        ("yield", "finishing") => format!("job {id} is to save and make way\n"),
        (_, state) => format!("job {id} is {state}\n"),
    }
}

/// Says of a job that has not ended what it is warned of.
fn with_warnings(note: String, job: &JobView) -> String {
    if job.finished_at.is_some() || job.warnings.is_empty() {
        return note;
    }
    let words: Vec<_> = job.warnings.iter().map(|warning| warning.reason.as_str()).collect();
    let warned = format!("warning: {}", words.join(", "));
    if note.is_empty() { warned } else { format!("{note}; {warned}") }
}

fn note(job: &JobView) -> String {
    if let ("running" | "finishing", Some(progress)) = (&*job.state, progress(job)) {
        // A run that is told of has something wrong with it.
        return match &job.reason {
            Some(wrong) => format!("{wrong}! {progress}"),
            None => progress,
        };
    }
    match (&job.waits_for, &job.reason) {
        (Some(wait), _) if wait == "gpu" => match &job.detail {
            Some(what) => format!("waits for {what}"),
            None => "waits for GPUs".to_owned(),
        },
        (Some(wait), _) if wait == "checkpoint" => match &job.host {
            Some(host) => format!("waits for {host}, which has its checkpoint"),
            None => "waits for its checkpoint".to_owned(),
        },
        (Some(wait), _) => match (&**wait, &job.detail) {
            ("slot", _) => "waits for a free slot".to_owned(),
            ("group", _) => "waits for another job of its group".to_owned(),
            ("worker" | "labels", Some(why)) => format!("waits for a worker: {why}"),
            ("worker" | "labels", None) => "waits for a worker".to_owned(),
            (wait, _) => format!("waits for {wait}"),
        },
        (None, reason) => reason.clone().unwrap_or_default(),
    }
}

fn checkpoint(checkpoint: &CheckpointView) -> String {
    let step = checkpoint.step.map_or(String::new(), |step| format!("step {step}, "));
    format!("{step}attempt {}: {}", checkpoint.attempt, checkpoint.path)
}

fn progress(job: &JobView) -> Option<String> {
    let progress = job.progress?;
    let mut text = match (progress.step?, progress.max_steps) {
        (step, Some(most)) => format!("step {step} of {most}"),
        (step, None) => format!("step {step}"),
    };
    if let Some(loss) = progress.loss {
        let _ = write!(text, ", loss {}", number(loss));
    }
    match progress.diverged {
        _ if progress.loss_is_nan => text.push_str(", loss NaN"),
        Some(measure) => {
            let _ = write!(text, ", {measure} is no number");
        }
        None => {}
    }
    if let Some(loss) = progress.eval_loss {
        let _ = write!(text, ", eval loss {}", number(loss));
    }
    if let Some(seconds) = progress.eta_s {
        let _ = write!(text, ", {} left", time_left(seconds));
    }
    Some(text)
}

/// A number of a run's own word, which may have three hundred digits before its point.
fn number(value: f64) -> String {
    match value.abs() < 1e6 {
        true => format!("{value:.4}"),
        false => format!("{value:.4e}"),
    }
}

fn time_left(seconds: u64) -> String {
    match seconds <= LONGEST {
        true => humantime::format_duration(std::time::Duration::from_secs(seconds)).to_string(),
        false => "more than a year".to_owned(),
    }
}

const LONGEST: u64 = 365 * 86_400;

pub(super) fn short_ref(full: &str) -> &str {
    full.strip_prefix("refs/heads/").or_else(|| full.strip_prefix("refs/")).unwrap_or(full)
}

fn distinct<'a>(words: &[&'a str]) -> Vec<&'a str> {
    let mut words = words.to_vec();
    words.sort_unstable();
    words.dedup();
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_a_run_has_made_up_are_short() {
        assert_eq!([0.5, -2.0, 1e308].map(number), ["0.5000", "-2.0000", "1.0000e308"]);
        assert_eq!(time_left(90), "1m 30s");
        assert_eq!(time_left(u64::MAX), "more than a year");
    }
}
