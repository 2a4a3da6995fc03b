//! What an attempt of any recipe stands on, before it begins.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use swifthook_core::{Job, RunLimits, Wait};
use swifthook_launch::within;
use swifthook_runner::{Compose, Composed, Draft, Uncomposed};

use super::enclose::{Enclosing, Places};
use super::environment;
use super::swift::SwiftComposer;
use super::uv::Uv;
use super::workload;
use crate::preflight::{free, shown};

/// Sees to the disk, and has a config of ms-swift checked.
pub(super) struct Preparing {
    pub(super) swift: Option<SwiftComposer>,
    pub(super) enclosing: Option<Enclosing>,
    /// What makes environments, and the lock file of the recipe.
    pub(super) uv: Option<(Arc<Uv>, String)>,
    pub(super) limits: RunLimits,
    pub(super) state_dir: PathBuf,
    /// What has to be free on its disk, in bytes.
    pub(super) free_disk: u64,
}

#[async_trait]
impl Compose for Preparing {
    fn most_bytes(&self) -> Option<usize> {
        self.swift.as_ref().map(|_| SwiftComposer::MOST_BYTES)
    }

    async fn compose(&self, job: &Job, mut draft: Draft) -> Result<Composed, Uncomposed> {
        let has_gpus = draft.gpus > 0 || draft.env.get(VISIBLE).is_some_and(|gpus| !gpus.is_empty());
        let (run_dir, output_dir) = (&draft.run_dir, &draft.output_dir);
        let places = Places::of_a_run(run_dir, output_dir, draft.resume.as_deref(), has_gpus);
        let environment = self.environment(job, &mut draft.env).await?;
        // First what is wrong for good: it is wrong whether there is room or not.
        let mut composed = match &self.swift {
            Some(swift) => {
                let within = self.asking(job, &draft).await?;
                swift.compose(job, draft, environment.as_deref(), &within).await?
            }
            None => {
                let workload = workload::of_command(job, draft.gpus);
                Composed { argv: draft.argv, env: draft.env, workload, ..Composed::default() }
            }
        };
        composed.environment = environment;
        if let Some(enclosing) = &self.enclosing {
            composed.enclosure = enclosing.enclosure(job, &places, &mut composed.env).await?;
        }
        self.room()?;
        Ok(composed)
    }
}

impl Preparing {
    /// The command line within which programs of the environment are asked: one that uv made is what the repository has chosen.
    async fn asking(&self, job: &Job, draft: &Draft) -> Result<Vec<String>, Uncomposed> {
        let Some(enclosing) = self.enclosing.as_ref().filter(|_| self.uv.is_some()) else {
            return Ok(Vec::new());
        };
        let places = Places::of_a_question(&draft.run_dir, &draft.output_dir);
        Ok(within(&enclosing.enclosure(job, &places, &mut draft.env.clone()).await?))
    }

    /// Has the environment made that the commit asks for, and puts it into that of the run.
    async fn environment(
        &self,
        job: &Job,
        env: &mut BTreeMap<String, String>,
    ) -> Result<Option<Arc<str>>, Uncomposed> {
        let Some((uv, lock)) = &self.uv else { return Ok(None) };
        self.room()?;
        let made = uv.environment(job, lock, env, &self.limits, self.enclosing.as_ref()).await?;
        environment::use_venv(env, &made.venv);
        Ok(Some(format!("uv:{}", made.digest).into()))
    }

    /// Whether there is room on the disk. A full one takes the last checkpoint of every run on it.
    fn room(&self) -> Result<(), Uncomposed> {
        let free = free(&self.state_dir).map_err(|error| {
            Uncomposed::NotNow(format!("the disk of {} cannot be asked: {error}", self.state_dir.display()))
        })?;
        if free >= self.free_disk {
            return Ok(());
        }
        let why = format!(
            "{} are free on the disk of {}, and {} have to be (`free_disk` in [limits], and what the recipe's `limits` say)",
            shown(free),
            self.state_dir.display(),
            shown(self.free_disk)
        );
        Err(Uncomposed::Waits(Wait::Disk, why))
    }
}

/// See the NVIDIA CUDA programming guide.
const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";

#[cfg(test)]
mod tests {
    use super::*;

    fn room(state_dir: &str, free_disk: u64) -> Result<(), Uncomposed> {
        Preparing {
            swift: None,
            enclosing: None,
            uv: None,
            limits: RunLimits::default(),
            state_dir: state_dir.into(),
            free_disk,
        }
        .room()
    }

    #[test]
    fn a_job_waits_until_there_is_room() {
        assert_eq!(room("/", 1), Ok(()));
        match room("/", u64::MAX) {
            Err(Uncomposed::Waits(Wait::Disk, why)) => assert!(why.contains("have to be"), "{why}"),
            other => panic!("{other:?}"),
        }
        assert!(matches!(room("/no/such/disk", 1), Err(Uncomposed::NotNow(_))));
    }
}
