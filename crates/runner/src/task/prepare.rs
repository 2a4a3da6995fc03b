use std::collections::BTreeSet;
use std::sync::Arc;

use swifthook_core::text::is_quoted_path;
use swifthook_core::{LaunchError, Problem, Reason, RunKey, Untold, Wait, WorkspaceError};

use super::launch::{NOT_UTF8, Refusal, told};
use super::{End, Task};
use crate::catalog::Terms;
use crate::compose::{Composed, Uncomposed};
use crate::guard::guarded;
use crate::orders::until;
use crate::spec::{NotUtf8, Places};

/// Why no attempt begins.
pub(super) enum Unready {
    /// It is refused, for now or for good.
    Refused(Refusal),
    /// Something has to come first.
    Waits(Wait, String),
}

impl Task {
    /// Everything that the next attempt is made of, before it begins: what is wrong with it costs no attempt.
    pub(super) async fn prepare(&self, terms: &Terms) -> Result<Result<Composed, Unready>, End> {
        tokio::select! {
            biased;
            () = until(&self.orders, |orders| orders.begin_nothing()) => Err(End::Left),
            answer = self.compose(terms) => Ok(answer),
        }
    }

    async fn compose(&self, terms: &Terms) -> Result<Composed, Unready> {
        if let Some(config) = self.job.spec.config.as_deref().filter(|config| is_quoted_path(config)) {
            return Err(unfit(format!(
                "the name of the file {config} is not UTF-8, so that nothing can be told to read it: rename it"
            )));
        }
        let reads = terms.compose.as_ref().map(|compose| (compose, compose.most_bytes()));
        let file = match (&self.job.spec.file, &reads) {
            (None, None | Some((_, None))) => Vec::new(),
            (Some(path), Some((_, Some(most)))) => self.read(path, *most).await?,
            _ => return Err(unfit("its recipe is of another kind by now".to_owned())),
        };
        let draft = self.next_places().draft(&self.job, terms, file);
        let mut draft = draft.map_err(|NotUtf8| Unready::Refused(Refusal::for_good(NOT_UTF8)))?;
        draft.gpu_kinds = self.gpu_kinds(terms).await;
        match reads {
            None => Ok(Composed { argv: draft.argv, env: draft.env, ..Composed::default() }),
            Some((compose, _)) => {
                let made = async { Ok(compose.compose(&self.job, draft).await) };
                guarded::<_, LaunchError>(made).await.map_err(refused)?.map_err(Unready::from)
            }
        }
    }

    /// The kinds of GPUs that it may get. Which ones it gets is not known before it begins; where nobody can tell of what kind
    /// they are, it is what the recipe calls them.
    async fn gpu_kinds(&self, terms: &Terms) -> Vec<Arc<str>> {
        let Some(request) = &terms.gpus else { return Vec::new() };
        let leases = self.launcher().is_some_and(|launcher| launcher.capabilities().gpu_leases);
        if !leases {
            return request.names.clone();
        }
        let gpus = guarded::<_, Untold>(async { self.shared.options.gpus.all().await }).await;
        let suitable = gpus.unwrap_or_default().into_iter().filter(|gpu| request.suits(gpu));
        let kinds: BTreeSet<Arc<str>> = suitable.map(|gpu| gpu.name).collect();
        kinds.into_iter().collect()
    }

    /// The file of the commit that the job names.
    async fn read(&self, path: &str, most: usize) -> Result<Vec<u8>, Unready> {
        let change = &self.job.change;
        let workspace = &self.shared.workspace;
        let read = guarded::<_, WorkspaceError>(async {
            workspace.read_file(&change.repository, &change.ref_name, &change.head, path, most).await
        });
        read.await.map_err(|error| match error.is_permanent() {
            true => unfit(told(&error)),
            false => refused(error),
        })
    }

    /// Where the attempt will be that begins next.
    fn next_places(&self) -> Places {
        let key = RunKey { job: self.job.id, attempt: self.job.state.attempt + 1 };
        Places::new(&self.shared.options.state_dir, &key)
    }
}

impl From<Uncomposed> for Unready {
    fn from(uncomposed: Uncomposed) -> Self {
        match uncomposed {
            Uncomposed::Unfit(why) => Self::Refused(Refusal::unfit(why)),
            Uncomposed::NotNow(why) => refused(LaunchError::passing(why)),
            Uncomposed::Waits(what, why) => Self::Waits(what, why),
        }
    }
}

fn refused(error: impl Problem) -> Unready {
    Unready::Refused(Refusal::new(&error))
}

fn unfit(why: String) -> Unready {
    Unready::Refused(Refusal::unfit(Reason::new(CONFIG, why)))
}

/// The word for a job whose configuration in the repository cannot be run.
const CONFIG: &str = "config";
