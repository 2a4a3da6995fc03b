//! The view that a sandbox gives of the machine, in the order of its mounts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use swifthook_core::{Mount, RepoName};
use swifthook_launch::borrowed_objects;

use super::places::Places;
use super::ready::RUNS;
use crate::config::Bubblewrap;
use crate::serve::uv::{CACHE, ENVIRONMENTS};

/// Everything that decides what is shown.
pub(super) struct Shown<'a> {
    pub(super) of: &'a Bubblewrap,
    pub(super) places: &'a Places,
    /// The environment of the run.
    pub(super) env: &'a BTreeMap<String, String>,
    pub(super) state_dir: &'a Path,
    /// The home directory of the server.
    pub(super) server_home: Option<&'a Path>,
    /// Files of the server.
    pub(super) private: &'a [PathBuf],
    /// Folders of models and data that a config may name.
    pub(super) named: &'a [PathBuf],
    /// The repository whose objects a working tree borrows.
    pub(super) repository: Option<&'a RepoName>,
    /// The folder of the state directory that is the cache of a user who has no home.
    pub(super) own_cache: Option<&'a Path>,
    /// The checkpoint to go on from.
    pub(super) checkpoint: Option<&'a Path>,
    /// The folder of the Python that its environment stands on.
    pub(super) base: Option<&'a Path>,
    pub(super) recipe: &'a str,
}

impl Shown<'_> {
    pub(super) fn mounts(&self) -> Vec<Mount> {
        let mut mounts = self.of_tmp();
        mounts.extend(self.homes().iter().map(|home| Mount::Empty(text(home))));
        mounts.extend(self.of_home().iter().map(|path| Mount::ReadOnly(text(path))));
        mounts.extend(self.of_caches());
        mounts.extend(self.of_state());
        mounts.extend(self.places.writes.iter().map(|part| writable(part, part)));
        mounts.extend(self.hidden().iter().map(|path| Mount::Hidden(text(path))));
        mounts
    }

    fn of_tmp(&self) -> Vec<Mount> {
        let each = |at: &str| match &self.places.tmp {
            Some(tmp) => writable(tmp, at),
            None => Mount::Empty(at.to_owned()),
        };
        vec![each("/tmp"), each("/var/tmp")]
    }

    fn home(&self) -> Option<&Path> {
        self.env.get("HOME").map(Path::new).filter(|home| home.is_absolute())
    }

    /// The home directories of this machine, the outer before the inner.
    fn homes(&self) -> Vec<PathBuf> {
        let others = ["/home", "/root"].map(PathBuf::from).into_iter();
        let mut homes: Vec<_> = others
            .chain(self.server_home.map(Path::to_owned))
            .chain(self.home().map(Path::to_owned))
            .collect();
        homes.sort();
        homes.dedup();
        homes
    }

    /// Parts of home directories to read: those that the recipe lists, and the programs and folders that it names elsewhere.
    fn of_home(&self) -> Vec<PathBuf> {
        let homes = self.homes();
        let listed: Vec<PathBuf> = match &self.of.home {
            Some(listed) => listed.clone(),
            None => PROGRAMS_OF_HOME.map(PathBuf::from).into(),
        };
        let listed = self.home().into_iter().flat_map(|home| listed.iter().map(move |part| home.join(part)));
        // What uv made of a commit may be a link to anywhere. It is shown with the state directory.
        let environments = self.state_dir.join(ENVIRONMENTS);
        let programs = self.programs().into_iter().filter(|path| !path.starts_with(&environments));
        let named = programs.chain(self.named.iter().cloned());
        let named = named.filter(|path| homes.iter().any(|home| path.starts_with(home) && path != home));
        // Not what holds a home directory as a whole.
        let named = named.filter(|path| !homes.iter().any(|home| home.starts_with(path)));
        let mut all: Vec<_> = listed.chain(named).collect();
        all.sort();
        all.dedup();
        all
    }

    /// The folders of programs that the environment names, and the Python that a virtual environment stands on.
    fn programs(&self) -> Vec<PathBuf> {
        let path = self.env.get("PATH").map(String::as_str).unwrap_or_default();
        let venv = self.env.get("VIRTUAL_ENV").map(PathBuf::from);
        let base = self.base.map(Path::to_owned);
        std::env::split_paths(path).filter(|folder| folder.is_absolute()).chain(venv).chain(base).collect()
    }

    fn of_caches(&self) -> Vec<Mount> {
        let mut mounts = Vec::new();
        let variable = |name: &str| self.env.get(name).filter(|path| is_deep(path)).map(PathBuf::from);
        // Their own folders hold tokens too.
        for folder in ["HF_HOME", "XDG_CACHE_HOME"].iter().filter_map(|name| variable(name)) {
            mounts.push(Mount::Empty(text(&folder)));
        }
        let parts =
            |folder: PathBuf, parts: &'static [&'static str]| parts.iter().map(move |part| folder.join(part));
        let of_hub = variable("HF_HOME").into_iter().flat_map(|folder| parts(folder, &CACHES_OF_HUB));
        let home = self.home().filter(|_| self.own_cache.is_none()).map(|home| home.join(".cache"));
        let of_home =
            variable("XDG_CACHE_HOME").into_iter().chain(home).flat_map(|folder| parts(folder, &CACHES));
        let of_triton = self.home().map(|home| home.join(".triton/cache"));
        let whole = CACHE_VARIABLES.iter().filter_map(|name| variable(name));
        let all = of_hub.chain(of_home).chain(of_triton).chain(whole);
        if let (Some(cache), Some(home)) = (self.own_cache, self.home()) {
            mounts.push(writable(&text(cache), &text(&home.join(".cache"))));
        }
        mounts.extend(all.map(|folder| Mount::Cache(text(&folder))));
        mounts.extend(self.of.caches.iter().map(|folder| writable(&text(folder), &text(folder))));
        mounts
    }

    fn of_state(&self) -> Vec<Mount> {
        let objects = self.repository.map(|repository| borrowed_objects(self.state_dir, repository));
        let reads = self.environment().into_iter().flatten().chain(objects.into_iter().flatten());
        let reads = reads.map(|path| Mount::ReadOnly(text(&path)));
        let runs = self.state_dir.join(RUNS);
        let checkpoint = self.checkpoint.and_then(|checkpoint| checkpoint.strip_prefix(&runs).ok());
        let checkpoint =
            checkpoint.map(|path| Mount::ReadOnlyBeneath { folder: text(&runs), path: text(path) });
        let state_dir = Mount::Empty(text(self.state_dir));
        [state_dir].into_iter().chain(reads).chain(checkpoint).collect()
    }

    /// The environment of the run, if uv made it, and the cache of its recipe, which has the Python that it stands on.
    fn environment(&self) -> Option<[PathBuf; 2]> {
        let environments = self.state_dir.join(ENVIRONMENTS);
        let venv = self.env.get("VIRTUAL_ENV").map(Path::new)?;
        let own = venv.strip_prefix(&environments).ok()?.components().next()?;
        Some([environments.join(own), environments.join(format!("{CACHE}{}", self.recipe))])
    }

    /// The server's files, and what tells others who somebody is.
    fn hidden(&self) -> Vec<PathBuf> {
        let of_caches = self.of.caches.iter().flat_map(|cache| TOKENS_OF_CACHES.map(|name| cache.join(name)));
        let of_homes = self.homes().into_iter().flat_map(|home| SECRETS_OF_HOME.map(|name| home.join(name)));
        let whole = CACHE_VARIABLES.iter().filter_map(|name| self.env.get(*name).map(PathBuf::from));
        let of_variables = whole.flat_map(|cache| TOKENS_OF_CACHES.map(|name| cache.join(name)));
        self.private.iter().cloned().chain(of_caches).chain(of_variables).chain(of_homes).collect()
    }
}

fn writable(from: &str, at: &str) -> Mount {
    Mount::Writable { from: from.to_owned(), at: at.to_owned() }
}

fn is_deep(path: &str) -> bool {
    path.starts_with('/') && path.trim_matches('/').contains('/')
}

/// A path as text. Those here came from texts, or are refused before.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Folders of a home directory in which installers put programs.
const PROGRAMS_OF_HOME: [&str; 11] = [
    ".conda",
    ".local/bin",
    ".local/lib",
    ".local/share/uv",
    ".nix-profile",
    ".pyenv",
    "anaconda3",
    "mambaforge",
    "micromamba",
    "miniconda3",
    "miniforge3",
];
/// Folders of `~/.cache` with models, data and what was compiled for them. Tokens stand beside them.
const CACHES: [&str; 11] = [
    "flashinfer",
    "huggingface/assets",
    "huggingface/datasets",
    "huggingface/hub",
    "huggingface/xet",
    "modelscope/datasets",
    "modelscope/hub",
    "modelscope/models",
    "torch",
    "torch_extensions",
    "triton",
];
const CACHES_OF_HUB: [&str; 4] = ["assets", "datasets", "hub", "xet"];
const CACHE_VARIABLES: [&str; 4] =
    ["HF_HUB_CACHE", "HF_DATASETS_CACHE", "MODELSCOPE_CACHE", "TRITON_CACHE_DIR"];
const TOKENS_OF_CACHES: [&str; 7] = [
    "credentials",
    "huggingface/stored_tokens",
    "huggingface/token",
    "modelscope/credentials",
    "stored_tokens",
    "token",
    ".netrc",
];
const SECRETS_OF_HOME: [&str; 22] = [
    ".aws",
    ".azure",
    ".bash_history",
    ".cache/huggingface/stored_tokens",
    ".cache/huggingface/token",
    ".cache/modelscope/credentials",
    ".config/gcloud",
    ".config/gh",
    ".config/wandb",
    ".docker",
    ".git-credentials",
    ".gnupg",
    ".huggingface",
    ".kaggle",
    ".kube",
    ".modelscope/credentials",
    ".netrc",
    ".pypirc",
    ".python_history",
    ".ssh",
    ".wandb",
    ".zsh_history",
];

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: &str = "/srv/state";

    fn bubblewrap() -> Bubblewrap {
        Bubblewrap {
            program: "/usr/bin/bwrap".into(),
            user: None,
            network: true,
            caches: vec!["/data/models".into()],
            home: None,
        }
    }

    fn mounts(of: &Bubblewrap, env: &[(&str, &str)], has_tree: bool, own_cache: Option<&Path>) -> Vec<Mount> {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let run_dir = format!("{STATE}/runs/1-1");
        let repository = RepoName::new("acme/models").unwrap();
        let shown = Shown {
            of,
            places: &Places::of_a_run(&run_dir, &format!("{run_dir}/output"), None, false),
            env: &env,
            state_dir: Path::new(STATE),
            server_home: Some(Path::new("/var/lib/swifthook")),
            private: &["/etc/webhook".into()],
            named: &["/home/x/models".into(), "/data/sets".into()],
            repository: has_tree.then_some(&repository),
            own_cache,
            checkpoint: Some(Path::new("/srv/state/runs/1-0/output/checkpoint-3")),
            base: None,
            recipe: "sft",
        };
        shown.mounts()
    }

    fn at(mounts: &[Mount], wanted: &Mount) -> usize {
        mounts.iter().position(|mount| mount == wanted).unwrap_or_else(|| panic!("{wanted:?} in {mounts:#?}"))
    }

    fn read(path: &str) -> Mount {
        Mount::ReadOnly(path.to_owned())
    }

    fn empty(path: &str) -> Mount {
        Mount::Empty(path.to_owned())
    }

    fn written(path: &str) -> Mount {
        writable(path, path)
    }

    #[test]
    fn what_is_shown_comes_after_what_hides_it_and_secrets_are_hidden_last() {
        let env = [
            ("HOME", "/home/x"),
            ("PATH", "/home/x/bin:/usr/bin:/home"),
            ("XDG_CACHE_HOME", "/"),
            ("VIRTUAL_ENV", "/srv/state/environments/1f/venv"),
        ];
        let mounts = mounts(&bubblewrap(), &env, true, None);
        let order = [
            writable("/srv/state/runs/1-1/tmp", "/tmp"),
            empty("/home"),
            empty("/home/x"),
            empty("/var/lib/swifthook"),
            read("/home/x/bin"),
            Mount::Cache("/home/x/.cache/huggingface/hub".to_owned()),
            written("/data/models"),
            empty(STATE),
            read("/srv/state/environments/1f"),
            read("/srv/state/mirrors/acme/models.git/objects"),
            Mount::ReadOnlyBeneath {
                folder: "/srv/state/runs".to_owned(),
                path: "1-0/output/checkpoint-3".to_owned(),
            },
            written("/srv/state/runs/1-1/output"),
            Mount::Hidden("/etc/webhook".to_owned()),
            Mount::Hidden("/data/models/token".to_owned()),
        ];
        let places: Vec<_> = order.iter().map(|wanted| at(&mounts, wanted)).collect();
        assert!(places.is_sorted(), "{places:?} in {mounts:#?}");
        assert!(mounts.contains(&read("/home/x/models")) && mounts.contains(&read("/home/x/.pyenv")));
        // What is seen anyhow, or would show the whole of it.
        for other in ["/data/sets", "/usr/bin", "/home", "/home/x/.ssh", "/home/x/.cache/huggingface"] {
            assert!(!mounts.contains(&read(other)), "{other}");
        }
    }

    #[test]
    fn a_list_says_what_is_seen_of_home_and_nothing_else_is() {
        let of = Bubblewrap { home: Some(vec!["data".into()]), ..bubblewrap() };
        let mounts = mounts(&of, &[("HOME", "/home/x")], false, None);
        assert!(mounts.contains(&read("/home/x/data")) && !mounts.contains(&read("/home/x/.pyenv")));
        assert!(!mounts.iter().any(|mount| format!("{mount:?}").contains("/mirrors")), "it has no tree");
    }

    #[test]
    fn a_cache_that_a_variable_names_is_shown_without_the_tokens_beside_it() {
        let env = [("HF_HOME", "/data/hf"), ("HF_HUB_CACHE", "/data/hub")];
        let mounts = mounts(&bubblewrap(), &env, false, None);
        let cache = |path: &str| Mount::Cache(path.to_owned());
        assert!(at(&mounts, &empty("/data/hf")) < at(&mounts, &cache("/data/hf/datasets")));
        assert!(mounts.contains(&cache("/data/hub")) && !mounts.contains(&cache("/data/hf")));
        assert!(mounts.contains(&Mount::Hidden("/data/hub/token".to_owned())));
    }

    #[test]
    fn who_has_no_home_has_a_cache_of_the_state_directory() {
        let cache = Path::new("/srv/state/caches/sft");
        let mounts = mounts(&bubblewrap(), &[("HOME", "/root")], false, Some(cache));
        assert!(
            at(&mounts, &writable("/srv/state/caches/sft", "/root/.cache")) > at(&mounts, &empty("/root"))
        );
        assert!(!mounts.contains(&Mount::Cache("/root/.cache/torch".to_owned())));
    }

    #[test]
    fn a_run_sees_its_own_environment_and_no_other() {
        let venv = "/srv/state/environments/1f/venv";
        let mounts = mounts(&bubblewrap(), &[("HOME", "/srv"), ("VIRTUAL_ENV", venv)], false, None);
        let of_environments: Vec<_> =
            mounts.iter().filter(|mount| format!("{mount:?}").contains("/environments")).collect();
        let own = [read("/srv/state/environments/1f"), read("/srv/state/environments/cache-sft")];
        // Not `venv` in it, which what was built there may have made a link.
        assert_eq!(of_environments, own.iter().collect::<Vec<_>>());
    }
}
