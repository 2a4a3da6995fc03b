use std::sync::Arc;

use swifthook_core::{Current, RepoName};

use super::super::backends::Trees;
use super::super::error::StartError;
use super::super::{snapshot, store};
use super::look::Reconciler;
use crate::api::{Changes, LookView, Reconcile};
use crate::config::Config;

/// Looks at repositories where no server runs: what is found waits in the store for one.
///
/// # Errors
///
/// If the store is not there, or is another process's.
pub(crate) async fn once(
    config: &Config,
    repositories: impl FnOnce(Vec<RepoName>) -> Vec<RepoName>,
    is_dry: bool,
) -> Result<Vec<LookView>, StartError> {
    // Nobody is listened to, so where deliveries may come from is of no account.
    let (receiver, _) = snapshot::of(config, &[])?;
    let directory = &config.store.state_dir;
    let trees =
        Trees::of(config).map_err(|source| StartError::StateDir { directory: directory.clone(), source })?;
    let store = store::existing(&config.store.url).await?;
    let reconciler =
        Reconciler::new(store.clone(), Arc::new(trees), Arc::new(Current::new(receiver)), Changes::default());
    let looked = reconciler.reconcile(repositories(reconciler.repositories()), is_dry).await;
    store.close().await;
    Ok(looked)
}
