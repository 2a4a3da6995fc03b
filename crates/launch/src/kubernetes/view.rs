//! All that is known of the cluster without asking it.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use kube::{Client, ResourceExt};
use swifthook_core::{RunKey, Timestamp};
use tokio::task::JoinHandle;

use super::config::KubernetesSettings;
use super::link::{Link, Table};
use super::names::{all_of, key_in, name_of};

pub(super) struct View {
    jobs: Arc<Table<Job>>,
    pods: Arc<Table<Pod>>,
    keeping: [JoinHandle<()>; 2],
}

impl View {
    pub(super) fn begin(client: &Client, settings: &KubernetesSettings) -> Self {
        let (jobs, pods) = (Arc::new(Table::new()), Arc::new(Table::new()));
        let (of_jobs, of_pods) = (jobs.clone(), pods.clone());
        let (jobs_api, pods_api) = (
            Api::namespaced(client.clone(), &settings.namespace),
            Api::namespaced(client.clone(), &settings.namespace),
        );
        let (selector, same) = (all_of(&settings.owner), all_of(&settings.owner));
        let keeping = [
            tokio::spawn(async move { of_jobs.keep(jobs_api, &selector).await }),
            tokio::spawn(async move { of_pods.keep(pods_api, &same).await }),
        ];
        Self { jobs, pods, keeping }
    }

    /// Since when the cluster is out of reach, if it is.
    pub(super) async fn lost_since(&self) -> Option<Timestamp> {
        for link in [self.jobs.link().await, self.pods.link().await] {
            if let Link::Lost(since) = link {
                return Some(since);
            }
        }
        None
    }

    pub(super) fn job(&self, key: &RunKey) -> Option<Job> {
        self.jobs.get(&name_of(key))
    }

    pub(super) fn jobs(&self) -> Vec<Job> {
        self.jobs.choose(|_| true)
    }

    pub(super) fn pods(&self, key: &RunKey) -> Vec<Pod> {
        self.pods.choose(|pod| key_in(Some(pod.labels())) == Some(*key))
    }
}

/// The tasks know of the tables alone, so nothing keeps this from being dropped.
impl Drop for View {
    fn drop(&mut self) {
        self.keeping.iter().for_each(JoinHandle::abort);
    }
}
