//! Where refs stood, and how they moved.

use swifthook_core::{RefName, RepoName, Timestamp};
use tokio_postgres::Row;

use super::pool::{Session, given};
use super::rows::{self, RowError};
use super::transaction::{Transaction, plain};
use crate::chain::Place;
use crate::codec;
use crate::tips::{self, MOVES, Move, Tips};

pub(super) async fn read(session: &mut Session, repository: &RepoName) -> Result<Option<Tips>, RowError> {
    session.query(TIPS, &[&repository.as_str()]).await?.first().map(kept).transpose()
}

pub(super) async fn moves_of(
    session: &mut Session,
    repository: &RepoName,
    refs: &[RefName],
) -> Result<Vec<Vec<Move>>, RowError> {
    let mut all = Vec::with_capacity(refs.len());
    for name in refs {
        let found = session.query(STEPS, &[&place_name(repository, name), &most()]).await?;
        all.push(steps(&found)?);
    }
    Ok(all)
}

pub(super) fn find(
    transaction: &mut Transaction<'_>,
    repository: &RepoName,
) -> Result<Option<Tips>, RowError> {
    transaction.query(TIPS, &[&repository.as_str()])?.first().map(kept).transpose()
}

pub(super) fn keep(
    transaction: &mut Transaction<'_>,
    repository: &RepoName,
    tips: &Tips,
) -> Result<(), RowError> {
    let sql = "INSERT INTO tips VALUES ($1, $2) ON CONFLICT (repository) DO UPDATE SET tips = excluded.tips";
    transaction.later(sql, given![repository.as_str().to_owned(), tips::encode(tips)])
}

pub(super) fn moves(transaction: &mut Transaction<'_>, place: &Place) -> Result<Vec<Move>, RowError> {
    steps(&transaction.query(STEPS, &[&place_name(&place.0, &place.1), &most()])?)
}

/// All of them, by the names of the repositories.
pub(super) fn all(transaction: &mut Transaction<'_>) -> Result<Vec<(RepoName, Tips)>, RowError> {
    let found = transaction.query("SELECT tips, repository FROM tips ORDER BY repository", &[])?;
    let read = |row: &Row| {
        let name = RepoName::new(row.try_get::<_, &str>(1)?);
        Ok((name.map_err(|_| codec::Corrupt::new("name of a repository"))?, kept(row)?))
    };
    found.iter().map(read).collect()
}

/// What cannot be read is left out: a look that does not know of it takes the change for new, and its key says otherwise.
fn steps(found: &[Row]) -> Result<Vec<Move>, RowError> {
    let mut moves = Vec::with_capacity(found.len());
    for row in found {
        let (Ok(before), Ok(Some(head))) = (rows::commit(row, 0), rows::commit(row, 1)) else { continue };
        moves.push(Move { before, head, at: Timestamp(row.try_get(2)?) });
    }
    Ok(moves)
}

fn kept(row: &Row) -> Result<Tips, RowError> {
    Ok(tips::decode(row.try_get(0)?)?)
}

fn place_name(repository: &RepoName, ref_name: &RefName) -> String {
    plain(&format!("{repository} {ref_name}"))
}

fn most() -> i64 {
    i64::try_from(MOVES).unwrap_or(i64::MAX)
}

const TIPS: &str = "SELECT tips FROM tips WHERE repository = $1";
const STEPS: &str = "SELECT before, head, coalesce(pushed_at, received_at) FROM deliveries \
    WHERE head IS NOT NULL AND place = (SELECT id FROM names WHERE digest = sha256(convert_to($1::text, 'UTF8'))) \
    ORDER BY id DESC LIMIT $2";
