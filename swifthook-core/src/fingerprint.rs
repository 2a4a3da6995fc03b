use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::id::JobId;
use crate::job::{Job, Stage};
use crate::time::Timestamp;

/// What runs, as one number: two runs with the same one would do the same. So what has failed by itself before is known
/// before it fails once more.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Of everything that decides what a run does, part by part; nothing of it that differs from attempt to attempt.
    pub fn of<P: AsRef<[u8]>>(parts: impl IntoIterator<Item = P>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            let part = part.as_ref();
            // With its length, so that where a part ends makes a difference.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

/// 64 hex digits.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base16ct::lower::encode_string(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        match base16ct::lower::decode(text, &mut bytes) {
            Ok(decoded) if decoded.len() == 32 => Ok(Self(bytes)),
            _ => Err(NotAFingerprint),
        }
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Not 64 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint has 64 hex digits")]
pub struct NotAFingerprint;

/// A training that failed by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastFailure {
    /// The job.
    pub job: JobId,
    /// When it ended.
    pub at: Option<Timestamp>,
    /// How: `exit code 1`.
    pub how: String,
}

impl PastFailure {
    /// How often something has to have failed to be known for it.
    pub const ENOUGH: usize = 2;

    /// What is known of jobs with one fingerprint, the newest first: the last of them that failed by themselves since one
    /// succeeded, at most [`ENOUGH`](Self::ENOUGH).
    pub fn among<'j>(jobs: impl IntoIterator<Item = &'j Job>) -> Vec<Self> {
        let since = jobs.into_iter().take_while(|job| job.state.stage != Stage::Succeeded);
        since.filter_map(Self::of).take(Self::ENOUGH).collect()
    }

    fn of(job: &Job) -> Option<Self> {
        let reason = job.state.reason.as_ref()?;
        let is_its_own = job.state.stage == Stage::Failed && reason.word == "training";
        is_its_own.then(|| Self { job: job.id, at: job.state.finished_at, how: reason.detail.clone() })
    }

    /// All of them, in one sentence.
    pub(crate) fn told(failures: &[Self]) -> String {
        let mut text = String::from("the same has failed by itself before:");
        for (number, failure) in failures.iter().enumerate() {
            let and = if number == 0 { "" } else { " and" };
            let _ = write!(text, "{and} {failure}");
        }
        text
    }
}

/// `on 2026-11-20 (job …, exit code 1)`.
impl fmt::Display for PastFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = self.at {
            let at = at.to_string();
            write!(f, "on {} ", at.split('T').next().unwrap_or_default())?;
        }
        write!(f, "(job {}, {})", self.job, self.how)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_part_ends_makes_a_difference() {
        assert_eq!(Fingerprint::of(["a", "bc"]), Fingerprint::of(["a", "bc"]));
        assert_ne!(Fingerprint::of(["a", "bc"]), Fingerprint::of(["ab", "c"]));
        assert_ne!(Fingerprint::of(["a"]), Fingerprint::of(["a", ""]));
    }

    #[test]
    fn it_is_read_as_it_is_written() {
        let fingerprint = Fingerprint::of(["x"]);
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        assert_eq!(serde_json::to_string(&fingerprint).unwrap(), format!("\"{fingerprint}\""));
        for odd in ["", "ab", &"g".repeat(64), &"a".repeat(66), &"A".repeat(64)] {
            assert!(odd.parse::<Fingerprint>().is_err(), "{odd}");
        }
    }

    #[test]
    fn failures_are_told_with_their_day_their_job_and_their_end() {
        let failure = |at, how: &str| PastFailure { job: JobId([1; 16]), at, how: how.to_owned() };
        let failures = [failure(Some(Timestamp(0)), "exit code 1"), failure(None, "exit code 2")];
        let id = JobId([1; 16]);
        assert_eq!(
            PastFailure::told(&failures),
            format!(
                "the same has failed by itself before: on 1970-01-01 (job {id}, exit code 1) and (job {id}, exit code 2)"
            )
        );
    }
}
