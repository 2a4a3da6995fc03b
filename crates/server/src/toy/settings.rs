use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// What a run of the toy trainer is told, read from `key: value` lines: as much of YAML as it needs.
///
/// # Examples
///
/// ```
/// use swifthook::toy::Settings;
///
/// let settings: Settings = "learning_rate: 0.5  # steep\nmax_steps: 60".parse()?;
/// assert_eq!(settings.max_steps, 60);
/// # Ok::<(), swifthook::toy::InvalidSettings>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Settings {
    /// The length of a step against the gradient.
    pub learning_rate: f64,
    /// Steps in all, those before a resume included.
    pub max_steps: u64,
    /// Where data and batches come from: the same seed gives the same run.
    pub seed: u64,
    /// Examples in a step.
    pub batch_size: usize,
    /// The weight of the penalty on large weights.
    pub l2: f64,
    /// Steps between two lines of `logging.jsonl`.
    pub logging_steps: u64,
    /// Steps between two checkpoints.
    pub save_steps: u64,
    /// A pause in each step, so that people can watch.
    pub step_delay_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            learning_rate: 0.5,
            max_steps: 60,
            seed: 42,
            batch_size: 64,
            l2: 1e-4,
            logging_steps: 1,
            save_steps: 20,
            step_delay_ms: 0,
        }
    }
}

impl FromStr for Settings {
    type Err = InvalidSettings;

    fn from_str(text: &str) -> Result<Self, InvalidSettings> {
        let mut settings = Self::default();
        let mut seen = Vec::new();
        let mut mistakes = Vec::new();
        for (number, line) in (1..).zip(text.lines().map(without_comment)) {
            if matches!(line, "" | "---") {
                continue;
            }
            if let Err(mistake) = settings.read_line(line, &mut seen) {
                mistakes.push(format!("line {number}: {mistake}"));
            }
        }
        if mistakes.is_empty() { Ok(settings) } else { Err(InvalidSettings(mistakes)) }
    }
}

impl Settings {
    fn read_line<'a>(&mut self, line: &'a str, seen: &mut Vec<&'a str>) -> Result<(), String> {
        let (key, value) =
            line.split_once(':').ok_or_else(|| format!("`{line}` is not of the form `key: value`"))?;
        let (key, value) = (key.trim(), unquoted(value.trim()));
        if seen.contains(&key) {
            return Err(format!("`{key}` is there twice"));
        }
        seen.push(key);
        self.set(key, value)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "learning_rate" => self.learning_rate = number(key, value, |n| n > 0.0, "above 0")?,
            "max_steps" => self.max_steps = count(key, value, 1)?,
            "seed" => self.seed = count(key, value, 0)?,
            "batch_size" => {
                self.batch_size = usize::try_from(count(key, value, 1)?).map_err(|e| e.to_string())?;
            }
            "l2" => self.l2 = number(key, value, |n| n >= 0.0, "of 0 or more")?,
            "logging_steps" => self.logging_steps = count(key, value, 1)?,
            "save_steps" => self.save_steps = count(key, value, 1)?,
            "step_delay_ms" => self.step_delay_ms = count(key, value, 0)?,
            _ => return Err(format!("there is no key `{key}` (there are {})", KEYS.join(", "))),
        }
        Ok(())
    }
}

/// Every mistake in a configuration of the toy trainer, each with its line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct InvalidSettings(Vec<String>);

impl fmt::Display for InvalidSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

/// In YAML a `#` begins a comment at the start of a line or after white space.
fn without_comment(line: &str) -> &str {
    let comment = line
        .char_indices()
        .find(|&(at, c)| c == '#' && line[..at].chars().next_back().is_none_or(char::is_whitespace));
    comment.map_or(line, |(at, _)| &line[..at]).trim()
}

fn unquoted(value: &str) -> &str {
    ['"', '\''].iter().find_map(|&quote| value.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(value)
}

fn number(key: &str, value: &str, fits: fn(f64) -> bool, range: &str) -> Result<f64, String> {
    let read = value.parse().ok().filter(|&n: &f64| n.is_finite() && fits(n));
    read.ok_or_else(|| format!("`{key}` is `{value}`, and has to be a number {range}"))
}

fn count(key: &str, value: &str, least: u64) -> Result<u64, String> {
    let read = value.parse().ok().filter(|&n| n >= least);
    read.ok_or_else(|| format!("`{key}` is `{value}`, and has to be a whole number of {least} or more"))
}

const KEYS: [&str; 8] = [
    "learning_rate",
    "max_steps",
    "seed",
    "batch_size",
    "l2",
    "logging_steps",
    "save_steps",
    "step_delay_ms",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read_and_comments_and_quotes_are_not_in_the_way() {
        let text = "---\n# a comment\nlearning_rate: 1e-1 # another\nmax_steps: '12'\n\nseed: 7\n\
                    batch_size: 16\nl2: 0\nlogging_steps: 2\nsave_steps: 5\nstep_delay_ms: \"40\"\n";
        let expected = Settings {
            learning_rate: 0.1,
            max_steps: 12,
            seed: 7,
            batch_size: 16,
            l2: 0.0,
            logging_steps: 2,
            save_steps: 5,
            step_delay_ms: 40,
        };
        assert_eq!(text.parse(), Ok(expected));
        assert_eq!("".parse(), Ok(Settings::default()));
    }

    #[test]
    fn all_mistakes_are_told_at_once_with_their_lines() {
        let text = "learning_rte: 1\nmax_steps: many\nlearning_rate: -1\nseed 5\nseed: 1\nseed: 2\nl2: NaN";
        let error = text.parse::<Settings>().unwrap_err().to_string();
        for expected in [
            "line 1: there is no key `learning_rte` (there are learning_rate, max_steps,",
            "line 2: `max_steps` is `many`, and has to be a whole number of 1 or more",
            "line 3: `learning_rate` is `-1`, and has to be a number above 0",
            "line 4: `seed 5` is not of the form `key: value`",
            "line 6: `seed` is there twice",
            "line 7: `l2` is `NaN`",
        ] {
            assert!(error.contains(expected), "{expected}\nis not in\n{error}");
        }
        assert!(!error.contains("line 5"), "{error}");
    }
}
