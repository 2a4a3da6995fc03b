//! `[server]`, `[store]`, `[worker]`, `[[launcher]]` and `[[repository]]`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use swifthook_core::RepoName;

use super::model::{Repository, Server, Store, Worker};
use super::reader::{Fields, Unique, Wrong, closest, listed};
use super::{secret, units};

pub(super) fn server(fields: Option<Fields<'_>>, folder: &Path) -> Server {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
    let admin_listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 8081));
    let Some(fields) = fields else {
        return Server { listen, admin_listen, admin_token: None, trusted_proxies: Vec::new() };
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

pub(super) fn store(fields: Option<Fields<'_>>, folder: &Path) -> Store {
    let database = folder.join("swifthook.db");
    let state_dir = folder.join("swifthook-state");
    let Some(fields) = fields else { return Store { database, state_dir } };
    let store = Store {
        database: fields.or("url", database, |node| {
            node.read(|text| match text.split_once(':') {
                Some(("sqlite", path)) if !path.is_empty() => {
                    Ok(folder.join(path.strip_prefix("//").unwrap_or(path)))
                }
                Some(("postgres" | "postgresql", _)) => Err(Wrong::not_yet("a PostgreSQL store")),
                // Not quoted: other schemes may carry a password.
                _ => Err(Wrong::new("not a store").instead("for example `sqlite:swifthook.db`")),
            })
        }),
        state_dir: fields.or("state_dir", state_dir, |node| node.text().map(|text| folder.join(text))),
    };
    fields.finish();
    store
}

pub(super) fn worker(fields: Option<Fields<'_>>) -> Worker {
    let Some(fields) = fields else { return Worker { slots: 1, labels: Vec::new() } };
    let slots = fields.get("slots");
    let worker = Worker {
        slots: slots.as_ref().map_or(Some(1), |node| node.number()).unwrap_or(1),
        labels: fields.get("labels").map(|node| node.read_items(word)).unwrap_or_default(),
    };
    if let (0, Some(node)) = (worker.slots, slots) {
        node.wrong(Wrong::new("`slots` is 0, so that nothing would ever run").instead("at least 1"));
    }
    fields.finish();
    worker
}

/// The names of the launchers that there are.
pub(super) fn launchers(tables: Vec<Fields<'_>>) -> Unique {
    let mut names = Unique::new("launchers");
    for fields in tables {
        if let Some(node) = fields.need("name", "`name = \"a100\"`")
            && let Some(name) = node.read(word)
        {
            names.check(&node, &name);
        }
        let is_local = fields.need("kind", "`kind = \"local\"`").and_then(|node| {
            node.read(|kind| match kind {
                "local" => Ok(true),
                "slurm" | "kubernetes" => Err(Wrong::not_yet(format!("`kind = \"{kind}\"`"))),
                other => Err(Wrong::new(format!("no kind of launcher is called `{other}`"))
                    .instead("there is `local`")),
            })
        });
        // What else a launcher of another kind says is no further mistake.
        if is_local == Some(true) {
            fields.finish();
        }
    }
    names
}

pub(super) fn repositories(tables: Vec<Fields<'_>>) -> (Vec<Repository>, Unique) {
    let mut names = Unique::new("repositories");
    let mut all = Vec::new();
    for fields in tables {
        let name = fields.need("name", "`name = \"acme/models\"`").and_then(|node| {
            let name = node.read(RepoName::new)?;
            names.check(&node, name.as_str());
            Some(name)
        });
        let clone_url = fields
            .need("clone_url", "`clone_url = \"https://github.com/acme/models.git\"`")
            .and_then(|node| node.read(clone_url));
        fields.not_yet(&["credentials"]);
        if let (Some(name), Some(clone_url)) = (name, clone_url) {
            all.push(Repository { name, clone_url });
        }
        fields.finish();
    }
    (all, names)
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

fn clone_url(text: &str) -> Result<String, Wrong> {
    let has_password = text.split_once("://").is_some_and(|(_, rest)| {
        rest.split('/')
            .next()
            .and_then(|host| host.rsplit_once('@'))
            .is_some_and(|(user, _)| user.contains(':'))
    });
    if has_password {
        return Err(
            Wrong::new("a clone URL with a password in it").instead("git finds credentials by itself")
        );
    }
    let is_known = ["https://", "ssh://", "file:///", "git@"].iter().any(|scheme| text.starts_with(scheme));
    if !is_known || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Wrong::new(format!("not a clone URL: `{text}`"))
            .instead("`https://…`, `ssh://…`, `git@host:…` or `file:///…`"));
    }
    Ok(text.to_owned())
}
