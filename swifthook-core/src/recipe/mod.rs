//! A recipe: which pushes of a repository train, and what is then to run.

mod decide;
mod each;
mod problem;
mod template;

pub use each::Each;
pub use problem::RecipeProblem;
pub use template::{Argument, Argv, Field, Template, UnknownField};

use std::sync::Arc;

use crate::id::RepoName;
use crate::job::{Debounce, Retry, Superseding};
use crate::policy::TriggerPolicy;

/// A recipe. Made with [`Recipe::new`] and then set up field by field.
#[derive(Clone)]
pub struct Recipe {
    /// Its name, unique within the configuration.
    pub name: Arc<str>,
    /// The repository whose pushes it looks at.
    pub repository: RepoName,
    /// Which of them train.
    pub policy: Arc<dyn TriggerPolicy>,
    /// One job per changed file that matches, instead of one per push.
    pub each: Option<Each>,
    /// Whether pushes of a merge queue (`gh-readonly-queue/…`) are looked at.
    pub merge_queue: bool,
    /// Whether a skip marker in the head commit's message is honoured.
    pub honours_skip_markers: bool,
    /// The command; empty for launchers that know by the recipe what to do.
    pub command: Vec<Template>,
    /// A file of the commit from which the command is completed when the run begins ([`JobSpec::file`]).
    ///
    /// [`JobSpec::file`]: crate::JobSpec::file
    pub file: Option<Template>,
    /// The group of its jobs; `None` is one per repository, ref, recipe and configuration path.
    pub group: Option<Template>,
    /// The name of its launcher.
    pub launcher: Arc<str>,
    /// Labels that a worker must have.
    pub labels: Vec<Arc<str>>,
    /// Higher goes first.
    pub priority: i32,
    /// What becomes of older jobs of the group.
    pub superseded: Superseding,
    /// How long to wait for further pushes.
    pub debounce: Option<Debounce>,
    /// What is done about failures of the machine.
    pub retry: Retry,
}

impl Recipe {
    /// A recipe with the defaults of a configuration file.
    pub fn new(name: &str, repository: RepoName, policy: impl TriggerPolicy + 'static) -> Self {
        Self {
            name: name.into(),
            repository,
            policy: Arc::new(policy),
            each: None,
            merge_queue: false,
            honours_skip_markers: true,
            command: Vec::new(),
            file: None,
            group: None,
            launcher: "local".into(),
            labels: Vec::new(),
            priority: 0,
            superseded: Superseding::default(),
            debounce: None,
            retry: Retry::default(),
        }
    }
}
