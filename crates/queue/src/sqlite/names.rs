use std::collections::HashMap;
use std::fmt::Write;

use rusqlite::{Connection, OptionalExtension};
use swifthook_core::{ConfigDigest, RefName, RepoName};

use crate::codec;

/// The names that rows share, as far as the thread that writes has met them.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: HashMap<Box<str>, i64>,
    text: String,
}

impl Names {
    /// The number of a name, which is given one if it has none.
    pub(super) fn of(&mut self, connection: &Connection, name: &str) -> rusqlite::Result<i64> {
        if let Some(id) = self.known.get(name) {
            return Ok(*id);
        }
        let id = match find(connection, name)? {
            Some(id) => id,
            None => connection.prepare_cached("INSERT INTO names (name) VALUES (?1)")?.insert((name,))?,
        };
        if self.known.len() >= KEPT {
            self.known.clear();
        }
        self.known.insert(name.into(), id);
        Ok(id)
    }

    pub(super) fn of_place(
        &mut self,
        connection: &Connection,
        repository: &RepoName,
        ref_name: &RefName,
    ) -> rusqlite::Result<i64> {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        write!(text, "{repository} {ref_name}").expect("writing to a string succeeds");
        let id = self.of(connection, &text);
        self.text = text;
        id
    }

    pub(super) fn of_config(
        &mut self,
        connection: &Connection,
        config: ConfigDigest,
    ) -> rusqlite::Result<i64> {
        self.of(connection, &codec::config_name(config))
    }

    /// What a transaction that was rolled back has named is not named.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }
}

/// The number of a name, if it has one.
pub(super) fn find(connection: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM names WHERE name = ?1")?
        .query_row((name,), |row| row.get(0))
        .optional()
}

/// How many names are remembered.
const KEPT: usize = 16_384;
