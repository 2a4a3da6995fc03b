use super::target::InvalidUrl;
use crate::clock::Clock;

/// How a store on PostgreSQL is opened.
#[derive(Clone)]
pub struct Options {
    /// Where it takes the time from; `None` is the database, which all that share it agree on. A clock of the
    /// caller's is for tests.
    pub clock: Option<Clock>,
    /// How many connections there are at most, beside the one that listens.
    pub connections: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { clock: None, connections: 8 }
    }
}

/// A store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL is none of PostgreSQL.
    #[error("the URL of the store is not one of PostgreSQL")]
    Url(#[from] InvalidUrl),
    /// A newer version of this software has made the schema.
    #[error("the database has schema {found}, and this version knows {known} and older ones")]
    Newer {
        /// Its schema.
        found: i32,
        /// The newest schema that is known here.
        known: i32,
    },
    /// The tables are something else's.
    #[error("the database has tables of these names that are not those of swifthook")]
    Foreign,
    /// The database keeps text in another encoding.
    #[error("the database has the encoding {0}, and must have UTF8")]
    Encoding(String),
    /// The server does not answer, or refuses.
    #[error("cannot open the store on PostgreSQL")]
    Postgres(#[from] tokio_postgres::Error),
}
