use std::error::Error;

use rusqlite::ErrorCode;
use swifthook_core::QueueError;

use super::rows::RowError;

/// Why a transaction could not be kept.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) message: String,
    pub(super) kind: Kind,
}

/// What can be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// There is no room on the disk, or it does not take what it is given.
    Full,
    /// It may pass by itself.
    Passing,
    /// It lies in what was to be written, or in the store, and comes back each time.
    Fault,
}

impl Failure {
    /// That of a request that the store failed.
    pub(super) fn of(error: &QueueError) -> Self {
        let row = match error {
            QueueError::Store { source, .. } => source.downcast_ref::<RowError>(),
            _ => None,
        };
        let kind = match row {
            Some(RowError::Sqlite(error)) => kind(error),
            _ => Kind::Fault,
        };
        Self { message: describe(error), kind }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self { message: describe(&error), kind: kind(&error) }
    }
}

fn kind(error: &rusqlite::Error) -> Kind {
    match error.sqlite_error_code() {
        // A quota or a limit on the size of files is told as a failure of the disk.
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure) => Kind::Full,
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::OutOfMemory,
        ) => Kind::Passing,
        _ => Kind::Fault,
    }
}

/// An error and what caused it, on one line.
pub(super) fn describe(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
