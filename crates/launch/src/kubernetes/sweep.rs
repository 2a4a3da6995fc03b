//! What is left in the cluster of runs that nobody needs any more.

use std::time::{Duration, SystemTime};

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use swifthook_core::{LaunchError, RunKey, Timestamp};

use super::config::KubernetesLauncher;
use super::end::time;
use super::error::{failed, is_conflict, is_not_found};
use super::link::within;
use super::names::{all_of, key_in, name_of};
use super::spent::Spent;
use super::status::is_settled;

/// A run of which the cluster has a Job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownRun {
    /// Its key.
    pub key: RunKey,
    /// When its Job was made.
    pub created_at: Timestamp,
    /// Whether nothing of it runs, or will.
    pub is_over: bool,
}

impl KubernetesLauncher {
    /// The runs of which the cluster has a Job, as far as the watch tells; `None` while it does not. Whoever knows that the
    /// job of one has ended [removes](Self::remove) it.
    pub async fn known_runs(&self) -> Option<Vec<KnownRun>> {
        if self.view.lost_since().await.is_some() {
            return None;
        }
        let jobs = self.view.jobs();
        let known = jobs.iter().filter_map(|job| {
            let created_at = job.creation_timestamp().as_ref().map_or(Timestamp(0), time);
            let is_over = Spent::of(job).is_some() || is_settled(job);
            Some(KnownRun { key: key_in(Some(job.labels()))?, created_at, is_over })
        });
        Some(known.collect())
    }

    /// Removes all that the cluster has of a run, and ends it if it goes on. Its key is free again then, so nobody may be
    /// left who could still submit it. Its directory stays.
    ///
    /// # Errors
    ///
    /// When the API server does not do it.
    pub async fn remove(&self, key: &RunKey) -> Result<(), LaunchError> {
        let jobs: Api<Job> = self.api();
        match within(jobs.delete(&name_of(key), &DeleteParams::background())).await {
            Err(error) if !is_not_found(&error) => Err(failed("cannot remove the Job of a run", error)),
            _ => Ok(()),
        }
    }

    /// Sees to secrets whose submission was interrupted: they get to belong to their Job, or go if there is none and they
    /// are an hour old. Answers how many went.
    ///
    /// # Errors
    ///
    /// When the API server does not do it.
    pub async fn tidy(&self, now: SystemTime) -> Result<usize, LaunchError> {
        let what = "cannot tidy up the secrets of runs";
        let (secrets, jobs): (Api<Secret>, Api<Job>) = (self.api(), self.api());
        let selected = ListParams::default().labels(&all_of(&self.settings.owner));
        let all = within(secrets.list(&selected)).await.map_err(|error| failed(what, error))?;
        let mut removed = 0;
        for secret in all.into_iter().filter(|secret| secret.owner_references().is_empty()) {
            let name = secret.name_any();
            if let Some(job) = within(jobs.get_opt(&name)).await.map_err(|error| failed(what, error))? {
                self.give(secret, &job).await.map_err(|error| failed(what, error))?;
                continue;
            }
            let created_at = secret.creation_timestamp().as_ref().map_or(Timestamp(0), time);
            if Timestamp::from(now).since(created_at) < FORGOTTEN {
                continue;
            }
            match within(secrets.delete(&name, &DeleteParams::default())).await {
                Err(error) if !is_not_found(&error) => return Err(failed(what, error)),
                _ => removed += 1,
            }
        }
        Ok(removed)
    }

    /// Lets a secret go when its Job goes.
    pub(super) async fn give(&self, mut secret: Secret, job: &Job) -> Result<(), kube::Error> {
        use kube::Resource;
        let Some(owner) = job.owner_ref(&()).filter(|_| secret.owner_references().is_empty()) else {
            return Ok(());
        };
        let name = secret.name_any();
        secret.owner_references_mut().push(owner);
        let secrets: Api<Secret> = self.api();
        match within(secrets.replace(&name, &PostParams::default(), &secret)).await {
            // Somebody else has done it, or it is gone with its Job.
            Err(error) if !is_conflict(&error) && !is_not_found(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

/// A submission is over by then, one way or another.
const FORGOTTEN: Duration = Duration::from_secs(3600);
