use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use swifthook_core::{
    Admit, Checkpoint, Event, Fleet, GpuGrant, HoldReason, LaunchError, PastFailure, Prepared, Problem,
    RunKey, TrainingLauncher, Untold, Wait,
};

use super::follow::in_time;
use super::launch::told;
use super::prepare::Unready;
use super::{End, Task};
use crate::catalog::Terms;
use crate::compose::Composed;
use crate::guard::{caught_now, guarded};
use crate::observer::Moment;
use crate::pace::Backoff;

/// What an attempt that has begun is made of; nothing if none has.
pub(super) type Begun = Option<(Terms, Composed)>;

impl Task {
    /// Asks whether the job may start, sees to everything that its attempt needs, and begins it.
    pub(super) async fn admit(&mut self) -> Result<Begun, End> {
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
        match self.ask(&terms) {
            Ok(Admit::Now) => self.begin(terms, launcher).await,
            // What is wrong for good is told when it is pushed, and not when its hours come.
            Ok(later @ Admit::NotBefore(_, Wait::Window, _)) => match self.prepare(&terms).await? {
                Err(Unready::Refused(refusal)) if refusal.is_permanent => {
                    self.refuse(refusal).await?;
                    Ok(None)
                }
                prepared => {
                    if let Ok(command) = prepared {
                        self.warn(&terms, &*launcher, &command).await?;
                    }
                    let later = self.with_what_is_unmet(later, &terms, &*launcher).await;
                    self.not_now(later).await
                }
            },
            Ok(other) => self.not_now(other).await,
            Err(why) => self.put_off_for(why).await,
        }
    }

    /// Adds to the reason of a job that waits for its hours that no hour will bring the GPUs that it asks for.
    async fn with_what_is_unmet(
        &self,
        later: Admit,
        terms: &Terms,
        launcher: &dyn TrainingLauncher,
    ) -> Admit {
        let request = terms.gpus.as_ref().filter(|_| launcher.capabilities().gpu_leases);
        match (later, request) {
            (Admit::NotBefore(until, what, why), Some(request)) => {
                let gpus = guarded::<_, Untold>(async { self.shared.options.gpus.all().await }).await;
                let unmet = gpus.ok().and_then(|gpus| request.unmet_by(&gpus));
                let unmet = unmet.map(|unmet| format!("; and {request}: {unmet}")).unwrap_or_default();
                Admit::NotBefore(until, what, why + &unmet)
            }
            (later, _) => later,
        }
    }

    async fn begin(&mut self, terms: Terms, launcher: Arc<dyn TrainingLauncher>) -> Result<Begun, End> {
        let request = terms.gpus.clone().filter(|_| launcher.capabilities().gpu_leases);
        // Whoever waits for GPUs again and again was found fit to run before.
        if let Some(request) = &request
            && self.job.state.waits_for == Some(Wait::Gpu)
            && !self.finds_gpus(request).await?
        {
            return Ok(None);
        }
        if !self.has_its_checkpoint(&*launcher).await? {
            return Ok(None);
        }
        let command = match self.prepare(&terms).await? {
            Ok(command) => command,
            Err(Unready::Refused(refusal)) => {
                self.refuse(refusal).await?;
                return Ok(None);
            }
            Err(Unready::Waits(waits_for, why)) => {
                let until = self.now().after(LOOK_AGAIN);
                return self.put_off(Event::NotBefore { until, waits_for, why }).await;
            }
        };
        self.record(&command).await?;
        self.warn(&terms, &*launcher, &command).await?;
        if let Some(failures) = self.failures_of(&command).await? {
            return self.put_off(Event::Hold(HoldReason::KnownFailure(failures))).await;
        }
        // All that may have taken minutes.
        match self.ask(&terms) {
            Ok(Admit::Now) => {}
            Ok(other) => return self.not_now(other).await,
            Err(why) => return self.put_off_for(why).await,
        }
        let is_started = match request {
            Some(request) => self.start_on_gpus(&*launcher, &request).await?,
            None => self.start(&*launcher, None).await?,
        };
        Ok((is_started && self.job.state.stage.is_active()).then_some((terms, command)))
    }

    /// Begins the attempt; `false` if another one has one of its GPUs by now, and then nothing has happened.
    pub(super) async fn start(
        &mut self,
        launcher: &dyn TrainingLauncher,
        gpus: Option<GpuGrant>,
    ) -> Result<bool, End> {
        let host = (!launcher.capabilities().any_host).then(|| self.shared.options.host.clone());
        if !self.try_apply(Event::Start { at: self.now(), host, gpus }).await? {
            return Ok(false);
        }
        tracing::Span::current().record("attempt", self.job.state.attempt);
        self.tell(&Moment::Started);
        Ok(true)
    }

    /// Records what the attempt is made of.
    async fn record(&mut self, command: &Composed) -> Result<(), End> {
        let Composed { fingerprint, environment, workload, .. } = command;
        let state = &self.job.state;
        if (state.fingerprint, &state.environment, &state.workload) == (*fingerprint, environment, workload) {
            return Ok(());
        }
        let (environment, workload) = (environment.clone(), workload.clone());
        self.apply(Event::Prepared(Prepared { fingerprint: *fingerprint, environment, workload })).await
    }

    /// How the same has failed before, if a person has to be asked about it.
    async fn failures_of(&mut self, command: &Composed) -> Result<Option<Vec<PastFailure>>, End> {
        let Some(fingerprint) = &command.fingerprint else { return Ok(None) };
        if self.job.state.is_approved(KNOWN_FAILURE) {
            return Ok(None);
        }
        let mut backoff = Backoff::of_the_store();
        loop {
            match self.shared.store.known_failures(*fingerprint).await {
                Ok(failures) => return Ok((failures.len() >= PastFailure::ENOUGH).then_some(failures)),
                // What was is no reason to keep a job from running that can run.
                Err(error) if error.is_permanent() => return Ok(None),
                Err(_) => self.pause(backoff.pause()).await?,
            }
        }
    }

    fn ask(&self, terms: &Terms) -> Result<Admit, String> {
        let mut fleet = Fleet::default();
        fleet.running = self.running;
        fleet.slots = self.shared.options.slots;
        caught_now(|| terms.admission.admit(&self.job, self.now(), &fleet))
            .map_err(|panicked| format!("the admission failed: {panicked}"))
    }

    async fn not_now(&mut self, answer: Admit) -> Result<Begun, End> {
        match answer {
            Admit::Now => Ok(None),
            Admit::NotBefore(until, waits_for, why) => {
                self.put_off(Event::NotBefore { until, waits_for, why }).await
            }
            Admit::Hold(reason) => self.put_off(Event::Hold(reason)).await,
            Admit::NoLonger(why) => self.put_off(Event::NoLonger { why, at: self.now() }).await,
        }
    }

    /// Looks for the checkpoint that the attempt is to go on from. One that is gone is forgotten, and one that is elsewhere
    /// is waited for: then the answer is no.
    async fn has_its_checkpoint(&mut self, launcher: &dyn TrainingLauncher) -> Result<bool, End> {
        let Some(checkpoint) = self.job.state.checkpoint.clone() else { return Ok(true) };
        let is_ours = self.is_of_this_job(&checkpoint);
        let holds = guarded::<_, LaunchError>(async { launcher.holds(&checkpoint).await });
        match self.unless_left(in_time(holds)).await? {
            Ok(true) if is_ours => {}
            Ok(_) => {
                let why = format!(
                    "{checkpoint} is not there any more, so that it begins anew: {}",
                    checkpoint.path
                );
                tracing::warn!("{why}");
                self.apply(Event::CheckpointLost { why }).await?;
            }
            Err(error) => {
                let (until, why) = (self.now().after(ELSEWHERE_PAUSE), told(&error));
                self.put_off(Event::NotBefore { until, waits_for: Wait::Checkpoint, why }).await?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Tells whether a checkpoint is no other job's: where it is among the directories of runs, it is in that of its attempt.
    fn is_of_this_job(&self, checkpoint: &Checkpoint) -> bool {
        let path = Path::new(&*checkpoint.path);
        let key = RunKey { job: self.job.id, attempt: checkpoint.attempt };
        let runs = self.shared.options.state_dir.join("runs");
        !path.starts_with(&runs) || path.starts_with(runs.join(key.to_string()))
    }

    async fn put_off(&mut self, event: Event) -> Result<Begun, End> {
        self.apply(event).await?;
        self.tell(&Moment::PutOff);
        Ok(None)
    }

    async fn put_off_for(&mut self, why: String) -> Result<Begun, End> {
        tracing::error!(why, "the job cannot start");
        let until = self.now().after(FAULT_PAUSE);
        self.put_off(Event::NotBefore { until, waits_for: Wait::Backoff, why }).await
    }
}

/// How long a job waits that the configuration has no answer for.
const FAULT_PAUSE: Duration = Duration::from_secs(60);
/// The word of what a person has to approve.
const KNOWN_FAILURE: &str = "known_failure";
/// How soon it is looked again for what has to come first.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// How long a job rests whose checkpoint another host has, so that a worker there can take it.
const ELSEWHERE_PAUSE: Duration = Duration::from_secs(60);
