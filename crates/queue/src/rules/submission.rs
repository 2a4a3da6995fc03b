use swifthook_core::{
    Decided, Delivery, DeliveryId, Identity, IntakeError, Job, JobSpec, PushFacts, QueueError, RecipeVerdict,
    Source, Timestamp,
};

use super::enqueue::Birth;

/// A decided push as it is handed to a store: nothing of it holds on to the body that it was read from.
#[derive(Clone, Debug)]
pub(crate) struct Submission {
    /// The receipt. Its verdicts are without their jobs, which are kept once, as jobs.
    pub(crate) delivery: Delivery,
    /// The jobs to be.
    pub(crate) offers: Vec<(JobSpec, Birth)>,
    pub(crate) pushed_at: Option<Timestamp>,
    pub(crate) is_redeliverable: bool,
    /// The receipt that stands for this one, unless it leads to a new job.
    pub(crate) stands_for: Option<DeliveryId>,
    /// The number of its repository, where the configuration has that by its name.
    pub(crate) identity: Option<Identity>,
}

impl Submission {
    pub(crate) fn new(decided: &Decided, id: DeliveryId) -> Result<Self, IntakeError> {
        let push = &decided.push;
        if push.head.is_none() && decided.makes_jobs() {
            return Err(IntakeError::permanent("a ref that was deleted has no commit to train"));
        }
        let paths = push.changes.paths();
        let delivery = Delivery {
            id,
            received_at: decided.received_at,
            source: push.source.clone(),
            repository: push.repository.clone(),
            ref_name: push.ref_name.clone(),
            before: push.before.clone(),
            head: push.head.clone(),
            sender: push.sender.clone(),
            facts: Some(PushFacts {
                pushed_at: push.pushed_at,
                skip_marker: push.skip_marker,
                gap: push.changes.gap(),
            }),
            verdicts: decided.verdicts.iter().map(without_jobs).collect(),
            paths: paths.detached(Delivery::MAX_PATHS),
            path_count: paths.len() as u64,
            config: decided.config,
            jobs: Vec::new(),
            known: Vec::new(),
        };
        Ok(Self {
            delivery,
            offers: decided.verdicts.iter().flat_map(offers).collect(),
            pushed_at: push.pushed_at,
            is_redeliverable: decided.is_redeliverable,
            stands_for: None,
            identity: identity(decided),
        })
    }

    /// The same for a push of which nothing is to be stored.
    pub(crate) fn to_look_up(decided: &Decided) -> Result<Self, QueueError> {
        Self::new(decided, DeliveryId([0; 16]))
            .map_err(|error| QueueError::Store { source: error.into(), is_permanent: true })
    }
}

/// A push of a repository that is not configured, or is under another name, says nothing of the numbers of others.
fn identity(decided: &Decided) -> Option<Identity> {
    let push = &decided.push;
    let (Source::Hook { hook, .. }, Some(id)) = (&push.source, push.origin.repository_id) else {
        return None;
    };
    decided.is_of_configured().then(|| Identity { hook: hook.clone(), id, name: push.repository.clone() })
}

/// Gives a delivery's verdicts back the jobs that they led to, as they are kept with these jobs.
pub(crate) fn with_specs(mut delivery: Delivery, jobs: &[Job]) -> Delivery {
    for verdict in &mut delivery.verdicts {
        let of_recipe = jobs.iter().filter(|job| job.spec.recipe == verdict.recipe);
        verdict.jobs = of_recipe.map(|job| job.spec.clone()).collect();
    }
    delivery
}

fn without_jobs(verdict: &RecipeVerdict) -> RecipeVerdict {
    RecipeVerdict { recipe: verdict.recipe.clone(), verdict: verdict.verdict.clone(), jobs: Vec::new() }
}

fn offers(verdict: &RecipeVerdict) -> impl Iterator<Item = (JobSpec, Birth)> + '_ {
    verdict.jobs.iter().filter_map(|spec| Some((spec.clone(), Birth::of(&verdict.verdict)?)))
}
