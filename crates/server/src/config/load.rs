use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use swifthook_core::{ConfigDigest, Retention};
use swifthook_queue::SqliteQueue;
use toml::de::DeTable;

use super::confine;
use super::digest;
use super::hook::{self, Around, hooks};
use super::intake::{self, Intake};
use super::launcher;
use super::limits;
use super::mistake::{Mistake, Mistakes, Place};
use super::model::{Config, Hook, Purpose, Recipe, Repository, Server, Store, Value};
use super::reader::{Fields, Report, WHOLE, Wrong};
use super::recipe::{self, Known, recipes};
use super::retention;
use super::secret::{self, Outside, read_at_most};
use super::sections;

/// What whoever talks to a server has to know of its configuration.
#[derive(Clone, Debug)]
pub struct Contact {
    /// Where it listens.
    pub server: Server,
    /// What it works on.
    pub store: Store,
    /// For how long what has ended is kept.
    pub retention: Retention,
}

impl Contact {
    /// Reads `[server]`, `[store]` and `[retention]` of a configuration file. Nothing else is looked at: whoever looks at jobs need
    /// not have the secrets of the hooks. `variable` looks up a variable of the environment.
    ///
    /// # Errors
    ///
    /// What is wrong with these three.
    pub fn load(file: &Path, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, Mistakes> {
        let (text, folder) = read(file)?;
        let report = Report::new(&text);
        let (document, errors) = DeTable::parse_recoverable(&text);
        syntax(&report, &text, &errors);
        let fields = Fields::new(&report, WHOLE, document.get_ref(), 0);
        let server = sections::server(fields.table("server"), &folder);
        let store = sections::store(fields.table("store"), &folder, variable);
        let (retention, _) = retention::retention(fields.table("retention"), &[]);
        if report.is_clean() {
            return Ok(Self { server, store, retention });
        }
        Err(Mistakes { file: file.to_owned(), list: report.into_mistakes() })
    }
}

/// Where a push is sent that is not GitHub's, and what it is signed with.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where the server listens.
    pub listen: SocketAddr,
    /// The path of the first hook.
    pub path: String,
    /// Where its first secret stands.
    pub secret: Outside,
}

impl Target {
    /// Reads `[server]` and the first `[[hook]]` of a configuration file. Nothing else is looked at, and no secret is read:
    /// whoever sends a push may have another.
    ///
    /// # Errors
    ///
    /// What is wrong with these.
    pub fn load(file: &Path) -> Result<Self, Mistakes> {
        let (text, folder) = read(file)?;
        let report = Report::new(&text);
        let (document, errors) = DeTable::parse_recoverable(&text);
        syntax(&report, &text, &errors);
        let fields = Fields::new(&report, WHOLE, document.get_ref(), 0);
        let server = sections::server(fields.table("server"), &folder);
        let hook = fields.tables("hook").into_iter().next();
        if hook.is_none() && errors.is_empty() && !fields.has("hook") {
            fields.wrong_in_general(Wrong::new("there is no [[hook]]").instead(REQUIRED[0].1));
        }
        let target = hook.and_then(|hook| hook::target(&hook, &folder));
        match target {
            Some((path, secret)) if report.is_clean() => Ok(Self { listen: server.listen, path, secret }),
            _ => Err(Mistakes { file: file.to_owned(), list: report.into_mistakes() }),
        }
    }
}

impl Config {
    /// Reads a configuration file. Relative paths in it are relative to its folder.
    ///
    /// `variable` looks up a variable of the environment.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, at once.
    pub fn load(file: &Path, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, Mistakes> {
        Self::load_for(Purpose::Serve, file, variable)
    }

    /// The same for a purpose.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, at once.
    pub fn load_for(
        purpose: Purpose,
        file: &Path,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Mistakes> {
        let (text, folder) = read(file)?;
        Self::parse_for(purpose, &text, file, &folder, variable)
    }

    /// Reads the file again, for the same purpose.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, at once.
    pub fn load_again(&self, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, Mistakes> {
        Self::load_for(self.purpose, &self.file, variable)
    }

    /// The same configuration with the secrets of the moment.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn reread(&self, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, Mistakes> {
        Self::parse_for(self.purpose, &self.text, &self.file, &self.folder, variable)
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
        Self::parse_for(Purpose::Serve, text, file, folder, variable)
    }

    fn parse_for(
        purpose: Purpose,
        text: &str,
        file: &Path,
        folder: &Path,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Mistakes> {
        let report = Report::new(text);
        let (document, errors) = DeTable::parse_recoverable(text);
        syntax(&report, text, &errors);
        // What follows a syntax error may have been read wrongly: no mistakes are told of it.
        let config = errors.is_empty().then(|| {
            let fields = Fields::new(&report, WHOLE, document.get_ref(), 0);
            let source = (Arc::from(text), file.to_owned(), digest::of(document.get_ref()));
            let run_secrets = recipe::secret_variables(document.get_ref());
            whole(purpose, &fields, source, folder, variable, &run_secrets)
        });
        match config {
            Some(config) if report.is_clean() => Ok(Self { warnings: report.into_warnings(), ..config }),
            _ => Err(Mistakes { file: file.to_owned(), list: report.into_mistakes() }),
        }
    }
}

/// The text of a file, and the folder that it stands in.
pub(super) fn read(file: &Path) -> Result<(String, PathBuf), Mistakes> {
    let wrong = |what: String, instead: Option<&str>| Mistakes {
        file: file.to_owned(),
        list: vec![Mistake { place: None, what, instead: instead.map(str::to_owned) }],
    };
    let text = read_at_most(file, MOST_BYTES).map_err(|error| {
        let is_missing = error.kind() == std::io::ErrorKind::NotFound;
        wrong(format!("cannot be read: {error}"), is_missing.then_some(ELSEWHERE))
    })?;
    let absolute = std::path::absolute(file).map_err(|error| wrong(error.to_string(), None))?;
    let folder = absolute.parent().unwrap_or(Path::new("/")).to_owned();
    Ok((text, folder))
}

/// The first error of each line: what follows it in the line is most often its consequence.
pub(super) fn syntax(report: &Report<'_>, text: &str, errors: &[toml::de::Error]) {
    let mut lines = HashSet::new();
    for error in errors {
        let at = error.span().map(|span| span.start);
        if lines.insert(at.map(|byte| Place::of(text, byte).line)) {
            report.wrong(at, Wrong::new(format!("not TOML: {}", error.message())));
        }
    }
}

fn whole(
    purpose: Purpose,
    fields: &Fields<'_>,
    (text, file, digest): (Arc<str>, PathBuf, ConfigDigest),
    folder: &Path,
    variable: &dyn Fn(&str) -> Option<String>,
    run_secrets: &HashSet<String>,
) -> Config {
    let server = sections::server(fields.table("server"), folder);
    let store = sections::store(fields.table("store"), folder, variable);
    let intake = intake::intake(fields.table("intake"), purpose, folder, variable);
    let worker = sections::worker(fields.table("worker"), purpose, store.url.is_shared());
    let mut launchers = launcher::launchers(fields.tables("launcher"), folder);
    let (repositories, names) = sections::repositories(fields.tables("repository"), folder, variable);
    launchers.iter_mut().for_each(|launcher| launcher.kind.fetch(&repositories));
    let around = Around { purpose, folder, variable, repositories: &names };
    let hooks = hooks(fields.tables("hook"), &around);
    let (retention, environments) =
        retention::retention(fields.table("retention"), hooks.as_deref().unwrap_or_default());
    let limits = limits::limits(fields.table("limits"), hooks.as_deref().unwrap_or_default());
    let known = Known {
        folder,
        variable,
        repositories: &names,
        remotes: &repositories,
        launchers: &launchers,
        worker: &worker,
        has_other_workers: store.url.is_shared(),
        // Who may speak for a repository is the business of those who listen.
        hooks: hooks.as_deref().filter(|_| purpose == Purpose::Serve),
        run_secrets,
        own_secrets: &own_secrets(
            &server,
            &store,
            intake.as_ref(),
            &repositories,
            hooks.as_deref().unwrap_or_default(),
        ),
    };
    let recipes = recipes(fields.tables("recipe"), &known);
    confine::nested(&recipes).into_iter().for_each(|wrong| fields.wrong_in_general(wrong));
    let mut private = private(&file, &store, known.own_secrets, &repositories, &recipes);
    private.extend(credentials(variable, &recipes));
    for (key, example) in REQUIRED {
        let is_needed = key != "hook" || purpose == Purpose::Serve && !is_all_pulled(&repositories);
        if is_needed && !fields.has(key) {
            fields.wrong_in_general(Wrong::new(format!("there is no [[{key}]]")).instead(example));
        }
    }
    fields.not_yet(&LATER);
    fields.finish();
    let of_hooks = |place: &&Outside| hooks.iter().flatten().any(|hook| hook.secrets.contains(place));
    let of_recipes =
        recipes.iter().flat_map(|recipe| recipe.run.env.values()).filter_map(|value| match value {
            Value::Outside(place) => Some(place),
            Value::Text(_) => None,
        });
    // What cannot be read is told where it is needed.
    for place in known.own_secrets.iter().filter(|place| !of_hooks(place)).chain(of_recipes) {
        let value = place.value(variable).ok();
        let refused = "whoever it is shown to may refuse it";
        if let Some(wrong) = value.and_then(|value| secret::warning(place, &value, refused)) {
            fields.warn_in_general(wrong);
        }
    }
    Config {
        text,
        file,
        purpose,
        folder: folder.to_owned(),
        digest,
        server,
        store,
        intake,
        worker,
        retention,
        environments,
        limits,
        private,
        launchers,
        hooks: hooks.unwrap_or_default(),
        repositories,
        recipes,
        warnings: Vec::new(),
    }
}

/// Tells whether pushes are looked for in every repository, so that nobody has to announce any.
fn is_all_pulled(repositories: &[Repository]) -> bool {
    !repositories.is_empty() && repositories.iter().all(|repository| repository.pull.is_some())
}

/// Files that no isolated run is to see.
fn private(
    file: &Path,
    store: &Store,
    secrets: &[Outside],
    repositories: &[Repository],
    recipes: &[Recipe],
) -> Vec<PathBuf> {
    let values = recipes.iter().flat_map(|recipe| recipe.run.env.values());
    let of_recipes = values.filter_map(|value| match value {
        Value::Outside(place) => Some(place),
        Value::Text(_) => None,
    });
    let files = secrets.iter().chain(of_recipes).filter_map(|place| match place {
        Outside::File(file) => Some(file.clone()),
        Outside::Variable(_) => None,
    });
    let of_store = store.url.file().into_iter().flat_map(SqliteQueue::files);
    let keys = repositories.iter().filter_map(|repository| repository.key.clone());
    files.chain(of_store).chain(keys).chain(std::path::absolute(file)).collect()
}

/// Files and folders with what lets this process in elsewhere, which variables of its environment name. What a recipe hands on
/// its runs are to have.
fn credentials(
    variable: &dyn Fn(&str) -> Option<String>,
    recipes: &[Recipe],
) -> impl Iterator<Item = PathBuf> {
    let is_passed = |name: &str| {
        recipes.iter().any(|recipe| {
            let run = &recipe.run;
            run.env.contains_key(name) || run.pass_env.iter().any(|passed| passed == name)
        })
    };
    let values = CREDENTIALS.iter().filter(|name| !is_passed(name)).filter_map(|name| variable(name));
    let paths: Vec<PathBuf> =
        values.flat_map(|value| std::env::split_paths(&value).collect::<Vec<_>>()).collect();
    // `KRB5CCNAME` may begin with a kind, which is no path of its own then.
    paths.into_iter().filter(|path| path.is_absolute() && path.parent().is_some())
}

/// Where secrets stand that no run may see.
fn own_secrets(
    server: &Server,
    store: &Store,
    intake: Option<&Intake>,
    repositories: &[Repository],
    hooks: &[Hook],
) -> Vec<Outside> {
    let places = hooks.iter().flat_map(|hook| &hook.secrets).chain(&server.admin_token);
    let places = places.chain(store.url.place()).chain(intake.into_iter().flat_map(Intake::places));
    let places = places.chain(repositories.iter().filter_map(|repository| repository.token.as_ref()));
    places.cloned().chain([Outside::Variable("SWIFTHOOK_ADMIN_TOKEN".to_owned())]).collect()
}

const REQUIRED: [(&str, &str); 3] = [
    ("hook", "a hook says by which path and with which secret pushes come"),
    ("repository", "a repository says where pushed commits are fetched from"),
    ("recipe", "a recipe says which pushes train, and what then runs"),
];

/// Variables by which programs and libraries find credentials in files: of [Kubernetes], [libpq], [AWS], Google, Azure,
/// Kerberos, git, Docker and the hubs.
///
/// [Kubernetes]: https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
/// [libpq]: https://www.postgresql.org/docs/current/libpq-envars.html
/// [AWS]: https://docs.aws.amazon.com/sdkref/latest/guide/file-location.html
const CREDENTIALS: [&str; 22] = [
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AZURE_CONFIG_DIR",
    "AZURE_FEDERATED_TOKEN_FILE",
    "BOTO_CONFIG",
    "CLOUDSDK_CONFIG",
    "CREDENTIALS_DIRECTORY",
    "DOCKER_CONFIG",
    "GIT_SSL_KEY",
    "GNUPGHOME",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "HF_TOKEN_PATH",
    "KRB5CCNAME",
    "KRB5_KTNAME",
    "KUBECONFIG",
    "NETRC",
    "PGPASSFILE",
    "PGSERVICEFILE",
    "PGSSLKEY",
    "SSH_AUTH_SOCK",
    "XAUTHORITY",
];

/// More than anybody writes.
const MOST_BYTES: u64 = 16 << 20;

const ELSEWHERE: &str =
    "name another file with `--config FILE`, or see the whole thing work with `swifthook demo`";

const LATER: [&str; 4] = ["notify", "registry", "deployment", "gateway"];
