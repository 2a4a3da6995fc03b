//! `[server]`, `[store]`, `[worker]` and `[[repository]]`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use swifthook_core::RepoName;
use swifthook_launch::{Credentials, GpuRules, History, Remote};
use swifthook_runner::Drain;

use super::model::{Cgroup, Purpose, Repository, Server, Store, Worker};
use super::queueing::choice;
use super::reader::{Fields, Node, Unique, Wrong, closest, listed};
use super::secret::{self, Outside};
use super::store_url::StoreUrl;
use super::{gpus, units};

pub(super) fn server(fields: Option<Fields<'_>>, folder: &Path) -> Server {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
    let admin_listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 8081));
    let Some(fields) = fields else {
        return Server {
            listen,
            admin_listen,
            admin_token: None,
            trusted_proxies: Vec::new(),
            github_meta: Uri::from_static(GITHUB_META),
            reconcile: Some(RECONCILE),
        };
    };
    let server = Server {
        listen: fields.or("listen", listen, |node| node.read(address)),
        admin_listen: fields.or("admin_listen", admin_listen, |node| node.read(address)),
        admin_token: fields
            .get("admin_token")
            .and_then(|node| node.read(|text| secret::reference(text, folder))),
        trusted_proxies: fields
            .get("trusted_proxies")
            .map(|node| node.read_items(units::cidr))
            .unwrap_or_default(),
        github_meta: fields.or("github_meta", Uri::from_static(GITHUB_META), |node| node.read(meta)),
        reconcile: fields.or("reconcile", Some(RECONCILE), |node| node.read(looks_or_off)),
    };
    if server.listen == server.admin_listen && server.listen.port() != 0 {
        fields.wrong(
            Wrong::new(format!("`listen` and `admin_listen` are both {}", server.listen))
                .instead("hooks and the admin API never share a port"),
        );
    }
    fields.finish();
    server
}

fn meta(text: &str) -> Result<Uri, Wrong> {
    let is_web = |uri: &Uri| matches!(uri.scheme_str(), Some("https" | "http")) && uri.host().is_some();
    text.parse().ok().filter(is_web).ok_or_else(|| {
        Wrong::new(format!("not a URL: `{text}`")).instead(format!("for example `{GITHUB_META}`"))
    })
}

pub(super) fn store(
    fields: Option<Fields<'_>>,
    folder: &Path,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Store {
    let url = StoreUrl::Sqlite(folder.join("swifthook.db"));
    let state_dir = folder.join("swifthook-state");
    let Some(fields) = fields else { return Store { url, state_dir } };
    let store = Store {
        url: fields.or("url", url, |node| node.read(|text| StoreUrl::read(text, folder, variable))),
        state_dir: fields.or("state_dir", state_dir, |node| node.text().map(|text| folder.join(text))),
    };
    fields.finish();
    store
}

/// What works here; `is_shared` says whether other processes may work on the same store.
pub(super) fn worker(fields: Option<Fields<'_>>, purpose: Purpose, is_shared: bool) -> Worker {
    let Some(fields) = fields else {
        return Worker {
            slots: 1,
            labels: Vec::new(),
            listen: None,
            drain: Drain::default(),
            gpus: GpuRules::default(),
            machine: None,
            cgroup: Cgroup::default(),
        };
    };
    let slots = fields.get("slots");
    let worker = Worker {
        slots: slots.as_ref().map_or(Some(1), |node| node.number()).unwrap_or(1),
        labels: fields.get("labels").map(|node| node.read_items(word)).unwrap_or_default(),
        listen: fields.get("listen").and_then(|node| node.read(address)),
        drain: fields.or("drain", Drain::default(), |node| node.read(drain)),
        gpus: fields.get("gpus").and_then(|node| gpus::rules(&node)).unwrap_or_default(),
        machine: fields.get("machine").and_then(|node| node.read(word)),
        cgroup: fields.or("cgroup", Cgroup::default(), |node| node.read(cgroup)),
    };
    if let (0, Some(node)) = (worker.slots, slots)
        && (purpose == Purpose::Work || !is_shared)
    {
        let instead = match purpose {
            Purpose::Work => "at least 1",
            Purpose::Serve => "at least 1; 0 is for servers that share a store on PostgreSQL with workers",
        };
        node.wrong(Wrong::new("`slots` is 0, so that nothing would ever run").instead(instead));
    }
    fields.finish();
    worker
}

/// What becomes of runs when their worker is asked to end.
fn drain(text: &str) -> Result<Drain, Wrong> {
    match text {
        "leave" => Ok(Drain::Leave),
        "yield" => Ok(Drain::Yield),
        _ => Err(choice("drain", text, &["leave", "yield"])),
    }
}

/// Where runs have their control groups.
fn cgroup(text: &str) -> Result<Cgroup, Wrong> {
    match text {
        "auto" => Ok(Cgroup::Auto),
        "off" => Ok(Cgroup::Off),
        path if path.starts_with('/') => Ok(Cgroup::At(path.into())),
        _ => Err(Wrong::new(format!("`cgroup` cannot be `{text}`"))
            .instead("there is `auto`, `off` and a folder such as `/sys/fs/cgroup/swifthook`")),
    }
}

/// The repositories, and their names for whoever refers to them.
pub(super) fn repositories(
    tables: Vec<Fields<'_>>,
    folder: &Path,
    variable: &dyn Fn(&str) -> Option<String>,
) -> (Vec<Repository>, Unique) {
    let mut names = Unique::new("repositories");
    let mut one = |fields: Fields<'_>| {
        let name = fields.need("name", "`name = \"acme/models\"`").and_then(|node| {
            let name = node.read(RepoName::new)?;
            warn_of_ending(&node, name.as_str());
            names.check(&node, name.as_str());
            Some(name)
        });
        let clone_url = fields.need("clone_url", "`clone_url = \"https://github.com/acme/models.git\"`");
        let credentials = fields.get("credentials").map(|node| credentials(&node, folder, variable));
        let token = credentials.as_ref().and_then(|given| given.as_ref()?.1.clone());
        let key = match credentials.as_ref().and_then(Option::as_ref) {
            Some((Credentials::Key(key), _)) => Some(key.clone()),
            _ => None,
        };
        let pull = fields.get("pull").map(|node| node.read(looks));
        let history = fields.or("history", History::default(), |node| node.read(history));
        fields.finish();
        let name = name?;
        let remote = clone_url.as_ref()?.read(|url| Remote::new(name.clone(), url))?;
        let remote = remote.keeping(history);
        let remote = match credentials {
            Some(credentials) => remote.with(credentials?.0),
            None => remote,
        };
        let pull = match pull {
            Some(pull) => Some(pull?),
            None => None,
        };
        Some(Repository { token, key, name, clone_url: clone_url?.text()?.to_owned(), pull, remote })
    };
    let all = tables.into_iter().filter_map(&mut one).collect();
    (all, names)
}

/// Warns of the name of a repository as it ends in its URL, and not in its pushes.
pub(super) fn warn_of_ending(node: &Node<'_>, name: &str) {
    if let Some(plain) = name.strip_suffix(".git") {
        let wrong =
            Wrong::new(format!("no push is of a repository `{name}`: GitHub lets no name end with `.git`"));
        node.warn(wrong.instead(format!("write `{plain}`")));
    }
}

/// How often a server is asked for its tips. More often than this it would be asked for nothing else.
fn looks(text: &str) -> Result<Duration, Wrong> {
    match units::duration(text)? {
        often if often < LEAST => Err(Wrong::new(format!("too often: `{text}`"))
            .instead("at least `1s`; a server that keeps a repository is asked each time")),
        every => Ok(every),
    }
}

fn looks_or_off(text: &str) -> Result<Option<Duration>, Wrong> {
    units::duration_or_off(text)?.map(|_| looks(text)).transpose()
}

fn history(text: &str) -> Result<History, Wrong> {
    match text {
        "full" => Ok(History::Full),
        "blobless" => Ok(History::Blobless),
        "shallow" => Ok(History::Shallow),
        _ => Err(choice("history", text, &["full", "blobless", "shallow"])),
    }
}

fn credentials(
    node: &Node<'_>,
    folder: &Path,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Option<(Credentials, Option<Outside>)> {
    let fields = node.fields("`credentials`")?;
    let key =
        fields.get("key").map(|node| node.text().map(|text| (Credentials::Key(folder.join(text)), None)));
    let helper =
        fields.get("helper").map(|node| node.text().map(|text| (Credentials::Helper(text.to_owned()), None)));
    let token = fields.get("token").map(|node| {
        node.read(|text| match secret::reference(text, folder)? {
            Outside::File(file) => {
                Ok::<_, Wrong>((Credentials::TokenFile(file.clone()), Some(Outside::File(file))))
            }
            place => Ok((Credentials::Token(place.value(variable)?), Some(place))),
        })
    });
    fields.finish();
    let mut given = [key, helper, token].into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(one), None) => one,
        _ => {
            node.wrong(Wrong::new("`credentials` has one of `key`, `token` and `helper`"));
            None
        }
    }
}

/// A name or a label: it stands in URLs, metrics and file names.
pub(super) fn word(text: &str) -> Result<Arc<str>, Wrong> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.is_empty() || text.len() > 100 || !text.bytes().all(is_plain) {
        return Err(Wrong::new(format!("not a name: `{text}`"))
            .instead("letters, digits, `-`, `_` and `.`, at most 100 of them"));
    }
    Ok(text.into())
}

/// One of the names that there are.
pub(super) fn unknown(what: &str, text: &str, names: &[&str]) -> Wrong {
    let wrong = Wrong::new(format!("no {what} is called `{text}`"));
    match closest(text, names) {
        Some(near) => wrong.instead(format!("did you mean `{near}`?")),
        None => wrong.instead(format!("there are {}", listed(names))),
    }
}

fn address(text: &str) -> Result<SocketAddr, Wrong> {
    text.parse().map_err(|_| {
        Wrong::new(format!("not an address with a port: `{text}`"))
            .instead("for example `127.0.0.1:8080` or `[::]:8080`")
    })
}

/// How often tips are compared with what is recorded, unless it is said.
const RECONCILE: Duration = Duration::from_secs(600);
const LEAST: Duration = Duration::from_secs(1);
/// <https://docs.github.com/en/rest/meta/meta#get-github-meta-information>
const GITHUB_META: &str = "https://api.github.com/meta";
