use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use ipnet::IpNet;
use swifthook_core::schedule::Schedule;
use swifthook_core::{
    Checkout, ConfigDigest, Debounce, GpuRequest, RepoName, Retention, Retry, Superseding, Template,
};
use swifthook_launch::{GpuRules, Remote};
use swifthook_msswift::{Permissions, Trust};
use swifthook_runner::{Drain, Watch};

use super::intake::Intake;
use super::launcher::Launcher;
use super::limits::Limits;
use super::mistake::Mistake;
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
    /// For how long an environment of uv is kept that nobody asks for, from `[retention]`; `None` is for ever.
    pub environments: Option<Duration>,
    /// `[limits]`.
    pub limits: Limits,
    /// Files of the server that no isolated run sees: this configuration, the store, secrets.
    pub private: Vec<PathBuf>,
    /// `[[launcher]]`; `local` is always among them.
    pub launchers: Vec<Launcher>,
    /// `[[hook]]`; at least one, unless it was read for a worker or all that recipes train is pulled.
    pub hooks: Vec<Hook>,
    /// `[[repository]]`; at least one.
    pub repositories: Vec<Repository>,
    /// `[[recipe]]`; at least one.
    pub recipes: Vec<Recipe>,
    /// What is allowed and hardly meant, in the order of the file.
    pub warnings: Vec<Mistake>,
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
    /// How often the tips of repositories are compared with what is recorded; `None` for never.
    pub reconcile: Option<Duration>,
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
    /// What becomes of runs when it is asked to end.
    pub drain: Drain,
    /// When a GPU counts as free.
    pub gpus: GpuRules,
    /// The name under which GPUs are leased, which all processes of one machine share; `None` for that of the host.
    pub machine: Option<Arc<str>>,
    /// Where runs have control groups of their own.
    pub cgroup: Cgroup,
}

/// Where runs of this machine have control groups (cgroup v2) of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cgroup {
    /// Where systemd has handed over one to this service, and nowhere else.
    #[default]
    Auto,
    /// Nowhere.
    Off,
    /// In this folder.
    At(PathBuf),
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
    /// The private SSH key that is shown there.
    pub key: Option<PathBuf>,
    /// How often its tips are looked at instead of waiting for deliveries.
    pub pull: Option<Duration>,
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
    /// The GPUs that it is to have to itself.
    pub gpus: Option<GpuRequest>,
    /// When, in which order, and how often.
    pub queueing: Queueing,
    /// How closely its runs are watched; `None` for not at all.
    pub watch: Option<Watch>,
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
    /// What its working tree has beside the commit's own files.
    pub checkout: Checkout,
    /// A Python environment whose programs come first.
    pub venv: Option<PathBuf>,
    /// The lock file in the commit of which uv makes the Python environment.
    pub uv: Option<String>,
    /// What is set for a run.
    pub env: BTreeMap<String, Value>,
    /// What is handed on from the server's environment.
    pub pass_env: Vec<String>,
    /// What a run may use.
    pub limits: swifthook_core::RunLimits,
    /// What stands between a run and the rest of the machine.
    pub isolation: Option<Isolation>,
    /// The container image that it runs in.
    pub image: Option<Arc<str>>,
    /// How many machines a run spans.
    pub nodes: NonZeroU32,
    /// How many processes train together on each of them.
    pub nproc: NonZeroU32,
    /// The name of the launcher.
    pub launcher: Arc<str>,
    /// The longest that a run may take.
    pub timeout: Option<Duration>,
    /// The longest that it may take to save and end once it is asked to.
    pub grace: Duration,
}

impl Run {
    /// Whether it starts in a working tree of its commit. A run that is given data alone has none.
    #[must_use]
    pub fn has_tree(&self) -> bool {
        self.swift.as_ref().is_none_or(|swift| swift.trust == Trust::Code)
    }
}

/// What stands between a run and the rest of the machine.
#[derive(Clone, Debug)]
pub enum Isolation {
    /// It runs as this user.
    User(String),
    /// It sees the machine as bubblewrap shows it: nothing of the server's, and most of it only to read.
    Bubblewrap(Bubblewrap),
    /// It is started by this program.
    Prefix(Vec<Template>),
}

impl Isolation {
    /// The user of the machine that a run becomes, where one is named.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::User(user) => Some(user),
            Self::Bubblewrap(of) => of.user.as_deref(),
            Self::Prefix(_) => None,
        }
    }
}

/// The sandbox of a recipe.
#[derive(Clone, Debug)]
pub struct Bubblewrap {
    /// The program, by an absolute path.
    pub program: PathBuf,
    /// The user of the machine that a run becomes; `None` for the server's own, and where that is root for one of its own.
    pub user: Option<String>,
    /// True where runs have the network of the machine.
    pub network: bool,
    /// Folders that runs write to beside their own, and share.
    pub caches: Vec<PathBuf>,
    /// Parts of the home directory that are seen, relative to it; `None` for those that programs usually are in.
    pub home: Option<Vec<PathBuf>>,
}

/// What a pushed config of ms-swift may say.
#[derive(Clone, Debug)]
pub struct Swift {
    /// What the repository may do.
    pub trust: Trust,
    /// The names that it may use.
    pub permissions: Permissions,
    /// True if models and data are looked into before a run.
    pub looks_into: bool,
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
