use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use rustix::fs::Access;
use swifthook_msswift::Version;
use tokio::process::Command;

/// The versions of the ms-swift installations that runs use. One is asked once: its program is written anew with each
/// installation.
#[derive(Default)]
pub(in crate::serve) struct Versions {
    known: Mutex<HashMap<(PathBuf, SystemTime), Version>>,
}

/// An ms-swift that is there.
pub(super) struct Installed {
    /// Its program.
    pub(super) program: PathBuf,
    pub(super) version: Version,
}

impl Versions {
    /// The ms-swift that a run with this `PATH` finds, or why there is none.
    pub(super) async fn installed(&self, program: &str, path: Option<&str>) -> Result<Installed, String> {
        let path = path.unwrap_or_default();
        let program = std::env::split_paths(path)
            .map(|folder| folder.join(program))
            .find(|file| file.is_absolute() && file.is_file() && is_executable(file))
            .ok_or_else(|| {
                format!(
                    "no program `{program}` in `{path}`; `environment = {{ venv = \"…\" }}` says where it is"
                )
            })?;
        let changed = program.metadata().and_then(|file| file.modified());
        let key = (program.clone(), changed.map_err(|error| format!("`{}`: {error}", program.display()))?);
        let known = self.known.lock().expect("nothing panics under this lock").get(&key).copied();
        let version = match known {
            Some(version) => version,
            None => {
                let version = ask(&program).await?;
                self.known.lock().expect("nothing panics under this lock").insert(key, version);
                version
            }
        };
        Ok(Installed { program, version })
    }
}

fn is_executable(file: &Path) -> bool {
    rustix::fs::access(file, Access::EXEC_OK).is_ok()
}

/// Asks the package's metadata, by the interpreter beside the program: that imports nothing of ms-swift, which takes a
/// minute and has no `--version`.
async fn ask(program: &Path) -> Result<Version, String> {
    let python = program.with_file_name("python");
    let failed = |why: String| format!("`{}` does not tell the version of ms-swift: {why}", python.display());
    let asked = Command::new(&python)
        .args(["-I", "-c", "import importlib.metadata as m; print(m.version('ms-swift'))"])
        .current_dir("/")
        .env_clear()
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let answer = match tokio::time::timeout(PATIENCE, asked).await {
        Ok(answer) => answer.map_err(|error| failed(error.to_string()))?,
        Err(_) => return Err(failed(format!("no answer within {} s", PATIENCE.as_secs()))),
    };
    if !answer.status.success() {
        let last = String::from_utf8_lossy(&answer.stderr).lines().last().unwrap_or_default().to_owned();
        return Err(failed(last));
    }
    String::from_utf8_lossy(&answer.stdout).trim().parse().map_err(|error| failed(format!("{error}")))
}

/// Python starts in a blink, and from a network drive in a few seconds.
const PATIENCE: Duration = Duration::from_secs(30);
