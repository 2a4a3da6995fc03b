use swifthook_core::{Job, Progress, Reason, StopKind};

/// Watches what the runner does: for a timeline, for metrics.
///
/// It is called on the runner's own tasks and must return at once; hand over to a channel what takes longer. A panic in
/// it is logged and changes nothing.
pub trait Observer: Send + Sync {
    /// `moment` has come about; `job` is as it is afterwards.
    fn observe(&self, job: &Job, moment: &Moment);
}

/// Sees nothing.
impl Observer for () {
    fn observe(&self, _job: &Job, _moment: &Moment) {}
}

impl<F: Fn(&Job, &Moment) + Send + Sync> Observer for F {
    fn observe(&self, job: &Job, moment: &Moment) {
        self(job, moment);
    }
}

/// What happened to a job.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Moment {
    /// It was claimed, and nothing of it runs.
    Claimed,
    /// It was claimed with a run, or a launch, that somebody else began.
    Adopted,
    /// It waits, is held, or is not wanted any more; its state says which and why.
    PutOff,
    /// Its diff is known, or could not be had; its state says what follows.
    Diffed,
    /// An attempt began.
    Started,
    /// Its commit is checked out.
    CheckedOut,
    /// Its run is known to the launcher.
    Submitted,
    /// The launcher refused it; its state says whether for good.
    Refused,
    /// Its run has come further.
    Progressed(Progress),
    /// Its run is stuck, or its loss went astray.
    Alarmed(Reason),
    /// Its run cannot be reached.
    Unreachable,
    /// Its run is asked to end; `None` if that is because it lost too many workers.
    Stopping(Option<StopKind>),
    /// Its run has ended or vanished.
    Ended,
    /// What its run left is collected: it is at its end, or queued again.
    Finished,
    /// The runner shut down and let go of it; its run goes on.
    Released,
    /// Another worker has it by now.
    Lost,
}
