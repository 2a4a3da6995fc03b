//! What trains in the demo: ms-swift where it is on the `PATH`, on the CPU and with a model made on the spot; otherwise
//! the toy.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use swifthook_runner::Uncomposed;
use tokio::runtime::Runtime;

use super::DemoError;
use super::interrupt::Interrupt;
use crate::serve::swift::{Versions, table_of};

pub(super) enum Trainer {
    Toy {
        /// Why it is not the ms-swift that is there.
        instead_of: Option<String>,
    },
    MsSwift(MsSwift),
}

/// An ms-swift whose arguments are known.
pub(super) struct MsSwift {
    program: PathBuf,
    version: String,
}

impl Trainer {
    /// The one that a run with this `PATH` can have.
    pub(super) fn find(path: Option<OsString>, interrupt: &Interrupt) -> Result<Self, DemoError> {
        let path = path.and_then(|path| path.into_string().ok()).unwrap_or_default();
        // Other things are called so too, such as a compiler.
        if !std::env::split_paths(&path).any(|folder| folder.join("swift").is_file()) {
            return Ok(Self::Toy { instead_of: None });
        }
        let runtime = Runtime::new().map_err(|error| DemoError::folder(Path::new("/"), error))?;
        let installed = runtime.block_on(async {
            let versions = Versions::default();
            tokio::select! {
                installed = versions.installed("swift", Some(&path), &[]) => Ok(installed),
                interrupted = interrupt.raised() => Err(interrupted),
            }
        })?;
        let known = installed.map_err(told).and_then(|installed| {
            table_of(&installed)?;
            Ok(MsSwift { version: installed.version.to_string(), program: installed.program })
        });
        Ok(known.map_or_else(|why| Self::Toy { instead_of: Some(why) }, Self::MsSwift))
    }

    /// Puts into `folder` what it trains, as far as it needs anything; the toy takes over where that fails.
    pub(super) fn prepared(self, folder: &Path, interrupt: &Interrupt) -> Result<Self, DemoError> {
        Ok(match self {
            Self::MsSwift(swift) => match swift.make_model(folder, interrupt)? {
                Ok(()) => Self::MsSwift(swift),
                Err(why) => Self::Toy { instead_of: Some(format!("no model could be made: {why}")) },
            },
            toy @ Self::Toy { .. } => toy,
        })
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Toy { .. } => "the toy trainer".to_owned(),
            Self::MsSwift(swift) => format!("ms-swift {}", swift.version),
        }
    }

    pub(super) fn is_toy(&self) -> bool {
        matches!(self, Self::Toy { .. })
    }

    /// The learning rate at first, and the one that is pushed.
    pub(super) fn rates(&self) -> [f64; 2] {
        match self {
            Self::Toy { .. } => [0.02, 0.5],
            Self::MsSwift(_) => [0.0001, 0.005],
        }
    }

    /// The training configuration in the demo's repository.
    pub(super) fn config(&self, folder: &Path, learning_rate: f64) -> String {
        match self {
            Self::Toy { .. } => format!(
                "# What swifthook's toy trainer is told.\nlearning_rate: {learning_rate}\nmax_steps: 80\nseed: 42\n\
                 batch_size: 128\nl2: 0.0001\nstep_delay_ms: 50\n"
            ),
            Self::MsSwift(_) => {
                let text =
                    |name: &str| toml::Value::from(folder.join(name).display().to_string()).to_string();
                format!(
                    "# What ms-swift is told.\nmodel: {}\nmodel_type: qwen3\ntemplate: qwen3\ndataset: [{}]\n\
                     tuner_type: lora\ntorch_dtype: float32\nattn_impl: sdpa\nlearning_rate: {learning_rate}\n\
                     max_steps: 20\nlogging_steps: 1\nsave_steps: 10\nper_device_train_batch_size: 2\n\
                     gradient_accumulation_steps: 1\ngradient_checkpointing: false\ndataset_num_proc: 1\n\
                     dataloader_num_workers: 0\nload_from_cache_file: false\nsplit_dataset_ratio: 0\n",
                    text("model"),
                    text("data/train.jsonl")
                )
            }
        }
    }

    /// What the recipe says of the run.
    pub(super) fn recipe(&self, folder: &Path, this_program: &Path) -> String {
        let text = |value: &str| toml::Value::from(value).to_string();
        match self {
            Self::Toy { .. } => format!(
                "run = {{ command = [{}, \"toy-trainer\", \"--config\", \"{{path}}\", \"--output-dir\", \"{{output_dir}}\"] }}\n\
                 trust = \"code\"\n",
                text(&escaped(&this_program.to_string_lossy()))
            ),
            Self::MsSwift(swift) => {
                let venv = swift.program.ancestors().nth(2).unwrap_or(&swift.program);
                let venv = text(&venv.display().to_string());
                let [model, data] =
                    ["model", "data/**"].map(|name| text(&folder.join(name).display().to_string()));
                format!(
                    "run = {{ swift = \"sft\", config = \"{{path}}\", args = {{ report_to = \"none\" }} }}\n\
                     models = [{model}]\ndata = [{data}]\nenvironment = {{ venv = {venv} }}\n\
                     env = {{ CUDA_VISIBLE_DEVICES = \"\", HF_HUB_OFFLINE = \"1\", TRANSFORMERS_OFFLINE = \"1\", \
                     HF_DATASETS_OFFLINE = \"1\" }}\n"
                )
            }
        }
    }
}

impl MsSwift {
    /// By the interpreter beside it, which has torch.
    fn make_model(&self, folder: &Path, interrupt: &Interrupt) -> Result<Result<(), String>, DemoError> {
        let mut python = Command::new(self.program.with_file_name("python"));
        python
            .args(["-I", "-"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        python.env("HF_HUB_OFFLINE", "1").env("CUDA_VISIBLE_DEVICES", "");
        let made = interrupt.output(&mut python, |child| {
            let mut input = child.stdin.take().expect("its standard input is a pipe");
            // Whoever ends before it has read all says why.
            drop(input.write_all(TINY_MODEL.as_bytes()));
        })?;
        Ok(made.map_err(|error| error.to_string()).and_then(|made| {
            let said = String::from_utf8_lossy(&made.stderr);
            let why = || said.lines().last().unwrap_or_default().to_owned();
            made.status.success().then_some(()).ok_or_else(why)
        }))
    }
}

fn told(why: Uncomposed) -> String {
    match why {
        Uncomposed::Unfit(reason) => reason.detail,
        Uncomposed::NotNow(why) | Uncomposed::Waits(_, why) => why,
    }
}

/// An item of a command is a template: braces in it stand double.
fn escaped(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

const TINY_MODEL: &str = include_str!("tiny_model.py");

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_swift_that_is_no_ms_swift_is_told_and_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let found = || Trainer::find(Some(folder.path().into()), &Interrupt::default()).unwrap();
        assert!(matches!(found(), Trainer::Toy { instead_of: None }));
        for (name, text) in
            [("swift", "#!/bin/sh\n"), ("python", "#!/bin/sh\necho 'no package' >&2; exit 1\n")]
        {
            fs::write(folder.path().join(name), text).unwrap();
            fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let Trainer::Toy { instead_of: Some(why) } = found() else { panic!("there is no ms-swift") };
        assert!(why.contains("no package"), "{why}");
    }
}
