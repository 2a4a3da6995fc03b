use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::digest;
use super::hook::hooks;
use super::mistake::{Mistake, Mistakes};
use super::model::{Config, Hook, Server};
use super::reader::{Fields, Report, Wrong};
use super::recipe::{Known, recipes};
use super::secret::Outside;
use super::sections;

impl Config {
    /// Reads a configuration file. Relative paths in it are relative to its folder.
    ///
    /// `variable` looks up a variable of the environment.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, at once.
    pub fn load(file: &Path, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, Mistakes> {
        let mistakes = |what: String, instead: Option<String>| Mistakes {
            file: file.to_owned(),
            list: vec![Mistake { place: None, what, instead }],
        };
        let text = std::fs::read_to_string(file).map_err(|error| {
            let instead = (error.kind() == std::io::ErrorKind::NotFound).then_some(
                "name another file with `--config FILE`, or see the whole thing work with `swifthook demo`",
            );
            mistakes(format!("cannot be read: {error}"), instead.map(str::to_owned))
        })?;
        let absolute = std::path::absolute(file).map_err(|error| mistakes(error.to_string(), None))?;
        let folder = absolute.parent().unwrap_or(Path::new("/")).to_owned();
        Self::parse(&text, file, &folder, variable)
    }

    /// Reads the text of a configuration file that stands in `folder`.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, at once.
    pub fn parse(
        text: &str,
        file: &Path,
        folder: &Path,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Mistakes> {
        let report = Report::new(text);
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let at = error.span().map(|span| span.start);
            report.wrong(at, Wrong::new(format!("not TOML: {}", error.message())));
        }
        // What follows a syntax error may have been read wrongly: no mistakes are told of it.
        let config = errors.is_empty().then(|| {
            let fields = Fields::new(&report, "the configuration", document.get_ref(), 0);
            whole(fields, file.to_owned(), folder, variable, digest::of(document.get_ref()))
        });
        match config {
            Some(config) if report.is_clean() => Ok(config),
            _ => Err(Mistakes { file: file.to_owned(), list: report.into_mistakes() }),
        }
    }
}

fn whole(
    fields: Fields<'_>,
    file: PathBuf,
    folder: &Path,
    variable: &dyn Fn(&str) -> Option<String>,
    digest: swifthook_core::ConfigDigest,
) -> Config {
    let server = sections::server(fields.table("server"), folder);
    let store = sections::store(fields.table("store"), folder);
    let worker = sections::worker(fields.table("worker"));
    let launchers = sections::launchers(fields.tables("launcher"));
    let (repositories, names) = sections::repositories(fields.tables("repository"));
    let hooks = hooks(fields.tables("hook"), folder, variable, &repositories);
    let known = Known {
        folder,
        variable,
        repositories: &names,
        launchers: &launchers,
        worker: &worker,
        own_secrets: &own_secrets(&server, &hooks),
    };
    let recipes = recipes(fields.tables("recipe"), &known);
    for (key, example) in REQUIRED {
        if !fields.has(key) {
            fields.wrong_in_general(Wrong::new(format!("there is no [[{key}]]")).instead(example));
        }
    }
    fields.not_yet(&LATER);
    fields.finish();
    Config { file, digest, server, store, worker, hooks, repositories, recipes }
}

/// Variables that no run may see.
fn own_secrets(server: &Server, hooks: &[Hook]) -> Vec<String> {
    let places = hooks.iter().flat_map(|hook| &hook.secrets).chain(&server.admin_token);
    let variables = places.filter_map(|place| match place {
        Outside::Variable(name) => Some(name.clone()),
        Outside::File(_) => None,
    });
    variables.chain(["SWIFTHOOK_ADMIN_TOKEN".to_owned()]).collect()
}

const REQUIRED: [(&str, &str); 3] = [
    ("hook", "a hook says by which path and with which secret pushes come"),
    ("repository", "a repository says where pushed commits are fetched from"),
    ("recipe", "a recipe says which pushes train, and what then runs"),
];

const LATER: [&str; 7] = ["intake", "notify", "registry", "deployment", "gateway", "retention", "limits"];
