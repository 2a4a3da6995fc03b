//! A look at one repository: where its refs are, compared with where they were known to be.
//!
//! What a tip says is a hint. It goes through the same rules as a delivery, and git decides before anything runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use swifthook_core::{
    Admitted, CommitSha, Current, Decided, FoundTip, QueueError, Receipt, RefName, RepoName, Source,
    Timestamp, WorkspaceError,
};
use swifthook_queue::{Compared, Standing, Tips};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::info;

use super::super::backends::Trees;
use super::super::store::Store;
use super::super::with_causes;
use crate::api::{Changes, FoundView, LookView, Reconcile, ReplayedJob, VerdictView};

/// Looks at repositories, a few at a time. Cheap to clone.
#[derive(Clone)]
pub(in crate::serve) struct Reconciler(Arc<Shared>);

struct Shared {
    store: Arc<dyn Store>,
    trees: Arc<Trees>,
    receiver: Arc<Current>,
    changes: Changes,
    room: Semaphore,
}

/// What a look saw.
#[derive(Debug)]
pub(super) enum Seen {
    /// The first look: the tips are recorded, and train nothing.
    First { refs: usize },
    /// Pushes that nobody had told of, most often none.
    Found(Vec<Found>),
}

/// A push that nobody had told of.
#[derive(Debug)]
pub(super) struct Found {
    decided: Decided,
    /// `None` in a dry run, and where a delivery told of it after all.
    receipt: Option<Receipt>,
}

/// A repository could not be looked at.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookError {
    #[error("the server that keeps it cannot be asked")]
    Git(#[from] WorkspaceError),
    #[error(transparent)]
    Store(#[from] QueueError),
}

impl Reconciler {
    pub(in crate::serve) fn new(
        store: Arc<dyn Store>,
        trees: Arc<Trees>,
        receiver: Arc<Current>,
        changes: Changes,
    ) -> Self {
        Self(Arc::new(Shared { store, trees, receiver, changes, room: Semaphore::new(AT_ONCE) }))
    }

    /// Looks at a repository. One in which nothing moved costs one call of git, and writes nothing.
    pub(super) async fn look(
        &self,
        repository: &RepoName,
        source: &Source,
        is_dry: bool,
    ) -> Result<Seen, LookError> {
        let _room = self.0.room.acquire().await.expect("nobody closes it");
        let asked_at = Timestamp::from(SystemTime::now());
        let now = Tips { asked_at, refs: self.0.trees.tips(repository).await? };
        for _ in 0..TRIES {
            let seen = match self.0.store.tips(repository).await? {
                None => self.begin(repository, &now, is_dry).await?,
                Some(known) => self.compare(repository, source, known, &now, is_dry).await?,
            };
            // Otherwise somebody else has just looked at it too, and it is compared with what he recorded.
            if let Some(seen) = seen {
                return Ok(seen);
            }
        }
        Ok(Seen::Found(Vec::new()))
    }

    async fn begin(
        &self,
        repository: &RepoName,
        now: &Tips,
        is_dry: bool,
    ) -> Result<Option<Seen>, LookError> {
        let seen = Seen::First { refs: now.refs.len() };
        if is_dry {
            return Ok(Some(seen));
        }
        let first =
            Compared { repository: repository.clone(), known: None, tips: now.clone(), found: Vec::new() };
        if self.0.store.compared(&first).await?.is_none() {
            return Ok(None);
        }
        info!(%repository, refs = now.refs.len(), "looked for the first time: from now on what moves is found");
        Ok(Some(seen))
    }

    async fn compare(
        &self,
        repository: &RepoName,
        source: &Source,
        known: Tips,
        now: &Tips,
        is_dry: bool,
    ) -> Result<Option<Seen>, LookError> {
        if known.refs == now.refs {
            return Ok(Some(Seen::Found(Vec::new())));
        }
        let decided = self.decide(repository, source, &known, now).await?;
        if is_dry {
            let found = decided.into_iter().map(|decided| Found { decided, receipt: None });
            return Ok(Some(Seen::Found(found.collect())));
        }
        self.record(repository, known, now, decided).await
    }

    /// What the recipes say of the tips that nobody told of.
    async fn decide(
        &self,
        repository: &RepoName,
        source: &Source,
        known: &Tips,
        now: &Tips,
    ) -> Result<Vec<Decided>, LookError> {
        let moved = now.refs.iter().filter(|(name, tip)| known.refs.get(name) != Some(tip));
        let (names, tips): (Vec<RefName>, Vec<&CommitSha>) =
            moved.map(|(name, tip)| (name.clone(), tip)).unzip();
        let moves = self.0.store.moves(repository, &names).await?;
        let receiver = self.0.receiver.load();
        let mut decided = Vec::new();
        for ((ref_name, tip), moves) in names.into_iter().zip(tips).zip(moves) {
            let Standing::Unknown(before) = known.standing(&ref_name, tip, &moves) else { continue };
            let (repository, tip, source) = (repository.clone(), tip.clone(), source.clone());
            let found = FoundTip { repository, ref_name, before, tip, source };
            decided.extend(receiver.found(found, now.asked_at));
        }
        Ok(decided)
    }

    /// Records what was seen, in steps: a push of thousands of branches is no transaction that others should wait for.
    /// What is not recorded when this is interrupted is found again.
    async fn record(
        &self,
        repository: &RepoName,
        mut known: Tips,
        now: &Tips,
        decided: Vec<Decided>,
    ) -> Result<Option<Seen>, LookError> {
        let mut all = Vec::with_capacity(decided.len());
        let mut left = decided;
        loop {
            let rest = left.split_off(left.len().min(A_STEP));
            let tips = if rest.is_empty() { now.clone() } else { without(now, &rest, &known) };
            let step = Compared {
                repository: repository.clone(),
                known: Some(known),
                tips: tips.clone(),
                found: left.clone(),
            };
            let Some(receipts) = self.0.store.compared(&step).await? else { return Ok(None) };
            all.extend(left.into_iter().zip(receipts).map(|(decided, receipt)| Found { decided, receipt }));
            if rest.is_empty() {
                break;
            }
            (known, left) = (tips, rest);
        }
        all.iter().for_each(|found| self.tell(found));
        Ok(Some(Seen::Found(all)))
    }

    fn tell(&self, found: &Found) {
        let jobs = found.jobs();
        jobs.iter().for_each(|job| self.0.changes.tell(job.id, None));
        let push = &found.decided.push;
        info!(
            repository = %push.repository,
            r#ref = %push.ref_name,
            commit = push.head.as_ref().map(CommitSha::short),
            new = jobs.iter().filter(|job| job.admitted != Admitted::Duplicate).count(),
            "found a push that no delivery told of"
        );
    }
}

#[async_trait]
impl Reconcile for Reconciler {
    async fn reconcile(&self, repositories: Vec<RepoName>, is_dry: bool) -> Vec<LookView> {
        let mut looks = JoinSet::new();
        for (at, repository) in repositories.into_iter().enumerate() {
            let this = self.clone();
            looks.spawn(async move {
                let looked = this.look(&repository, &Source::Reconcile, is_dry).await;
                (at, view(&repository, looked))
            });
        }
        let mut views: Vec<_> = looks.join_all().await;
        views.sort_by_key(|(at, _)| *at);
        views.into_iter().map(|(_, view)| view).collect()
    }

    fn repositories(&self) -> Vec<RepoName> {
        self.0.receiver.load().repositories()
    }
}

impl Found {
    fn jobs(&self) -> &[swifthook_core::StoredJob] {
        match &self.receipt {
            Some(Receipt::Stored { jobs, .. }) => jobs,
            _ => &[],
        }
    }
}

/// The tips of the moment, but for those of pushes that are still to be taken.
fn without(now: &Tips, rest: &[Decided], known: &Tips) -> Tips {
    let mut refs: BTreeMap<RefName, CommitSha> = now.refs.clone();
    for Decided { push, .. } in rest {
        match known.refs.get(&push.ref_name) {
            Some(tip) => refs.insert(push.ref_name.clone(), tip.clone()),
            None => refs.remove(&push.ref_name),
        };
    }
    Tips { asked_at: known.asked_at, refs }
}

fn view(repository: &RepoName, looked: Result<Seen, LookError>) -> LookView {
    let blank = LookView {
        repository: repository.to_string(),
        first: false,
        refs: None,
        error: None,
        found: Vec::new(),
    };
    match looked {
        Ok(Seen::First { refs }) => LookView { first: true, refs: Some(refs), ..blank },
        Ok(Seen::Found(found)) => LookView { found: found.iter().map(FoundView::from).collect(), ..blank },
        Err(error) => LookView { error: Some(with_causes(&error)), ..blank },
    }
}

impl From<&Found> for FoundView {
    fn from(found: &Found) -> Self {
        let push = &found.decided.push;
        Self {
            ref_name: push.ref_name.to_string(),
            before: push.before.as_ref().map(ToString::to_string),
            commit: push.head.as_ref().map(ToString::to_string).unwrap_or_default(),
            delivery: match &found.receipt {
                Some(Receipt::Stored { delivery, .. } | Receipt::Accepted { delivery }) => Some(*delivery),
                None => None,
            },
            verdicts: found.decided.verdicts.iter().map(VerdictView::from).collect(),
            jobs: found.jobs().iter().map(ReplayedJob::from).collect(),
        }
    }
}

/// How many repositories are looked at at once.
const AT_ONCE: usize = 8;
/// How often a look is compared again when others look too.
const TRIES: usize = 3;
/// How many pushes are taken in one transaction.
const A_STEP: usize = 64;
