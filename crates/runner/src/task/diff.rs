use swifthook_core::{
    ChangeSet, Diffed, Event, HoldReason, Problem, Push, RecipeVerdict, Source, Verdict, WorkspaceError,
    asks_to_skip,
};

use super::launch::told;
use super::{End, Task};
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
        let change = &self.job.change;
        let diff = async {
            let _permit = self.shared.diffs.acquire().await;
            let workspace = &self.shared.workspace;
            let (repository, ref_name, head) = (&change.repository, &change.ref_name, &change.head);
            let changes = workspace.diff(repository, ref_name, self.job.before.as_ref(), head).await?;
            // A delivery has told it; a tip has not.
            let skip_marker = match self.job.source {
                Source::Reconcile | Source::Pull => {
                    asks_to_skip(&workspace.message(repository, ref_name, head).await?)
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
        let decide = move || caught_now(|| recipe.decide(&push, now));
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

    /// Whether the push was too old when it was received: a diff must not be a way around the hook's limit.
    fn is_stale(&self, terms: &Terms) -> bool {
        let age = self.job.pushed_at.map(|pushed_at| self.job.created_at.since(pushed_at));
        terms.max_age.is_some_and(|max_age| age.is_none_or(|age| age > max_age))
    }

    fn failed(&self, message: String, wait: Option<std::time::Duration>) -> Diffed {
        tracing::warn!(error = message, "no diff");
        let wait = wait.unwrap_or_else(|| self.wait(self.job.state.diff_failures + 1));
        Diffed::Failed { message, until: self.now().after(wait) }
    }
}

/// How many paths are compared at once on an async thread: as many as are kept of a push.
const FEW: usize = 4_096;
