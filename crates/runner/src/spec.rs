use std::path::{Path, PathBuf};
use std::sync::Arc;

use swifthook_core::{Job, RunKey, RunSpec};

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

    /// The command of `job` as it stands in the job, with the environment of `terms`.
    pub(crate) fn command(&self, job: &Job, terms: &Terms) -> Result<Composed, NotUtf8> {
        let (run_dir, output_dir) = self.texts()?;
        let argv = job.spec.command.iter().map(|part| part.finish(job.id, run_dir, output_dir)).collect();
        Ok(Composed { argv, env: terms.env.clone() })
    }

    /// The same, for whoever completes it from a file of the commit.
    pub(crate) fn draft(&self, job: &Job, terms: &Terms, file: Vec<u8>) -> Result<Draft, NotUtf8> {
        let Composed { argv, env } = self.command(job, terms)?;
        Ok(Draft { file, argv, env, output_dir: self.texts()?.1.to_owned() })
    }

    fn texts(&self) -> Result<(&str, &str), NotUtf8> {
        self.run_dir.to_str().zip(self.output_dir.to_str()).ok_or(NotUtf8)
    }

    /// The run of `job` in `working_dir`.
    pub(crate) fn spec(
        &self,
        job: &Job,
        terms: &Terms,
        command: Composed,
        working_dir: PathBuf,
    ) -> Result<RunSpec, NotUtf8> {
        let (run_dir, output_dir) = self.texts()?;
        let Composed { argv, mut env } = command;
        env.extend([
            ("SWIFTHOOK_JOB".to_owned(), job.id.to_string()),
            ("SWIFTHOOK_COMMIT".to_owned(), job.change.head.to_string()),
            ("SWIFTHOOK_OUTPUT_DIR".to_owned(), output_dir.to_owned()),
            ("SWIFTHOOK_PROGRESS".to_owned(), format!("{run_dir}/progress.jsonl")),
        ]);
        Ok(RunSpec {
            job: Arc::new(job.clone()),
            argv,
            env,
            run_dir: self.run_dir.clone(),
            working_dir,
            output_dir: self.output_dir.clone(),
            timeout: terms.timeout,
            grace: terms.grace,
        })
    }
}
