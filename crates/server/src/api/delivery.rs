use std::sync::Arc;

use serde::{Deserialize, Serialize};
use swifthook_core::{Delivery, DeliveryId, JobId, PathChange, RecipeVerdict, Source};

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
    /// With the changed paths.
    #[must_use]
    pub fn with_paths(delivery: &Delivery) -> Self {
        let path = |(path, change): (&str, PathChange)| PathView {
            path: path.to_owned(),
            exists: change == PathChange::Present,
        };
        Self { paths: Some(delivery.paths.iter().map(path).collect()), ..Self::from(delivery) }
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
            verdicts: delivery.verdicts.iter().map(VerdictView::from).collect(),
            jobs: delivery.jobs.clone(),
            path_count: delivery.path_count,
            config: delivery.config.0.iter().map(|byte| format!("{byte:02x}")).collect(),
            paths: None,
        }
    }
}

impl From<&RecipeVerdict> for VerdictView {
    fn from(said: &RecipeVerdict) -> Self {
        let reason = said.verdict.reason();
        Self {
            recipe: said.recipe.clone(),
            verdict: said.verdict.word().to_owned(),
            reason: reason.as_ref().map(|reason| reason.word.to_string()),
            detail: reason.map(|reason| reason.detail),
        }
    }
}
