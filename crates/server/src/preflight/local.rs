//! Models and data that a config names on this machine.

use std::io::{self, ErrorKind};
use std::path::Path;

use swifthook_msswift::{Local, LocalKind, Mistake, Rules, Trust};

use super::data::{self, Verdict};
use super::folder;

/// What is wrong with what is named.
pub(super) enum Found {
    /// For good.
    Wrong(Mistake),
    /// Nothing for certain.
    Doubtful(Mistake),
    /// Its disk does not answer as it should.
    NotNow(String),
}

/// Looks at one of them, which somebody named of whom this much is trusted.
///
/// Tells whether they can be read is not asked where nobody wants to know; whether they bring more than rows is asked in any case.
pub(super) fn look(local: Local<'_>, rules: Rules<'_>, is_asked: bool) -> Option<Found> {
    let path = local.found(Path::exists);
    let is_of_another_name = path != local.path;
    let local = Local { path, before: None, ..local };
    let is_allowed = |path: &Path| path.to_str().is_some_and(|path| rules.permissions.data.has_path(path));
    if is_of_another_name && rules.trust == Trust::Data && !is_allowed(path) {
        return Some(Found::Wrong(mistake(
            local,
            "ms-swift would read this file, which the recipe does not allow",
        )));
    }
    let found = match local.kind {
        _ if !is_asked && (rules.trust == Trust::Code || !path.exists()) => return None,
        LocalKind::Data => {
            let beyond = match rules.trust {
                Trust::Data => beyond_its_rows(local, rules),
                Trust::Code => Ok(None),
            };
            match beyond {
                Ok(Some(why)) => Ok(Verdict::Wrong(why)),
                Ok(None) if is_asked => data::look(path),
                Ok(None) => Ok(Verdict::Fine),
                Err(error) => Err(error),
            }
        }
        _ if !is_asked => return None,
        kind => path.metadata().map(|metadata| {
            let why = match metadata.is_dir() {
                true => unlike_a_model(kind, path),
                false => Some("it is no folder, as a model is".to_owned()),
            };
            why.map_or(Verdict::Fine, Verdict::Wrong)
        }),
    };
    match found {
        Ok(Verdict::Fine) => None,
        Ok(Verdict::Doubtful(why)) => Some(Found::Doubtful(mistake(local, &why))),
        Ok(Verdict::Wrong(why)) => Some(Found::Wrong(mistake(local, &why))),
        Err(error) => match error.kind() {
            ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::NotADirectory => {
                Some(Found::Wrong(mistake(local, &error.to_string())))
            }
            _ => Some(Found::NotNow(format!("`{}`: {error}", path.display()))),
        },
    }
}

/// Things that data bring besides rows that the recipe lets pass.
fn beyond_its_rows(local: Local<'_>, rules: Rules<'_>) -> io::Result<Option<String>> {
    let path = local.path;
    if let Some(out) = folder::leads_out(path, &rules.permissions.data)? {
        return Ok(Some(out));
    }
    match data::brings_code(path)? {
        None if path.is_dir() => folder::steers_a_loader(path, local.key.starts_with("cached_")),
        told => Ok(told),
    }
}

/// What a folder has not that is to be a model: a download that was broken off, or the folder above it.
fn unlike_a_model(kind: LocalKind, path: &Path) -> Option<String> {
    let has = |name: &str| path.join(name).exists();
    match kind {
        LocalKind::Model if !has("config.json") => {
            Some("there is no `config.json` in it, so it is no model".to_owned())
        }
        // ms-swift puts an adapter that has a name into a folder below.
        LocalKind::Adapter if !has("adapter_config.json") && !has("args.json") && !has("default") => Some(
            "there is neither `adapter_config.json` nor `args.json` in it, so it is no adapter".to_owned(),
        ),
        _ => None,
    }
}

fn mistake(local: Local<'_>, why: &str) -> Mistake {
    Mistake { line: local.line, what: format!("`{}`: `{}`: {why}", local.key, local.path.display()) }
}
