use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kube::Client;
use swifthook_core::{Capabilities, RunKey, Traces};

use super::checkout::PodCheckout;
use super::logs::Logs;
use super::names::KIND;
use super::view::View;
use crate::local::Follows;

/// Starts runs as Jobs of a Kubernetes cluster, and answers for them.
///
/// The directory of a run is `<runs>/<job>-<attempt>`, as of a local one. Its `log` is written there by us, from what the
/// cluster has of the container's output. All else in it, such as how far the run is and its checkpoints, is seen from here
/// only if the directory is on a volume that both have: see [`KubernetesSettings::claim`].
///
/// Dropping the last copy ends the watches; the runs go on.
#[derive(Clone)]
pub struct KubernetesLauncher {
    pub(super) client: Client,
    pub(super) settings: Arc<KubernetesSettings>,
    pub(super) name: Arc<str>,
    pub(super) runs: Arc<Path>,
    pub(super) follows: Follows,
    pub(super) view: Arc<View>,
    pub(super) logs: Arc<Logs>,
}

/// How runs are placed in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesSettings {
    /// Where all objects are.
    pub namespace: String,
    /// Tells the runs of one installation of swifthook from those of another in the same namespace: a label's value.
    pub owner: String,
    /// The image that has swifthook in it. It prepares each pod.
    pub tools: Tools,
    /// A volume claim that several nodes can write (`ReadWriteMany`), and that is mounted here too, as the directory of all
    /// runs. A run sees of it its own directory, and that of the attempt whose checkpoint it goes on from. Without one
    /// nothing but the output of a run is kept.
    pub claim: Option<String>,
    /// The image of runs that name none, by digest.
    pub image: Option<String>,
    /// The names of secrets to pull images with.
    pub pull_secrets: Vec<String>,
    /// The service account of pods. They get no token of it.
    pub service_account: Option<String>,
    /// A local queue of Kueue, which then decides when a Job starts.
    pub queue: Option<String>,
    /// The priority class of pods.
    pub priority_class: Option<String>,
    /// The runtime class of pods, such as `nvidia`.
    pub runtime_class: Option<String>,
    /// Labels of the nodes that runs may be on.
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes that do not matter.
    pub tolerations: Vec<PodToleration>,
    /// What a run has of each resource, by the cluster's names, in its notation: `memory = "64Gi"`. GPUs are added.
    pub resources: BTreeMap<String, String>,
    /// How GPUs are called among the resources.
    pub gpu_resource: String,
    /// Memory for `/dev/shm`, through which processes of a training pass data. It counts as memory of the run.
    pub shared_memory: Option<String>,
    /// More volumes.
    pub volumes: Vec<PodVolume>,
    /// How a pod checks the commit of its run out itself. Without it that is done here, and pods see it by the `claim`.
    pub checkout: Option<PodCheckout>,
    /// As which user and group a run is started; neither may be 0.
    pub user: (u32, u32),
    /// Where our own files are in a pod.
    pub place: PathBuf,
}

/// The image that has swifthook in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tools {
    /// Its name, best by digest.
    pub image: String,
    /// The program in it that calls [`supervise_if_asked`](crate::supervise_if_asked).
    pub program: String,
}

/// A taint that does not matter. <https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/>
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodToleration {
    /// The key of the taint; none for all.
    pub key: Option<String>,
    /// Its value; none for all.
    pub value: Option<String>,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`; none for all.
    pub effect: Option<String>,
}

/// A volume of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodVolume {
    /// Its name in the pod.
    pub name: String,
    /// What it has.
    pub source: VolumeSource,
    /// Where it is.
    pub path: String,
    /// Whether the run may not write to it.
    pub read_only: bool,
}

/// What a volume has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VolumeSource {
    /// A persistent volume claim.
    Claim(String),
    /// A secret.
    Secret(String),
    /// A config map.
    ConfigMap(String),
    /// A folder of the node.
    Node(String),
    /// An empty folder that goes with the pod.
    Empty,
}

impl Default for KubernetesSettings {
    fn default() -> Self {
        Self {
            namespace: "default".into(),
            owner: "swifthook".into(),
            tools: Tools { image: "swifthook".into(), program: "swifthook".into() },
            claim: None,
            image: None,
            pull_secrets: Vec::new(),
            service_account: None,
            queue: None,
            priority_class: None,
            runtime_class: None,
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            resources: BTreeMap::new(),
            gpu_resource: "nvidia.com/gpu".into(),
            shared_memory: None,
            volumes: Vec::new(),
            checkout: None,
            user: (1000, 1000),
            place: "/swifthook".into(),
        }
    }
}

impl KubernetesSettings {
    /// What a launcher with these can do.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        Capabilities {
            survives_restart: true,
            any_host: true,
            logs: true,
            yields: self.claim.is_some(),
            multi_node: false,
            gpu_leases: false,
            images: true,
            checks_out: self.checkout.is_some(),
            keeps_output: self.claim.is_some(),
            counts_processes: true,
        }
    }
}

impl KubernetesLauncher {
    /// A launcher on the cluster that `client` reaches, whose runs have their directories in `runs`. It begins to watch at
    /// once, so it must be called within a Tokio runtime.
    ///
    /// # Errors
    ///
    /// When `runs` cannot be made.
    pub fn new(client: Client, runs: impl AsRef<Path>, settings: KubernetesSettings) -> io::Result<Self> {
        let runs = std::path::absolute(runs)?;
        std::fs::create_dir_all(&runs)?;
        Ok(Self {
            view: Arc::new(View::begin(&client, &settings)),
            logs: Arc::default(),
            client,
            settings: Arc::new(settings),
            name: KIND.into(),
            runs: runs.into(),
            follows: Follows::new(None),
        })
    }

    /// The same under the name that the configuration has for it: what stands in the handles of its runs.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: name.into(), ..self }
    }

    /// The same, and how far its runs are and which checkpoints they have is read so: see
    /// [`LocalLauncher::reading`](crate::LocalLauncher::reading).
    #[must_use]
    pub fn reading(self, traces: Arc<dyn Traces>) -> Self {
        Self { follows: Follows::new(Some(traces)), ..self }
    }

    pub(super) fn dir(&self, key: &RunKey) -> PathBuf {
        self.runs.join(key.to_string())
    }
}
