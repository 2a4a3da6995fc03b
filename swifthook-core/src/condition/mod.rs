//! Conditions: statements about a push alone, in Kleene's three-valued logic.
//!
//! | condition | holds where | the word of its reason |
//! | --- | --- | --- |
//! | [`branches`] | a branch is pushed whose name matches | `branch` |
//! | [`tags`] | a tag is pushed whose name matches | `tag` |
//! | [`senders`] | one of these accounts pushed | `sender` |
//! | [`paths`] | a changed path matches | `paths` |
//! | [`skip_markers`] | the head commit does not ask to be skipped | `skip_marker` |
//! | [`merge_queue`] | the push is not a merge queue's | `merge_queue` |
//! | [`all`], [`any`], [`not`] | all of them hold, any does, it does not | that of the rule that decided |
//!
//! A condition is true, false with its reason, or unknown; unknown comes only from what the push does not tell
//! ([`Gap`]). De Morgan's laws and double negation hold for the three exactly, reasons and gaps included.
//!
//! # Examples
//!
//! ```
//! use swifthook_core::condition::{InvalidPattern, Rule, all, branches, not, paths, senders};
//!
//! fn trains() -> Result<Rule, InvalidPattern> {
//!     Ok(all([
//!         branches(["main", "release/**"])?,
//!         not(senders(["dependabot[bot]"])),
//!         paths(["configs/**", "!**/*.md"])?,
//!     ]))
//! }
//! # assert!(trains().is_ok());
//! ```
//!
//! # Patterns
//!
//! [`branches`], [`tags`] and [`paths`] take an ordered list of globs, as GitHub's filters do: the last one that
//! matches decides, a leading `!` takes back, and names are matched from their beginning (`*.py` does not match
//! `a/b.py`, and `main` not `feature/main`). `*` stops at `/`, `**` does not: `configs/**` is everything below
//! `configs`, `**/*.yaml` every such file at any depth.
//!
//! Inside a pattern the dialect is [globset](https://docs.rs/globset)'s: `{a,b}`, `[a-z]`, `[!x]`, and `?` for one
//! character, where GitHub's filters have `?` and `+` as quantifiers. `?` and `[…]` stand for a single byte, so
//! they match no character outside ASCII; `*` and `{…}` do. A name that begins with `!` is written `[!]…`, and
//! every other special character can be written with a `\` before it.

mod glob;
mod globs;
mod logic;
mod merge_queue;
mod paths;
mod refs;
mod rule;
mod senders;
mod skip_markers;

pub(crate) use glob::Glob;
pub use globs::InvalidPattern;
pub use logic::{all, any, not};
pub use merge_queue::merge_queue;
pub(crate) use merge_queue::{is_merge_queue, queued};
pub use paths::{PathFilter, paths};
pub use refs::{branches, tags};
pub use rule::Rule;
pub use senders::senders;
pub(crate) use skip_markers::marked;
pub use skip_markers::skip_markers;

use crate::policy::Reason;
use crate::push::{Gap, Push};

/// A statement about a push.
pub trait Condition: Send + Sync {
    /// Whether it holds. Must be a pure function of the push.
    fn holds(&self, push: &Push) -> Truth;

    /// Why it holds, in the words of a verdict that wishes it did not: what [`not`] of it gives as its reason.
    /// Asked only where it holds.
    fn why(&self, push: &Push) -> Reason {
        let _ = push;
        Reason::new("not", "a rule holds that must not")
    }
}

/// What a [`Condition`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not, and why.
    False(Reason),
    /// The push does not tell.
    Unknown(Gap),
}
