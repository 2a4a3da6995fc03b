//! What a store is asked when it is opened.

use rusqlite::Connection;

use super::rows;
use crate::chain::{Chains, MOVES_KEPT};
use crate::codec;

/// The greatest number of an id in the store.
pub(super) fn last_id(connection: &Connection) -> rusqlite::Result<u64> {
    let sql =
        "SELECT max(ifnull((SELECT max(id) FROM jobs), 0), ifnull((SELECT max(id) FROM deliveries), 0))";
    connection.query_row(sql, (), |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
}

/// Ends every lease. Whoever has opened the store has it alone, so the workers that held them are gone, and what they
/// ran is to be adopted now and not when their time is up.
pub(super) fn end_leases(connection: &Connection) -> rusqlite::Result<usize> {
    connection.execute("UPDATE leases SET until = 0 WHERE until > 0", ())
}

/// How refs moved, by the last receipts. What cannot be read is left out: it only helps to order changes.
pub(super) fn chains(connection: &Connection) -> rusqlite::Result<Chains> {
    let sql = "SELECT names.name, d.before, d.head FROM deliveries d LEFT JOIN names ON names.id = d.place \
               WHERE d.head IS NOT NULL ORDER BY d.id DESC LIMIT ?1";
    let mut statement = connection.prepare(sql)?;
    let mut found = statement.query((i64::try_from(MOVES_KEPT).unwrap_or(i64::MAX),))?;
    let mut moves = Vec::new();
    while let Some(row) = found.next()? {
        let before = rows::optional_blob(row, 1).ok().flatten().map(codec::commit);
        let (Ok(place), Ok(head)) = (rows::place(row, 0), rows::blob(row, 2)) else { continue };
        if let (Ok(before), Ok(head)) = (before.transpose(), codec::commit(head)) {
            moves.push((place, before, head));
        }
    }
    let mut chains = Chains::default();
    for (place, before, head) in moves.iter().rev() {
        chains.record(place, before.as_ref(), head);
    }
    Ok(chains)
}
