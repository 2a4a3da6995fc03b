//! A store that is copied is the same store.

#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod common;
mod copying;

use rusqlite::Connection;
use swifthook_queue::{CopyError, Location, SqliteQueue, copy};

use copying::{fill, goes_on, open, seen};

#[test]
fn a_copy_has_everything_and_goes_on_where_the_original_was_left() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let (from, to) = (folder.path().join("from.db"), folder.path().join("to.db"));
    let filled = runtime.block_on(fill(&from));
    let copied = copy(Location::Sqlite(&from), Location::Sqlite(&to), runtime.handle()).unwrap();
    assert_eq!((copied.jobs, copied.logs, copied.deliveries, copied.changes), (7, 1, 8, 6));
    assert_eq!((copied.gpus, copied.tips), (2, 1), "of the one that runs, and of the one that was looked at");
    let store = open(&to, &filled.clock);
    assert_eq!(runtime.block_on(seen(&store)), filled.seen);
    runtime.block_on(goes_on(&store, &filled));
}

#[test]
fn nobody_may_work_on_either_and_the_other_has_to_be_empty() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let (from, to) = (folder.path().join("from.db"), folder.path().join("to.db"));
    let copied = || copy(Location::Sqlite(&from), Location::Sqlite(&to), runtime.handle());
    assert!(matches!(copied(), Err(CopyError::NoStore(_))));
    assert!(!to.exists(), "nothing is made for nothing");
    let filled = runtime.block_on(fill(&from));
    let used = open(&from, &filled.clock);
    assert!(matches!(copied(), Err(CopyError::Sqlite(_))));
    drop(used);
    let used = open(&to, &filled.clock);
    assert!(matches!(copied(), Err(CopyError::Sqlite(_))));
    drop(used);
    let itself = copy(Location::Sqlite(&from), Location::Sqlite(&from), runtime.handle());
    assert!(matches!(itself, Err(CopyError::Sqlite(_))));
    copied().unwrap();
    assert!(matches!(copied(), Err(CopyError::NotEmpty)));
}

#[test]
fn what_cannot_be_read_is_told_and_nothing_is_copied() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let (from, to) = (folder.path().join("from.db"), folder.path().join("to.db"));
    let filled = runtime.block_on(fill(&from));
    let damage = "UPDATE jobs SET spec = x'00' WHERE id = (SELECT max(id) FROM jobs)";
    Connection::open(&from).unwrap().execute(damage, ()).unwrap();
    let refused = copy(Location::Sqlite(&from), Location::Sqlite(&to), runtime.handle());
    assert!(matches!(refused, Err(CopyError::Store(_))), "{refused:?}");
    let store: SqliteQueue = open(&to, &filled.clock);
    let stats = runtime.block_on(swifthook_core::Upkeep::stats(&store)).unwrap();
    assert_eq!((stats.deliveries, stats.changes), (0, 0));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}
