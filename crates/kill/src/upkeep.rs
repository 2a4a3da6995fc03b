//! What goes on while the driver waits: what was stopped is continued, what was killed is started again, and whoever
//! ended by itself is found out.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::Failure;
use crate::driver::{Driver, Stopped};
use crate::member::Found;

impl Driver<'_> {
    /// Waits so long.
    pub(crate) fn pass(&mut self, time: Duration) -> Result<(), Failure> {
        self.pass_until(time, |_| Ok(false)).map(drop)
    }

    /// Waits until it is so, or says that the time is up.
    pub(crate) fn pass_until(
        &mut self,
        patience: Duration,
        mut is_so: impl FnMut(&mut Self) -> Result<bool, Failure>,
    ) -> Result<bool, Failure> {
        let deadline = Instant::now() + patience;
        loop {
            if is_so(self)? {
                return Ok(true);
            }
            let now = Instant::now();
            if now >= deadline {
                return Ok(false);
            }
            self.keep_up()?;
            thread::sleep(PAUSE.min(deadline - now));
        }
    }

    /// Waits until all that was done is undone, stops in full, and every process is ready.
    pub(crate) fn all_ready(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        self.plans.restart.iter_mut().for_each(|(at, _)| *at = now);
        self.plans.start_database = self.plans.start_database.map(|_| now);
        self.plans.start_broker = self.plans.start_broker.map(|(_, way)| (now, way));
        let is_ready = self.pass_until(PATIENCE, |this| {
            let is_undone = this.plans.resume.is_empty() && this.plans.restart.is_empty();
            let is_undone =
                is_undone && this.plans.start_database.is_none() && this.plans.start_broker.is_none();
            Ok(is_undone && this.members.iter_mut().all(|member| member.is_ready()))
        })?;
        if is_ready { Ok(()) } else { Err("not every process becomes ready".into()) }
    }

    /// The numbers of the processes that run.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.members.iter().map(|member| member.pid()).collect()
    }

    pub(super) fn is_up(&self, place: usize) -> bool {
        self.plans.restart.iter().all(|(_, other)| *other != place)
    }

    pub(super) fn is_stopped(&self, place: usize) -> bool {
        self.plans.resume.iter().any(|(_, stopped)| stopped.is_member(place))
    }

    pub(super) fn pick(&self, who: u64) -> Option<usize> {
        let up: Vec<usize> = (0..self.members.len()).filter(|place| self.is_up(*place)).collect();
        let place = usize::try_from(who >> 1).unwrap_or(0) % up.len().max(1);
        up.get(place).copied()
    }

    /// A process may end by itself only before it is ready, and only where its database or broker was away: whoever started it
    /// starts it again.
    pub(super) fn excuse(&mut self, place: usize, found: Found) -> Result<(), Failure> {
        let member = &self.members[place];
        let was_away = self.plans.start_database.is_some()
            || self.plans.start_broker.is_some()
            || self.plans.was_down.is_some_and(|down| down + RECOVERY >= member.since());
        match found {
            Found::Alive | Found::Killed => Ok(()),
            Found::GaveUp(_) if was_away => {
                self.done.gave_up += 1;
                Ok(())
            }
            Found::GaveUp(status) | Found::Ended(status) => {
                let name = &member.place.name;
                Err(format!("{name} ended by itself: {status}; see {name}.log").into())
            }
        }
    }

    fn keep_up(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        self.resume(now)?;
        if self.plans.start_database.is_some_and(|at| at <= now) {
            if let Some(cluster) = &self.services.cluster {
                cluster.start()?;
            }
            self.plans.start_database = None;
            self.plans.was_down = Some(Instant::now());
        }
        if let Some((_, way)) = self.plans.start_broker.filter(|(at, _)| *at <= now) {
            if let Some(broker) = &self.services.broker {
                broker.start_after(way)?;
            }
            self.plans.start_broker = None;
            self.plans.was_down = Some(Instant::now());
        }
        let (due, later) = self.plans.restart.drain(..).partition(|(at, _)| *at <= now);
        self.plans.restart = later;
        let due: Vec<(Instant, usize)> = due;
        for (_, place) in due {
            self.members[place].restart(&self.program, self.site)?;
        }
        if self.plans.look_again.is_none_or(|at| at <= now) {
            self.plans.look_again = Some(now + LOOK);
            self.look()?;
        }
        Ok(())
    }

    fn resume(&mut self, now: Instant) -> Result<(), Failure> {
        let (due, later): (Vec<_>, Vec<_>) = self.plans.resume.drain(..).partition(|(at, _)| *at <= now);
        self.plans.resume = later;
        for (_, stopped) in due {
            match stopped {
                Stopped::Member { place, pid, is_long, point } if self.members[place].pid() == pid => {
                    self.members[place].signal(Signal::CONT)?;
                    self.done.stopped(self.members[place].is_receiver(), is_long, point);
                }
                Stopped::Member { .. } => {}
                Stopped::Supervisor(process) => {
                    process.signal(Signal::CONT);
                }
            }
        }
        Ok(())
    }

    fn look(&mut self) -> Result<(), Failure> {
        for place in 0..self.members.len() {
            if !self.is_up(place) || self.is_stopped(place) {
                continue;
            }
            let found = self.members[place].look()?;
            if found == Found::Alive {
                // What it has said once is remembered: only before may it give up.
                self.members[place].is_ready();
                continue;
            }
            self.excuse(place, found)?;
            self.plans.restart.push((Instant::now() + AGAIN, place));
        }
        Ok(())
    }
}

const PAUSE: Duration = Duration::from_millis(2);
const LOOK: Duration = Duration::from_millis(100);
/// After so long a process is started again that gave up.
const AGAIN: Duration = Duration::from_millis(300);
/// How long a database of which a process was killed, or a broker, may take until it answers again.
const RECOVERY: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(180);
