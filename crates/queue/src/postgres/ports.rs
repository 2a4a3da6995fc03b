//! Who has which ports.

use swifthook_core::{JobId, RunKey};

use super::pool::given;
use super::rows::RowError;
use super::transaction::{Transaction, plain, uuid};
use crate::codec::Corrupt;

pub(super) fn of(transaction: &mut Transaction<'_>, machine: &str) -> Result<Vec<u16>, RowError> {
    let found = transaction.query("SELECT port FROM ports WHERE machine = $1", &[&plain(machine)])?;
    let port = |number: i64| u16::try_from(number).map_err(|_| Corrupt::new("port"));
    found.iter().map(|row| Ok(port(row.try_get(0)?)?)).collect()
}

/// Somebody else's lease is refused by the key, when this one is written.
pub(super) fn lease(
    transaction: &mut Transaction<'_>,
    machine: &str,
    port: u16,
    run: RunKey,
) -> Result<(), RowError> {
    let with = given![plain(machine), i64::from(port), uuid(run.job), i64::from(run.attempt)];
    transaction.later("INSERT INTO ports VALUES ($1, $2, $3, $4)", with)
}

pub(super) fn free(transaction: &mut Transaction<'_>, job: JobId) -> Result<(), RowError> {
    transaction.later("DELETE FROM ports WHERE job = $1", given![uuid(job)])
}
