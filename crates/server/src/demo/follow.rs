use std::thread;
use std::time::{Duration, Instant};

use super::DemoError;
use super::interrupt::Interrupt;
use super::run::{Account, RunDirectory};
use super::screen::{Mark, Row, Timeline};
use super::server::Server;
use super::setting::{CONFIG, Setting};
use crate::api::JobView;

/// Watches a job to its end.
pub(super) struct Follower<'a> {
    pub(super) setting: &'a Setting,
    pub(super) server: &'a Server,
    pub(super) timeline: &'a Timeline<'a>,
    pub(super) job: &'a str,
    /// The commit that was pushed.
    pub(super) head: &'a str,
    /// When.
    pub(super) pushed: Instant,
    pub(super) interrupt: &'a Interrupt,
}

impl Follower<'_> {
    /// # Errors
    ///
    /// When the run does not succeed, or what it ran is not of the pushed commit.
    pub(super) fn follow(&self) -> Result<(), DemoError> {
        self.timeline.begin(Row::Checkout, "waiting for a worker");
        let run = self.checkout()?;
        self.timeline.begin(Row::Training, &format!("{} starts", self.setting.trainer.name()));
        let ended = self.training(&run)?;
        let account = self.account(&run)?.filter(|account| account.step == account.steps);
        let trainer = &self.setting.trainer;
        let was_pushed = trainer.is_toy() || run.learning_rate() == Some(trainer.rates()[1]);
        match account.filter(|_| was_pushed && ended.state == "succeeded") {
            Some(account) => {
                self.timeline.end(Row::Training, Mark::Good, &account.summary());
                let seconds = self.pushed.elapsed().as_secs_f64();
                self.timeline.end(
                    Row::Result,
                    Mark::Good,
                    &format!("succeeded, {seconds:.1} s after the push"),
                );
                Ok(())
            }
            None => {
                self.timeline.end(Row::Result, Mark::Bad, &ended.state);
                let log = run.log();
                Err(DemoError::unexpected(format!("the run did not succeed: see {}", log.display())))
            }
        }
    }

    /// Until the run has begun in its working tree.
    fn checkout(&self) -> Result<RunDirectory, DemoError> {
        let run = self.wait(|| {
            let job = self.server.job(self.job)?;
            let run = RunDirectory::new(&self.setting.state_dir, &job);
            if is_final(&job) && !run.has_begun() {
                let why = job.detail.unwrap_or_default();
                return Err(DemoError::unexpected(format!("the job {} without a run: {why}", job.state)));
            }
            Ok(run.has_begun().then_some(run))
        })?;
        if !self.setting.trainer.is_toy() {
            let text = format!("{CONFIG} read from commit {:.12}, the one that was pushed", self.head);
            self.timeline.end(Row::Checkout, Mark::Good, &text);
            return Ok(run);
        }
        match self.setting.upstream.clean_head(&run.tree())? {
            Some(head) if head == self.head => {
                let text = format!("commit {head:.12}, the one that was pushed");
                self.timeline.end(Row::Checkout, Mark::Good, &text);
                Ok(run)
            }
            found => {
                let found = found.unwrap_or_else(|| "not clean".to_owned());
                self.timeline.end(Row::Checkout, Mark::Bad, &found);
                let tree = run.tree();
                Err(DemoError::unexpected(format!("{} is {found}, and not {}", tree.display(), self.head)))
            }
        }
    }

    fn training(&self, run: &RunDirectory) -> Result<JobView, DemoError> {
        self.wait(|| {
            if let Some(account) = self.account(run)? {
                self.timeline.progress(Row::Training, account.step, account.steps, &account.so_far());
            }
            Ok(Some(self.server.job(self.job)?).filter(is_final))
        })
    }

    fn wait<T>(&self, mut look: impl FnMut() -> Result<Option<T>, DemoError>) -> Result<T, DemoError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.interrupt.check()?;
            if let Some(found) = look()? {
                return Ok(found);
            }
            if Instant::now() > deadline {
                return Err(DemoError::unexpected("nothing more happened for five minutes"));
            }
            thread::sleep(GLANCE);
        }
    }

    fn account(&self, run: &RunDirectory) -> Result<Option<Account>, DemoError> {
        run.account().map_err(|error| DemoError::folder(&run.log(), error))
    }
}

impl Account {
    fn so_far(&self) -> String {
        format!("{:>3}/{}  loss {:.3}", self.step, self.steps, self.loss)
    }

    fn summary(&self) -> String {
        let right = self.accuracy.map(|part| format!(", {:.0} % right on unseen data", part * 100.0));
        let (steps, right) = (self.steps, right.unwrap_or_default());
        format!("{steps} steps, loss {:.3} → {:.3}{right}", self.first_loss, self.loss)
    }
}

fn is_final(job: &JobView) -> bool {
    swifthook_core::Stage::from_word(&job.state).is_some_and(swifthook_core::Stage::is_final)
}

/// Before ms-swift says anything it imports torch twice.
const PATIENCE: Duration = Duration::from_secs(300);
const GLANCE: Duration = Duration::from_millis(40);
