use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::DemoError;
use super::interrupt::Interrupt;

/// A repository that stands for the one on GitHub, and a clone of it in which somebody works.
pub(super) struct Upstream {
    bare: PathBuf,
    clone: PathBuf,
    interrupt: Interrupt,
}

/// What a push brought.
pub(super) struct Pushed {
    pub(super) before: String,
    pub(super) head: String,
    pub(super) message: String,
    pub(super) modified: Vec<String>,
}

impl Upstream {
    /// Makes both in `folder`, with a first commit on `main` that holds `files`.
    pub(super) fn create(
        folder: &Path,
        files: &[(&str, &str)],
        interrupt: &Interrupt,
    ) -> Result<Self, DemoError> {
        let [bare, clone] = ["upstream.git", "work"].map(|name| folder.join(name));
        let upstream = Self { bare, clone, interrupt: interrupt.clone() };
        for (place, kind) in [(&upstream.bare, "--bare"), (&upstream.clone, "--quiet")] {
            fs::create_dir(place).map_err(|e| DemoError::folder(place, e))?;
            upstream.git(place, &["init", "--quiet", kind])?;
            upstream.git(place, &["symbolic-ref", "HEAD", MAIN])?;
        }
        upstream.commit(files, "Begin")?;
        Ok(upstream)
    }

    pub(super) fn clone_url(&self) -> String {
        format!("file://{}", self.bare.display())
    }

    /// Changes `files`, commits and pushes.
    pub(super) fn push(&self, files: &[(&str, &str)], message: &str) -> Result<Pushed, DemoError> {
        let before = self.head(&self.clone)?;
        let head = self.commit(files, message)?;
        let modified = files.iter().map(|(path, _)| (*path).to_owned()).collect();
        Ok(Pushed { before, head, message: message.to_owned(), modified })
    }

    fn commit(&self, files: &[(&str, &str)], message: &str) -> Result<String, DemoError> {
        for (path, text) in files {
            let place = self.clone.join(path);
            write(&place, text).map_err(|e| DemoError::folder(&place, e))?;
        }
        self.git(&self.clone, &["add", "--all"])?;
        self.git(&self.clone, &["commit", "--quiet", "--message", message])?;
        self.git(&self.clone, &["push", "--quiet", &self.clone_url(), &format!("HEAD:{MAIN}")])?;
        self.head(&self.clone)
    }

    /// The commit that a working tree stands at, if it is that commit and nothing else.
    pub(super) fn clean_head(&self, tree: &Path) -> Result<Option<String>, DemoError> {
        let is_clean = self.git(tree, &["status", "--porcelain", "--ignored"])?.is_empty();
        if is_clean { self.head(tree).map(Some) } else { Ok(None) }
    }

    fn head(&self, tree: &Path) -> Result<String, DemoError> {
        self.git(tree, &["rev-parse", "--verify", "HEAD"])
    }

    fn git(&self, folder: &Path, args: &[&str]) -> Result<String, DemoError> {
        git(folder, args, &self.interrupt)
    }
}

fn write(place: &Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(place.parent().unwrap_or(place))?;
    fs::write(place, text)
}

/// Runs git with an author of its own and without the configuration of whoever watches: hooks, signing and aliases
/// of theirs are not to show here.
fn git(folder: &Path, args: &[&str], interrupt: &Interrupt) -> Result<String, DemoError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut command = Command::new("git");
    command
        .current_dir(folder)
        .args(args)
        .env_clear()
        .env("PATH", path)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .envs(["AUTHOR", "COMMITTER"].map(|role| (format!("GIT_{role}_NAME"), NAME)))
        .envs(["AUTHOR", "COMMITTER"].map(|role| (format!("GIT_{role}_EMAIL"), EMAIL)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = interrupt.output(&mut command, |_| ())?.map_err(DemoError::NoGit)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(DemoError::Git { command: args[0].to_owned(), said });
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

pub(super) const NAME: &str = "Demo";
pub(super) const EMAIL: &str = "demo@example.org";
pub(super) const MAIN: &str = "refs/heads/main";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_arrives_upstream_and_is_told_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let upstream =
            Upstream::create(folder.path(), &[("a/b.txt", "1"), ("c.txt", "1")], &Interrupt::default())
                .unwrap();
        let pushed = upstream.push(&[("a/b.txt", "2")], "Tune").unwrap();
        assert_ne!(pushed.before, pushed.head);
        assert_eq!(pushed.modified, ["a/b.txt"]);
        assert_eq!(upstream.git(&upstream.bare, &["rev-parse", MAIN]).unwrap(), pushed.head);
        assert_eq!(upstream.git(&upstream.bare, &["rev-parse", "main~1"]).unwrap(), pushed.before);
        assert_eq!(upstream.clean_head(&upstream.clone).unwrap(), Some(pushed.head));
        fs::write(upstream.clone.join("new.txt"), "").unwrap();
        assert_eq!(upstream.clean_head(&upstream.clone).unwrap(), None);
    }

    #[test]
    fn what_git_says_against_it_is_told() {
        let error = git(Path::new("/"), &["cat-file", "-e", "nothing"], &Interrupt::default())
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("git cat-file: ") && error.contains("not a git repository"), "{error}");
    }
}
