//! How a pod gets the working tree of its run: a container that comes before it fetches the commit into a folder of the
//! pod.
//!
//! What is shown to the git server is a Secret that this container alone has mounted. The run has the tree, to read, and
//! no part of the Secret.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use swifthook_core::{Checkout, LaunchError, RepoName, RunSpec};

use super::config::KubernetesSettings;
use super::manifest::{LAST_WORDS, TOLD, escaped, restricted, text};
use super::names::CHECKOUT;
use crate::supervisor::{CHECK_OUT, TREE, Wanted};

/// How pods check the commits of their runs out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodCheckout {
    /// An image with git, in which it is done; without one, that of [`Tools`](super::Tools), which is swifthook's own and has
    /// git for itself.
    pub image: Option<String>,
    /// The Secret with what is shown to the git server: of the type `kubernetes.io/ssh-auth` (`ssh-privatekey`, perhaps
    /// `known_hosts`) or `kubernetes.io/basic-auth` (`username`, `password`), perhaps with `ca.crt`, the authority that the
    /// server's certificate is from.
    pub secret: Option<String>,
    /// How much memory it may have, in the cluster's notation.
    pub memory: String,
    /// Where each repository is fetched from. A payload has no say in it.
    pub repositories: BTreeMap<RepoName, Arc<str>>,
}

impl Default for PodCheckout {
    fn default() -> Self {
        Self { image: None, secret: None, memory: "2Gi".into(), repositories: BTreeMap::new() }
    }
}

/// What a pod has more.
pub(super) struct Parts {
    pub(super) volumes: Vec<Value>,
    pub(super) container: Value,
}

impl KubernetesSettings {
    /// What a pod needs that checks out what `run` is to have.
    pub(super) fn checkout_of(&self, run: &RunSpec, with: &Checkout) -> Result<Parts, LaunchError> {
        let Some(checkout) = &self.checkout else {
            return Err(LaunchError::passing("the launcher does not check commits out any more"));
        };
        let change = &run.job.change;
        let url = checkout.repositories.get(&change.repository).ok_or_else(|| {
            LaunchError::permanent(format!("repository `{}` is not configured", change.repository))
        })?;
        let secret = checkout.secret.as_ref().map(|name| (name, self.place.join("git")));
        let (place, code) = (text(&self.place)?, self.code());
        let wanted = Wanted {
            repository: change.repository.clone(),
            url: url.to_string(),
            ref_name: change.ref_name.clone(),
            commit: change.head.clone(),
            lfs: with.lfs,
            submodules: with.submodules.to_vec(),
            secret: secret.as_ref().map(|(_, folder)| folder.clone()),
            place: code.clone(),
            told: TOLD.into(),
            pauses: PAUSES.into(),
        };
        let wanted = serde_json::to_string(&wanted)
            .map_err(|error| LaunchError::permanent("what is to be checked out is no text").because(error))?;
        let temporary = format!("{place}/tmp");
        let mut volumes = vec![
            json!({ "name": "code", "emptyDir": {} }),
            json!({ "name": "checkout-tmp", "emptyDir": {} }),
        ];
        let mut mounts = vec![
            json!({ "name": "swifthook", "mountPath": format!("{place}/bin"), "subPath": "bin", "readOnly": true }),
            json!({ "name": "code", "mountPath": text(&code)? }),
            json!({ "name": "checkout-tmp", "mountPath": temporary }),
        ];
        if let Some((name, folder)) = &secret {
            // The cluster gives it to the pod's group too, so that a user who is not root can read it.
            volumes.push(json!({ "name": "git", "secret": { "secretName": name, "defaultMode": 0o400 } }));
            mounts.push(json!({ "name": "git", "mountPath": text(folder)?, "readOnly": true }));
        }
        let container = json!({
            "name": CHECKOUT,
            "image": checkout.image.as_ref().unwrap_or(&self.tools.image),
            "command": [format!("{place}/bin/keeper"), CHECK_OUT, escaped(&wanted)],
            "env": [{ "name": "HOME", "value": temporary }, { "name": "TMPDIR", "value": temporary }],
            "resources": {
                "requests": { "cpu": "100m", "memory": checkout.memory }, "limits": { "memory": checkout.memory },
            },
            "terminationMessagePath": TOLD,
            "terminationMessagePolicy": LAST_WORDS,
            "securityContext": restricted(),
            "volumeMounts": mounts,
        });
        Ok(Parts { volumes, container })
    }

    /// Where the command of a run starts.
    pub(super) fn working_dir(&self, run: &RunSpec) -> PathBuf {
        match run.checkout {
            Some(_) => self.code().join(TREE),
            None => run.working_dir.clone(),
        }
    }

    /// The tree, and the objects that it borrows, for the run to read.
    pub(super) fn code_mount(&self) -> Value {
        json!({ "name": "code", "mountPath": self.code(), "readOnly": true })
    }

    /// Not in the directory of the run: whoever mounts a pod's volumes may not be allowed to look into that.
    fn code(&self) -> PathBuf {
        self.place.join("code")
    }
}

/// In milliseconds.
const PAUSES: [u64; 2] = [3_000, 15_000];
