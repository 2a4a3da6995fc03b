use std::time::Duration;

use swifthook_core::{Admit, Event, Fleet, HoldReason, Wait};

use super::{End, Task};
use crate::catalog::Terms;
use crate::guard::caught_now;
use crate::observer::Moment;

impl Task {
    /// Asks whether the job may start, and starts the attempt if so: then its terms, else nothing.
    pub(super) async fn admit(&mut self) -> Result<Option<Terms>, End> {
        self.tell(&Moment::Claimed);
        let terms = match self.terms() {
            Ok(Some(terms)) => terms,
            Ok(None) => return self.put_off(Event::Hold(HoldReason::RecipeGone)).await,
            Err(panicked) => return self.put_off_for(format!("the catalog failed: {panicked}")).await,
        };
        let Some(launcher) = self.launcher() else {
            let message = format!("the configuration has no launcher `{}`", self.job.spec.launcher);
            return self.put_off_for(message).await;
        };
        let mut fleet = Fleet::default();
        fleet.running = self.running;
        fleet.slots = self.shared.options.slots;
        match caught_now(|| terms.admission.admit(&self.job, self.now(), &fleet)) {
            Ok(Admit::Now) => {
                let host = (!launcher.capabilities().any_host).then(|| self.shared.options.host.clone());
                self.apply(Event::Start { at: self.now(), host }).await?;
                tracing::Span::current().record("attempt", self.job.state.attempt);
                self.tell(&Moment::Started);
                Ok(self.job.state.stage.is_active().then_some(terms))
            }
            Ok(Admit::NotBefore(until, waits_for, why)) => {
                self.put_off(Event::NotBefore { until, waits_for, why }).await
            }
            Ok(Admit::Hold(reason)) => self.put_off(Event::Hold(reason)).await,
            Ok(Admit::NoLonger(why)) => self.put_off(Event::NoLonger { why, at: self.now() }).await,
            Err(panicked) => self.put_off_for(format!("the admission failed: {panicked}")).await,
        }
    }

    async fn put_off(&mut self, event: Event) -> Result<Option<Terms>, End> {
        self.apply(event).await?;
        self.tell(&Moment::PutOff);
        Ok(None)
    }

    async fn put_off_for(&mut self, why: String) -> Result<Option<Terms>, End> {
        tracing::error!(why, "the job cannot start");
        let until = self.now().after(FAULT_PAUSE);
        self.put_off(Event::NotBefore { until, waits_for: Wait::Backoff, why }).await
    }
}

/// How long a job waits that the configuration has no answer for.
const FAULT_PAUSE: Duration = Duration::from_secs(60);
