//! Launchers of one's own, driven by the runner: a callback, and one that implements the whole trait, so that its runs
//! report how far they are and can be stopped.
//!
//! ```text
//! cargo run -p custom-launcher
//! ```

mod tasks;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use swifthook_core::condition::branches;
use swifthook_core::{
    Always, ChangeSet, Checkout, CommitSha, ConfigDigest, Decided, Exit, Job, Paths, Push, Recipe, RefName,
    RepoName, Source, Timestamp, TrainingLauncher, Workspace, WorkspaceError, launch_fn,
};
use swifthook_queue::MemoryQueue;
use swifthook_runner::{Catalog, Moment, Options, Runner, Terms};
use tasks::Tasks;

/// What the runner asks for: the recipes, and the launchers that they name.
struct Setup {
    recipes: Vec<Arc<Recipe>>,
    callback: Arc<dyn TrainingLauncher>,
    tasks: Arc<dyn TrainingLauncher>,
}

impl Setup {
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let repository = RepoName::new("acme/models")?;
        let recipe = |launcher: &str| {
            let trains = branches(["main"])?;
            let recipe = Recipe::new(launcher, repository.clone(), trains);
            Ok::<_, Box<dyn std::error::Error>>(Arc::new(Recipe { launcher: launcher.into(), ..recipe }))
        };
        let callback = launch_fn("callback", |key, run| async move {
            eprintln!(
                "  called: train {} at {} as {key}",
                run.job.change.recipe,
                run.job.change.head.short()
            );
            Exit { code: Some(0), ..Exit::default() }
        });
        Ok(Self {
            recipes: vec![recipe("callback")?, recipe("tasks")?],
            callback: Arc::new(callback),
            tasks: Arc::new(Tasks::default()),
        })
    }

    /// A push as a receiver would decide it; see `minimal-axum` for one.
    fn decide(&self, push: Push, now: Timestamp) -> Decided {
        Decided {
            version: Decided::VERSION,
            verdicts: self.recipes.iter().map(|recipe| recipe.decide(&push, now)).collect(),
            push,
            config: ConfigDigest::default(),
            received_at: now,
            is_redeliverable: false,
        }
    }
}

impl Catalog for Setup {
    fn terms(&self, job: &Job) -> Option<Terms> {
        let recipe = self.recipes.iter().find(|recipe| recipe.name == job.change.recipe)?;
        Some(Terms {
            recipe: recipe.clone(),
            admission: Arc::new(Always),
            gpus: None,
            env: BTreeMap::new(),
            timeout: Some(Duration::from_secs(3_600)),
            grace: Duration::from_secs(10),
            watch: None,
            shape: swifthook_core::RunShape::default(),
            limits: swifthook_core::RunLimits::default(),
            max_age: None,
            checkout: None,
            compose: None,
        })
    }

    fn launcher(&self, name: &str) -> Option<Arc<dyn TrainingLauncher>> {
        match name {
            "callback" => Some(self.callback.clone()),
            "tasks" => Some(self.tasks.clone()),
            _ => None,
        }
    }
}

/// For launchers that get the commit by themselves, and recipes that do not ask what changed.
struct NoGit;

#[async_trait]
impl Workspace for NoGit {
    async fn checkout(
        &self,
        _: &RepoName,
        _: &RefName,
        commit: &CommitSha,
        _: &Checkout,
        _: &Path,
    ) -> Result<PathBuf, WorkspaceError> {
        Err(WorkspaceError::permanent(format!("there is no git here to check {commit} out")))
    }

    async fn diff(
        &self,
        _: &RepoName,
        _: &RefName,
        _: Option<&CommitSha>,
        head: &CommitSha,
    ) -> Result<ChangeSet, WorkspaceError> {
        Err(WorkspaceError::permanent(format!("there is no git here to ask about {head}")))
    }

    async fn discard(&self, _: &RepoName, _: &Path) -> Result<(), WorkspaceError> {
        Ok(())
    }
}

fn app(
    setup: Arc<Setup>,
    queue: Arc<MemoryQueue>,
    observe: impl Fn(&Job, &Moment) + Send + Sync + 'static,
) -> Runner {
    let state_dir = std::env::temp_dir().join("swifthook-custom-launcher");
    let options =
        Options { slots: 2, observer: Arc::new(observe), ..Options::new("worker", "localhost", state_dir) };
    Runner::new(queue, Arc::new(NoGit), setup, options)
}

fn push(commit: &str) -> Result<Push, Box<dyn std::error::Error>> {
    Ok(Push {
        repository: RepoName::new("acme/models")?,
        ref_name: RefName::Branch("main".into()),
        before: None,
        head: CommitSha::parse(commit)?,
        skip_marker: false,
        sender: Some("ada".into()),
        pushed_at: None,
        changes: ChangeSet::Complete(Paths::empty()),
        source: Source::Person,
        origin: Default::default(),
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    use swifthook_core::Intake;

    let (setup, queue) = (Arc::new(Setup::new()?), Arc::new(MemoryQueue::new()));
    let (finished, mut is_finished) = tokio::sync::mpsc::unbounded_channel();
    let runner = app(setup.clone(), queue.clone(), move |job, moment| {
        eprintln!("{:8} {:9} {moment:?}", job.change.recipe, job.state.stage);
        if job.state.stage.is_final() {
            let _ = finished.send(());
        }
    });
    queue.accept(&setup.decide(push(&"c0ffee".repeat(7)[..40])?, SystemTime::now().into())).await?;
    let both = async {
        is_finished.recv().await;
        is_finished.recv().await;
    };
    runner.run(both).await;
    Ok(())
}

#[cfg(test)]
mod tests;
