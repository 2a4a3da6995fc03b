//! `[[launcher]]`, and whether what a recipe asks for fits its launcher.

use std::path::Path;
use std::sync::Arc;

use swifthook_core::Capabilities;
use swifthook_launch::LocalLauncher;

use super::model::Repository;
use super::reader::{Fields, Node, Unique, Wrong};
use super::sections;

/// `[[launcher]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Launcher {
    /// Its name, by which recipes choose it.
    pub name: Arc<str>,
    /// What it starts runs on.
    pub kind: LauncherKind,
}

/// What a launcher starts runs on.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum LauncherKind {
    /// This machine.
    Local,
    /// A Slurm cluster.
    #[cfg(feature = "slurm")]
    Slurm(Box<swifthook_launch::SlurmOptions>),
    /// A Kubernetes cluster.
    #[cfg(feature = "kubernetes")]
    Kubernetes(Box<swifthook_launch::KubernetesSettings>),
}

impl LauncherKind {
    /// What launchers of this kind can do.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        match self {
            Self::Local => LocalLauncher::CAPABILITIES,
            #[cfg(feature = "slurm")]
            Self::Slurm(_) => swifthook_launch::SlurmLauncher::CAPABILITIES,
            #[cfg(feature = "kubernetes")]
            Self::Kubernetes(settings) => settings.capabilities(),
        }
    }

    /// The same, and its runs fetch these repositories themselves, where they do.
    #[cfg_attr(
        not(feature = "kubernetes"),
        expect(unused_variables, clippy::unused_self, reason = "no run fetches anything")
    )]
    pub(super) fn fetch(&mut self, repositories: &[Repository]) {
        #[cfg(feature = "kubernetes")]
        if let Self::Kubernetes(settings) = self
            && let Some(checkout) = &mut settings.checkout
        {
            let places = repositories.iter().map(|one| (one.name.clone(), one.clone_url.as_str().into()));
            checkout.repositories = places.collect();
        }
    }

    /// Whether its runs show anything to the servers of repositories that they fetch themselves.
    fn shows_a_secret(&self) -> bool {
        match self {
            #[cfg(feature = "kubernetes")]
            Self::Kubernetes(settings) => {
                settings.checkout.as_ref().is_some_and(|checkout| checkout.secret.is_some())
            }
            _ => false,
        }
    }

    #[cfg_attr(
        not(any(feature = "kubernetes", feature = "slurm")),
        expect(unused_variables, reason = "this machine needs no options")
    )]
    #[cfg_attr(
        all(feature = "kubernetes", not(feature = "slurm")),
        expect(unused_variables, reason = "a cluster has no paths of this machine in its options")
    )]
    fn read(kind: &str, fields: &Fields<'_>, folder: &Path) -> Result<Self, Wrong> {
        match kind {
            "local" => Ok(Self::Local),
            #[cfg(feature = "slurm")]
            "slurm" => Ok(Self::Slurm(Box::new(super::slurm::slurm(fields, folder)))),
            #[cfg(not(feature = "slurm"))]
            "slurm" => Err(not_built("slurm", "Slurm")),
            #[cfg(feature = "kubernetes")]
            "kubernetes" => Ok(Self::Kubernetes(Box::new(super::kubernetes::kubernetes(fields)))),
            #[cfg(not(feature = "kubernetes"))]
            "kubernetes" => Err(not_built("kubernetes", "Kubernetes")),
            other => Err(Wrong::new(format!("no kind of launcher is called `{other}`"))
                .instead("there are `local`, `slurm` and `kubernetes`")),
        }
    }
}

/// All launchers that there are. `local` is always the first of them.
pub(super) fn launchers(tables: Vec<Fields<'_>>, folder: &Path) -> Vec<Launcher> {
    let mut names = Unique::new("launchers");
    let told = tables.iter().filter_map(|fields| launcher(fields, folder, &mut names));
    let others = told.filter(|launcher| &*launcher.name != LOCAL);
    let local = Launcher { name: LOCAL.into(), kind: LauncherKind::Local };
    std::iter::once(local).chain(others).collect()
}

fn launcher(fields: &Fields<'_>, folder: &Path, names: &mut Unique) -> Option<Launcher> {
    let name = fields.need("name", "`name = \"a100\"`").and_then(|node| {
        let name = node.read(sections::word)?;
        names.check(&node, &name);
        Some((node, name))
    });
    let kind = fields.need("kind", "`kind = \"local\"`");
    let kind = kind.and_then(|node| node.read(|kind| LauncherKind::read(kind, fields, folder)));
    // What else a launcher of an unknown kind says is no further mistake.
    let kind = kind?;
    fields.finish();
    let (node, name) = name?;
    if &*name == LOCAL && kind != LauncherKind::Local {
        node.wrong(Wrong::new("`local` is the launcher of this machine").instead("another name"));
    }
    Some(Launcher { name, kind })
}

#[cfg(not(all(feature = "kubernetes", feature = "slurm")))]
fn not_built(feature: &str, system: &str) -> Wrong {
    Wrong::new(format!("this build of swifthook has no launcher for {system}"))
        .instead(format!("build it with `cargo build --release -p swifthook --features {feature}`"))
}

/// Refuses what a recipe asks for and its launcher cannot do.
pub(super) fn check(fields: &Fields<'_>, launcher: &Launcher) {
    let (name, can) = (&launcher.name, launcher.kind.capabilities());
    let asked = |key| fields.get(key);
    if let Some(node) = asked("nodes").filter(|node| !can.multi_node && node.number::<u32>() != Some(1)) {
        node.wrong(
            Wrong::new(format!("a run of the launcher `{name}` is on one machine, so that `nodes` is 1")).instead(
                "several processes on it are `nproc`; several machines need a launcher of a cluster that can do it",
            ),
        );
    }
    if let Some(node) = asked("outside").filter(|node| !can.yields && node.text() == Some("pause")) {
        node.wrong(
            Wrong::new(format!("a run of the launcher `{name}` cannot save and go on later"))
                .instead("`hold` or `skip`: then a run that has begun goes on when its hours are over"),
        );
    }
    if let Some(gpus) = asked("gpus").and_then(|node| node.fields("`gpus`")).filter(|_| !can.gpu_leases) {
        for node in ["min_free_memory", "names", "indices"].into_iter().filter_map(|key| gpus.get(key)) {
            node.wrong(
                Wrong::new(format!("the launcher `{name}` does not choose among GPUs: its cluster does"))
                    .instead("`gpus = { count = … }` here, and which ones in its [[launcher]]"),
            );
        }
    }
    let limits = asked("limits").and_then(|node| node.fields("`limits`")).filter(|_| !can.counts_processes);
    if let Some(node) = limits.and_then(|limits| limits.get("processes")) {
        node.wrong(
            Wrong::new(format!("nobody counts the processes of a run of the launcher `{name}`"))
                .instead("a limit of its nodes, such as `ulimit -u` in a prolog of the cluster"),
        );
    }
    check_files(fields, name, can);
    if !can.keeps_output {
        check_output(fields, name);
    }
}

/// Refuses what a recipe would write in vain.
fn check_output(fields: &Fields<'_>, name: &str) {
    let Some(run) = fields.get("run").and_then(|node| node.fields("`run`")) else { return };
    let wrong = |node: &Node<'_>, what: &str| {
        node.wrong(
            Wrong::new(format!("a run of the launcher `{name}` keeps nothing that it writes, {what}"))
                .instead("`claim = \"…\"` in its [[launcher]], a volume that is mounted here too"),
        );
    };
    for node in ["swift", "megatron"].into_iter().filter_map(|key| run.get(key)) {
        wrong(&node, "and ms-swift leaves what it trained in the directory of the run");
    }
    let items = run.get("command").map(|node| node.items()).unwrap_or_default();
    let names = |node: &Node<'_>| {
        let is_named = |text: &str| text.contains("{output_dir}") || text.contains("{run_dir}");
        node.text().is_some_and(is_named)
    };
    for node in items.iter().filter(|node| names(node)) {
        wrong(node, "and this names a place of it");
    }
}

/// Refuses a repository of which runs of a launcher have no commit, where they fetch it themselves.
pub(super) fn check_repository(fields: &Fields<'_>, launcher: &Launcher, repository: &Repository) {
    let Some(node) = fields.get("repository").filter(|_| launcher.kind.capabilities().checks_out) else {
        return;
    };
    let (name, remote) = (&launcher.name, &repository.remote);
    let fetches = format!("a run of the launcher `{name}` fetches its commit itself");
    if remote.is_local() {
        let url = &repository.clone_url;
        node.wrong(
            Wrong::new(format!("{fetches}, and `{url}` is a place on this machine"))
                .instead("a `clone_url` by https or ssh in its [[repository]]"),
        );
    } else if (remote.is_by_ssh() || remote.credentials.is_some()) && !launcher.kind.shows_a_secret() {
        node.wrong(
            Wrong::new(format!("{fetches}, and has nothing to show to the server of `{}`", repository.name))
                .instead("`checkout = { secret = \"…\" }` in its [[launcher]], the name of a Secret of its cluster"),
        );
    }
}

/// Where the files of a run come from: from an image, or from this machine.
fn check_files(fields: &Fields<'_>, name: &str, can: Capabilities) {
    let environment = fields.get("environment").and_then(|node| node.fields("`environment`"));
    let of_environment = |key| environment.as_ref().and_then(|fields| fields.get(key));
    let image = of_environment("image");
    if !can.images {
        let Some(node) = image else { return };
        let wrong = Wrong::new(format!("the launcher `{name}` has no images"));
        node.wrong(wrong.instead(
            "a run of it has a `venv` or an `uv` lock, or is started by `isolation = { prefix = [\"podman\", \"run\", …] }`",
        ));
        return;
    }
    if image.is_none() {
        let wrong = Wrong::new(format!("a run of the launcher `{name}` needs an image"));
        fields.wrong(wrong.instead("`environment = { image = \"registry/name@sha256:…\" }`"));
    }
    let of_this_machine = [of_environment("venv"), of_environment("uv"), fields.get("isolation")];
    for node in of_this_machine.into_iter().flatten() {
        node.wrong(
            Wrong::new(format!("a run of the launcher `{name}` has the files of its image alone"))
                .instead("what it needs stands in the image"),
        );
    }
}

/// An image by its digest: what stands behind a name changes.
pub(super) fn image(text: &str) -> Result<Arc<str>, Wrong> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte);
    let is_digest = |digest: &str| digest.len() == 64 && digest.bytes().all(is_hex);
    match text.split_once("@sha256:") {
        Some((name, digest)) if !name.is_empty() && name.bytes().all(is_plain) && is_digest(digest) => {
            Ok(text.into())
        }
        _ => Err(Wrong::new(format!("not an image with its digest: `{text}`"))
            .instead("for example `registry.example.org/ms-swift@sha256:` and 64 digits")),
    }
}

/// The launcher of this name.
pub(super) fn chosen<'l>(node: &Node<'_>, launchers: &'l [Launcher]) -> Option<&'l Launcher> {
    let name = node.read(sections::word)?;
    let found = launchers.iter().find(|launcher| launcher.name == name);
    if found.is_none() {
        let names: Vec<_> = launchers.iter().map(|launcher| &*launcher.name).collect();
        node.wrong(sections::unknown("launcher", &name, &names));
    }
    found
}

pub(super) const LOCAL: &str = "local";
