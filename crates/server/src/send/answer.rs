use std::fmt::{self, Write};
use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use swifthook_core::text::printable;

/// What a server answered to a delivery.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status; GitHub shows anything but 2xx as failed.
    pub status: StatusCode,
    /// The body, as it came.
    pub body: String,
    /// From the request to the last byte of the answer.
    pub took: Duration,
}

impl Answer {
    /// The jobs of one recipe that it names, as id and stage.
    #[must_use]
    pub fn jobs(&self, recipe: &str) -> Vec<(String, String)> {
        let verdicts = self.decided().map(|decided| decided.verdicts).unwrap_or_default();
        let of_recipe = verdicts.into_iter().filter(|verdict| verdict.recipe == recipe);
        of_recipe.flat_map(|verdict| verdict.jobs).map(|job| (job.id, job.state)).collect()
    }

    /// The verdict of one recipe, with its reason.
    #[must_use]
    pub fn verdict(&self, recipe: &str) -> Option<String> {
        let verdict = self.decided()?.verdicts.into_iter().find(|verdict| verdict.recipe == recipe)?;
        Some(verdict.words())
    }

    fn decided(&self) -> Option<Decided> {
        serde_json::from_str(&self.body).ok()
    }
}

/// For people: the decision, and under it a line for each recipe.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = format!("{} in {:.1} ms", self.status.as_u16(), self.took.as_secs_f64() * 1e3);
        if let Some(decided) = self.decided() {
            return decided.write(&head, f);
        }
        match serde_json::from_str::<Problem>(&self.body) {
            Ok(Problem { title, detail: Some(detail) }) => {
                write!(f, "{}: {} ({head})", printable(&title), printable(&detail))
            }
            Ok(Problem { title, detail: None }) => write!(f, "{} ({head})", printable(&title)),
            Err(_) => write!(f, "{} ({head})", printable(&self.body)),
        }
    }
}

#[derive(Deserialize)]
struct Decided {
    delivery: Option<String>,
    decision: String,
    reason: Option<String>,
    #[serde(default)]
    verdicts: Vec<Verdict>,
}

#[derive(Deserialize)]
struct Verdict {
    recipe: String,
    verdict: String,
    reason: Option<String>,
    detail: Option<String>,
    #[serde(default)]
    jobs: Vec<Job>,
}

#[derive(Deserialize)]
struct Job {
    id: String,
    config: Option<String>,
    state: String,
    new: bool,
}

#[derive(Deserialize)]
struct Problem {
    title: String,
    detail: Option<String>,
}

impl Decided {
    fn write(&self, head: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.decision))?;
        if let Some(reason) = &self.reason {
            write!(f, ": {}", printable(reason))?;
        }
        write!(f, " ({head})")?;
        if let Some(delivery) = &self.delivery {
            write!(f, ", delivery {}", printable(delivery))?;
        }
        let width = self.verdicts.iter().map(|verdict| verdict.recipe.chars().count()).max().unwrap_or(0);
        for verdict in &self.verdicts {
            write!(f, "\n  {:width$}  {}", printable(&verdict.recipe), verdict.words())?;
            for job in &verdict.jobs {
                write!(f, "\n  {:width$}  {job}", "")?;
            }
        }
        Ok(())
    }
}

impl Verdict {
    fn words(&self) -> String {
        let mut words = printable(&self.verdict).into_owned();
        for (mark, more) in [(", ", &self.reason), (": ", &self.detail)] {
            if let Some(more) = more {
                write!(words, "{mark}{}", printable(more)).expect("writing to a string does not fail");
            }
        }
        words
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job {} {}", printable(&self.id), printable(&self.state))?;
        if let Some(config) = &self.config {
            write!(f, " for {}", printable(config))?;
        }
        if self.new { Ok(()) } else { f.write_str(", known already") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_reads_as_a_person_wants_to_read_it() {
        let decided = answer(
            202,
            r#"{"delivery":"0199","decision":"queued","reason":null,"verdicts":[
                {"recipe":"sft-qwen3","verdict":"launch","reason":null,"detail":null,"jobs":[
                    {"id":"01","config":"configs/a.yaml","state":"queued","new":true},
                    {"id":"02","config":"configs/b.yaml","state":"running","new":false}]},
                {"recipe":"dpo","verdict":"skip","reason":"branch","detail":"`main` matches none of dev","jobs":[]}]}"#,
        );
        insta::assert_snapshot!(decided, @r"
        queued (202 in 1.5 ms), delivery 0199
          sft-qwen3  launch
                     job 01 queued for configs/a.yaml
                     job 02 running for configs/b.yaml, known already
          dpo        skip, branch: `main` matches none of dev
        ");
        assert_eq!(decided.jobs("sft-qwen3").len(), 2);
        assert_eq!(decided.verdict("dpo").unwrap(), "skip, branch: `main` matches none of dev");
    }

    #[test]
    fn refusals_and_what_is_no_answer_of_ours_are_shown_without_control_codes() {
        let problem =
            answer(401, r#"{"type":"about:blank","title":"signature","status":401,"detail":"wrong"}"#);
        assert_eq!(problem.to_string(), "signature: wrong (401 in 1.5 ms)");
        assert_eq!(answer(502, "bad\u{1b}[2J\r\n").to_string(), "bad\\u{1b}[2J\\r\\n (502 in 1.5 ms)");
        let hostile = answer(403, r#"{"title":"\u202eno","detail":"\u001b[2J"}"#);
        assert_eq!(hostile.to_string(), "\\u{202e}no: \\u{1b}[2J (403 in 1.5 ms)");
        let event = answer(200, r#"{"delivery":null,"decision":"ignored","reason":"event","verdicts":[]}"#);
        assert_eq!(event.to_string(), "ignored: event (200 in 1.5 ms)");
    }

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            body: body.to_owned(),
            took: Duration::from_micros(1_500),
        }
    }
}
