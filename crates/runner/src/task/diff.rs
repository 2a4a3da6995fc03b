use swifthook_core::{
    ChangeSet, Diffed, Event, HoldReason, Problem, Recipe, RecipeVerdict, Verdict, WorkspaceError,
};

use super::launch::told;
use super::{End, Task};
use crate::guard::{caught_now, guarded};
use crate::observer::Moment;
use crate::orders::until;

impl Task {
    /// Finds out which files changed, and asks the recipe again.
    pub(super) async fn diff(&mut self) -> Result<(), End> {
        self.tell(&Moment::Claimed);
        let answer = match self.terms() {
            Ok(Some(terms)) => self.ask_git(&terms.recipe).await?,
            Ok(None) => Diffed::Hold(HoldReason::RecipeGone),
            Err(panicked) => self.failed(format!("the catalog failed: {panicked}"), None),
        };
        self.apply(Event::Diffed { answer, at: self.now() }).await?;
        self.tell(&Moment::Diffed);
        Ok(())
    }

    async fn ask_git(&self, recipe: &Recipe) -> Result<Diffed, End> {
        let change = &self.job.change;
        let diff = async {
            let _permit = self.shared.diffs.acquire().await;
            let workspace = &self.shared.workspace;
            workspace.diff(&change.repository, &change.ref_name, self.job.before.as_ref(), &change.head).await
        };
        let changes = tokio::select! {
            biased;
            () = until(&self.orders, |orders| orders.leave) => return Err(End::Left),
            changes = guarded::<ChangeSet, WorkspaceError>(diff) => changes,
        };
        Ok(match changes {
            Ok(changes) => self.ask_recipe(recipe, changes),
            Err(error) => self.failed(told(&error), error.retry_after()),
        })
    }

    fn ask_recipe(&self, recipe: &Recipe, changes: ChangeSet) -> Diffed {
        match caught_now(|| recipe.decide(&self.job.push_with(changes), self.now())) {
            Ok(RecipeVerdict { verdict: Verdict::Launch { not_before }, jobs, .. }) => {
                if recipe.each.is_some() { Diffed::Expand(jobs) } else { Diffed::Launch(not_before) }
            }
            Ok(RecipeVerdict { verdict: Verdict::Skip(reason), .. }) => Diffed::Skip(reason),
            // The whole diff is there. A policy that asks for it all the same would ask for ever.
            Ok(RecipeVerdict { verdict: Verdict::Hold(HoldReason::NeedsDiff(_)), .. }) => {
                self.failed("the policy wants more than the whole diff".to_owned(), None)
            }
            Ok(RecipeVerdict { verdict: Verdict::Hold(reason), .. }) => Diffed::Hold(reason),
            Ok(_) => self.failed("the policy gave an answer that is not known here".to_owned(), None),
            Err(panicked) => self.failed(format!("the policy failed: {panicked}"), None),
        }
    }

    fn failed(&self, message: String, wait: Option<std::time::Duration>) -> Diffed {
        tracing::warn!(error = message, "no diff");
        let wait = wait.unwrap_or_else(|| self.wait(self.job.state.diff_failures + 1));
        Diffed::Failed { message, until: self.now().after(wait) }
    }
}
