use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use ipnet::IpNet;
use swifthook_core::schedule::Schedule;
use swifthook_core::{ConfigDigest, Debounce, RepoName, Retention, Retry, Superseding, Template};
use swifthook_launch::Remote;
use swifthook_msswift::{Allowed, Trust};

use super::intake::Intake;
use super::secret::Outside;
use super::store_url::StoreUrl;

/// A configuration in which nothing is wrong.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that it stands in.
    pub file: PathBuf,
    /// What it was read for.
    pub(super) purpose: Purpose,
    /// Its text, for reading secrets again without taking a new text.
    pub(super) text: Arc<str>,
    /// The folder that relative paths in it are relative to.
    pub(super) folder: PathBuf,
    /// The SHA-256 of its normalised text: comments, order and spacing make no difference.
    pub digest: ConfigDigest,
    /// `[server]`.
    pub server: Server,
    /// `[store]`.
    pub store: Store,
    /// `[intake]`; `None` where pushes are stored at once.
    pub intake: Option<Intake>,
    /// `[worker]`.
    pub worker: Worker,
    /// `[retention]`.
    pub retention: Retention,
    /// `[[launcher]]`, by name; `local` is always among them.
    pub launchers: Vec<Arc<str>>,
    /// `[[hook]]`; at least one, unless it was read for a worker.
    pub hooks: Vec<Hook>,
    /// `[[repository]]`; at least one.
    pub repositories: Vec<Repository>,
    /// `[[recipe]]`; at least one.
    pub recipes: Vec<Recipe>,
}

/// `[server]`.
#[derive(Clone, Debug)]
pub struct Server {
    /// Hooks, `/healthz` and `/readyz` only.
    pub listen: SocketAddr,
    /// API and metrics.
    pub admin_listen: SocketAddr,
    /// Where the admin token stands; `None` for one in the state directory, made at first start.
    pub admin_token: Option<Outside>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Where GitHub publishes the addresses of its hooks, for `allow_from = "github"`.
    pub github_meta: Uri,
}

/// `[store]`.
#[derive(Clone, Debug)]
pub struct Store {
    /// Where jobs are kept.
    pub url: StoreUrl,
    /// Runs, logs, git mirrors.
    pub state_dir: PathBuf,
}

/// `[worker]`.
#[derive(Clone, Debug)]
pub struct Worker {
    /// How many runs may be under way at once; 0 for a server that takes pushes only.
    pub slots: usize,
    /// Its labels.
    pub labels: Vec<Arc<str>>,
    /// Where `swifthook worker` answers `/healthz`, `/readyz` and `/metrics`; `None` for nowhere.
    pub listen: Option<SocketAddr>,
}

/// What a configuration is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To take pushes and run jobs.
    Serve,
    /// To run jobs only: hooks may be missing, and their secrets are not read.
    Work,
}

/// `[[hook]]`.
#[derive(Clone, Debug)]
pub struct Hook {
    /// Its name.
    pub name: String,
    /// Its path on the server.
    pub path: String,
    /// Where its secrets stand, one to four.
    pub secrets: Vec<Outside>,
    /// Whose pushes it may announce: names with `*`.
    pub repositories: Vec<String>,
    /// Whether it takes deliveries from the addresses that GitHub publishes, beside those of `hook`.
    pub from_github: bool,
    /// The hook with its secrets as they were when the configuration was read.
    pub hook: swifthook_core::Hook,
}

/// `[[repository]]`.
#[derive(Clone, Debug)]
pub struct Repository {
    /// Its name: `owner/name`.
    pub name: RepoName,
    /// Where it is fetched from, as the configuration says.
    pub clone_url: String,
    /// Where the token stands that is shown there.
    pub token: Option<Outside>,
    /// The same for git, with credentials.
    pub remote: Remote,
}

/// `[[recipe]]`.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Its name.
    pub name: Arc<str>,
    /// The repository whose pushes it looks at.
    pub repository: RepoName,
    /// Which of them train.
    pub trigger: Trigger,
    /// What then runs.
    pub run: Run,
    /// When, in which order, and how often.
    pub queueing: Queueing,
}

/// Which pushes train.
#[derive(Clone, Debug)]
pub struct Trigger {
    /// Which refs.
    pub refs: Refs,
    /// Which changed paths; empty for all.
    pub paths: Vec<String>,
    /// One job per changed file that matches.
    pub each: Option<String>,
    /// Whose pushes; empty for anyone's.
    pub senders: Vec<String>,
    /// Whether pushes of a merge queue are looked at.
    pub merge_queue: bool,
}

/// What runs, and with what around it.
#[derive(Clone, Debug)]
pub struct Run {
    /// The command.
    pub command: Vec<Template>,
    /// The file of the commit that completes it, of a run of ms-swift.
    pub file: Option<Template>,
    /// What a pushed config may say, of a run of ms-swift.
    pub swift: Option<Swift>,
    /// A Python environment whose programs come first.
    pub venv: Option<PathBuf>,
    /// What is set for a run.
    pub env: BTreeMap<String, Value>,
    /// What is handed on from the server's environment.
    pub pass_env: Vec<String>,
    /// The name of the launcher.
    pub launcher: Arc<str>,
    /// The longest that a run may take.
    pub timeout: Option<Duration>,
}

/// What a pushed config of ms-swift may say.
#[derive(Clone, Debug)]
pub struct Swift {
    /// What the repository may do.
    pub trust: Trust,
    /// The models that it may name.
    pub models: Allowed,
    /// The data that it may name.
    pub data: Allowed,
}

/// How jobs wait for each other and for time.
#[derive(Clone, Debug)]
pub struct Queueing {
    /// Labels that a worker must have.
    pub labels: Vec<Arc<str>>,
    /// When its jobs may start; `None` is at any time.
    pub schedule: Option<Schedule>,
    /// Higher goes first.
    pub priority: i32,
    /// The group of its jobs.
    pub group: Option<Template>,
    /// What becomes of older jobs of the group.
    pub superseded: Superseding,
    /// How long to wait for further pushes.
    pub debounce: Option<Debounce>,
    /// What is done about failures of the machine.
    pub retry: Retry,
}

/// Which refs a recipe looks at.
#[derive(Clone, Debug)]
pub enum Refs {
    /// Branches.
    Branches(Vec<String>),
    /// Tags.
    Tags(Vec<String>),
}

/// A value of `env`.
#[derive(Clone)]
pub enum Value {
    /// As it stands in the configuration.
    Text(String),
    /// Read at each start of a run.
    Outside(Outside),
}

/// The names only: what runs are given is nobody's business.
impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(_) => f.write_str("…"),
            Self::Outside(place) => place.fmt(f),
        }
    }
}
