//! `url` of `[store]`: a file of SQLite, or a database on PostgreSQL.

use std::fmt;
use std::path::{Path, PathBuf};

use super::reader::Wrong;
use super::secret::Outside;

/// Where jobs are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// A SQLite file, which belongs to one process.
    Sqlite(PathBuf),
    /// A database on PostgreSQL, which several processes share.
    #[cfg(feature = "postgres")]
    Postgres(PostgresUrl),
}

/// The URL of a database on PostgreSQL. It may hold a password, and is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    text: String,
    place: Option<Outside>,
}

impl PostgresUrl {
    /// The whole of it, for the one who connects.
    #[must_use]
    pub fn exposed(&self) -> &str {
        &self.text
    }
}

impl StoreUrl {
    /// The file of a store that has one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(file) => Some(file),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => None,
        }
    }

    /// Reads what stands in the configuration: the URL, or where it stands.
    pub(super) fn read(
        text: &str,
        folder: &Path,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Wrong> {
        let Some(place) = Outside::parse(text, folder) else { return Self::parse(text, None, folder) };
        Self::parse(&place.value(variable)?, Some(place), folder)
    }

    /// Whether several processes may work on it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        !matches!(self, Self::Sqlite(_))
    }

    /// Reads what stands on a command line.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub fn from_command_line(
        text: &str,
        folder: &Path,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        Self::read(text, folder, variable).map_err(|wrong| wrong.to_string())
    }

    /// Where it stands, if not in the configuration.
    pub(super) fn place(&self) -> Option<&Outside> {
        match self {
            Self::Sqlite(_) => None,
            #[cfg(feature = "postgres")]
            Self::Postgres(url) => url.place.as_ref(),
        }
    }

    fn parse(text: &str, place: Option<Outside>, folder: &Path) -> Result<Self, Wrong> {
        match text.split_once(':') {
            Some(("sqlite", path)) if !path.is_empty() => {
                Ok(Self::Sqlite(folder.join(path.strip_prefix("//").unwrap_or(path))))
            }
            Some(("postgres" | "postgresql", _)) => postgres(text, place),
            // Not quoted: other schemes may carry a password.
            _ => Err(Wrong::new(not(place.as_ref(), "a store"))
                .instead("for example `sqlite:swifthook.db` or `postgres://swifthook@127.0.0.1/swifthook`")),
        }
    }
}

#[cfg(feature = "postgres")]
fn postgres(text: &str, place: Option<Outside>) -> Result<StoreUrl, Wrong> {
    use swifthook_queue::postgres::Target;

    // What is wrong with it is not told of one that stands elsewhere: that may quote a part of a password.
    let wrong = |why: &dyn fmt::Display| match &place {
        None => Wrong::new(format!("not a URL of PostgreSQL: {why}")),
        place => Wrong::new(not(place.as_ref(), "a URL of PostgreSQL")),
    };
    let target = Target::parse(text).map_err(|error| {
        wrong(&error).instead("for example `postgres://swifthook@127.0.0.1:5432/swifthook`")
    })?;
    if place.is_none() && target.has_password() {
        return Err(Wrong::new(
            "a password does not stand in the configuration itself: configurations are shared and kept",
        )
        .instead("write `url = \"env:NAME\"` or `url = \"file:PATH\"` with the whole URL there"));
    }
    Ok(StoreUrl::Postgres(PostgresUrl { text: text.to_owned(), place }))
}

#[cfg(not(feature = "postgres"))]
fn postgres(_text: &str, _place: Option<Outside>) -> Result<StoreUrl, Wrong> {
    Err(Wrong::new("this build of swifthook has no stores on PostgreSQL")
        .instead("build it with `cargo build --release -p swifthook --features postgres`"))
}

fn not(place: Option<&Outside>, what: &str) -> String {
    place.map_or_else(|| format!("not {what}"), |place| format!("`{place}` does not hold {what}"))
}

/// Where it stands, or nothing of it.
impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => fmt::Debug::fmt(place, f),
            None => f.write_str("postgres://…"),
        }
    }
}
