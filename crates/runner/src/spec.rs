use std::path::{Path, PathBuf};
use std::sync::Arc;

use swifthook_core::{Job, RunKey, RunSpec};

use crate::catalog::Terms;

/// Where the parts of an attempt are.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) run_dir: PathBuf,
    pub(crate) tree: PathBuf,
    output_dir: PathBuf,
}

impl Places {
    pub(crate) fn new(state_dir: &Path, key: &RunKey) -> Self {
        let run_dir = state_dir.join("runs").join(key.to_string());
        Self { tree: run_dir.join("tree"), output_dir: run_dir.join("output"), run_dir }
    }

    /// The run of `job` in `working_dir`; `None` if a path is not UTF-8, since then no argument could hold it.
    pub(crate) fn spec(&self, job: &Job, terms: &Terms, working_dir: PathBuf) -> Option<RunSpec> {
        let run_dir = self.run_dir.to_str()?;
        let output_dir = self.output_dir.to_str()?;
        let mut env = terms.env.clone();
        env.extend([
            ("SWIFTHOOK_JOB".to_owned(), job.id.to_string()),
            ("SWIFTHOOK_COMMIT".to_owned(), job.change.head.to_string()),
            ("SWIFTHOOK_OUTPUT_DIR".to_owned(), output_dir.to_owned()),
            ("SWIFTHOOK_PROGRESS".to_owned(), format!("{run_dir}/progress.jsonl")),
        ]);
        Some(RunSpec {
            job: Arc::new(job.clone()),
            argv: job.spec.command.iter().map(|part| part.finish(job.id, run_dir, output_dir)).collect(),
            env,
            run_dir: self.run_dir.clone(),
            working_dir,
            output_dir: self.output_dir.clone(),
            timeout: terms.timeout,
            grace: terms.grace,
        })
    }
}
