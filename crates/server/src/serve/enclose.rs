//! What a run is started within, as its recipe says.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use swifthook_core::{Enclosure, Job, Reason, RepoName, Template};
use swifthook_launch::borrowed_objects;
use swifthook_runner::Uncomposed;
use tokio::process::Command;

use super::uv::ENVIRONMENTS;
use crate::config::Isolation;

/// The isolation of a recipe, and what of the server a run must not see.
#[derive(Clone)]
pub(super) struct Enclosing {
    pub(super) isolation: Isolation,
    /// Whether the recipe itself says what `HOME` is.
    pub(super) has_home: bool,
    pub(super) state_dir: PathBuf,
    /// Files of the server: its configuration, its secrets, its store.
    pub(super) private: Arc<[PathBuf]>,
    /// Whether runs have working trees, whose git borrows objects of the server.
    pub(super) has_tree: bool,
}

/// Where whatever is started within something is, and what it may write to.
pub(super) struct Places {
    pub(super) run_dir: String,
    pub(super) output_dir: String,
    /// Where it starts.
    pub(super) working_dir: String,
    /// What it finds as `/tmp`.
    pub(super) tmp: String,
    pub(super) writes: Vec<String>,
    /// What it reads beside what everybody may: a checkpoint to go on from.
    pub(super) reads: Option<String>,
}

impl Places {
    /// Those of an attempt.
    pub(super) fn of_a_run(run_dir: &str, output_dir: &str, checkpoint: Option<&str>) -> Self {
        let tree = format!("{run_dir}/tree");
        Self {
            run_dir: run_dir.to_owned(),
            output_dir: output_dir.to_owned(),
            tmp: format!("{run_dir}/tmp"),
            writes: vec![tree.clone(), output_dir.to_owned(), format!("{run_dir}/progress.jsonl")],
            working_dir: tree,
            reads: checkpoint.map(str::to_owned),
        }
    }
}

impl Enclosing {
    /// What something of `job` is started within; its environment may be changed for that.
    pub(super) async fn enclosure(
        &self,
        job: &Job,
        places: &Places,
        env: &mut BTreeMap<String, String>,
    ) -> Result<Enclosure, Uncomposed> {
        match &self.isolation {
            Isolation::User(name) => {
                let (home, enclosure) = user(name).await?;
                if let Some(home) = home.filter(|_| !self.has_home) {
                    env.insert("HOME".to_owned(), home);
                }
                Ok(enclosure)
            }
            Isolation::Bubblewrap => Ok(self.bubblewrap(&job.change.repository, places, env)),
            Isolation::Prefix(prefix) => {
                let (push, path) = (job.push(), job.spec.config.as_deref());
                let fill = |item: &Template| {
                    let item = item.fill(&job.change.recipe, &push, path);
                    item.finish(job.id, &places.run_dir, &places.output_dir)
                };
                Ok(Enclosure { prefix: prefix.iter().map(fill).collect(), ..Enclosure::default() })
            }
        }
    }

    /// The machine, of which it may write to its own directories and to the caches of models alone, with nothing of the
    /// server in it. The network is as it is: models come from there.
    fn bubblewrap(
        &self,
        repository: &RepoName,
        places: &Places,
        env: &BTreeMap<String, String>,
    ) -> Enclosure {
        let mut prefix: Vec<String> = vec!["bwrap".to_owned(), "--die-with-parent".to_owned()];
        let mut add = |words: &[&str]| prefix.extend(words.iter().map(ToString::to_string));
        add(&["--ro-bind", "/", "/", "--dev-bind", "/dev", "/dev", "--bind", &places.tmp, "/tmp"]);
        for cache in caches(env) {
            add(&["--bind-try", &cache, &cache]);
        }
        if let Some(state_dir) = self.state_dir.to_str() {
            let environments = format!("{state_dir}/{ENVIRONMENTS}");
            add(&["--tmpfs", state_dir, "--ro-bind-try", &environments, &environments]);
        }
        let objects = self.has_tree.then(|| borrowed_objects(&self.state_dir, repository));
        for objects in objects.iter().flatten().filter_map(|path| path.to_str()) {
            add(&["--ro-bind-try", objects, objects]);
        }
        if let Some(part) = &places.reads {
            add(&["--ro-bind-try", part, part]);
        }
        for part in &places.writes {
            add(&["--bind", part, part]);
        }
        let home = env.get("HOME").map(PathBuf::from).into_iter();
        let of_home = home.flat_map(|home| SECRETS_OF_HOME.map(|name| home.join(name)));
        for path in self.private.iter().cloned().chain(of_home) {
            let Some(text) = path.to_str() else { continue };
            match path.metadata() {
                Ok(metadata) if metadata.is_dir() => add(&["--tmpfs", text]),
                Ok(metadata) if metadata.is_file() => add(&["--ro-bind", "/dev/null", text]),
                _ => {}
            }
        }
        add(&["--chdir", &places.working_dir, "--"]);
        Enclosure { prefix, outlives_command: true, owner: None }
    }
}

/// Where models and data are kept that come from a hub.
fn caches(env: &BTreeMap<String, String>) -> Vec<String> {
    let named = CACHES.iter().filter_map(|name| env.get(*name).cloned());
    let of_home = env.get("HOME").map(|home| format!("{home}/.cache"));
    named
        .chain(of_home)
        .filter(|path| path.starts_with('/') && path.trim_matches('/').contains('/'))
        .collect()
}

/// As another user of this machine, for good.
async fn user(name: &str) -> Result<(Option<String>, Enclosure), Uncomposed> {
    let asked = Command::new("getent")
        .args(["passwd", "--", name])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| Uncomposed::NotNow(format!("`getent` cannot be run: {error}")))?;
    let line = String::from_utf8_lossy(&asked.stdout);
    let fields: Vec<_> = line.trim_end().split(':').collect();
    let number = |at: usize| fields.get(at).and_then(|text| text.parse::<u32>().ok());
    let (Some(uid), Some(gid)) = (number(2), number(3)) else {
        let why = format!("this machine has no user `{name}`, as which `isolation` has its runs");
        return Err(Uncomposed::Unfit(Reason::new("config", why)));
    };
    let home = fields.get(5).filter(|home| home.starts_with('/')).map(ToString::to_string);
    let prefix =
        ["setpriv", &format!("--reuid={uid}"), &format!("--regid={gid}"), "--init-groups", "--no-new-privs"];
    let prefix = prefix.iter().map(ToString::to_string).collect();
    Ok((home, Enclosure { prefix, outlives_command: false, owner: Some((uid, gid)) }))
}

const CACHES: [&str; 6] = [
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_DATASETS_CACHE",
    "MODELSCOPE_CACHE",
    "XDG_CACHE_HOME",
    "TRITON_CACHE_DIR",
];
const SECRETS_OF_HOME: [&str; 8] =
    [".ssh", ".netrc", ".git-credentials", ".aws", ".kube", ".docker", ".gnupg", ".config/gh"];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn bubblewrap(private: &[&Path], env: &[(&str, &str)], has_tree: bool) -> Vec<String> {
        let enclosing = Enclosing {
            isolation: Isolation::Bubblewrap,
            has_home: false,
            state_dir: "/srv/state".into(),
            private: private.iter().map(|path| path.to_path_buf()).collect(),
            has_tree,
        };
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let checkpoint = Some("/srv/state/runs/1-0/output/checkpoint-3");
        let places = Places::of_a_run("/srv/state/runs/1-1", "/srv/state/runs/1-1/output", checkpoint);
        enclosing.bubblewrap(&RepoName::new("acme/models").unwrap(), &places, &env).prefix
    }

    #[test]
    fn what_a_run_may_write_to_comes_after_what_hides_it() {
        let env = [("HF_HOME", "/models/hub"), ("XDG_CACHE_HOME", "/"), ("HOME", "/home/x")];
        let prefix = bubblewrap(&[], &env, true);
        let at = |word: &str| prefix.iter().position(|item| item == word).unwrap_or_else(|| panic!("{word}"));
        assert!(at("/srv/state") < at("/srv/state/runs/1-0/output/checkpoint-3"));
        assert!(at("/models/hub") < at("/srv/state") && at("/srv/state") < at("/srv/state/runs/1-1/output"));
        assert!(prefix.contains(&"/home/x/.cache".to_owned()) && prefix.last().unwrap() == "--");
        assert_eq!(prefix.iter().filter(|item| *item == "/").count(), 2, "the root is never written to");
        let objects = "/srv/state/mirrors/acme/models.git/objects";
        assert!(at("/srv/state") < at(objects) && prefix[at(objects) - 1] == "--ro-bind-try", "{prefix:?}");
        let mirrors = |prefix: &[String]| prefix.iter().filter(|item| item.contains("/mirrors")).count();
        // Three places, each from and to, and nothing else of mirrors.
        assert_eq!((mirrors(&prefix), mirrors(&bubblewrap(&[], &env, false))), (6, 0));
    }

    #[test]
    fn what_is_the_servers_is_hidden_where_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "x").unwrap();
        let prefix = bubblewrap(&[&secret, &folder.path().join("absent")], &[], false).join(" ");
        assert!(prefix.contains(&format!("--ro-bind /dev/null {}", secret.display())), "{prefix}");
        assert!(!prefix.contains("absent"), "{prefix}");
    }

    #[tokio::test]
    async fn a_user_is_looked_up_and_a_missing_one_told() {
        let (home, enclosure) = user("nobody").await.unwrap_or_else(|why| panic!("{why:?}"));
        assert_eq!(enclosure.prefix[0], "setpriv");
        assert_eq!(enclosure.prefix[1], format!("--reuid={}", enclosure.owner.unwrap().0));
        assert!(home.unwrap().starts_with('/'));
        match user("no-such-user").await {
            Err(Uncomposed::Unfit(why)) => assert!(why.detail.contains("no user `no-such-user`"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
}
