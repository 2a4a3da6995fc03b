//! Where refs stood, and how they moved.

use rusqlite::{Connection, OptionalExtension};
use swifthook_core::{RefName, RepoName, Timestamp};

use super::names;
use super::rows::{self, RowError};
use crate::codec;
use crate::tips::{self, MOVES, Move, Tips};

pub(super) fn read(connection: &Connection, repository: &RepoName) -> Result<Option<Tips>, RowError> {
    let mut statement = connection.prepare_cached("SELECT tips FROM tips WHERE repository = ?1")?;
    let blob: Option<Vec<u8>> = statement.query_row((repository.as_str(),), |row| row.get(0)).optional()?;
    Ok(blob.map(|blob| tips::decode(&blob)).transpose()?)
}

pub(super) fn keep(connection: &Connection, repository: &RepoName, tips: &Tips) -> Result<(), RowError> {
    let sql = "INSERT OR REPLACE INTO tips VALUES (?1, ?2)";
    connection.prepare_cached(sql)?.execute((repository.as_str(), tips::encode(tips)))?;
    Ok(())
}

/// The last moves of a ref, the newest first. What cannot be read is left out: a look that does not know of it takes the
/// change for new, and its key says otherwise.
pub(super) fn moves(
    connection: &Connection,
    repository: &RepoName,
    ref_name: &RefName,
) -> Result<Vec<Move>, RowError> {
    let Some(place) = names::find(connection, &format!("{repository} {ref_name}"))? else {
        return Ok(Vec::new());
    };
    let sql = "SELECT before, head, ifnull(pushed_at, received_at) FROM deliveries \
               WHERE place = ?1 AND head IS NOT NULL ORDER BY id DESC LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = statement.query((place, i64::try_from(MOVES).unwrap_or(i64::MAX)))?;
    let mut moves = Vec::new();
    while let Some(row) = found.next()? {
        let before = rows::optional_blob(row, 0)?.map(codec::commit).transpose();
        let (Ok(before), Ok(head)) = (before, codec::commit(rows::blob(row, 1)?)) else { continue };
        moves.push(Move { before, head, at: Timestamp(row.get(2)?) });
    }
    Ok(moves)
}

/// All of them, by the names of the repositories.
pub(super) fn all(connection: &Connection) -> Result<Vec<(RepoName, Tips)>, RowError> {
    let mut statement = connection.prepare("SELECT repository, tips FROM tips ORDER BY repository")?;
    let mut found = statement.query(())?;
    let mut all = Vec::new();
    while let Some(row) = found.next()? {
        let name: String = row.get(0)?;
        let name = RepoName::new(&name).map_err(|_| codec::Corrupt::new("name of a repository"))?;
        all.push((name, tips::decode(rows::blob(row, 1)?)?));
    }
    Ok(all)
}
