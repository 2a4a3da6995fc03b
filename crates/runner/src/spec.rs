use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use swifthook_core::{Capabilities, GpuGrant, Job, RunKey, RunSpec};

use crate::catalog::Terms;
use crate::compose::{Composed, Draft};

/// Where the parts of an attempt are.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) run_dir: PathBuf,
    pub(crate) tree: PathBuf,
    output_dir: PathBuf,
}

/// No argument could hold the path.
pub(crate) struct NotUtf8;

impl Places {
    pub(crate) fn new(state_dir: &Path, key: &RunKey) -> Self {
        let run_dir = state_dir.join("runs").join(key.to_string());
        Self { tree: run_dir.join("tree"), output_dir: run_dir.join("output"), run_dir }
    }

    /// What the run of `job` is made of so far: its command, with the environment of `terms`.
    pub(crate) fn draft(&self, job: &Job, terms: &Terms, file: Vec<u8>) -> Result<Draft, NotUtf8> {
        let (run_dir, output_dir) = self.texts()?;
        let argv = job.spec.command.iter().map(|part| part.finish(job.id, run_dir, output_dir)).collect();
        let resume = job.state.checkpoint.as_ref().map(|checkpoint| checkpoint.path.to_string());
        let gpus = terms.gpus.as_ref().map_or(0, |request| request.count as usize);
        Ok(Draft {
            file,
            argv,
            env: terms.env.clone(),
            run_dir: run_dir.to_owned(),
            output_dir: output_dir.to_owned(),
            resume,
            gpus,
            gpu_kinds: Vec::new(),
        })
    }

    fn texts(&self) -> Result<(&str, &str), NotUtf8> {
        self.run_dir.to_str().zip(self.output_dir.to_str()).ok_or(NotUtf8)
    }

    /// The run of `job` in `working_dir`, by a launcher that can do this.
    pub(crate) fn spec(
        &self,
        job: &Job,
        terms: &Terms,
        command: Composed,
        working_dir: PathBuf,
        launcher: Capabilities,
    ) -> Result<RunSpec, NotUtf8> {
        let (run_dir, output_dir) = self.texts()?;
        let Composed { argv, mut env, enclosure, .. } = command;
        if launcher.gpu_leases {
            show_gpus(&mut env, job.state.gpus.as_ref());
        }
        env.extend([
            ("SWIFTHOOK_JOB".to_owned(), job.id.to_string()),
            ("SWIFTHOOK_COMMIT".to_owned(), job.change.head.to_string()),
            ("SWIFTHOOK_OUTPUT_DIR".to_owned(), output_dir.to_owned()),
            ("SWIFTHOOK_PROGRESS".to_owned(), format!("{run_dir}/progress.jsonl")),
        ]);
        if let Some(checkpoint) = &job.state.resumed_from {
            env.insert("SWIFTHOOK_RESUME_FROM".to_owned(), checkpoint.path.to_string());
        }
        Ok(RunSpec {
            job: Arc::new(job.clone()),
            argv,
            env,
            run_dir: self.run_dir.clone(),
            working_dir,
            checkout: terms.checkout.clone().filter(|_| launcher.checks_out),
            output_dir: self.output_dir.clone(),
            timeout: terms.timeout,
            grace: terms.grace,
            limits: terms.limits,
            enclosure,
            shape: terms.shape.clone(),
        })
    }
}

/// A run sees the GPUs that it has, by their names, since numbers depend on who counts. One without sees none, unless
/// it was told otherwise: whoever forgets to ask must not train on what is another's.
fn show_gpus(env: &mut BTreeMap<String, String>, grant: Option<&GpuGrant>) {
    match grant {
        Some(grant) => env.extend([
            (VISIBLE.to_owned(), grant.uuids.join(",")),
            ("CUDA_DEVICE_ORDER".to_owned(), "PCI_BUS_ID".to_owned()),
        ]),
        None => drop(env.entry(VISIBLE.to_owned()).or_default()),
    }
}

/// <https://docs.nvidia.com/cuda/cuda-c-programming-guide/index.html#env-vars>
const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";
