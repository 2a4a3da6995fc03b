use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::condition::{Condition, Truth};
use crate::fingerprint::PastFailure;
use crate::id::RepoName;
use crate::push::{Gap, Push};
use crate::time::Timestamp;

/// Decides whether a push trains: the trait to implement for rules of your own.
///
/// It is asked at intake and, where it held for want of the change set (`HoldReason::NeedsDiff`), once more when
/// the diff is known; never at claim. It must be a pure function of its arguments. Whether machines are free and
/// the hour is right is no business of a policy: that is [`Admission`](crate::Admission).
///
/// Every [`Condition`] is a policy: true launches, false skips, unknown holds for a diff.
///
/// A deleted ref never reaches a policy.
///
/// # Examples
///
/// ```
/// use swifthook_core::{Push, Reason, RefName, Timestamp, TriggerPolicy, Verdict};
///
/// struct OnMain;
///
/// impl TriggerPolicy for OnMain {
///     fn decide(&self, push: &Push, _now: Timestamp) -> Verdict {
///         match &push.ref_name {
///             RefName::Branch(name) if &**name == "main" => Verdict::launch(),
///             _ => Verdict::Skip(Reason::new("branch", "only main trains")),
///         }
///     }
/// }
/// ```
pub trait TriggerPolicy: Send + Sync {
    /// What should happen for this push.
    fn decide(&self, push: &Push, now: Timestamp) -> Verdict;
}

impl<C: Condition> TriggerPolicy for C {
    fn decide(&self, push: &Push, _now: Timestamp) -> Verdict {
        match self.holds(push) {
            Truth::True => Verdict::launch(),
            Truth::False(reason) => Verdict::Skip(reason),
            Truth::Unknown(gap) => Verdict::Hold(HoldReason::NeedsDiff(gap)),
        }
    }
}

/// What a policy says of a push.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// No training, and why.
    Skip(Reason),
    /// Training waits for an answer: a diff, an approval.
    Hold(HoldReason),
    /// Training is queued.
    Launch {
        /// The earliest start; `None` is as soon as there is room.
        not_before: Option<Timestamp>,
    },
}

impl Verdict {
    /// Launch as soon as there is room.
    #[must_use]
    pub fn launch() -> Self {
        Self::Launch { not_before: None }
    }

    /// The word for it in replies: `skip`, `hold` or `launch`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Skip(_) => "skip",
            Self::Hold(_) => "hold",
            Self::Launch { .. } => "launch",
        }
    }

    /// Why it is so; `None` for a launch.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Skip(reason) => Some(reason.clone()),
            Self::Hold(hold) => Some(hold.reason()),
            Self::Launch { .. } => None,
        }
    }
}

/// A word of a closed set for programs, and a sentence for people.
///
/// The words of swifthook itself are `branch`, `tag`, `paths`, `deleted`, `skip_marker`, `merge_queue`, `sender`,
/// `repository`, `event`, `schedule` and those of [`HoldReason`]; a policy of your own may add to them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The word, in snake case.
    pub word: Cow<'static, str>,
    /// The sentence: a lower-case fragment that names what was compared.
    pub detail: String,
}

impl Reason {
    /// A reason from its word and its sentence.
    pub fn new(word: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self { word: word.into(), detail: detail.into() }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.word, self.detail)
    }
}

/// Whose answer a held job waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HoldReason {
    /// The payload does not tell which files changed; the runner will ask git.
    NeedsDiff(Gap),
    /// A person has to approve.
    Approval,
    /// The budget is spent.
    Budget,
    /// The sender pushes faster than the recipe allows.
    Rate,
    /// The push would make this many jobs.
    TooManyJobs(usize),
    /// The push changes more files than are looked at, and these, of which there are as many, decide nothing.
    TooManyPaths(usize),
    /// The recipe is no longer in the configuration.
    RecipeGone,
    /// What would run has failed so before, each time by itself.
    KnownFailure(Vec<PastFailure>),
    /// The repository was renamed or transferred: its number is known by another name, which is the one that the
    /// configuration has.
    Renamed {
        /// As it is configured.
        from: RepoName,
        /// As it is called now.
        to: RepoName,
    },
    /// The push is older than the hook's `max_age`, or does not say how old it is.
    Stale,
}

impl HoldReason {
    /// Its word in replies and in `Job::reason`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::NeedsDiff(_) => "needs_diff",
            Self::Approval => "approval",
            Self::Budget => "budget",
            Self::Rate => "rate",
            Self::TooManyJobs(_) | Self::TooManyPaths(_) => "too_many",
            Self::RecipeGone => "recipe_gone",
            Self::KnownFailure(_) => "known_failure",
            Self::Stale => "stale",
            Self::Renamed { .. } => "renamed",
        }
    }

    /// Word and sentence.
    #[must_use]
    pub fn reason(&self) -> Reason {
        let detail = match self {
            Self::NeedsDiff(gap) => return Reason::new(self.word(), format!("{gap}; git will be asked")),
            Self::KnownFailure(failures) => return Reason::new(self.word(), PastFailure::told(failures)),
            Self::TooManyJobs(count) => {
                return Reason::new(self.word(), format!("{count} jobs at once; approving it makes them"));
            }
            Self::TooManyPaths(count) => {
                let detail = format!(
                    "more files changed than are looked at, and the {count} that were do not decide whether it trains; \
                     approving it looks at all of them, and trains where there is no `each`"
                );
                return Reason::new(self.word(), detail);
            }
            Self::Renamed { from, to } => {
                let detail = format!(
                    "`{from}` is called `{to}` now: write that for `name` and `clone_url` of its [[repository]], for \
                     `repository` of its recipes and, where it has to be, into `repositories` of the hook, and approve it"
                );
                return Reason::new(self.word(), detail);
            }
            Self::Approval => "a person has to approve it",
            Self::Budget => "the budget is spent",
            Self::Rate => "too many pushes in a short time",
            Self::RecipeGone => "the recipe is no longer in the configuration",
            Self::Stale => "the push is older than the hook's max_age, or does not say how old it is",
        };
        Reason::new(self.word(), detail)
    }
}
