use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::geteuid;
use swifthook_core::{Account, Enclosure, Job, Sandbox, Template};
use swifthook_launch::{GpuProbe, borrowed_objects, can_sandbox};
use swifthook_runner::Uncomposed;

use super::account::{User, of_recipe, of_repository, unfit};
use super::base::base;
use super::places::Places;
use super::ready::{RUNS, Ready};
use super::sandbox::Shown;
use crate::config::{Bubblewrap, Isolation, program};

/// The isolation of a recipe, and what of the server a run must not see.
#[derive(Clone)]
pub(in crate::serve) struct Enclosing {
    pub(in crate::serve) isolation: Isolation,
    /// True where the recipe itself says what `HOME` is.
    pub(in crate::serve) has_home: bool,
    pub(in crate::serve) state_dir: PathBuf,
    /// The mark that tells this state directory from others.
    pub(in crate::serve) mark: Arc<str>,
    /// Files of the server: its configuration, its secrets, its store.
    pub(in crate::serve) private: Arc<[PathBuf]>,
    /// Folders of models and data that a config may name.
    pub(in crate::serve) named: Arc<[PathBuf]>,
    /// True where runs have working trees, whose git borrows objects of the server.
    pub(in crate::serve) has_tree: bool,
    /// The GPUs of this machine.
    pub(in crate::serve) gpus: Option<Arc<GpuProbe>>,
    /// The memory that a run may have.
    pub(in crate::serve) memory: Option<u64>,
}

impl Enclosing {
    /// Returns what something of `job` is started within; its environment may be changed for that.
    pub(in crate::serve) async fn enclosure(
        &self,
        job: &Job,
        places: &Places,
        env: &mut BTreeMap<String, String>,
    ) -> Result<Enclosure, Uncomposed> {
        match &self.isolation {
            Isolation::User(name) => {
                let User { mut account, home } = User::named(name).await?;
                self.use_home(home, env);
                self.make_ready(&[], &account, None, self.checkpoint(places)?).await?;
                account.groups.extend(self.has_tree.then(|| self.readers(job)));
                Ok(Enclosure { lent: self.lent(job), ..as_user(&account)? })
            }
            Isolation::Bubblewrap(of) => self.sandbox(of, job, places, env).await,
            Isolation::Prefix(prefix) => {
                let (push, path) = (job.push(), job.spec.config.as_deref());
                let fill = |item: &Template| {
                    let item = item.fill(&job.change.recipe, &push, path);
                    item.finish(job.id, &places.run_dir, &places.output_dir)
                };
                let mut prefix: Vec<String> = prefix.iter().map(fill).collect();
                // The `PATH` of the run may lead into what a repository has chosen.
                if let Some(first) = prefix.first_mut().filter(|first| !first.contains('/'))
                    && let Some(found) = program(first).and_then(|file| file.to_str().map(str::to_owned))
                {
                    *first = found;
                }
                Ok(Enclosure { prefix, ..Enclosure::default() })
            }
        }
    }

    fn use_home(&self, home: Option<String>, env: &mut BTreeMap<String, String>) {
        if let Some(home) = home.filter(|_| !self.has_home) {
            env.insert("HOME".to_owned(), home);
        }
    }

    async fn sandbox(
        &self,
        of: &Bubblewrap,
        job: &Job,
        places: &Places,
        env: &mut BTreeMap<String, String>,
    ) -> Result<Enclosure, Uncomposed> {
        let Some(state_dir) = self.state_dir.to_str() else {
            return Err(unfit(format!("the path of `{}` is not UTF-8", self.state_dir.display())));
        };
        let checkpoint = self.checkpoint(places)?;
        let account = self.account(of, job, env).await?;
        let is_own = account.as_ref().is_some_and(|account| account.name.is_some());
        let own_cache = is_own.then(|| self.state_dir.join(CACHES).join(&*job.change.recipe));
        if let Some(account) = &account {
            self.make_ready(&of.caches, account, own_cache.clone(), checkpoint.clone()).await?;
        }
        let as_whom = account.as_ref().map(|account| (account.user, account.group));
        try_it(of, as_whom).await?;
        let gpus = match &self.gpus {
            Some(gpus) if places.has_gpus => gpus.nodes().await.unwrap_or_default(),
            _ => BTreeMap::new(),
        };
        let server_home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
        let base = self.base(env).await?;
        let shown = Shown {
            of,
            places,
            env,
            state_dir: Path::new(state_dir),
            server_home: server_home.as_deref(),
            private: &self.private,
            named: &self.named,
            repository: self.has_tree.then_some(&job.change.repository),
            own_cache: own_cache.as_deref(),
            checkpoint: checkpoint.as_deref(),
            base: base.as_deref(),
            recipe: &job.change.recipe,
        };
        let lent = if account.is_some() { self.lent(job) } else { Vec::new() };
        let sandbox = Sandbox {
            program: of.program.display().to_string(),
            network: of.network,
            memory: self.memory,
            mounts: shown.mounts(),
            working_dir: places.working_dir.clone(),
            gpus,
            account,
        };
        Ok(Enclosure {
            outlives_command: true,
            owner: as_whom,
            sandbox: Some(sandbox),
            lent,
            ..Enclosure::default()
        })
    }

    /// The user that root makes of itself; nobody else can.
    async fn account(
        &self,
        of: &Bubblewrap,
        job: &Job,
        env: &mut BTreeMap<String, String>,
    ) -> Result<Option<Account>, Uncomposed> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        let mut account = match &of.user {
            Some(name) => {
                let User { account, home } = User::named(name).await?;
                self.use_home(home, env);
                account
            }
            None => of_recipe(&self.mark, &job.change.recipe),
        };
        account.groups.extend(self.has_tree.then(|| self.readers(job)));
        Ok(Some(account))
    }

    /// Looked for where a disk that hangs keeps nobody but this job.
    async fn base(&self, env: &BTreeMap<String, String>) -> Result<Option<PathBuf>, Uncomposed> {
        let (env, state_dir) = (env.clone(), self.state_dir.clone());
        let found = tokio::task::spawn_blocking(move || base(&env, &state_dir)).await;
        found.map_err(|error| {
            Uncomposed::NotNow(format!("the Python of the environment cannot be looked for: {error}"))
        })
    }

    fn readers(&self, job: &Job) -> u32 {
        of_repository(&self.mark, job.change.repository.as_str())
    }

    /// Objects that root lends to others, once the working tree is there that borrows them.
    fn lent(&self, job: &Job) -> Vec<(String, u32)> {
        let objects = borrowed_objects(&self.state_dir, &job.change.repository).into_iter();
        let objects = objects.filter(|_| self.has_tree).filter_map(|path| path.to_str().map(str::to_owned));
        objects.map(|path| (path, self.readers(job))).collect()
    }

    /// The checkpoint that a run goes on from.
    fn checkpoint(&self, places: &Places) -> Result<Option<PathBuf>, Uncomposed> {
        places.reads.as_deref().map(|path| checkpoint(path, &self.state_dir)).transpose()
    }

    async fn make_ready(
        &self,
        caches: &[PathBuf],
        account: &Account,
        cache: Option<PathBuf>,
        checkpoint: Option<PathBuf>,
    ) -> Result<(), Uncomposed> {
        let ready = Ready {
            state_dir: self.state_dir.clone(),
            account: account.clone(),
            cache,
            caches: caches.to_vec(),
            checkpoint,
        };
        let made = tokio::task::spawn_blocking(move || ready.make()).await;
        made.map_err(std::io::Error::other)
            .flatten()
            .map_err(|error| Uncomposed::NotNow(format!("its isolation cannot be made ready: {error}")))
    }
}

/// As another user of this machine, for good.
fn as_user(account: &Account) -> Result<Enclosure, Uncomposed> {
    let setpriv = program("setpriv").and_then(|file| file.to_str().map(str::to_owned));
    let setpriv = setpriv.ok_or_else(|| {
        Uncomposed::NotNow(
            "no program `setpriv` on this server's PATH: install the package `util-linux`".to_owned(),
        )
    })?;
    let Account { user, group, groups, .. } = account;
    let groups: Vec<_> = groups.iter().map(ToString::to_string).collect();
    let of_groups = match groups.is_empty() {
        true => "--clear-groups".to_owned(),
        false => format!("--groups={}", groups.join(",")),
    };
    let [user_word, group_word] = [format!("--reuid={user}"), format!("--regid={group}")];
    let prefix = [setpriv, user_word, group_word, of_groups, "--no-new-privs".to_owned()];
    Ok(Enclosure { prefix: prefix.into(), owner: Some((*user, *group)), ..Enclosure::default() })
}

/// The machine may have changed since the configuration was read.
async fn try_it(of: &Bubblewrap, as_whom: Option<(u32, u32)>) -> Result<(), Uncomposed> {
    let (program, network) = (of.program.clone(), of.network);
    let tried = tokio::task::spawn_blocking(move || can_sandbox(&program, as_whom, network)).await;
    match tried {
        Ok(tried) => tried.map_err(|why| {
            let told = format!("this machine gives no sandbox: {why}");
            if is_passing(&why) { Uncomposed::NotNow(told) } else { unfit(told) }
        }),
        Err(error) => Err(Uncomposed::NotNow(format!("the sandbox could not be tried: {error}"))),
    }
}

/// Tells whether bubblewrap was refused something of which there may be enough at another time: somebody else may have taken
/// all of it, and no job is to fail for that.
fn is_passing(why: &str) -> bool {
    SCARCE.iter().any(|words| why.contains(words))
}

/// A checkpoint, which its run has named: one that leads elsewhere by a link would show what the next run must not see.
fn checkpoint(path: &str, state_dir: &Path) -> Result<PathBuf, Uncomposed> {
    let (path, runs) = (PathBuf::from(path), state_dir.join(RUNS));
    let Ok(inside) = path.strip_prefix(&runs) else {
        return Err(unfit(format!(
            "the checkpoint `{}` is in no run of this state directory",
            path.display()
        )));
    };
    let parts: Vec<_> = inside.components().collect();
    let is_plain = parts.iter().all(|part| matches!(part, std::path::Component::Normal(_)));
    let mut reached = runs.clone();
    let is_linked = parts.iter().any(|part| {
        reached.push(part);
        reached.is_symlink()
    });
    match is_plain && !is_linked && parts.len() > 1 {
        true => Ok(path),
        false => Err(unfit(format!("the checkpoint `{}` is a link, which is not followed", path.display()))),
    }
}

/// Words of the C library for `ENOSPC`, which is of namespaces too, `EDQUOT`, `EAGAIN`, `ENOMEM`, `EMFILE`, `ENFILE` and `EUSERS`.
const SCARCE: [&str; 6] = [
    "No space left on device",
    "Disk quota exceeded",
    "Resource temporarily unavailable",
    "Cannot allocate memory",
    "Too many open files",
    "Too many users",
];
/// The folder of the caches of users who have no home.
const CACHES: &str = "caches";

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_checkpoint_that_leads_out_of_its_run_is_refused() {
        let state = tempfile::tempdir().unwrap();
        let output = state.path().join("runs/1-0/output");
        fs::create_dir_all(output.join("checkpoint-3")).unwrap();
        symlink("/root", output.join("checkpoint-4")).unwrap();
        symlink("../../2-0", output.join("other")).unwrap();
        let refused = |path: &str| checkpoint(path, state.path()).is_err();
        let at = |name: &str| output.join(name).display().to_string();
        assert!(!refused(&at("checkpoint-3")));
        for path in [&at("checkpoint-4"), &at("other/output/x"), &at("../../2-0"), "/root/.ssh"] {
            assert!(refused(path), "{path}");
        }
    }

    #[test]
    fn a_sandbox_that_the_machine_has_no_room_for_fails_no_job() {
        for why in [
            "bwrap: Creating new namespace failed: No space left on device",
            "bwrap: Creating new namespace failed: Disk quota exceeded",
            "`/usr/bin/bwrap` cannot be run: Resource temporarily unavailable (os error 11)",
        ] {
            assert!(is_passing(why), "{why}");
        }
        assert!(!is_passing("bwrap: No permissions to create a new namespace"));
    }

    #[test]
    fn another_user_is_become_by_a_program_that_no_environment_chooses() {
        let account = Account { user: 7, group: 8, groups: vec![8, 9], name: None };
        let enclosure = as_user(&account).unwrap_or_else(|why| panic!("{why:?}"));
        assert!(enclosure.prefix[0].starts_with('/') && enclosure.prefix[0].ends_with("/setpriv"));
        assert_eq!((&*enclosure.prefix[1], enclosure.owner), ("--reuid=7", Some((7, 8))));
        assert_eq!(enclosure.prefix[3], "--groups=8,9", "those that lend it objects too");
    }
}
