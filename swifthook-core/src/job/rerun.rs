use super::{Debounce, JobSpec, Retry, Superseding};
use crate::policy::HoldReason;
use crate::recipe::Argument;
use crate::text::without_user_info;

/// A finished job's change, rendered anew by the recipe of the moment: what
/// [`JobQueue::rerun`](crate::JobQueue::rerun) makes a job of.
#[derive(Clone, Debug, PartialEq)]
pub struct Rerun {
    /// Work of the new job.
    pub spec: JobSpec,
    /// Reason for which it is held before it is queued.
    pub hold: Option<HoldReason>,
}

impl JobSpec {
    /// Parts in which it is another than `last`, in words: ``priority is `5` and was `0` ``. Empty where nothing is. Of a
    /// command the arguments are told from the first that is another to the last.
    #[must_use]
    pub fn differences(&self, last: &Self) -> Vec<String> {
        let (is, was) = unlike(&self.command, &last.command);
        let parts = [
            ("the command", is, was),
            ("the file", optional(self.file.as_deref()), optional(last.file.as_deref())),
            ("the launcher", self.launcher.to_string(), last.launcher.to_string()),
            ("the group", self.group.to_string(), last.group.to_string()),
            ("priority", self.priority.to_string(), last.priority.to_string()),
            ("labels", self.labels.join(", "), last.labels.join(", ")),
            ("superseded", superseding(self.superseded).into(), superseding(last.superseded).into()),
            ("debounce", debounce(self.debounce), debounce(last.debounce)),
            ("retry", retry(&self.retry), retry(&last.retry)),
        ];
        let others = parts.into_iter().filter(|(_, is, was)| is != was);
        others.map(|(part, is, was)| format!("{part} is {} and was {}", shown(&is), shown(&was))).collect()
    }
}

/// The arguments of two commands, without those that both begin with and end in.
fn unlike(one: &[Argument], other: &[Argument]) -> (String, String) {
    let begin = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    let (one, other) = (&one[begin..], &other[begin..]);
    let end = one.iter().rev().zip(other.iter().rev()).take_while(|(one, other)| one == other).count();
    (words(&one[..one.len() - end]), words(&other[..other.len() - end]))
}

fn words(arguments: &[Argument]) -> String {
    let quoted = arguments.iter().map(|argument| match argument.to_string() {
        text if text.is_empty() || text.contains(char::is_whitespace) => format!("{text:?}"),
        text => text,
    });
    quoted.collect::<Vec<_>>().join(" ")
}

fn shown(text: &str) -> String {
    if text.is_empty() {
        return "nothing".to_owned();
    }
    // It stands in a timeline, for everybody who may look at jobs.
    let text = without_user_info(text);
    match text.char_indices().nth(MOST_LETTERS) {
        Some((at, _)) => format!("`{}…`", &text[..at]),
        None => format!("`{text}`"),
    }
}

fn optional(text: Option<&str>) -> String {
    text.unwrap_or_default().to_owned()
}

fn superseding(superseding: Superseding) -> &'static str {
    match superseding {
        Superseding::Keep => "keep",
        Superseding::CancelQueued => "cancel-queued",
        Superseding::CancelRunning => "cancel-running",
    }
}

fn debounce(debounce: Option<Debounce>) -> String {
    let told = |Debounce { quiet, at_most }| format!("{quiet:?} of quiet, at most {at_most:?}");
    debounce.map_or(String::new(), told)
}

fn retry(Retry { attempts, backoff, exit_codes }: &Retry) -> String {
    let codes: Vec<_> = exit_codes.iter().map(ToString::to_string).collect();
    let also =
        if codes.is_empty() { String::new() } else { format!(", also after exit {}", codes.join(", ")) };
    format!("{attempts} attempts from {backoff:?} apart{also}")
}

/// Letters that are told of each part, at most.
const MOST_LETTERS: usize = 300;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::condition::branches;
    use crate::id::RepoName;
    use crate::recipe::{Recipe, Template};
    use crate::testing::push;
    use crate::time::Timestamp;

    fn spec(command: &[&str]) -> JobSpec {
        let policy = branches(["main"]).unwrap();
        let command = command.iter().map(|text| Template::parse(text).unwrap()).collect();
        let recipe =
            Recipe { command, ..Recipe::new("train", RepoName::new("acme/models").unwrap(), policy) };
        recipe.decide(&push("refs/heads/main", &[]), Timestamp(0)).jobs[0].clone()
    }

    #[test]
    fn only_what_is_another_is_told_of_a_command() {
        let last = spec(&["python", "train.py", "--lr", "1", "--out={output_dir}"]);
        assert_eq!(last.differences(&last), [""; 0]);
        for (command, told) in [
            (
                &["python", "train.py", "--lr", "2", "--out={output_dir}"][..],
                "the command is `2` and was `1`",
            ),
            (
                &["python", "fit.py", "--lr", "2", "--out={output_dir}"],
                "the command is `fit.py --lr 2` and was `train.py --lr 1`",
            ),
            (
                &["python", "train.py", "--lr", "1", "--name", "a run", "", "--out={output_dir}"],
                r#"the command is `--name "a run" ""` and was nothing"#,
            ),
            (&["python", "train.py", "--lr", "1"], "the command is nothing and was `--out={output_dir}`"),
            (
                &["python", "train.py", "--lr", "1", "--out={run_dir}"],
                "the command is `--out={run_dir}` and was `--out={output_dir}`",
            ),
        ] {
            assert_eq!(spec(command).differences(&last), [told]);
        }
    }

    #[test]
    fn each_part_that_a_job_is_made_with_is_told() {
        let last = spec(&["train"]);
        let now = JobSpec {
            file: Some("a.yaml".into()),
            launcher: "slurm".into(),
            group: "one".into(),
            priority: 5,
            labels: vec!["a100".into(), "fast".into()],
            superseded: Superseding::Keep,
            debounce: Some(Debounce { quiet: Duration::from_secs(30), at_most: Duration::from_secs(90) }),
            retry: Retry { attempts: 1, exit_codes: vec![75], ..Retry::default() },
            ..last.clone()
        };
        let told = [
            "the file is `a.yaml` and was nothing",
            "the launcher is `slurm` and was `local`",
            "the group is `one` and was `acme/models:refs/heads/main:train:`",
            "priority is `5` and was `0`",
            "labels is `a100, fast` and was nothing",
            "superseded is `keep` and was `cancel-queued`",
            "debounce is `30s of quiet, at most 90s` and was nothing",
            "retry is `1 attempts from 60s apart, also after exit 75` and was `3 attempts from 60s apart`",
        ];
        assert_eq!(now.differences(&last), told);
    }

    #[test]
    fn what_lets_somebody_in_is_not_told() {
        let now = spec(&["curl", "https://x:ghp_1@git.example/a"]);
        assert_eq!(
            now.differences(&spec(&["curl"])),
            ["the command is `https://…@git.example/a` and was nothing"]
        );
        let long = spec(&["train", &"é".repeat(400)]).differences(&spec(&["train"]));
        assert!(long[0].ends_with("é…` and was nothing"), "{long:?}");
    }
}
