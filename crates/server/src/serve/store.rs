//! The stores that a server can work on. Nothing else in it names one.

use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use async_trait::async_trait;
use swifthook_core::QueueError;
#[cfg(feature = "postgres")]
use swifthook_queue::postgres::{self, PostgresQueue};
use swifthook_queue::{MessageStore, OpenError, Options, SqliteQueue, TipStore};
use tokio::sync::watch;

use super::error::StartError;
use crate::api::Backend;
use crate::config::StoreUrl;

/// What a server needs of its store, beside what everybody does.
#[async_trait]
pub(super) trait Store: Backend + MessageStore + TipStore {
    /// Changes whenever there is something for a runner to look at.
    fn watch(&self) -> watch::Receiver<u64>;

    /// Writes something small, as a new push would be written.
    ///
    /// # Errors
    ///
    /// If the store could not take a new push.
    async fn check_writable(&self) -> Result<(), QueueError>;

    /// Writes what is left. What is to be written afterwards is refused.
    async fn close(self: Arc<Self>);
}

/// Opens a store, and makes it if there is none.
pub(super) async fn open(url: &StoreUrl) -> Result<Arc<dyn Store>, StartError> {
    match url {
        StoreUrl::Sqlite(file) => Ok(Arc::new(sqlite(file, Options::default())?)),
        #[cfg(feature = "postgres")]
        StoreUrl::Postgres(url) => {
            Ok(Arc::new(PostgresQueue::open(url.exposed(), postgres::Options::default()).await?))
        }
    }
}

/// The store of a server that does not run.
pub(super) async fn existing(url: &StoreUrl) -> Result<Arc<dyn Store>, StartError> {
    match url {
        StoreUrl::Sqlite(file) if !file.exists() => Err(StartError::NoStore(file.clone())),
        // Nothing runs that would need room on the disk for its end.
        StoreUrl::Sqlite(file) => Ok(Arc::new(sqlite(file, Options { reserve: 0, ..Options::default() })?)),
        #[cfg(feature = "postgres")]
        url @ StoreUrl::Postgres(_) => open(url).await,
    }
}

/// Brings the schema of a store up to date, and makes the store if there is none: answers from which version to which.
pub(crate) async fn migrate(url: &StoreUrl) -> Result<(u32, u32), StartError> {
    let versions = match url {
        StoreUrl::Sqlite(file) if !file.exists() => (0, 0),
        StoreUrl::Sqlite(file) => SqliteQueue::schema(file)?,
        #[cfg(feature = "postgres")]
        StoreUrl::Postgres(url) => PostgresQueue::schema(url.exposed()).await?,
    };
    let store = open(url).await?;
    let now = store.stats().await?.schema.unwrap_or_default();
    store.close().await;
    Ok((versions.0, now))
}

fn sqlite(file: &Path, options: Options) -> Result<SqliteQueue, StartError> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let not_writable = |source| StartError::NotWritable { file: file.to_owned(), source };
    match folder.map_or(Ok(()), fs::create_dir_all) {
        Err(source) if forbids_to_write(&source) => return Err(not_writable(source)),
        made => {
            made.map_err(|source| StartError::Folder { folder: folder.unwrap_or(file).to_owned(), source })?
        }
    }
    match SqliteQueue::open(file, options) {
        Err(OpenError::Io { source, .. }) if forbids_to_write(&source) => Err(not_writable(source)),
        opened => Ok(opened?),
    }
}

fn forbids_to_write(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

#[async_trait]
impl Store for SqliteQueue {
    fn watch(&self) -> watch::Receiver<u64> {
        self.watch()
    }

    async fn check_writable(&self) -> Result<(), QueueError> {
        self.check_writable().await
    }

    async fn close(self: Arc<Self>) {
        let closing = tokio::task::spawn_blocking(move || Self::close(&self)).await;
        closing.expect("closing a store does not panic");
    }
}

#[cfg(feature = "postgres")]
#[async_trait]
impl Store for PostgresQueue {
    fn watch(&self) -> watch::Receiver<u64> {
        self.watch()
    }

    async fn check_writable(&self) -> Result<(), QueueError> {
        self.check_writable().await
    }

    async fn close(self: Arc<Self>) {
        Self::close(&self).await;
    }
}
