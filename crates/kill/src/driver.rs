use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::load::Load;
use crate::processes::{of_runs, wait_until};
use crate::schedule::{After, Step, What};
use crate::server::Server;
use crate::site::Site;
use crate::{Failure, tell};

/// Does to the server what the schedule says.
pub(crate) struct Driver<'a> {
    site: &'a Site,
    server: Server<'a>,
    accepted: Box<dyn Fn() -> usize + 'a>,
    pub(crate) done: Done,
}

/// What was done.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) kills: usize,
    pub(crate) stops: usize,
    /// The runs whose supervisor was killed.
    pub(crate) supervisors: BTreeSet<String>,
}

impl<'a> Driver<'a> {
    pub(crate) fn new(site: &'a Site, server: Server<'a>, load: &Load) -> Self {
        let accepted = load.counter();
        Self { site, server, accepted: Box::new(accepted), done: Done::default() }
    }

    pub(crate) fn follow(&mut self, steps: &[Step]) -> Result<(), Failure> {
        for step in steps {
            self.wait_for(step.after)?;
            thread::sleep(step.delay);
            self.take(step.what)?;
        }
        Ok(())
    }

    /// The server must not have ended by itself.
    pub(crate) fn assert_alive(&mut self) -> Result<(), Failure> {
        self.server.assert_alive()
    }

    fn wait_for(&mut self, after: After) -> Result<(), Failure> {
        let (accepted, marks) = ((self.accepted)(), self.length_of_marks());
        // When nothing comes it is done anyhow: to be aimed at such a moment is a wish.
        wait_until(AIM, || {
            Ok(match after {
                After::Nothing => true,
                After::Accepted => (self.accepted)() != accepted,
                After::Mark => self.length_of_marks() != marks,
            })
        })
        .map(drop)
    }

    fn length_of_marks(&self) -> u64 {
        fs::metadata(self.site.marks()).map_or(0, |file| file.len())
    }

    fn take(&mut self, what: What) -> Result<(), Failure> {
        match what {
            What::Kill { down } => {
                self.kill(down)?;
                self.server.wait_until_ready()
            }
            What::KillAndAgain { down, up } => {
                self.kill(down)?;
                thread::sleep(up);
                self.kill(down)?;
                self.server.wait_until_ready()
            }
            What::Stop { pause } => {
                self.server.signal(Signal::STOP)?;
                thread::sleep(pause);
                self.done.stops += 1;
                self.server.signal(Signal::CONT)
            }
            What::KillSupervisor => self.kill_a_supervisor(),
        }
    }

    fn kill(&mut self, down: Duration) -> Result<(), Failure> {
        self.server.kill()?;
        self.done.kills += 1;
        if self.done.kills.is_multiple_of(10) {
            tell(&format!("{} kills", self.done.kills));
        }
        thread::sleep(down);
        self.server.spawn()
    }

    fn kill_a_supervisor(&mut self) -> Result<(), Failure> {
        if let Some(killed) = of_runs(&self.site.state())?.iter().find(|process| process.kill_supervisor()) {
            self.done.supervisors.insert(killed.run.clone());
        }
        Ok(())
    }
}

const AIM: Duration = Duration::from_secs(5);
