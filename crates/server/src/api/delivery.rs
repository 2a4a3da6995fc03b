use std::sync::Arc;

use serde::{Deserialize, Serialize};
use swifthook_core::{Delivery, DeliveryId, Job, JobId, PathChange, RecipeVerdict, Source, Verdict};

/// A delivery as scripts see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryView {
    /// Its id.
    pub id: DeliveryId,
    /// When it was received.
    pub received_at: String,
    /// How it came to be known: `hook`, `reconcile`, `pull` or `person`.
    pub source: String,
    /// The hook's name.
    pub hook: Option<Arc<str>>,
    /// `X-GitHub-Delivery`.
    pub guid: Option<Arc<str>>,
    /// The repository's configured name.
    pub repository: String,
    /// The full ref.
    #[serde(rename = "ref")]
    pub ref_name: String,
    /// Where the ref was before.
    pub before: Option<String>,
    /// Where it is now.
    pub commit: Option<String>,
    /// Who pushed.
    pub sender: Option<Arc<str>>,
    /// What each recipe said.
    pub verdicts: Vec<VerdictView>,
    /// The jobs that it led to, known ones too.
    pub jobs: Vec<JobId>,
    /// Those of them that were known before it.
    #[serde(default)]
    pub known: Vec<JobId>,
    /// How these jobs are now; only where one delivery is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub led_to: Option<Vec<LedTo>>,
    /// How many changed paths it listed.
    pub path_count: u64,
    /// The SHA-256 of the configuration that decided.
    pub config: String,
    /// The changed paths, at most 4,096; only where one delivery is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<PathView>>,
}

/// What a recipe said, as scripts see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictView {
    /// The recipe's name.
    pub recipe: Arc<str>,
    /// `launch`, `hold` or `skip`.
    pub verdict: String,
    /// Why: a word of a closed set.
    pub reason: Option<String>,
    /// The same for people.
    pub detail: Option<String>,
    /// True if all of its jobs were known before, so that nothing came of it.
    #[serde(default)]
    pub duplicate: bool,
}

/// A job that a delivery led to, as it is now. Of one that was removed for its age only the id is left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedTo {
    /// Its id.
    pub id: JobId,
    /// The recipe.
    pub recipe: Option<String>,
    /// The changed file that it is for.
    pub config: Option<String>,
    /// Its state; null where it was removed.
    pub state: Option<String>,
    /// Why it is in this state: a word of a closed set.
    pub reason: Option<String>,
    /// The same for people.
    pub detail: Option<String>,
    /// True if it came of this delivery.
    pub new: bool,
}

/// A changed path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathView {
    /// The path.
    pub path: String,
    /// Whether it exists after the push, as far as the commit that lists it tells.
    pub exists: bool,
}

impl DeliveryView {
    /// With the changed paths, and the jobs as they are now.
    #[must_use]
    pub fn whole(delivery: &Delivery, jobs: &[Option<Job>]) -> Self {
        let path = |(path, change): (&str, PathChange)| PathView {
            path: path.to_owned(),
            exists: change == PathChange::Present,
        };
        let led_to = delivery.jobs.iter().zip(jobs);
        let led_to = led_to.map(|(id, job)| LedTo::new(*id, job.as_ref(), !delivery.known.contains(id)));
        Self {
            paths: Some(delivery.paths.iter().map(path).collect()),
            led_to: Some(led_to.collect()),
            ..Self::from(delivery)
        }
    }
}

impl LedTo {
    fn new(id: JobId, job: Option<&Job>, new: bool) -> Self {
        let reason = job.and_then(|job| job.state.reason.as_ref());
        Self {
            id,
            recipe: job.map(|job| job.spec.recipe.to_string()),
            config: job.and_then(|job| job.spec.config.as_deref().map(str::to_owned)),
            state: job.map(|job| job.state.stage.word().to_owned()),
            reason: reason.map(|reason| reason.word.to_string()),
            detail: reason.map(|reason| reason.detail.clone()),
            new,
        }
    }
}

impl From<&Delivery> for DeliveryView {
    fn from(delivery: &Delivery) -> Self {
        let (source, hook, guid) = match &delivery.source {
            Source::Hook { hook, guid } => ("hook", Some(hook.clone()), Some(guid.clone())),
            Source::Reconcile => ("reconcile", None, None),
            Source::Pull => ("pull", None, None),
            Source::Person => ("person", None, None),
        };
        Self {
            id: delivery.id,
            received_at: delivery.received_at.to_string(),
            source: source.to_owned(),
            hook,
            guid,
            repository: delivery.repository.to_string(),
            ref_name: delivery.ref_name.to_string(),
            before: delivery.before.as_ref().map(ToString::to_string),
            commit: delivery.head.as_ref().map(ToString::to_string),
            sender: delivery.sender.clone(),
            verdicts: verdicts(delivery),
            jobs: delivery.jobs.clone(),
            known: delivery.known.clone(),
            led_to: None,
            path_count: delivery.path_count,
            config: delivery.config.0.iter().map(|byte| format!("{byte:02x}")).collect(),
            paths: None,
        }
    }
}

/// With what is known of each: its jobs stand in the order of the verdicts. Where some were removed, so that they cannot be
/// told apart, a recipe's were known if all were.
fn verdicts(delivery: &Delivery) -> Vec<VerdictView> {
    let told: usize = delivery.verdicts.iter().map(|said| said.jobs.len()).sum();
    let is_whole = told == delivery.jobs.len();
    let mut jobs = &delivery.jobs[..];
    let of = |said: &RecipeVerdict| {
        let own = match is_whole {
            true => jobs.split_off(..said.jobs.len()).unwrap_or_default(),
            false if matches!(said.verdict, Verdict::Skip(_)) => &[],
            false => jobs,
        };
        let duplicate = !own.is_empty() && own.iter().all(|job| delivery.known.contains(job));
        VerdictView { duplicate, ..VerdictView::from(said) }
    };
    delivery.verdicts.iter().map(of).collect()
}

impl From<&RecipeVerdict> for VerdictView {
    fn from(said: &RecipeVerdict) -> Self {
        let reason = said.verdict.reason();
        Self {
            recipe: said.recipe.clone(),
            verdict: said.verdict.word().to_owned(),
            reason: reason.as_ref().map(|reason| reason.word.to_string()),
            detail: reason.map(|reason| reason.detail),
            duplicate: false,
        }
    }
}
