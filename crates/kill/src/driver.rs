use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::broker::Way;
use crate::cluster::Mode;
use crate::done::Done;
use crate::load::Load;
use crate::member::{Found, Member};
use crate::points::{Armed, Fate};
use crate::processes::{Process, supervisors};
use crate::schedule::{After, Step, What};
use crate::services::Services;
use crate::site::Site;
use crate::{Failure, tell};

/// Does to the processes what the schedule says.
pub(crate) struct Driver<'a> {
    pub(super) site: &'a Site,
    pub(super) program: PathBuf,
    pub(super) members: Vec<Member>,
    pub(super) services: &'a Services,
    accepted: Box<dyn Fn() -> usize + 'a>,
    pub(super) plans: Plans,
    pub(crate) done: Done,
}

/// What is to be undone, and when.
#[derive(Default)]
pub(super) struct Plans {
    /// Processes that are stopped.
    pub(super) resume: Vec<(Instant, Stopped)>,
    /// Members that do not run.
    pub(super) restart: Vec<(Instant, usize)>,
    pub(super) start_database: Option<Instant>,
    pub(super) start_broker: Option<(Instant, Way)>,
    /// When the database or the broker was last known to be away.
    pub(super) was_down: Option<Instant>,
    pub(super) look_again: Option<Instant>,
}

pub(super) enum Stopped {
    Member {
        place: usize,
        /// Its number at that time: whoever was killed meanwhile was not stopped for so long.
        pid: u32,
        is_long: bool,
        point: Option<&'static str>,
    },
    Supervisor(Process),
}

impl Stopped {
    pub(super) fn is_member(&self, of: usize) -> bool {
        matches!(self, Self::Member { place, .. } if *place == of)
    }
}

impl<'a> Driver<'a> {
    /// Starts all processes, and waits until they are ready.
    pub(crate) fn start(site: &'a Site, program: PathBuf, services: &'a Services) -> Result<Self, Failure> {
        let members = site.places.iter().map(|place| Member::start(&program, site, place));
        let members = members.collect::<Result<_, _>>()?;
        let (plans, done) = (Plans::default(), Done::default());
        let mut driver = Self { site, program, members, services, accepted: Box::new(|| 0), plans, done };
        driver.all_ready()?;
        Ok(driver)
    }

    /// Does one step after the other while `is_enough` says no.
    pub(crate) fn follow(
        &mut self,
        steps: impl Iterator<Item = Step>,
        load: &Load,
        is_enough: impl Fn(&Done) -> bool,
    ) -> Result<(), Failure> {
        self.accepted = Box::new(load.counter());
        let mut told = 0;
        for step in steps {
            if is_enough(&self.done) {
                break;
            }
            self.wait_for(step.after)?;
            self.pass(step.delay)?;
            self.take(step)?;
            if self.done.kills() >= told + 10 {
                told = self.done.kills();
                tell(&format!("{told} kills"));
            }
        }
        Ok(())
    }

    fn wait_for(&mut self, after: After) -> Result<(), Failure> {
        let (accepted, marks) = ((self.accepted)(), self.length_of_marks());
        // When nothing comes it is done anyhow: to be aimed at such a moment is a wish.
        self.pass_until(AIM, |this| {
            Ok(match after {
                After::Nothing => true,
                After::Accepted => (this.accepted)() != accepted,
                After::Mark => this.length_of_marks() != marks,
            })
        })
        .map(drop)
    }

    fn length_of_marks(&self) -> u64 {
        fs::metadata(self.site.marks()).map_or(0, |file| file.len())
    }

    fn take(&mut self, step: Step) -> Result<(), Failure> {
        match step.what {
            What::Kill { down } => self.kill_a_ready_one(step.who, down).map(drop),
            What::KillAndAgain { down, up } => {
                let Some(place) = self.kill_a_ready_one(step.who, down)? else { return Ok(()) };
                self.pass(down + up)?;
                if self.is_up(place) { self.kill(place, down) } else { Ok(()) }
            }
            What::Stop { pause } => self.stop(step.who, pause),
            What::At { point, fate, pause } => self.wait_at(point, fate, pause),
            What::KillSupervisor => self.kill_a_supervisor(step.who),
            What::StopSupervisor { pause } => self.stop_a_supervisor(step.who, pause),
            What::StopDatabase { mode, down } => self.stop_the_database(mode, down),
            What::KillBackend => self.kill_a_backend(step.who),
            What::StopBroker { way, down } => self.stop_the_broker(way, down),
        }
    }

    fn kill_a_ready_one(&mut self, who: u64, down: Duration) -> Result<Option<usize>, Failure> {
        let Some(place) = self.pick(who) else { return Ok(None) };
        self.pass_until(READY, |this| {
            Ok(!this.is_up(place) || this.is_stopped(place) || this.members[place].is_ready())
        })?;
        if self.is_up(place) {
            self.kill(place, down)?;
        }
        Ok(Some(place))
    }

    fn kill(&mut self, place: usize, down: Duration) -> Result<(), Failure> {
        let found = self.members[place].kill()?;
        self.excuse(place, found)?;
        self.done.killed(self.members[place].is_receiver());
        self.plans.resume.retain(|(_, stopped)| !stopped.is_member(place));
        self.plans.restart.push((Instant::now() + down, place));
        Ok(())
    }

    fn stop(&mut self, who: u64, pause: Duration) -> Result<(), Failure> {
        let Some(place) = self.pick(who).filter(|place| !self.is_stopped(*place)) else { return Ok(()) };
        self.members[place].signal(Signal::STOP)?;
        self.will_resume(place, pause, None);
        // A short one is waited for, so that what comes next does not end it.
        if pause < LONG { self.pass(pause) } else { Ok(()) }
    }

    fn wait_at(&mut self, point: &'static str, fate: Fate, pause: Duration) -> Result<(), Failure> {
        let armed = Armed::new(&self.site.points(), point, fate)?;
        let mut taken = None;
        self.pass_until(POINT, |_| {
            taken = armed.taken_by()?;
            Ok(taken.is_some())
        })?;
        let taken = match taken {
            Some(pid) => Some(pid),
            None => armed.disarm()?,
        };
        let Some(pid) = taken else { return Ok(()) };
        let place = self.members.iter().position(|member| member.pid() == pid);
        let place = place.ok_or_else(|| format!("process {pid} came by `{point}` and is not ours"))?;
        if fate == Fate::Stop {
            self.will_resume(place, pause, Some(point));
            return Ok(());
        }
        let is_killed = self.pass_until(DEATH, |this| {
            Ok(!this.is_up(place) || this.members[place].look()? == Found::Killed)
        })?;
        if !is_killed {
            return Err(format!("process {pid} came by `{point}` and is alive").into());
        }
        self.done.killed_at(point);
        self.done.killed(self.members[place].is_receiver());
        if self.is_up(place) {
            self.plans.restart.push((Instant::now() + pause, place));
        }
        Ok(())
    }

    fn will_resume(&mut self, place: usize, pause: Duration, point: Option<&'static str>) {
        let pid = self.members[place].pid();
        let stopped = Stopped::Member { place, pid, is_long: pause >= LONG, point };
        self.plans.resume.push((Instant::now() + pause, stopped));
    }

    fn supervisor(&self, who: u64) -> Result<Option<Process>, Failure> {
        let mut supervisors = supervisors(self.site.path())?;
        let place = usize::try_from(who).unwrap_or(0) % supervisors.len().max(1);
        Ok((!supervisors.is_empty()).then(|| supervisors.swap_remove(place)))
    }

    fn kill_a_supervisor(&mut self, who: u64) -> Result<(), Failure> {
        if let Some(killed) = self.supervisor(who)?.filter(|process| process.signal(Signal::KILL)) {
            self.done.supervisors.insert(killed.run);
        }
        Ok(())
    }

    fn stop_a_supervisor(&mut self, who: u64, pause: Duration) -> Result<(), Failure> {
        if let Some(stopped) = self.supervisor(who)?.filter(|process| process.signal(Signal::STOP)) {
            self.done.supervisors_stopped += 1;
            self.plans.resume.push((Instant::now() + pause, Stopped::Supervisor(stopped)));
        }
        Ok(())
    }

    fn stop_the_database(&mut self, mode: Mode, down: Duration) -> Result<(), Failure> {
        let Some(cluster) = self.services.cluster.as_ref().filter(|_| self.plans.start_database.is_none())
        else {
            return Ok(());
        };
        cluster.stop(mode)?;
        self.done.database_stopped(mode);
        self.plans.start_database = Some(Instant::now() + down);
        Ok(())
    }

    fn kill_a_backend(&mut self, who: u64) -> Result<(), Failure> {
        let Some(cluster) = self.services.cluster.as_ref().filter(|_| self.plans.start_database.is_none())
        else {
            return Ok(());
        };
        self.plans.was_down = Some(Instant::now());
        // It may be recovering from the last one, and then answers nobody.
        if cluster.kill_backend(who).unwrap_or(false) {
            self.done.backends += 1;
        }
        Ok(())
    }

    fn stop_the_broker(&mut self, way: Way, down: Duration) -> Result<(), Failure> {
        let Some(broker) = self.services.broker.as_ref().filter(|_| self.plans.start_broker.is_none()) else {
            return Ok(());
        };
        if way == Way::StopApp && !broker.is_up() {
            return Ok(());
        }
        broker.stop(way)?;
        self.done.broker_stopped(way);
        self.plans.start_broker = Some((Instant::now() + down, way));
        Ok(())
    }
}

/// What is longer than a lease.
const LONG: Duration = Duration::from_secs(31);
const AIM: Duration = Duration::from_secs(5);
const POINT: Duration = Duration::from_secs(8);
const READY: Duration = Duration::from_secs(10);
/// Between taking a point and dying at it lies nothing but what a busy machine does meanwhile.
const DEATH: Duration = Duration::from_secs(120);
