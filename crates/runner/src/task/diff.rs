use async_trait::async_trait;
use swifthook_core::{
    ChangeSet, CommitSha, Comparison, Diffed, Event, HoldReason, Job, KnownHeads, Problem, Push, Recipe,
    RecipeVerdict, Source, Verdict, WorkspaceError, asks_to_skip,
};

use super::launch::told;
use super::{End, Shared, Task};
use crate::catalog::Terms;
use crate::guard::{Panicked, caught_now, guarded};
use crate::observer::Moment;
use crate::orders::until;

impl Task {
    /// Finds out which files changed, and asks the recipe again.
    pub(super) async fn diff(&mut self) -> Result<(), End> {
        self.tell(&Moment::Claimed);
        let answer = match self.terms() {
            Ok(Some(terms)) => self.ask_git(&terms).await?,
            Ok(None) => Diffed::Hold(HoldReason::RecipeGone),
            Err(panicked) => self.failed(format!("the catalog failed: {panicked}"), None),
        };
        self.apply(Event::Diffed { answer, at: self.now() }).await?;
        self.tell(&Moment::Diffed);
        Ok(())
    }

    async fn ask_git(&self, terms: &Terms) -> Result<Diffed, End> {
        let (change, recipe, push, now) = (&self.job.change, &terms.recipe, self.job.push(), self.now());
        let counts = |tag: &str| recipe.looks_at_tag(tag, &push, now);
        let each = recipe.each.as_ref().filter(|_| self.is_approved());
        let wanted = each.map(|each| |path: &[u8]| each.matches(path));
        let known = Known { shared: &self.shared, job: &self.job };
        let asked = Comparison {
            default_branch: push.origin.default_branch.as_deref(),
            counts: &counts,
            known: &known,
            wanted: wanted.as_ref().map(|wanted| wanted as _),
            ..Comparison::new(&change.repository, &change.ref_name, self.job.before.as_ref(), &change.head)
        };
        let diff = async {
            let _permit = self.shared.diffs.acquire().await;
            let workspace = &self.shared.workspace;
            let changes = workspace.compare(&asked).await?;
            // A delivery has told it; a tip has not.
            let skip_marker = match self.job.source {
                Source::Reconcile | Source::Pull => {
                    let message = workspace.message(&change.repository, &change.ref_name, &change.head);
                    asks_to_skip(&message.await?)
                }
                _ => false,
            };
            Ok(Push { skip_marker, ..self.job.push_with(changes) })
        };
        let push = tokio::select! {
            biased;
            () = until(&self.orders, |orders| orders.begin_nothing()) => return Err(End::Left),
            push = guarded::<Push, WorkspaceError>(diff) => push,
        };
        Ok(match push {
            Ok(push) => self.ask_recipe(terms, push).await,
            Err(error) => self.failed(told(&error), error.retry_after()),
        })
    }

    async fn ask_recipe(&self, terms: &Terms, push: Push) -> Diffed {
        let (count, is_cut) = (push.changes.paths().len(), matches!(push.changes, ChangeSet::Incomplete(..)));
        let (recipe, now) = (terms.recipe.clone(), self.now());
        let most_jobs = self.job.state.approved_jobs.unwrap_or(Recipe::MAX_JOBS);
        let has_each = recipe.each.is_some();
        let decide = move || caught_now(|| recipe.decide_up_to(most_jobs, &push, now));
        let decided = match count {
            0..=FEW => decide(),
            // Off the async threads: each path is compared with every pattern.
            _ => tokio::task::spawn_blocking(decide).await.unwrap_or_else(|error| Err(Panicked::from(error))),
        };
        let RecipeVerdict { verdict, jobs, .. } = match decided {
            Ok(decided) => decided,
            Err(panicked) => return self.failed(format!("the policy failed: {panicked}"), None),
        };
        let verdict = match verdict {
            // A person has said that it trains, whatever the rest of so many files may be.
            Verdict::Hold(HoldReason::NeedsDiff(_)) if is_cut && !has_each && self.is_approved() => {
                Verdict::launch()
            }
            verdict => verdict,
        };
        let verdict = match verdict {
            Verdict::Launch { .. } if self.is_stale(terms) => Verdict::Hold(HoldReason::Stale),
            verdict => verdict,
        };
        // Those that are for a file each take the place of this one, which is for none.
        let is_expanded = jobs.iter().any(|job| job.config.is_some());
        match verdict {
            Verdict::Skip(reason) => Diffed::Skip(reason),
            Verdict::Hold(HoldReason::NeedsDiff(_)) if is_cut => {
                Diffed::Hold(HoldReason::TooManyPaths(count))
            }
            // The whole diff is there. A policy that asks for it all the same would ask for ever.
            Verdict::Hold(HoldReason::NeedsDiff(_)) => {
                self.failed("the policy wants more than the whole diff".to_owned(), None)
            }
            verdict @ (Verdict::Launch { .. } | Verdict::Hold(_)) if is_expanded => {
                Diffed::Expand { jobs, verdict }
            }
            Verdict::Launch { not_before } => Diffed::Launch(not_before),
            Verdict::Hold(reason) => Diffed::Hold(reason),
            _ => self.failed("the policy gave an answer that is not known here".to_owned(), None),
        }
    }

    /// Tells whether a person approved it though it was too much to look at.
    fn is_approved(&self) -> bool {
        self.job.state.is_approved(TOO_MANY)
    }

    /// Whether the push was too old when it was received: a diff must not be a way around the hook's limit.
    fn is_stale(&self, terms: &Terms) -> bool {
        let (push, received_at) = (self.job.push(), self.job.created_at);
        terms.max_age.is_some_and(|max_age| push.is_stale(max_age, received_at))
    }

    fn failed(&self, message: String, wait: Option<std::time::Duration>) -> Diffed {
        tracing::warn!(error = message, "no diff");
        let wait = wait.unwrap_or_else(|| self.wait(self.job.state.diff_failures + 1));
        Diffed::Failed { message, until: self.now().after(wait) }
    }
}

/// Heads that the queue knows of a job's repository.
struct Known<'a> {
    shared: &'a Shared,
    job: &'a Job,
}

#[async_trait]
impl KnownHeads for Known<'_> {
    async fn commits(&self) -> Result<Vec<CommitSha>, WorkspaceError> {
        let known = self.shared.store.known_heads(self.job).await;
        known.map_err(|error| {
            WorkspaceError::passing("cannot look up where the repository was before").because(error)
        })
    }
}

/// The word of [`HoldReason::TooManyJobs`] and [`HoldReason::TooManyPaths`].
const TOO_MANY: &str = "too_many";

/// Limit of paths that are compared at once on an async thread: as many as are kept of a push.
const FEW: usize = 4_096;
