use swifthook_core::{Event, Reason, TrainingLauncher, Untold};

use super::{End, Task};
use crate::catalog::Terms;
use crate::compose::Composed;
use crate::guard::guarded;

impl Task {
    /// Says what may go wrong with a job that may run all the same: what its command is known for, and whether its GPUs may
    /// have too little memory.
    pub(super) async fn warn(
        &mut self,
        terms: &Terms,
        launcher: &dyn TrainingLauncher,
        command: &Composed,
    ) -> Result<(), End> {
        let mut warnings = command.warnings.clone();
        warnings.extend(self.warning_of_memory(terms, launcher, command).await);
        if self.job.state.warnings == warnings {
            return Ok(());
        }
        for warning in &warnings {
            tracing::warn!(reason = &*warning.word, "{}", warning.detail);
        }
        self.apply(Event::Warned(warnings)).await
    }

    /// What earlier runs say of the memory that it needs. Nobody waits for it: a store or a driver that does not answer
    /// knows of none.
    async fn warning_of_memory(
        &self,
        terms: &Terms,
        launcher: &dyn TrainingLauncher,
        command: &Composed,
    ) -> Option<Reason> {
        let (request, workload) = (terms.gpus.as_ref()?, command.workload.as_ref()?);
        let estimate = match self.shared.store.memory_estimate(workload).await {
            Ok(estimate) => estimate?,
            Err(error) => {
                tracing::debug!(%error, "earlier runs were not looked at");
                return None;
            }
        };
        let gpus = match launcher.capabilities().gpu_leases {
            true => guarded::<_, Untold>(async { self.shared.options.gpus.all().await }).await,
            false => Ok(Vec::new()),
        };
        estimate.warning(request, &gpus.unwrap_or_default())
    }
}
