use std::collections::BTreeSet;
use std::sync::Arc;

use swifthook_core::{
    Admitted, Change, CommitSha, Debounce, Event, HoldReason, Job, JobId, JobSpec, QueueError, RefName,
    RepoName, Source, Stage, State, StoredJob, TimelineEntry, Timestamp, Verdict, Wait,
};

use super::{Rules, Submission, timeline};
use crate::store::{Entry, Latest, Removed, Rival, Store};

/// What all jobs of one push have in common.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) repository: RepoName,
    pub(super) ref_name: RefName,
    pub(super) before: Option<CommitSha>,
    pub(super) head: CommitSha,
    pub(super) sender: Option<Arc<str>>,
    pub(super) pushed_at: Option<Timestamp>,
    pub(super) source: Source,
}

/// How a job begins.
#[derive(Clone, Debug)]
pub(crate) enum Birth {
    /// Queued, at the earliest then.
    Launch { not_before: Option<Timestamp> },
    /// Held.
    Hold(HoldReason),
}

impl Birth {
    /// What a verdict makes of its jobs. A skip makes none; a verdict that this version does not know neither.
    pub(super) fn of(verdict: &Verdict) -> Option<Self> {
        match verdict {
            Verdict::Launch { not_before } => Some(Self::Launch { not_before: *not_before }),
            Verdict::Hold(reason) => Some(Self::Hold(reason.clone())),
            _ => None,
        }
    }
}

/// Which training of its change a job is to be.
pub(super) struct Training {
    pub(super) run: u32,
    pub(super) redeliveries: u32,
    pub(super) rerun_of: Option<JobId>,
    /// Whether it is born superseded when a newer change of its group is known.
    pub(super) may_be_late: bool,
    /// Last job of the change and its spec, where these are kept.
    pub(super) last: Option<(JobId, JobSpec)>,
}

/// The last training of a change that is known.
pub(super) struct Known {
    pub(super) latest: Latest,
    pub(super) stage: Stage,
    source: Source,
    /// Where the ref was before the push that it came of.
    before: Option<CommitSha>,
    /// When that push was made; `None` also where its job was removed.
    pushed_at: Option<Timestamp>,
    /// What it is held for.
    hold: Option<HoldReason>,
    /// True if a run of it has begun.
    has_run: bool,
}

impl Known {
    fn of(latest: Latest, job: &Job) -> Self {
        Self {
            latest,
            stage: job.state.stage,
            source: job.source.clone(),
            before: job.before.clone(),
            pushed_at: job.pushed_at,
            hold: job.state.hold.clone(),
            has_run: job.state.attempt > 0,
        }
    }

    fn removed(latest: Latest) -> Result<Self, QueueError> {
        let Removed { stage, source, before } = latest.removed.clone().ok_or_else(|| lost(latest.job))?;
        Ok(Self { latest, stage, source, before, pushed_at: None, hold: None, has_run: false })
    }

    /// Tells whether a training of the change has begun, of this job or of one before it.
    fn has_trained(&self) -> bool {
        self.latest.has_trained || self.has_run
    }

    /// Tells whether it answers every push of its commit, wherever the ref was before: one commit trains once. What ended
    /// without a run, or is held for what its push was, says nothing of another push: that changed other files, came by
    /// other hands, at another time.
    pub(super) fn answers_all(&self) -> bool {
        self.has_trained()
            || match self.stage {
                Stage::Queued | Stage::Running | Stage::Finishing => true,
                Stage::Held => self.hold.as_ref().is_some_and(|hold| !is_of_the_push(hold)),
                _ => false,
            }
    }

    /// Tells whether it never ran since a newer push took its place, and this one, by the time that GitHub signed, is no
    /// redelivery of its own: the ref has come back the same way, and what is newest now is this commit.
    fn gave_way_before(&self, origin: &Origin) -> bool {
        let is_newer = matches!((self.pushed_at, origin.pushed_at), (Some(was), Some(is)) if was < is);
        self.stage == Stage::Superseded && is_newer
    }

    /// Tells whether it waits for the very answer that another push of the commit would wait for, which is a person's.
    fn waits_as(&self, birth: &Birth) -> bool {
        let (Some(this), Birth::Hold(other)) = (&self.hold, birth) else { return false };
        let is_a_persons =
            matches!(other, HoldReason::Approval | HoldReason::Budget | HoldReason::Rate | HoldReason::Stale);
        self.stage == Stage::Held && is_a_persons && this.word() == other.word()
    }

    fn stored(self, spec: JobSpec) -> StoredJob {
        let Self { latest, stage, .. } = self;
        let JobSpec { recipe, config, .. } = spec;
        StoredJob { recipe, config, id: latest.job, stage, admitted: Admitted::Duplicate }
    }
}

/// Tells whether a job is held for what its push was: its files, its age, who sent it and how often. What is held later, when
/// it was to run, was decided.
fn is_of_the_push(hold: &HoldReason) -> bool {
    !matches!(hold, HoldReason::RecipeGone | HoldReason::KnownFailure(_))
}

impl Training {
    pub(super) const FIRST: Self =
        Self { run: 0, redeliveries: 0, rerun_of: None, may_be_late: true, last: None };
}

impl<S: Store> Rules<'_, S> {
    /// One training per change: enqueues what is not known, and names the job of what is.
    pub(super) fn admit(
        &mut self,
        origin: &Origin,
        spec: JobSpec,
        birth: Birth,
        is_redeliverable: bool,
        who: &Arc<str>,
    ) -> Result<StoredJob, QueueError> {
        let change = origin.change(&spec, 0);
        let Some(latest) = self.store.latest(&change)? else {
            let job = self.enqueue(origin, spec, birth, Training::FIRST, who)?;
            return Ok(stored(&job, Admitted::New));
        };
        let run = latest.run + 1;
        let last = self.known_training(&change, latest)?;
        let Some(known) = self.answer(origin, &change, &birth, last)? else {
            let job = self.enqueue(origin, spec, birth, Training { run, ..Training::FIRST }, who)?;
            return Ok(stored(&job, Admitted::New));
        };
        if !is_redeliverable || !is_rerun(&known, origin) {
            return Ok(known.stored(spec));
        }
        let latest = known.latest;
        let training = Training {
            run,
            redeliveries: latest.redeliveries + 1,
            rerun_of: Some(latest.job),
            may_be_late: true,
            last: self.store.entry(latest.job)?.map(|entry| (entry.job.id, entry.job.spec)),
        };
        let job = self.enqueue(origin, spec, birth, training, who)?;
        Ok(stored(&job, Admitted::Rerun { of: latest.job }))
    }

    /// Tells what [`accept`](Self::accept) would say of each job, where its change is known.
    pub(crate) fn known_jobs(
        &mut self,
        submission: &Submission,
    ) -> Result<Vec<Option<StoredJob>>, QueueError> {
        let Some(origin) = Origin::of_submission(submission) else { return Ok(Vec::new()) };
        let offers = submission.offers.iter().map(|(spec, birth)| {
            let change = origin.change(spec, 0);
            let Some(latest) = self.store.latest(&change)? else { return Ok(None) };
            let last = self.known_training(&change, latest)?;
            let known = self.answer(&origin, &change, birth, last)?;
            let is_known = |known: &Known| !(submission.is_redeliverable && is_rerun(known, &origin));
            Ok(known.filter(is_known).map(|known| known.stored(spec.clone())))
        });
        offers.collect()
    }

    /// What answers a push of a change that is known; `None` where it is decided anew.
    fn answer(
        &mut self,
        origin: &Origin,
        change: &Change,
        birth: &Birth,
        last: Known,
    ) -> Result<Option<Known>, QueueError> {
        if last.answers_all() || last.waits_as(birth) {
            return Ok(Some(last));
        }
        let known = if last.before == origin.before {
            last
        } else {
            let before = origin.before.as_ref();
            match self.store.decision(change, before)? {
                Some(decided) => self.known_decision(change, decided, before)?,
                None => return Ok(None),
            }
        };
        Ok(Some(known).filter(|known| !known.gave_way_before(origin)))
    }

    /// The same for what another push has taken the place of.
    fn known_decision(
        &mut self,
        change: &Change,
        decided: Latest,
        before: Option<&CommitSha>,
    ) -> Result<Known, QueueError> {
        if let Some(Entry { job, .. }) = self.store.entry(decided.job)? {
            return Ok(Known::of(decided, &job));
        }
        let decided = match decided.removed {
            Some(_) => decided,
            None => self.store.decision(change, before)?.ok_or_else(|| lost(decided.job))?,
        };
        Known::removed(decided)
    }

    /// How the last training of a change stands, whose job may have been removed, and that meanwhile too.
    pub(super) fn known_training(&mut self, change: &Change, latest: Latest) -> Result<Known, QueueError> {
        if let Some(Entry { job, .. }) = self.store.entry(latest.job)? {
            return Ok(Known::of(latest, &job));
        }
        let latest = match latest.removed {
            Some(_) => latest,
            None => self.store.latest(change)?.ok_or_else(|| lost(latest.job))?,
        };
        Known::removed(latest)
    }

    /// Makes the job of a training. Older ones of its group give way to it, unless it is held or late itself.
    pub(super) fn enqueue(
        &mut self,
        origin: &Origin,
        spec: JobSpec,
        birth: Birth,
        training: Training,
        who: &Arc<str>,
    ) -> Result<Job, QueueError> {
        let contest = self.contest(&origin.rival(), &spec)?;
        let newer = contest.newer.filter(|_| training.may_be_late);
        let (state, older) = match (newer, birth) {
            (Some(_), _) => (State::born_superseded(self.now), vec![]),
            (None, Birth::Hold(reason)) => (self.held(&spec, reason), vec![]),
            (None, Birth::Launch { not_before }) => {
                (self.queued(&spec, not_before, &contest.older), contest.older)
            }
        };
        let job = Job {
            id: self.ids.job(self.now),
            change: origin.change(&spec, training.run),
            before: origin.before.clone(),
            sender: origin.sender.clone(),
            pushed_at: origin.pushed_at,
            source: origin.source.clone(),
            spec,
            state,
            created_at: self.now,
            rerun_of: training.rerun_of,
            superseded_by: newer,
            progress: None,
        };
        self.store.insert(&job)?;
        let previous = match training.run {
            0 => {
                self.store.set_latest(&job.change, &Latest::first(&job))?;
                None
            }
            _ => self.take_place(&job, training.redeliveries)?,
        };
        self.note_beginning(&job, training.last.as_ref().and_then(|last| unlike(&job.spec, last)), who)?;
        self.give_way(&older, &job, who)?;
        if job.state.stage == Stage::Queued && training.run > 0 {
            self.answer_others(&job, previous, who)?;
        }
        self.has_news |= job.state.stage == Stage::Queued || job.state.needs_diff();
        Ok(job)
    }

    /// A job becomes the last of its change. The one that was stays the answer to the push that it came of, and is named.
    fn take_place(&mut self, job: &Job, redeliveries: u32) -> Result<Option<JobId>, QueueError> {
        let mut latest = Latest { redeliveries, ..Latest::first(job) };
        let mut place = None;
        if let Some(previous) = self.store.latest(&job.change)?
            && previous.job != job.id
        {
            let previous = self.known_training(&job.change, previous)?;
            place = Some(previous.latest.job);
            latest.run = latest.run.max(previous.latest.run);
            latest.has_trained = previous.has_trained();
            if previous.before != job.before {
                self.store.set_decision(&job.change, previous.before.as_ref(), &previous.latest)?;
            }
        }
        self.store.set_latest(&job.change, &latest)?;
        Ok(place)
    }

    /// A job is to train: whatever is held for other pushes of its commit has nothing to wait for any more.
    fn answer_others(
        &mut self,
        job: &Job,
        previous: Option<JobId>,
        who: &Arc<str>,
    ) -> Result<(), QueueError> {
        let decided = self.store.decisions(&job.change)?.into_iter().map(|(_, decided)| decided.job);
        let others: BTreeSet<_> = decided.chain(previous).filter(|id| *id != job.id).collect();
        for id in others {
            let mut entry = match self.store.entry(id) {
                Ok(Some(entry)) if entry.job.state.stage == Stage::Held => entry,
                // What is damaged can wait for nothing either.
                Ok(_) | Err(QueueError::Store { is_permanent: true, .. }) => continue,
                Err(error) => return Err(error),
            };
            entry.job.superseded_by = Some(job.id);
            self.happen(entry, Event::Answered { at: self.now }, who)?;
        }
        Ok(())
    }

    /// A held job is to train, though another push of its commit may have come since.
    pub(super) fn train_for_all(&mut self, job: &Job, who: &Arc<str>) -> Result<(), QueueError> {
        match self.store.latest(&job.change)? {
            Some(latest) if latest.job != job.id => {
                let own = self.store.decision(&job.change, job.before.as_ref())?;
                let previous = self.take_place(job, own.map_or(0, |own| own.redeliveries))?;
                self.answer_others(job, previous, who)
            }
            Some(latest) if latest.run > 0 => self.answer_others(job, None, who),
            _ => Ok(()),
        }
    }

    fn held(&self, spec: &JobSpec, reason: HoldReason) -> State {
        State { debounce_since: spec.debounce.map(|_| self.now), ..State::held(reason) }
    }

    fn queued(&self, spec: &JobSpec, not_before: Option<Timestamp>, older: &[Rival]) -> State {
        let waiting = older.iter().filter(|rival| !rival.stage.is_active());
        let inherited = waiting.filter_map(|rival| rival.debounce_since).min();
        let since = self.now.min(inherited.unwrap_or(self.now));
        let (not_before, waits_for) = first_start(not_before, spec.debounce, since, self.now);
        State { debounce_since: spec.debounce.map(|_| since), ..State::queued(not_before, waits_for) }
    }

    /// A job that intake queued says all of its beginning itself.
    fn note_beginning(
        &mut self,
        job: &Job,
        unlike: Option<String>,
        who: &Arc<str>,
    ) -> Result<(), QueueError> {
        if &**who == timeline::INTAKE && job.state.stage == Stage::Queued && unlike.is_none() {
            return Ok(());
        }
        let reason = job.state.reason.as_ref().map(ToString::to_string);
        let why: Vec<_> = reason.into_iter().chain(unlike).collect();
        let line = TimelineEntry {
            at: self.now,
            who: who.clone(),
            what: timeline::ENQUEUED.into(),
            stage: job.state.stage,
            why: (!why.is_empty()).then(|| why.join("; ")),
        };
        self.store.note(job.id, line)
    }
}

impl Origin {
    /// Of a push that has left a commit.
    pub(super) fn of_submission(submission: &Submission) -> Option<Self> {
        let delivery = &submission.delivery;
        Some(Self {
            repository: delivery.repository.clone(),
            ref_name: delivery.ref_name.clone(),
            before: delivery.before.clone(),
            head: delivery.head.clone()?,
            sender: delivery.sender.clone(),
            pushed_at: submission.pushed_at,
            source: delivery.source.clone(),
        })
    }

    pub(super) fn of(job: &Job) -> Self {
        Self {
            repository: job.change.repository.clone(),
            ref_name: job.change.ref_name.clone(),
            before: job.before.clone(),
            head: job.change.head.clone(),
            sender: job.sender.clone(),
            pushed_at: job.pushed_at,
            source: job.source.clone(),
        }
    }

    fn change(&self, spec: &JobSpec, run: u32) -> Change {
        Change {
            repository: self.repository.clone(),
            ref_name: self.ref_name.clone(),
            head: self.head.clone(),
            recipe: spec.recipe.clone(),
            config: spec.config.clone().unwrap_or_default(),
            run,
        }
    }

    /// As a rival that does not exist yet.
    fn rival(&self) -> Rival {
        Rival {
            id: JobId([0; 16]),
            place: (self.repository.clone(), self.ref_name.clone()),
            before: self.before.clone(),
            head: self.head.clone(),
            pushed_at: self.pushed_at,
            stage: Stage::Queued,
            debounce_since: None,
        }
    }
}

/// When a job may start at the earliest, and what it waits for until then.
pub(super) fn first_start(
    policy: Option<Timestamp>,
    debounce: Option<Debounce>,
    since: Timestamp,
    arrived: Timestamp,
) -> (Option<Timestamp>, Option<Wait>) {
    match (policy, debounce.map(|debounce| debounce.not_before(since, arrived))) {
        (policy, Some(quiet)) if policy < Some(quiet) => (Some(quiet), Some(Wait::Debounce)),
        (policy, _) => (policy, policy.map(|_| Wait::Time)),
    }
}

/// A person's redelivery of what failed: the same push, hook and GUID as the receipt that made the job. The GUID is
/// unsigned, so without the rest of the rule it would decide nothing.
fn is_rerun(known: &Known, origin: &Origin) -> bool {
    matches!(origin.source, Source::Hook { .. })
        && known.source == origin.source
        && known.before == origin.before
        && known.stage == Stage::Failed
        && known.latest.redeliveries < MAX_REDELIVERIES
}

/// Tells in what a job is another than the last one of its change, for its timeline.
fn unlike(spec: &JobSpec, (last, was): &(JobId, JobSpec)) -> Option<String> {
    let differences = spec.differences(was);
    (!differences.is_empty()).then(|| format!("not as job {last}: {}", differences.join("; ")))
}

fn stored(job: &Job, admitted: Admitted) -> StoredJob {
    StoredJob {
        recipe: job.spec.recipe.clone(),
        config: job.spec.config.clone(),
        id: job.id,
        stage: job.state.stage,
        admitted,
    }
}

fn lost(job: JobId) -> QueueError {
    QueueError::Store {
        source: format!("the change of job {job} is known, but not the job").into(),
        is_permanent: true,
    }
}

/// How many trainings of a change may come about by redelivery.
const MAX_REDELIVERIES: u32 = 3;
