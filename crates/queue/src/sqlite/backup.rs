use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::config::OpenError;
use super::schema;

/// A store could not be copied. Nothing is left of the copy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// There is a file already.
    #[error("there is a `{}` already, and a backup replaces nothing", .0.display())]
    Exists(PathBuf),
    /// The file cannot be written.
    #[error("cannot write `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// SQLite could not copy it.
    #[error("cannot copy `{}`", path.display())]
    Sqlite {
        /// The store.
        path: PathBuf,
        /// What it said.
        #[source]
        source: rusqlite::Error,
    },
    /// What was written is not whole.
    #[error("the copy is damaged: {0}")]
    Damaged(String),
}

/// Copies the store at `from` into a new file, as it is at one moment, while whoever has it goes on: it is read as any
/// reader reads it, so that neither its lock file nor its log stands in the way. The copy is whole, checked, synced
/// and for its user alone before it has its name. Answers how many bytes it has.
pub(super) fn backup(from: &Path, to: &Path) -> Result<u64, BackupError> {
    let failed = |source| BackupError::Io { path: to.to_owned(), source };
    schema::check(from)?;
    // Whoever comes first has the name.
    match private(to) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(BackupError::Exists(to.to_owned()));
        }
        Err(source) => return Err(failed(source)),
    }
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(".unfinished");
    let unfinished = to.with_file_name(name);
    let written = write(from, &unfinished, to);
    if written.is_err() {
        // That it could not be written is what is told.
        let _ = fs::remove_file(&unfinished);
        let _ = fs::remove_file(to);
    }
    written
}

fn write(from: &Path, unfinished: &Path, to: &Path) -> Result<u64, BackupError> {
    let failed = |source| BackupError::Io { path: unfinished.to_owned(), source };
    let refused = |source| BackupError::Sqlite { path: from.to_owned(), source };
    match fs::remove_file(unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => private(unfinished).map_err(failed)?,
    };
    let store = schema::connect_reader(from).map_err(refused)?;
    let name = unfinished.to_str().ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?;
    // Into a file that is there and empty, so that it keeps its mode.
    store.execute("VACUUM INTO ?1", (name,)).map_err(refused)?;
    verify(unfinished).map_err(refused)??;
    let file = File::open(unfinished).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    fs::rename(unfinished, to).map_err(failed)?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(bytes)
}

/// Reads all of the copy once.
fn verify(copy: &Path) -> rusqlite::Result<Result<(), BackupError>> {
    let copy = Connection::open_with_flags(copy, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let said: String = copy.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
    Ok(if said == "ok" { Ok(()) } else { Err(BackupError::Damaged(said)) })
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}
