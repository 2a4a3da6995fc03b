use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use swifthook_core::{
    Capabilities, Checkpoint, Exit, LaunchError, Measure, Progress, RunHandle, RunKey, RunSpec, RunStatus,
    Stop, StopKind, Timestamp, TrainingLauncher,
};

use super::clock::Clock;

/// A launcher whose runs are entries in a table: each goes as its [`Course`] says, by the clock, whoever watches. It
/// outlives the workers of a simulated world, as a cluster does.
///
/// It keeps its promise (one run for each key) and writes down what nobody but the caller can prevent: two live runs of
/// one job, of one group, or on one GPU.
pub struct ScriptedLauncher {
    clock: Clock,
    table: Mutex<Table>,
}

struct Table {
    course: Box<dyn FnMut(&RunKey) -> Course + Send>,
    runs: BTreeMap<RunKey, Run>,
    forbidden: BTreeSet<RunKey>,
    faults: VecDeque<SubmitFault>,
    out_of_reach_until: Option<Timestamp>,
    poll_panics: u32,
    lost: BTreeSet<Arc<str>>,
    submissions: usize,
    wrongs: Vec<String>,
    cannot_yield: bool,
    checks_out: bool,
}

/// How a run goes if nobody stops it.
#[derive(Clone, Debug)]
pub struct Course {
    /// How long it takes.
    pub lasts: Duration,
    /// What comes then.
    pub ending: Ending,
    /// The steps that it counts; 0 for a run that does not.
    pub steps: u64,
    /// The steps between two checkpoints; 0 for a run that saves none. One that saves also does so when it is asked to
    /// end, and goes on from where the attempt before it was.
    pub saves: u64,
    /// How much memory of its GPUs it tells that it has, in GiB; only of a run that counts its steps.
    pub memory_gib: Option<f64>,
    /// What of it is no number at its last step; only of a run that counts its steps.
    pub diverged: Option<Measure>,
    /// How long it takes to end once it is asked to, unless its grace is shorter.
    pub obeys_after: Duration,
    /// Whether its launcher ends it when its grace is over.
    pub heeds_grace: bool,
}

/// The end of a run that nobody stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It exits with this code.
    Exits(i32),
    /// It finds a GPU without free memory.
    OutOfGpuMemory,
    /// A signal that nobody here sent ends it.
    Killed(i32),
    /// It is gone, and nobody knows how.
    Vanishes,
}

/// What goes wrong with a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubmitFault {
    /// It fails, and there is no run.
    Before,
    /// There is a run, and the answer is lost: also while nobody else reaches the launcher.
    After,
    /// It is refused for good.
    Refused,
    /// The launcher panics.
    Panics,
}

/// A run as it was.
#[derive(Clone, Debug)]
pub struct RunRecord {
    /// Its key.
    pub key: RunKey,
    /// The group of its job.
    pub group: Arc<str>,
    /// When it began.
    pub began: Timestamp,
    /// When it ended, or will if nobody stops it.
    pub ends: Timestamp,
    /// How it ended, if it has.
    pub status: RunStatus,
    /// What it was started with.
    pub spec: RunSpec,
    /// How it was asked to end, in order.
    pub stops: Vec<Stop>,
}

struct Run {
    spec: RunSpec,
    course: Course,
    began: Timestamp,
    stops: Vec<(Timestamp, Stop)>,
    /// When its machine was switched off under it.
    gone_at: Option<Timestamp>,
}

impl ScriptedLauncher {
    /// A launcher whose runs take ten minutes, count a hundred steps, and end well.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let table = Table {
            course: Box::new(|_| Course::default()),
            runs: BTreeMap::new(),
            forbidden: BTreeSet::new(),
            faults: VecDeque::new(),
            out_of_reach_until: None,
            poll_panics: 0,
            lost: BTreeSet::new(),
            submissions: 0,
            wrongs: Vec::new(),
            cannot_yield: false,
            checks_out: false,
        };
        Self { clock, table: Mutex::new(table) }
    }

    /// How runs that are still to begin will go.
    pub fn plan(&self, course: impl FnMut(&RunKey) -> Course + Send + 'static) {
        self.table().course = Box::new(course);
    }

    /// The next submission that has no fault yet gets this one.
    pub fn fail_submission(&self, fault: SubmitFault) {
        self.table().faults.push_back(fault);
    }

    /// The next `times` polls panic.
    pub fn panic_in_polls(&self, times: u32) {
        self.table().poll_panics = times;
    }

    /// From now on its runs cannot save and go on later.
    pub fn cannot_yield(&self) {
        self.table().cannot_yield = true;
    }

    /// From now on it makes the working trees of its runs.
    pub fn checks_out(&self) {
        self.table().checks_out = true;
    }

    /// Nobody reaches it for so long.
    pub fn lose_sight_for(&self, time: Duration) {
        self.table().out_of_reach_until = Some(self.now().after(time));
    }

    /// Its machines start anew: whatever runs is gone without a word, and nobody reaches it for so long.
    pub fn reboot(&self, time: Duration) {
        let (now, mut table) = (self.now(), self.table());
        for run in table.runs.values_mut().filter(|run| now < run.end().0) {
            run.gone_at = Some(now);
        }
        table.out_of_reach_until = Some(now.after(time));
    }

    /// The checkpoint at this place is gone.
    pub fn lose(&self, checkpoint: &str) {
        self.table().lost.insert(checkpoint.into());
    }

    /// How often it was asked to submit, known keys included.
    pub fn submissions(&self) -> usize {
        self.table().submissions
    }

    /// Every run there ever was, by key.
    pub fn runs(&self) -> Vec<RunRecord> {
        let now = self.now();
        self.table().runs.iter().map(|(key, run)| run.record(key, now)).collect()
    }

    /// Those that are alive.
    pub(super) fn live_runs(&self) -> Vec<RunRecord> {
        let (now, table) = (self.now(), self.table());
        let live = table.runs.iter().filter(|(_, run)| now < run.end().0);
        live.map(|(key, run)| run.record(key, now)).collect()
    }

    /// Whether the key can have no run any more.
    pub fn is_forbidden(&self, key: &RunKey) -> bool {
        self.table().forbidden.contains(key)
    }

    /// What it saw that must never be.
    pub fn wrongs(&self) -> Vec<String> {
        self.table().wrongs.clone()
    }

    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("nothing panics under this lock")
    }

    fn is_to_panic_in_a_poll(&self) -> bool {
        let mut table = self.table();
        let is_to = table.poll_panics > 0;
        table.poll_panics = table.poll_panics.saturating_sub(1);
        is_to
    }

    /// The table, unless nobody can reach it now.
    fn reach(&self) -> Result<MutexGuard<'_, Table>, LaunchError> {
        self.reach_if(|_| false)
    }

    /// The same, or if so.
    fn reach_if(&self, anyway: impl FnOnce(&Table) -> bool) -> Result<MutexGuard<'_, Table>, LaunchError> {
        let table = self.table();
        match table.out_of_reach_until {
            Some(until) if self.now() < until && !anyway(&table) => {
                Err(LaunchError::passing("the cluster does not answer"))
            }
            _ => Ok(table),
        }
    }
}

#[async_trait]
impl TrainingLauncher for ScriptedLauncher {
    fn capabilities(&self) -> Capabilities {
        let table = self.table();
        Capabilities {
            survives_restart: true,
            any_host: true,
            yields: !table.cannot_yield,
            checks_out: table.checks_out,
            gpu_leases: true,
            ..Capabilities::default()
        }
    }

    async fn submit(&self, key: &RunKey, run: &RunSpec) -> Result<RunHandle, LaunchError> {
        let fault = {
            // A question may get there though no answer comes back.
            let mut table = self.reach_if(|table| table.faults.front() == Some(&SubmitFault::After))?;
            table.submissions += 1;
            let fault = table.faults.pop_front();
            match fault {
                Some(SubmitFault::Before) => return Err(LaunchError::passing("the cluster is busy")),
                Some(SubmitFault::Refused) => return Err(LaunchError::permanent("no such partition")),
                Some(SubmitFault::After | SubmitFault::Panics) | None => {}
            }
            // A known key is no second run, but whoever knows of the first has no business to ask again.
            if table.runs.contains_key(key) {
                table.wrongs.push(format!("{key} is submitted again although it has a run"));
            }
            if table.forbidden.contains(key) {
                return Err(LaunchError::permanent(format!("{key} is not wanted any more")));
            }
            if fault != Some(SubmitFault::Panics) {
                table.begin(key, run, self.now());
            }
            fault
        };
        match fault {
            Some(SubmitFault::Panics) => panic_quietly(),
            Some(_) => Err(LaunchError::passing("the answer was lost")),
            None => Ok(handle(key)),
        }
    }

    async fn find(&self, key: &RunKey) -> Result<Option<RunHandle>, LaunchError> {
        Ok(self.reach()?.runs.contains_key(key).then(|| handle(key)))
    }

    async fn forbid(&self, key: &RunKey) -> Result<Option<RunHandle>, LaunchError> {
        let mut table = self.reach()?;
        if table.runs.contains_key(key) {
            return Ok(Some(handle(key)));
        }
        table.forbidden.insert(*key);
        Ok(None)
    }

    async fn poll(&self, run: &RunHandle) -> Result<RunStatus, LaunchError> {
        if self.is_to_panic_in_a_poll() {
            panic_quietly();
        }
        let table = self.reach()?;
        Ok(table.run(run)?.map_or(RunStatus::Vanished, |run| run.status(self.now())))
    }

    async fn stop(&self, run: &RunHandle, how: Stop) -> Result<(), LaunchError> {
        let (key, now) = (key_of(run)?, self.now());
        if let Some(run) = self.reach()?.runs.get_mut(&key) {
            run.stops.push((now, how));
        }
        Ok(())
    }

    async fn progress(&self, run: &RunHandle) -> Result<Progress, LaunchError> {
        let table = self.reach()?;
        Ok(table.run(run)?.map_or_else(Progress::default, |run| run.progress(self.now())))
    }

    async fn checkpoint(&self, run: &RunHandle) -> Result<Option<Checkpoint>, LaunchError> {
        let (key, table) = (key_of(run)?, self.reach()?);
        let step = table.run(run)?.and_then(|run| run.saved(self.now()));
        Ok(step.map(|step| Checkpoint {
            path: format!("/runs/{key}/checkpoint-{step}").into(),
            step: Some(step),
            attempt: key.attempt,
            host: None,
        }))
    }

    async fn holds(&self, checkpoint: &Checkpoint) -> Result<bool, LaunchError> {
        Ok(!self.reach()?.lost.contains(&checkpoint.path))
    }
}

impl Table {
    fn begin(&mut self, key: &RunKey, spec: &RunSpec, now: Timestamp) {
        if self.runs.contains_key(key) {
            return;
        }
        let group = &spec.job.spec.group;
        for (other, run) in self.runs.iter().filter(|(_, run)| now < run.end().0) {
            if other.job == key.job {
                self.wrongs.push(format!("{key} begins at {now} while {other} lives"));
            } else if run.spec.job.spec.group == *group {
                self.wrongs.push(format!("{key} begins at {now} while {other} of its group {group} lives"));
            }
            if let Some(shared) = gpus_of(spec).find(|gpu| gpus_of(&run.spec).any(|other| other == *gpu)) {
                self.wrongs.push(format!("{key} begins at {now} on {shared} while {other} lives there"));
            }
        }
        let course = (self.course)(key);
        self.runs
            .insert(*key, Run { spec: spec.clone(), course, began: now, stops: Vec::new(), gone_at: None });
    }

    fn run(&self, handle: &RunHandle) -> Result<Option<&Run>, LaunchError> {
        Ok(self.runs.get(&key_of(handle)?))
    }
}

impl Run {
    fn record(&self, key: &RunKey, now: Timestamp) -> RunRecord {
        RunRecord {
            key: *key,
            group: self.spec.job.spec.group.clone(),
            began: self.began,
            ends: self.end().0,
            status: self.status(now),
            spec: self.spec.clone(),
            stops: self.stops.iter().map(|(_, how)| *how).collect(),
        }
    }

    fn status(&self, now: Timestamp) -> RunStatus {
        match self.end() {
            (at, _) if now < at => RunStatus::Running(self.progress(now)),
            (_, RunStatus::Ended(exit)) => RunStatus::Ended(exit),
            (_, status) => status,
        }
    }

    /// The earliest of the ends that come to it.
    fn end(&self) -> (Timestamp, RunStatus) {
        if let Some(at) = self.gone_at {
            return (at, RunStatus::Vanished);
        }
        let own = (self.began.after(self.left()), self.course.ending);
        let asked = self.stops.iter().map(|(at, how)| at.after(self.obeys(*how))).min();
        let timeout = self.spec.timeout.map(|timeout| self.began.after(timeout));
        match (own, asked, timeout) {
            ((at, _), asked, Some(timeout)) if timeout < at && asked.is_none_or(|asked| timeout <= asked) => {
                (timeout, terminated(Some(StopKind::Timeout), timeout))
            }
            ((at, _), Some(asked), _) if asked < at => (asked, terminated(None, asked)),
            ((at, Ending::Exits(code)), ..) => {
                let exit = Exit { code: Some(code), at: Some(at), ..Exit::default() };
                (at, RunStatus::Ended(exit))
            }
            ((at, Ending::OutOfGpuMemory), ..) => {
                let out_of_gpu_memory_after = Some(at.since(self.began));
                let exit = Exit { code: Some(1), at: Some(at), out_of_gpu_memory_after, ..Exit::default() };
                (at, RunStatus::Ended(exit))
            }
            ((at, Ending::Killed(signal)), ..) => {
                let exit = Exit { signal: Some(signal), at: Some(at), ..Exit::default() };
                (at, RunStatus::Ended(exit))
            }
            ((at, Ending::Vanishes), ..) => (at, RunStatus::Vanished),
        }
    }

    fn obeys(&self, how: Stop) -> Duration {
        match how {
            Stop::Kill => Duration::ZERO,
            Stop::Grace(grace) if self.course.heeds_grace => self.course.obeys_after.min(grace),
            _ => self.course.obeys_after,
        }
    }

    /// The step that it goes on from.
    fn first_step(&self) -> u64 {
        let from = self.spec.job.state.resumed_from.as_ref().filter(|_| self.course.saves > 0);
        from.and_then(|checkpoint| checkpoint.step).unwrap_or(0)
    }

    /// How long it takes from there.
    fn left(&self) -> Duration {
        let Course { lasts, steps, .. } = self.course;
        let left = steps.saturating_sub(self.first_step());
        if steps == 0 { lasts } else { lasts.mul_f64(left as f64 / steps as f64) }
    }

    /// The step of its last checkpoint.
    fn saved(&self, now: Timestamp) -> Option<u64> {
        let step = self.progress(now).step.filter(|step| *step > self.first_step())?;
        match self.course.saves {
            0 => None,
            _ if !self.stops.is_empty() => Some(step),
            every => Some(step - step % every).filter(|saved| *saved > self.first_step()),
        }
    }

    fn progress(&self, now: Timestamp) -> Progress {
        let Course { lasts, steps, memory_gib, diverged, .. } = self.course;
        if steps == 0 {
            return Progress::default();
        }
        let elapsed = now.min(self.end().0).since(self.began);
        let done = elapsed.as_millis() * u128::from(steps) / lasts.as_millis().max(1);
        let step = (self.first_step() + u64::try_from(done).unwrap_or(steps)).min(steps);
        let diverged = diverged.filter(|_| step == steps);
        Progress { step: Some(step), max_steps: Some(steps), memory_gib, diverged, ..Progress::default() }
    }
}

impl Default for Course {
    fn default() -> Self {
        Self {
            lasts: Duration::from_secs(600),
            ending: Ending::Exits(0),
            steps: 100,
            saves: 0,
            memory_gib: None,
            diverged: None,
            obeys_after: Duration::from_secs(2),
            heeds_grace: true,
        }
    }
}

/// The GPUs that a run sees.
pub(super) fn gpus_of(spec: &RunSpec) -> impl Iterator<Item = &str> {
    let visible = spec.env.get("CUDA_VISIBLE_DEVICES").map_or("", String::as_str);
    visible.split(',').filter(|gpu| !gpu.is_empty())
}

fn terminated(by: Option<StopKind>, at: Timestamp) -> RunStatus {
    RunStatus::Ended(Exit { signal: Some(15), stopped: by, at: Some(at), ..Exit::default() })
}

/// As any panic, but without the hook that prints it: it is part of the story.
fn panic_quietly() -> ! {
    std::panic::resume_unwind(Box::new("the scripted launcher panics as it was told"))
}

fn handle(key: &RunKey) -> RunHandle {
    let data = serde_json::to_value(key).expect("a key is JSON");
    RunHandle { launcher: ScriptedLauncher::NAME.into(), host: None, version: 1, data }
}

fn key_of(run: &RunHandle) -> Result<RunKey, LaunchError> {
    serde_json::from_value(run.data.clone())
        .map_err(|error| LaunchError::permanent("not a handle of this launcher").because(error))
}

impl ScriptedLauncher {
    /// The name that its handles carry.
    pub const NAME: &str = "scripted";
}
