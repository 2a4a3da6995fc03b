use std::fs;
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::DemoError;
use super::interrupt::Interrupt;
use super::trainer::Trainer;
use super::upstream::Upstream;
use crate::serve::random;

/// What the demo plays in: a folder with everything that a small team would have.
pub(super) struct Setting {
    pub(super) folder: PathBuf,
    pub(super) config: PathBuf,
    pub(super) state_dir: PathBuf,
    pub(super) secret: String,
    pub(super) upstream: Upstream,
    pub(super) trainer: Trainer,
    /// Removes the folder, unless it is to stay.
    made: TempDir,
}

/// A folder that stays.
pub(super) struct Kept {
    pub(super) folder: PathBuf,
}

impl Setting {
    /// Makes the folder, which goes away with this unless it is [kept](Self::keep).
    pub(super) fn create(trainer: Trainer, interrupt: &Interrupt) -> Result<Self, DemoError> {
        let temporary = std::env::temp_dir();
        let failed = |error| DemoError::folder(&temporary, error);
        let made = tempfile::Builder::new().prefix("swifthook-demo-").tempdir().map_err(failed)?;
        let folder = made.path().canonicalize().map_err(failed)?;
        let trainer = trainer.prepared(&folder, interrupt)?;
        let first = trainer.config(&folder, trainer.rates()[0]);
        let setting = Self {
            upstream: Upstream::create(&folder, &[("README.md", README), (CONFIG, &first)], interrupt)?,
            config: folder.join("swifthook.toml"),
            state_dir: folder.join("state"),
            secret: random().map_err(failed)?,
            folder,
            trainer,
            made,
        };
        setting.write().map_err(|error| DemoError::folder(&setting.folder, error))?;
        Ok(setting)
    }

    /// Leaves the folder to whoever has watched, to go on with. Room on the disk was kept for the store of a server that
    /// runs; the next one takes it again.
    pub(super) fn keep(self) -> Kept {
        drop(fs::remove_file(self.folder.join(format!("{STORE}.reserve"))));
        let _ = self.made.keep();
        Kept { folder: self.folder }
    }

    /// Removes the folder, for which whoever writes there still has a moment to end.
    pub(super) fn remove(self) -> Result<(), DemoError> {
        let deadline = Instant::now() + LAST_BREATH;
        loop {
            match fs::remove_dir_all(&self.folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    return Err(DemoError::folder(&self.folder, error));
                }
                _ => thread::sleep(GLANCE),
            }
        }
    }

    fn write(&self) -> io::Result<()> {
        let mut private = fs::OpenOptions::new();
        private.write(true).create_new(true).mode(0o600);
        private.open(self.folder.join("secret"))?.write_all(self.secret.as_bytes())?;
        fs::write(&self.config, self.server_config(&std::env::current_exe()?)?)
    }

    /// A configuration to go on with. Its ports are free at this moment, and written down so that a server that is
    /// started again later has them too.
    fn server_config(&self, program: &Path) -> io::Result<String> {
        let listeners = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
        let [listen, admin_listen] = listeners.map(|listener| listener.local_addr());
        let text = |value: &str| toml::Value::from(value).to_string();
        Ok(format!(
            r#"# Made by `swifthook demo`.

[server]
listen = "{listen}"
admin_listen = "{admin_listen}"

[[hook]]
secrets = ["file:secret"]

[store]
url = "sqlite:{STORE}"
state_dir = "state"

[[repository]]
name = "{REPOSITORY}"
clone_url = {clone_url}

[[recipe]]
name = "{RECIPE}"
repository = "{REPOSITORY}"
branches = ["main"]
paths = ["configs/sft_*.yaml"]
each = "configs/sft_*.yaml"
{run}"#,
            listen = listen?,
            admin_listen = admin_listen?,
            clone_url = text(&self.upstream.clone_url()),
            run = self.trainer.recipe(&self.folder, program),
        ))
    }
}

pub(super) const REPOSITORY: &str = "demo/models";
pub(super) const RECIPE: &str = "sft-demo";
pub(super) const PAYLOAD: &str = "push.json";
pub(super) const CONFIG: &str = "configs/sft_demo.yaml";
const STORE: &str = "swifthook.db";
/// How long what has been ended may take to be gone.
const LAST_BREATH: Duration = Duration::from_secs(5);
const GLANCE: Duration = Duration::from_millis(20);
const README: &str = "# Models\n";
