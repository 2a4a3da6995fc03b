//! What must be so in a world: at every moment, and at its end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use swifthook_core::{Change, Delivery, Job, Push, Stage, Stop, StopKind, StoredJob};
use tokio::time::sleep;

use super::{Life, Store, World, named};
use crate::world::launcher::{RunRecord, gpus_of};
use crate::world::scene;
use crate::world::seat::{Employee, Seat};

impl<Q: Store + 'static, E: Fn(Seat) -> Employee> World<Q, E> {
    /// What must be so at every moment.
    pub(super) async fn look(&mut self) {
        self.wrongs.extend(self.launcher.wrongs());
        self.wrongs.extend(self.workers.iter().flat_map(|worker| worker.gate.wrongs()));
        let jobs: BTreeMap<_, _> = self.jobs().await.into_iter().map(|job| (job.id, job)).collect();
        let leases = self.queue.gpu_leases().await.expect("no gate is before it");
        for run in self.launcher.live_runs() {
            for gpu in gpus_of(&run.spec) {
                if !leases.iter().any(|lease| (&*lease.uuid, lease.run) == (gpu, run.key)) {
                    self.wrongs.push(format!("{} lives on {gpu}, which is not leased to it", run.key));
                }
            }
            match jobs.get(&run.key.job) {
                Some(job) if job.state.stage.is_active() && job.state.attempt == run.key.attempt => {}
                Some(job) => self.wrongs.push(format!(
                    "{} lives while its job is {} with attempt {}",
                    run.key, job.state.stage, job.state.attempt
                )),
                None => self.wrongs.push(format!("{} lives and has no job", run.key)),
            }
        }
    }

    /// A push is answered with a job that is known only where that answers it: it came of a push from the same commit, it
    /// is to train, or its commit has trained.
    pub(super) async fn judge_duplicate(&mut self, stored: &StoredJob, push: &Push) {
        let jobs = self.jobs().await;
        let Some(job) = jobs.iter().find(|job| job.id == stored.id) else {
            return self.wrongs.push(format!("{} answers a push and is not there", stored.id));
        };
        let is_of_it = |other: &&Job| {
            Change { run: 0, ..other.change.clone() } == Change { run: 0, ..job.change.clone() }
        };
        let has_trained = jobs.iter().filter(is_of_it).any(|other| other.state.attempt > 0);
        let is_held_for_a_person = stored.stage == Stage::Held && !job.state.needs_diff();
        let is_to_train = stored.stage == Stage::Queued || stored.stage.is_active();
        if job.before != push.before && !has_trained && !is_to_train && !is_held_for_a_person {
            let told =
                format!("{} is {} and answers a push from {:?}", named(job), stored.stage, push.before);
            self.wrongs.push(told);
        }
    }

    pub(super) async fn is_over(&self) -> bool {
        let open = Stage::ALL.into_iter().filter(|stage| !stage.is_final()).collect();
        self.jobs_in(open).await.is_empty()
    }

    /// Nobody but a newer push has a reason to stop a run.
    pub(super) async fn judge_stops(&mut self) {
        let jobs: BTreeMap<_, _> = self.jobs().await.into_iter().map(|job| (job.id, job)).collect();
        // One that makes way since its hours are over goes on later, also if it does not heed that and is ended.
        let is_ended = |run: &&RunRecord| run.stops.first().is_some_and(|how| *how != Stop::Yield);
        for run in self.launcher.runs().iter().filter(is_ended) {
            let stop = jobs.get(&run.key.job).and_then(|job| job.state.stop);
            if stop != Some(StopKind::Supersede) {
                let lines = self.queue.timeline(run.key.job).await.expect("no gate is before it");
                self.wrongs.push(format!("{} was stopped, and nobody wanted that: {lines:#?}", run.key));
            }
        }
    }

    /// Looks at the end of it all, if it came to that.
    pub(super) async fn judge(mut self) -> Result<Life, String> {
        // Whoever has just finished a job is given the time to know it.
        sleep(Duration::from_secs(60)).await;
        self.note("end", "of the world");
        let (jobs, runs) = (self.jobs().await, self.launcher.runs());
        for job in &jobs {
            let state = &job.state;
            *self.summary.entry(state.stage.word()).or_default() += 1;
            let (name, at) = (named(job), state.finished_at);
            writeln!(self.story, "{name}: {}, attempt {}, at {at:?}", state.stage, state.attempt)
                .expect("a string takes everything");
        }
        *self.summary.entry("run").or_default() += runs.len();
        if self.wrongs.is_empty() {
            self.judge_end(&jobs, &runs).await;
        }
        if self.wrongs.is_empty() {
            return Ok(Life { summary: self.summary, story: self.story });
        }
        self.wrongs.dedup();
        Err(format!("seed {}:\n{}\n\nwhat came before:\n{}", self.seed, self.wrongs.join("\n"), self.story))
    }

    async fn judge_end(&mut self, jobs: &[Job], runs: &[RunRecord]) {
        for (delivery, decided) in &self.deliveries {
            let kept = self.queue.delivery(*delivery).await.expect("no gate is before it");
            let makes: usize = decided.verdicts.iter().map(|verdict| verdict.jobs.len()).sum();
            let is_right =
                |kept: &Delivery| kept.verdicts.len() == decided.verdicts.len() && kept.jobs.len() == makes;
            if !kept.as_ref().is_some_and(is_right) {
                self.wrongs.push(format!(
                    "delivery {delivery} was accepted and is not kept with its verdicts and jobs"
                ));
            }
        }
        let (mut trainings, mut trained) = (BTreeSet::new(), BTreeSet::new());
        for job in jobs {
            let change = &job.change;
            let commit = (&change.recipe, change.ref_name.to_string(), change.head.as_str());
            if job.state.attempt > 0 && job.rerun_of.is_none() && !trained.insert(commit) {
                self.wrongs
                    .push(format!("{} trained though its commit had, and nobody repeated it", named(job)));
            }
            if !trainings.insert((
                &change.recipe,
                change.ref_name.to_string(),
                change.head.as_str(),
                change.run,
            )) {
                self.wrongs.push(format!("{} is there twice", named(job)));
            }
            let lines = self.queue.timeline(job.id).await.expect("no gate is before it");
            let (first, last) = (lines.first().map(|line| &*line.what), lines.last().map(|line| line.stage));
            if (first, last) != (Some("enqueued"), Some(job.state.stage)) {
                self.wrongs
                    .push(format!("the timeline of {} does not lead to its end: {lines:?}", named(job)));
            }
        }
        self.wrongs.extend(jobs.iter().filter_map(|job| scene::wrong_end(job, runs)));
        for lease in self.queue.gpu_leases().await.expect("no gate is before it") {
            self.wrongs.push(format!("{} has {} when all have ended", lease.run, lease.uuid));
        }
        for run in runs {
            let wanted = scene::gpu_request(&run.spec.job.spec.recipe).map_or(0, |request| request.count);
            if gpus_of(&run.spec).count() != wanted as usize {
                self.wrongs.push(format!("{} has not the {wanted} GPUs that it asks for", run.key));
            }
        }
        for worker in &self.workers {
            let runs = (worker.runs)();
            if runs > 0 {
                self.wrongs
                    .push(format!("{} thinks that it has {runs} runs when all have ended", worker.name));
            }
        }
    }
}
