use std::path::Path;

use futures_util::FutureExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use swifthook_core::LaunchError;

use super::config::{KubernetesLauncher, KubernetesSettings};

impl KubernetesLauncher {
    /// A launcher on the cluster that this process is in; else on the one that `KUBECONFIG` or `~/.kube/config` names. As
    /// with [`new`](Self::new), within a Tokio runtime.
    ///
    /// # Errors
    ///
    /// When none of them tells how to reach a cluster. Whether it answers is not asked.
    pub fn connect(runs: impl AsRef<Path>, settings: KubernetesSettings) -> Result<Self, LaunchError> {
        let unknown = "nothing says how to reach a Kubernetes cluster";
        let client = Client::try_from(config()?);
        let client = client.map_err(|error| LaunchError::permanent(unknown).because(error))?;
        let place = runs.as_ref().display().to_string();
        Self::new(client, runs, settings)
            .map_err(|error| LaunchError::permanent(format!("cannot make {place}")).because(error))
    }
}

fn config() -> Result<Config, LaunchError> {
    let unknown = "nothing says how to reach a Kubernetes cluster";
    if let Ok(config) = Config::incluster() {
        return Ok(config);
    }
    let file = Kubeconfig::read().map_err(|error| LaunchError::permanent(unknown).because(error))?;
    // It waits for nothing: the files that it names are read at once.
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).now_or_never();
    config
        .ok_or_else(|| LaunchError::permanent(unknown))?
        .map_err(|error| LaunchError::permanent(unknown).because(error))
}
