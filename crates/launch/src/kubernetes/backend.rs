use std::path::Path;

use async_trait::async_trait;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Resource, ResourceExt};
use serde::{Deserialize, Serialize};
use swifthook_core::{
    Capabilities, Checkpoint, Exit, JobId, LaunchError, Progress, Pulse, RunHandle, RunKey, RunSpec,
    RunStatus, Stop, TrainingLauncher,
};

use super::config::KubernetesLauncher;
use super::error::{failed, is_conflict, is_not_found};
use super::link::within;
use super::logs::Route;
use super::manifest;
use super::names::{MAX_LOG, name_of, one_of};
use super::record::Files;
use super::spent::{Spent, identity};
use super::status::{self, Seen, has_begun, is_over, is_settled};
use super::stop;
use crate::local::still_there;

#[async_trait]
impl TrainingLauncher for KubernetesLauncher {
    fn capabilities(&self) -> Capabilities {
        self.settings.capabilities()
    }

    /// The Job exists when this returns; whether it has begun is the cluster's to decide.
    async fn submit(&self, key: &RunKey, run: &RunSpec) -> Result<RunHandle, LaunchError> {
        let dir = self.dir(key);
        if run.run_dir != dir {
            return Err(LaunchError::permanent(format!(
                "the run directory is {}, and that of {key} would be {}",
                run.run_dir.display(),
                dir.display()
            )));
        }
        if self.settings.claim.is_none() && has_files(&run.working_dir) {
            return Err(LaunchError::permanent(
                "the working tree of the commit is here, and nothing brings it into the cluster: `claim` or `checkout` of the launcher",
            ));
        }
        let (secret, job) =
            (manifest::secret(key, run, &self.settings)?, manifest::job(key, run, &self.settings)?);
        if let Some(found) = self.job_of(key).await? {
            return self.found(key, &found).await;
        }
        // Somebody else deleted its Job: a submission that was asleep until now begins nothing.
        if let Some(uid) = self.noted(key).await? {
            return Ok(self.handle(key, uid));
        }
        self.expect_git_secret(run).await?;
        let files = self.files(key);
        self.look(key, move || files.make())
            .await?
            .map_err(|error| LaunchError::passing(format!("cannot make {}", dir.display())).because(error))?;
        let secret = self.keep_secret(secret).await?;
        let jobs: Api<Job> = self.api();
        match within(jobs.create(&PostParams::default(), &job)).await {
            Ok(created) => {
                if let Err(error) = self.give(secret, &created).await {
                    tracing::warn!(%error, run = %key, "the secret of a run does not belong to its Job yet");
                }
                self.found(key, &created).await
            }
            Err(error) if is_conflict(&error) => match self.job_of(key).await? {
                Some(found) => self.found(key, &found).await,
                None => Err(LaunchError::passing("the Job of the run is being removed")),
            },
            Err(error) => Err(failed("cannot create the Job of the run", error)),
        }
    }

    async fn find(&self, key: &RunKey) -> Result<Option<RunHandle>, LaunchError> {
        let job = self.job_of(key).await?;
        match job.filter(|job| Spent::of(job) != Some(Spent::Forbidden)) {
            Some(job) => self.found(key, &job).await.map(Some),
            None => Ok(self.noted(key).await?.map(|uid| self.handle(key, uid))),
        }
    }

    async fn forbid(&self, key: &RunKey) -> Result<Option<RunHandle>, LaunchError> {
        self.take_name(key, Spent::Forbidden, None).await?;
        self.find(key).await
    }

    async fn poll(&self, run: &RunHandle) -> Result<RunStatus, LaunchError> {
        let place = self.place(run)?;
        if let Some(since) = self.view.lost_since().await {
            return Ok(RunStatus::Unreachable { since });
        }
        let job = self.view.job(&place.key).filter(|job| job.uid().as_deref() == Some(&place.uid));
        if let Some(job) = job {
            let pods = self.view.pods(&place.key);
            let seen = status::look(&job, &of_job(pods, &place.uid));
            if seen != Seen::NoPod {
                return Ok(self.told(&place, seen).await);
            }
        }
        self.ask(&place).await
    }

    async fn stop(&self, run: &RunHandle, how: Stop) -> Result<(), LaunchError> {
        let place = self.place(run)?;
        let Some(job) = self.job_of(&place.key).await? else { return Ok(()) };
        if job.uid().as_deref() != Some(&place.uid) {
            return Ok(());
        }
        let pods = of_job(self.pods_of(&place.key).await?, &place.uid);
        if is_settled(&job) && pods.iter().all(is_over) {
            return Ok(());
        }
        let alive: Vec<&Pod> = pods.iter().filter(|pod| !is_over(pod)).collect();
        let has_process = pods.iter().any(has_begun);
        self.change::<Job>(&job.name_any(), &stop::of_job(how, has_process)).await?;
        for pod in alive {
            self.change::<Pod>(&pod.name_any(), &stop::of_pod(how)).await?;
        }
        Ok(())
    }

    async fn progress(&self, run: &RunHandle) -> Result<Progress, LaunchError> {
        let key = self.place(run)?.key;
        Ok(self.follows.look_again(&key, &self.dir(&key)).await)
    }

    async fn pulse(&self, run: &RunHandle) -> Result<Pulse, LaunchError> {
        let key = self.place(run)?.key;
        self.follows.pulse(&key, &self.dir(&key)).await
    }

    async fn checkpoint(&self, run: &RunHandle) -> Result<Option<Checkpoint>, LaunchError> {
        if self.settings.claim.is_none() {
            return Ok(None);
        }
        let key = self.place(run)?.key;
        self.follows.checkpoint(&key, &self.dir(&key), None).await
    }

    async fn holds(&self, checkpoint: &Checkpoint) -> Result<bool, LaunchError> {
        let (of, this) = (checkpoint.clone(), self.clone());
        // Of which run it is its path says, which is not believed yet.
        let asked = RunKey { job: JobId([0; 16]), attempt: checkpoint.attempt };
        self.follows.look_at(&asked, move || still_there(&of, &this.runs, None)).await?
    }
}

impl KubernetesLauncher {
    /// Asks the API server itself how a run is, since what is known of it lacks something.
    async fn ask(&self, place: &Place) -> Result<RunStatus, LaunchError> {
        let job = self.job_of(&place.key).await?;
        let pods = of_job(self.pods_of(&place.key).await?, &place.uid);
        let own = job.as_ref().filter(|job| job.uid().as_deref() == Some(&place.uid));
        let seen = own.map(|job| status::look(job, &pods));
        if let Some(seen) = seen.filter(|seen| *seen != Seen::NoPod) {
            return Ok(self.told(place, seen).await);
        }
        if pods.iter().any(|pod| !is_over(pod)) {
            // Its Job was deleted, and its pod is still being ended.
            return Ok(RunStatus::Running(Progress::default()));
        }
        let (files, uid) = (self.files(&place.key), place.uid.clone());
        if let Some(exit) = self.look(&place.key, move || files.kept(&uid)).await? {
            return Ok(RunStatus::Ended(exit));
        }
        if let Some(job) = own {
            return match status::without_pod(job) {
                Some(seen) => Ok(self.told(place, seen).await),
                None => self.lost(place).await,
            };
        }
        match job {
            Some(job) if Spent::of(&job).is_some() => self.lost(place).await,
            Some(intruder) => self.remove_intruder(place, &intruder).await,
            None => {
                self.take_name(&place.key, Spent::Vanished, Some(&place.uid)).await?;
                Ok(RunStatus::Running(Progress::default()))
            }
        }
    }

    /// Somebody deleted the Job of the run, and whoever was asleep until then has submitted it again.
    async fn remove_intruder(&self, place: &Place, intruder: &Job) -> Result<RunStatus, LaunchError> {
        tracing::warn!(run = %place.key, "a second Job of the run was submitted after the first was deleted: it goes");
        let jobs: Api<Job> = self.api();
        let same = Preconditions { uid: intruder.uid(), resource_version: None };
        let params = DeleteParams { preconditions: Some(same), ..DeleteParams::background() };
        match within(jobs.delete(&intruder.name_any(), &params)).await {
            Err(error) if !is_not_found(&error) && !is_conflict(&error) => {
                Err(failed("cannot remove a second Job of the run", error))
            }
            _ => Ok(RunStatus::Running(Progress::default())),
        }
    }

    /// What is seen of a run, with how far it is and with its output.
    async fn told(&self, place: &Place, seen: Seen) -> RunStatus {
        let key = place.key;
        match seen {
            Seen::Pending(reason) => RunStatus::Pending(reason),
            Seen::Running | Seen::NoPod => {
                if let Some(route) = self.route(place) {
                    self.logs.follow(&key, || route);
                }
                RunStatus::Running(self.follows.look(&key, &self.dir(&key)).await)
            }
            Seen::Ended(exit) => {
                if let Some(route) = self.route(place) {
                    self.logs.finish(&key, || route).await;
                }
                RunStatus::Ended(self.kept(place, exit).await)
            }
        }
    }

    /// Keeps how a run ended, with what its keeper left word of.
    async fn kept(&self, place: &Place, told: Exit) -> Exit {
        let (files, uid, end) = (self.files(&place.key), place.uid.clone(), told.clone());
        let kept = self.look(&place.key, move || {
            let end = files.whole(end);
            (files.keep(&uid, &end), end)
        });
        let Ok((kept, end)) = kept.await else { return told };
        if let Err(error) = kept {
            tracing::warn!(%error, run = %place.key, "the end of the run is kept by the cluster alone");
        }
        end
    }

    /// How a run ended of which the cluster has nothing left.
    async fn lost(&self, place: &Place) -> Result<RunStatus, LaunchError> {
        let files = self.files(&place.key);
        Ok(match self.look(&place.key, move || files.left()).await? {
            Some(exit) => RunStatus::Ended(self.kept(place, exit).await),
            None => RunStatus::Vanished,
        })
    }

    /// Where the output of a run comes from, once it has a process.
    fn route(&self, place: &Place) -> Option<Route> {
        let pods = of_job(self.view.pods(&place.key), &place.uid);
        let pod = pods.iter().find(|pod| has_begun(pod))?;
        let max_log = pod.annotations().get(MAX_LOG).and_then(|most| most.parse().ok());
        Some(Route { pods: self.api(), pod: pod.name_any(), files: self.files(&place.key), max_log })
    }

    /// Takes the name of a run, unless it is taken.
    async fn take_name(&self, key: &RunKey, why: Spent, instead_of: Option<&str>) -> Result<(), LaunchError> {
        let jobs: Api<Job> = self.api();
        let job = why.job(key, &self.settings.owner, instead_of);
        match within(jobs.create(&PostParams::default(), &job)).await {
            Err(error) if !is_conflict(&error) => {
                Err(failed("cannot create a Job in place of the run", error))
            }
            _ => Ok(()),
        }
    }

    async fn keep_secret(&self, secret: Secret) -> Result<Secret, LaunchError> {
        let secrets: Api<Secret> = self.api();
        let what = "cannot create the secret of the run";
        match within(secrets.create(&PostParams::default(), &secret)).await {
            Ok(created) => Ok(created),
            // By who was here before: the run is the same.
            Err(error) if is_conflict(&error) => {
                within(secrets.get(&secret.name_any())).await.map_err(|error| failed(what, error))
            }
            Err(error) => Err(failed(what, error)),
        }
    }

    /// Makes sure that what a pod shows to a git server is there: a pod would wait for it, and nobody would hear of it.
    async fn expect_git_secret(&self, run: &RunSpec) -> Result<(), LaunchError> {
        let checkout = self.settings.checkout.as_ref().filter(|_| run.checkout.is_some());
        let Some(name) = checkout.and_then(|checkout| checkout.secret.as_deref()) else { return Ok(()) };
        let secrets: Api<Secret> = self.api();
        match within(secrets.get_metadata_opt(name)).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(LaunchError::passing(format!(
                "the namespace `{}` has no Secret `{name}`, which `checkout` of the launcher names",
                self.settings.namespace
            ))),
            Err(error) => Err(failed("cannot look for the Secret of `checkout`", error)),
        }
    }

    async fn found(&self, key: &RunKey, job: &Job) -> Result<RunHandle, LaunchError> {
        if Spent::of(job) == Some(Spent::Forbidden) {
            return Err(LaunchError::permanent(format!("run {key} is not wanted any more")));
        }
        let (files, uid) = (self.files(key), identity(job));
        let of_job = uid.clone();
        let noted = self.look(key, move || files.make().and_then(|()| files.note_job(&of_job))).await;
        if let Err(error) = noted.and_then(|noted| {
            noted.map_err(|error| LaunchError::passing("its files cannot be written").because(error))
        }) {
            tracing::warn!(%error, run = %key, "cannot note that the run has a Job");
        }
        Ok(self.handle(key, uid))
    }

    /// Does what is to be found out of the files of a run, or written there, within its time.
    async fn look<T: Send + 'static>(
        &self,
        key: &RunKey,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, LaunchError> {
        self.follows.look_at(key, work).await
    }

    fn files(&self, key: &RunKey) -> Files {
        Files::of(&self.runs, key)
    }

    async fn noted(&self, key: &RunKey) -> Result<Option<String>, LaunchError> {
        let files = self.files(key);
        let noted = self.look(key, move || files.noted_job()).await?;
        noted.map_err(|error| {
            LaunchError::passing(format!("cannot look into the directory of run {key}")).because(error)
        })
    }

    async fn job_of(&self, key: &RunKey) -> Result<Option<Job>, LaunchError> {
        let jobs: Api<Job> = self.api();
        let job = within(jobs.get_opt(&name_of(key))).await;
        job.map_err(|error| failed("cannot ask for the Job of the run", error))
    }

    async fn pods_of(&self, key: &RunKey) -> Result<Vec<Pod>, LaunchError> {
        let pods: Api<Pod> = self.api();
        let selected = ListParams::default().labels(&one_of(key, &self.settings.owner));
        let pods = within(pods.list(&selected)).await;
        Ok(pods.map_err(|error| failed("cannot ask for the pods of the run", error))?.items)
    }

    /// Changes an object, if it is still there.
    async fn change<K>(&self, name: &str, change: &serde_json::Value) -> Result<(), LaunchError>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
        K::DynamicType: Default,
    {
        let api: Api<K> = self.api();
        match within(api.patch(name, &PatchParams::default(), &Patch::Merge(change))).await {
            Err(error) if !is_not_found(&error) => Err(failed("cannot ask the run to end", error)),
            _ => Ok(()),
        }
    }

    pub(super) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.settings.namespace)
    }

    fn handle(&self, key: &RunKey, uid: String) -> RunHandle {
        let place = Place { key: *key, namespace: self.settings.namespace.clone(), uid };
        let data = serde_json::to_value(place).expect("a key and texts are always JSON");
        RunHandle { launcher: self.name.clone(), host: None, version: VERSION, data }
    }

    fn place(&self, run: &RunHandle) -> Result<Place, LaunchError> {
        let not_ours = "not a handle of this launcher";
        if run.version != VERSION {
            return Err(LaunchError::permanent(format!("{not_ours}: version {}", run.version)));
        }
        let place: Place = serde_json::from_value(run.data.clone())
            .map_err(|error| LaunchError::permanent(not_ours).because(error))?;
        if place.namespace != self.settings.namespace {
            return Err(LaunchError::passing(format!(
                "the run is in the namespace `{}`, and this launcher is for `{}`",
                place.namespace, self.settings.namespace
            )));
        }
        Ok(place)
    }
}

/// The launcher's part of a handle.
#[derive(Serialize, Deserialize)]
struct Place {
    key: RunKey,
    namespace: String,
    /// The identity of the Job: another one of its name is not the run.
    uid: String,
}

/// Whether something was put there for the run.
fn has_files(dir: &Path) -> bool {
    dir.read_dir().is_ok_and(|mut files| files.next().is_some())
}

fn of_job(pods: Vec<Pod>, uid: &str) -> Vec<Pod> {
    let is_its = |pod: &Pod| pod.owner_references().iter().any(|owner| owner.uid == uid);
    pods.into_iter().filter(is_its).collect()
}

const VERSION: u16 = 1;
