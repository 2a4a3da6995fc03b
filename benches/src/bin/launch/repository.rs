use std::error::Error;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use swifthook_core::CommitSha;

/// A bare repository with so many MiB of files in its newest commit: code and configurations, tables, some weights.
pub(crate) struct Repository {
    pub(crate) path: PathBuf,
    files: Vec<(String, usize)>,
    head: CommitSha,
    random: u64,
}

impl Repository {
    pub(crate) fn new(path: PathBuf, mebibytes: usize) -> Result<Self, Box<dyn Error>> {
        let mut repository =
            Self { path, files: Vec::new(), head: no_commit(), random: 0x9e37_79b9_7f4a_7c15 };
        git(&["init", "--quiet", "--bare", "--initial-branch=main"], &repository.path)?;
        let mut left = mebibytes << 20;
        while left > 0 {
            let number = repository.files.len();
            // Of a hundred files 85 have 2 to 18 KiB, 13 have 64 to 576 KiB and two have 2 to 10 MiB.
            let (least, most) = match number % 100 {
                0..85 => (2 << 10, 18 << 10),
                85..98 => (64 << 10, 576 << 10),
                _ => (2 << 20, 10 << 20),
            };
            let size = (least + repository.next() as usize % (most - least)).min(left);
            repository
                .files
                .push((format!("part-{}/folder-{}/{number}.txt", number % 17, number % 211), size));
            left -= size;
        }
        let all = (0..repository.files.len()).collect::<Vec<_>>();
        repository.commit_files(&all)?;
        Ok(repository)
    }

    pub(crate) fn files(&self) -> usize {
        self.files.len()
    }

    /// Changes some files, of which one is large.
    pub(crate) fn commit(&mut self) -> Result<CommitSha, Box<dyn Error>> {
        let count = self.files.len();
        let mut changed: Vec<_> = (0..20).map(|_| self.next() as usize % count).collect();
        changed.sort_unstable();
        changed.dedup();
        self.commit_files(&changed)?;
        Ok(self.head.clone())
    }

    /// See <https://git-scm.com/docs/git-fast-import>.
    fn commit_files(&mut self, which: &[usize]) -> Result<(), Box<dyn Error>> {
        let mut command = Command::new("git");
        command.args(["fast-import", "--quiet", "--force", "--date-format=now"]);
        let mut child = command.current_dir(&self.path).stdin(Stdio::piped()).spawn()?;
        let mut to = BufWriter::with_capacity(1 << 20, child.stdin.take().ok_or("no way to git")?);
        write!(to, "commit refs/heads/main\ncommitter x <x@example.org> now\ndata 1\n.\n")?;
        if self.head != no_commit() {
            writeln!(to, "from {}", self.head)?;
        }
        for &index in which {
            let (name, size) = self.files[index].clone();
            writeln!(to, "M 100644 inline {name}\ndata {size}")?;
            self.write_text(&mut to, size)?;
            writeln!(to)?;
        }
        drop(to);
        if !child.wait()?.success() {
            return Err("git fast-import failed".into());
        }
        let head = git(&["rev-parse", "refs/heads/main"], &self.path)?;
        self.head = CommitSha::parse(&head)?.ok_or("no commit")?;
        Ok(())
    }

    /// Lines of digits: as compressible as tables and text are.
    fn write_text(&mut self, to: &mut impl Write, size: usize) -> std::io::Result<()> {
        let mut left = size;
        while left > 0 {
            let line = format!("{:019}, 0.{:016}, unchanged\n", self.next(), self.next() >> 11);
            let length = line.len().min(left);
            to.write_all(&line.as_bytes()[..length])?;
            left -= length;
        }
        Ok(())
    }

    /// See <https://doi.org/10.18637/jss.v008.i14>: the same repository each time.
    fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

pub(crate) fn git(arguments: &[&str], folder: &Path) -> Result<String, Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    let output = Command::new("git").current_dir(folder).args(arguments).output()?;
    if !output.status.success() {
        return Err(format!("git: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn no_commit() -> CommitSha {
    CommitSha::parse(&"f".repeat(40)).ok().flatten().expect("it is a commit")
}
