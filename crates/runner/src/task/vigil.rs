//! What is asked about a run now and then while it goes on: whether it is to make way, and whether it gets on.

use std::time::Duration;

use swifthook_core::{Event, LaunchError, Progress, Pulse, Reason, RunHandle, Stage, StopKind};
use tokio::time::{Instant, timeout};

use super::follow::in_time;
use super::launch::told;
use super::{End, Task};
use crate::catalog::Terms;
use crate::guard::{caught_now, guarded};
use crate::observer::Moment;
use crate::watchdog::{Finding, Then, Watch, Watchdog};

/// What is kept between two looks at a run.
#[derive(Default)]
pub(super) struct Vigil {
    looked: Option<Instant>,
    dog: Option<Watchdog>,
}

impl Task {
    pub(super) async fn look_after(
        &mut self,
        run: &RunHandle,
        progress: &Progress,
        vigil: &mut Vigil,
    ) -> Result<(), End> {
        let is_due = vigil.looked.is_none_or(|at| at.elapsed() >= LOOK);
        if !is_due || self.job.state.stage != Stage::Running {
            return Ok(());
        }
        vigil.looked = Some(Instant::now());
        let Ok(Some(terms)) = self.terms() else { return Ok(()) };
        self.make_way(&terms).await?;
        match terms.watch {
            Some(watch) if self.job.state.stage == Stage::Running => {
                self.watch(run, progress, &watch, &mut vigil.dog).await
            }
            _ => Ok(()),
        }
    }

    /// Asks whether the run is to make way for now, such as when its hours are over.
    async fn make_way(&mut self, terms: &Terms) -> Result<(), End> {
        match caught_now(|| terms.admission.makes_way(&self.job, self.now())) {
            Ok(Some(why)) if !self.can_yield() => self.stays(&why).await,
            Ok(Some(why)) => {
                tracing::info!(why, "it makes way");
                self.apply(Event::StopWanted(StopKind::Yield)).await
            }
            Ok(None) => Ok(()),
            Err(panicked) => {
                tracing::error!(%panicked, "the admission failed");
                Ok(())
            }
        }
    }

    /// Whether its launcher lets a run save and go on later. While nobody knows it is asked to.
    pub(super) fn can_yield(&self) -> bool {
        self.launcher().is_none_or(|launcher| launcher.capabilities().yields)
    }

    /// Tells that the run goes on though it is to make way: to end it would throw its work away. What is wrong with it
    /// stays said.
    async fn stays(&mut self, why: &str) -> Result<(), End> {
        if self.job.state.reason.is_some() {
            return Ok(());
        }
        let launcher = self.job.state.handle.as_ref().map_or(&self.job.spec.launcher, |run| &run.launcher);
        let why = format!(
            "{why}, and a run of the launcher `{launcher}` cannot save and go on later: it goes on now"
        );
        tracing::warn!("{why}");
        let why = Reason::new(CANNOT_YIELD, why);
        self.apply(Event::Watched(Some(why.clone()))).await?;
        self.tell(&Moment::Alarmed(why));
        Ok(())
    }

    async fn watch(
        &mut self,
        run: &RunHandle,
        progress: &Progress,
        watch: &Watch,
        dog: &mut Option<Watchdog>,
    ) -> Result<(), End> {
        let state = &self.job.state;
        let (began, now) = (state.started_at.unwrap_or_else(|| self.now()), self.now());
        let told = state.reason.as_ref().map(|reason| reason.word.to_string());
        let dog = dog.get_or_insert_with(|| Watchdog::new(began, told));
        let pulse = self.pulse(run).await?;
        match dog.see(watch, now, progress, &pulse) {
            None => Ok(()),
            Some(Finding::AllWell) => self.apply(Event::Watched(None)).await,
            Some(Finding::Alarm(why)) => self.alarm(run, watch, why).await,
        }
    }

    async fn pulse(&self, run: &RunHandle) -> Result<Pulse, End> {
        let Some(launcher) = self.launcher() else { return Ok(Pulse::default()) };
        let ask = in_time(guarded::<_, LaunchError>(async { launcher.pulse(run).await }));
        let asked = self.unless_left(ask).await?;
        Ok(asked.unwrap_or_default())
    }

    /// Takes down what can be seen, tells, and does what the recipe says.
    async fn alarm(&mut self, run: &RunHandle, watch: &Watch, why: Reason) -> Result<(), End> {
        let detail = match self.examine(run, &why).await? {
            Some(evidence) => format!("{}; what was seen of it is in {evidence}", why.detail),
            None => why.detail,
        };
        let why = Reason { detail, ..why };
        tracing::warn!(word = &*why.word, "{}", why.detail);
        self.apply(Event::Watched(Some(why.clone()))).await?;
        self.tell(&Moment::Alarmed(why));
        match watch.then {
            Then::Tell => Ok(()),
            Then::Stop => self.apply(Event::StopWanted(StopKind::Stuck)).await,
            Then::Resume => self.apply(Event::StopWanted(StopKind::Restart)).await,
        }
    }

    async fn examine(&self, run: &RunHandle, why: &Reason) -> Result<Option<String>, End> {
        let Some(launcher) = self.launcher() else { return Ok(None) };
        let look = guarded::<_, LaunchError>(async { launcher.examine(run, why).await });
        Ok(match self.unless_left(timeout(PATIENCE, look)).await? {
            Ok(Ok(evidence)) => evidence.map(|path| path.display().to_string()),
            Ok(Err(error)) => {
                tracing::warn!(error = told(&error), "no evidence of it could be taken");
                None
            }
            Err(_) => None,
        })
    }
}

/// The word of a run that is to make way and cannot.
const CANNOT_YIELD: &str = "cannot_yield";
/// How often a run is looked after.
const LOOK: Duration = Duration::from_secs(5);
/// How long evidence may take.
const PATIENCE: Duration = Duration::from_secs(120);
