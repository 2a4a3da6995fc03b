//! `swifthook store`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use swifthook_queue::{Location, SqliteQueue};

use super::CommonArguments;
use super::address::age;
use super::environment::variable;
use super::reach::{Error, Reach, ReachArguments};
use super::screen::print;
use super::store_text;
use crate::api::{PrunedView, StoreView};
use crate::config::{Contact, StoreUrl};
use crate::serve::migrate_store;

/// The store: how much is in it, copies of it, and what is to go.
#[derive(Debug, clap::Args)]
pub struct StoreArguments {
    #[command(flatten)]
    reach: ReachArguments,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Count what there is.
    Stats,
    /// Remove what is older than the configuration says, now and not little by little.
    Prune(PruneArguments),
    /// Copy a store on SQLite into a file, also while a server works on it.
    Backup(BackupArguments),
    /// Bring the schema up to date without serving.
    Migrate,
    /// Copy everything into another store, which is empty: from SQLite to PostgreSQL, or back. No server may run.
    Copy(CopyArguments),
}

#[derive(Debug, clap::Args)]
struct PruneArguments {
    /// Everything that ended longer ago, whatever became of it; at least `7d`.
    #[arg(long, value_name = "AGE", value_parser = age)]
    older_than: Option<Duration>,
    /// Only count what would go.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
struct BackupArguments {
    /// A file that is not there yet.
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
struct CopyArguments {
    /// The other store, as `url` of `[store]` has it: `sqlite:FILE`, `postgres://…`, or `env:NAME` or `file:PATH` with
    /// the URL there, for one with a password.
    #[arg(long, value_name = "URL")]
    to: String,
}

#[derive(Deserialize)]
struct Unconfirmed {
    would: Vec<String>,
    confirm: String,
}

pub(super) fn run(common: &CommonArguments, arguments: &StoreArguments) -> ExitCode {
    match text(common, arguments) {
        Ok(text) => print(text.as_bytes()),
        Err(error) => error.tell(),
    }
}

fn text(common: &CommonArguments, arguments: &StoreArguments) -> Result<String, Error> {
    let json = arguments.reach.json;
    match &arguments.what {
        What::Stats => {
            let reach = Reach::find(common, &arguments.reach)?;
            let body = reach.get(STORE)?;
            told(json, &body, |stats: &StoreView| store_text::stats(stats))
        }
        What::Prune(prune_arguments) => prune(&Reach::find(common, &arguments.reach)?, prune_arguments, json),
        What::Backup(backup_arguments) => backup(common, backup_arguments, json),
        What::Migrate => migrate(common, json),
        What::Copy(copy_arguments) => copy(common, &copy_arguments.to, json),
    }
}

fn prune(reach: &Reach, arguments: &PruneArguments, json: bool) -> Result<String, Error> {
    let older_than = arguments.older_than.map(|age| age.as_secs());
    let call = |confirm: Option<String>| {
        let body = json!({ "older_than": older_than, "dry_run": arguments.dry_run, "confirm": confirm });
        reach.call(Method::POST, &format!("{STORE}/prune"), body.to_string().into_bytes())
    };
    let mut reply = call(None)?;
    if reply.status == StatusCode::PRECONDITION_REQUIRED {
        let asked: Unconfirmed = serde_json::from_slice(&reply.body).map_err(Error::Strange)?;
        if !arguments.yes {
            super::ask::ask(&asked.would)?;
        }
        reply = call(Some(asked.confirm))?;
    }
    if !reply.status.is_success() {
        return Err(Error::refused(&reply));
    }
    told(json, &reply.body, |pruned: &PrunedView| store_text::pruned(pruned))
}

fn backup(common: &CommonArguments, arguments: &BackupArguments, json: bool) -> Result<String, Error> {
    let file = &arguments.file;
    match Contact::load(&common.config, &variable)?.store.url {
        StoreUrl::Sqlite(store) => {
            let bytes = SqliteQueue::backup(store, file)?;
            if json {
                return Ok(format!("{}\n", json!({ "file": file, "bytes": bytes })));
            }
            Ok(format!("{}: {}\n", file.display(), store_text::size(bytes)))
        }
        #[cfg(feature = "postgres")]
        StoreUrl::Postgres(_) => Err(Error::HasItsOwnBackup),
    }
}

fn migrate(common: &CommonArguments, json: bool) -> Result<String, Error> {
    let contact = Contact::load(&common.config, &variable)?;
    let runtime = runtime()?;
    let (from, to) = runtime.block_on(migrate_store(&contact.store.url)).map_err(Error::Store)?;
    if json {
        return Ok(format!("{}\n", json!({ "from": from, "to": to })));
    }
    Ok(match from {
        0 => format!("a new store, with schema {to}\n"),
        from if from == to => format!("the schema is up to date ({to})\n"),
        from => format!("from schema {from} to {to}\n"),
    })
}

fn copy(common: &CommonArguments, to: &str, json: bool) -> Result<String, Error> {
    let from = Contact::load(&common.config, &variable)?.store.url;
    let folder = std::env::current_dir().map_err(|error| Error::NotAStore(error.to_string()))?;
    let to = StoreUrl::from_command_line(to, &folder, &variable).map_err(Error::NotAStore)?;
    let runtime = runtime()?;
    let copied = swifthook_queue::copy(location(&from), location(&to), runtime.handle())?;
    let checksum: String = copied.checksum.iter().map(|word| format!("{word:016x}")).collect();
    let (jobs, deliveries, changes) = (copied.jobs, copied.deliveries, copied.changes);
    if json {
        let told =
            json!({ "jobs": jobs, "deliveries": deliveries, "changes": changes, "checksum": checksum });
        return Ok(format!("{told}\n"));
    }
    Ok(format!(
        "copied {jobs} jobs, {deliveries} deliveries and {changes} changes, and found all of them in the copy\n\
         (checksum {})\nnow name the other store as `url` of `[store]`, and start the server\n",
        &checksum[..16]
    ))
}

fn location(url: &StoreUrl) -> Location<'_> {
    match url {
        StoreUrl::Sqlite(file) => Location::Sqlite(file),
        #[cfg(feature = "postgres")]
        StoreUrl::Postgres(url) => Location::Postgres(url.exposed()),
    }
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Error::Store(crate::serve::StartError::Runtime(error)))
}

/// As the server gives it, or as a person reads it.
fn told<T: serde::de::DeserializeOwned>(
    json: bool,
    body: &[u8],
    text: fn(&T) -> String,
) -> Result<String, Error> {
    if json {
        return Ok(String::from_utf8_lossy(body).into_owned() + "\n");
    }
    Ok(text(&serde_json::from_slice(body).map_err(Error::Strange)?))
}

const STORE: &str = "/api/v1/store";
