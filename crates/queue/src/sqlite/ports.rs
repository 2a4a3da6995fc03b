//! Who has which ports.

use rusqlite::{Connection, params};
use swifthook_core::{JobId, RunKey};

use super::rows::RowError;
use crate::codec;

pub(super) fn of(connection: &Connection, machine: &str) -> Result<Vec<u16>, RowError> {
    let mut statement = connection.prepare_cached("SELECT port FROM ports WHERE machine = ?1")?;
    let ports = statement.query_map((machine,), |row| row.get(0))?;
    Ok(ports.collect::<Result<_, _>>()?)
}

/// Somebody else's lease is refused by the key.
pub(super) fn lease(connection: &Connection, machine: &str, port: u16, run: RunKey) -> Result<(), RowError> {
    let mut statement = connection.prepare_cached("INSERT INTO ports VALUES (?1, ?2, ?3, ?4)")?;
    statement.execute(params![machine, port, codec::halves(run.job.0).0, run.attempt])?;
    Ok(())
}

pub(super) fn free(connection: &Connection, job: JobId) -> Result<(), RowError> {
    let mut statement = connection.prepare_cached("DELETE FROM ports WHERE job = ?1")?;
    statement.execute((codec::halves(job.0).0,))?;
    Ok(())
}
