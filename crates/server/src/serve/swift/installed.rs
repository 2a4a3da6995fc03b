use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use rustix::fs::Access;
use swifthook_core::{Reason, is_crash, signal_in_words};
use swifthook_msswift::{InvalidVersion, Packages, Version};
use swifthook_runner::Uncomposed;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

/// The versions of the ms-swift installations that runs use, and the packages beside them. One is asked once: its program
/// is written anew with each installation, and a package changes the folder that it is installed in.
#[derive(Default)]
pub(crate) struct Versions {
    known: Mutex<HashMap<(PathBuf, SystemTime), Told>>,
}

/// Facts that an installation told when it was asked.
#[derive(Clone)]
struct Told {
    version: Version,
    packages: Packages,
    /// Folders of its packages, and when each was last changed: installing one changes its folder.
    folders: Vec<(PathBuf, Option<SystemTime>)>,
}

impl Told {
    /// Reads a version, a line with packages, and a folder in each line below.
    fn read(answer: &str) -> Result<Self, InvalidVersion> {
        let mut lines = answer.trim().lines();
        let version = lines.next().unwrap_or_default().trim().parse()?;
        let packages = Packages::of(lines.next().unwrap_or_default().split(' '));
        let folders = lines.map(|folder| (PathBuf::from(folder), changed(Path::new(folder)))).collect();
        Ok(Self { version, packages, folders })
    }

    fn is_still_so(&self) -> bool {
        self.folders.iter().all(|(folder, at)| changed(folder) == *at)
    }
}

fn changed(folder: &Path) -> Option<SystemTime> {
    folder.metadata().and_then(|folder| folder.modified()).ok()
}

/// An ms-swift that is there.
pub(crate) struct Installed {
    /// Its program.
    pub(crate) program: PathBuf,
    pub(crate) version: Version,
    /// Packages beside it.
    pub(crate) packages: Packages,
}

impl Versions {
    /// The ms-swift that a run with this `PATH` finds, or why there is none. Its Python is asked by the command line
    /// `within`, since an environment that a repository has chosen runs its code as soon as Python starts.
    pub(crate) async fn installed(
        &self,
        program: &str,
        path: Option<&str>,
        within: &[String],
    ) -> Result<Installed, Uncomposed> {
        let path = path.unwrap_or_default();
        let program = std::env::split_paths(path)
            .map(|folder| folder.join(program))
            .find(|file| file.is_absolute() && file.is_file() && is_executable(file))
            .ok_or_else(|| {
                unfit(format!(
                    "no program `{program}` in `{path}`; `environment = {{ venv = \"…\" }}` says where it is"
                ))
            })?;
        let changed = program.metadata().and_then(|file| file.modified());
        let unread = |error| Uncomposed::NotNow(format!("`{}`: {error}", program.display()));
        let key = (program.clone(), changed.map_err(unread)?);
        let known = self.known.lock().expect("nothing panics under this lock").get(&key).cloned();
        let Told { version, packages, .. } = match known.filter(Told::is_still_so) {
            Some(told) => told,
            None => {
                let told = ask(&program, within).await?;
                self.known.lock().expect("nothing panics under this lock").insert(key, told.clone());
                told
            }
        };
        Ok(Installed { program, version, packages })
    }
}

fn is_executable(file: &Path) -> bool {
    rustix::fs::access(file, Access::EXEC_OK).is_ok()
}

/// Asks the package's metadata, by the interpreter beside the program: that imports nothing of ms-swift, which takes a
/// minute and has no `--version`.
async fn ask(program: &Path, within: &[String]) -> Result<Told, Uncomposed> {
    let python = program.with_file_name("python");
    let failed = |why: String| format!("`{}` does not tell the version of ms-swift: {why}", python.display());
    let argv: Vec<&OsStr> = within.iter().map(OsStr::new).chain([python.as_os_str()]).collect();
    let asked = Command::new(argv[0])
        .args(&argv[1..])
        .args(["-I", "-c", ASKS])
        .args(Packages::ASKED)
        .current_dir("/")
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let answer = match tokio::time::timeout(PATIENCE, answer(asked)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            return Err(unfit(failed(error.to_string())));
        }
        Ok(Err(error)) => return Err(Uncomposed::NotNow(failed(error.to_string()))),
        Err(_) => {
            return Err(Uncomposed::NotNow(failed(format!("no answer within {} s", PATIENCE.as_secs()))));
        }
    };
    if !answer.status.success() {
        let said = String::from_utf8_lossy(&answer.stderr);
        let status = answer.status.signal().map(signal_in_words).unwrap_or(answer.status.to_string());
        let why = said.lines().last().map_or(status.clone(), |last| format!("{last} ({status})"));
        // Somebody else has ended it, such as the kernel where the memory is full: another time it may answer.
        return Err(match answer.status.signal() {
            Some(signal) if !is_crash(signal) => Uncomposed::NotNow(failed(why)),
            _ => unfit(failed(why)),
        });
    }
    let told = String::from_utf8_lossy(&answer.stdout);
    Told::read(&told).map_err(|error| unfit(failed(error.to_string())))
}

/// All that it says, which what a repository has chosen may say without end.
async fn answer(asked: io::Result<Child>) -> io::Result<Output> {
    let mut child = asked?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = tokio::join!(said(stdout), said(stderr));
    let (stdout, stderr) = (stdout?, stderr?);
    Ok(Output { status: child.wait().await?, stdout, stderr })
}

/// No more than an answer has. The rest finds nobody who reads, which ends most programs.
async fn said(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(MOST_BYTES).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// The word is that of all that is wrong with a config, which the environment is a part of.
fn unfit(why: String) -> Uncomposed {
    Uncomposed::Unfit(Reason::new("config", why))
}

/// The version, those of the packages that are there, and the folders that any may be in.
const ASKS: &str = "\
import importlib.metadata as m, os, sys
print(m.version('ms-swift'))
def there(name):
    try: return bool(m.version(name))
    except m.PackageNotFoundError: return False
print(*filter(there, sys.argv[1:]))
print(*filter(os.path.isdir, sys.path), sep='\\n')
";
/// Python starts in a blink, and from a network drive in a few seconds.
const PATIENCE: Duration = Duration::from_secs(30);
const MOST_BYTES: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// An environment whose Python tells this.
    fn install(folder: &Path, told: &str, installed_at: SystemTime) {
        // A new file each time, since one that is just being run cannot be written; and by another process: what this one
        // writes, others that it is starting have open too, and so it cannot be run.
        let write = "rm -f \"$0\" && printf '#!/bin/sh\\n%s\\n' \"$1\" >\"$0\" && chmod 755 \"$0\"";
        for (name, text) in [("swift", ""), ("python", told)] {
            let mut writing = std::process::Command::new("sh");
            let written = writing.args(["-c", write]).arg(folder.join(name)).arg(text).status().unwrap();
            assert!(written.success());
        }
        fs::File::options()
            .write(true)
            .open(folder.join("swift"))
            .unwrap()
            .set_modified(installed_at)
            .unwrap();
    }

    #[tokio::test]
    async fn an_installation_is_asked_once_and_again_when_it_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let (asked, path) = (folder.path().join("asked"), folder.path().to_str().unwrap().to_owned());
        let tells = |version: &str| format!("echo x >>'{}'; echo {version}", asked.display());
        let versions = Versions::default();
        let begin = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        install(folder.path(), &tells("4.6.0"), begin);
        for _ in 0..3 {
            let found =
                versions.installed("swift", Some(&path), &[]).await.unwrap_or_else(|why| panic!("{why:?}"));
            assert_eq!(
                (found.version.to_string().as_str(), found.program),
                ("4.6.0", folder.path().join("swift"))
            );
        }
        assert_eq!(fs::read_to_string(&asked).unwrap(), "x\n");
        install(folder.path(), &tells("3.12.6"), begin + Duration::from_secs(1));
        let found =
            versions.installed("swift", Some(&path), &[]).await.unwrap_or_else(|why| panic!("{why:?}"));
        assert_eq!(found.version.to_string(), "3.12.6");
    }

    #[tokio::test]
    async fn a_package_that_is_installed_or_removed_is_seen_without_a_new_ms_swift() {
        let folder = tempfile::tempdir().unwrap();
        let packages = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap().to_owned();
        let asks = format!("echo 4.6.0; echo $(cd {0}; ls); echo {0}", packages.path().display());
        install(folder.path(), &asks, SystemTime::now());
        let versions = Versions::default();
        let told =
            async || versions.installed("swift", Some(&path), &[]).await.map(|one| one.packages).unwrap();
        let begin = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let touched = |seconds| {
            let folder = fs::File::open(packages.path()).unwrap();
            folder.set_modified(begin + Duration::from_secs(seconds)).unwrap();
        };
        touched(0);
        assert_eq!(told().await, Packages::default());
        fs::write(packages.path().join("kernels"), "").unwrap();
        touched(1);
        assert_eq!(told().await, Packages::of(["kernels"]));
        fs::remove_file(packages.path().join("kernels")).unwrap();
        touched(2);
        assert_eq!(told().await, Packages::default());
    }

    #[tokio::test]
    async fn what_is_not_there_or_tells_nothing_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap().to_owned();
        let told = async |path: Option<&str>| match Versions::default().installed("swift", path, &[]).await {
            Err(Uncomposed::Unfit(why)) => why.to_string(),
            Err(Uncomposed::NotNow(why) | Uncomposed::Waits(_, why)) => panic!("{why}"),
            Ok(found) => panic!("{}", found.version),
        };
        assert!(told(None).await.contains("no program `swift`"));
        assert!(told(Some(&path)).await.contains("no program `swift`"));
        assert!(told(Some("relative:.")).await.contains("no program `swift`"));
        install(folder.path(), "echo 'PackageNotFoundError: ms-swift' >&2; exit 1", SystemTime::now());
        assert!(told(Some(&path)).await.contains("PackageNotFoundError"));
        // One that says more than anybody reads is answered at once, and fills no memory.
        install(folder.path(), "yes; echo said >&2; exit 1", SystemTime::now());
        assert!(!told(Some(&path)).await.contains("no answer"));
        install(folder.path(), "echo 4.7.0.dev0", SystemTime::now());
        assert!(told(Some(&path)).await.contains("no released version"));
        fs::remove_file(folder.path().join("python")).unwrap();
        assert!(told(Some(&path)).await.contains("python` does not tell"));
    }
}
