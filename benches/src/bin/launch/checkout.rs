use std::error::Error;
use std::fs;
use std::time::Instant;

use swifthook_benches::marks::{mark, median};
use swifthook_core::{Checkout, RefName, RepoName, Workspace};
use swifthook_launch::{GitWorkspace, Remote};

use crate::repository::{Repository, git};

/// A commit that was just pushed, fetched and checked out where the one before it is known, against `git worktree add`
/// of the same commit in a clone that has it already.
#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
pub(crate) fn measure(mebibytes: usize, rounds: usize) -> Result<bool, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let mut origin = Repository::new(folder.path().join("origin.git"), mebibytes)?;
    let url = format!("file://{}", origin.path.display());
    let clone = folder.path().join("clone.git");
    git(&["clone", "--quiet", "--bare", &url, &clone.display().to_string()], folder.path())?;
    let name = RepoName::new("acme/models")?;
    let workspace = GitWorkspace::new(folder.path().join("state"), [Remote::new(name.clone(), &url)?])?;
    let (main, with) = (RefName::Branch("main".into()), Checkout::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (ours, theirs) = (folder.path().join("runs/1/tree"), folder.path().join("theirs"));
    let (mut took, mut took_again, mut took_git, mut ratios) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    // The first round fetches everything, and is not counted.
    for round in 0..=rounds {
        let commit = origin.commit()?;
        git(&["fetch", "--quiet", &url, commit.as_str()], &clone)?;
        let check_out = || -> Result<f64, Box<dyn Error>> {
            settle(&ours)?;
            let began = Instant::now();
            runtime.block_on(workspace.checkout(&name, &main, &commit, &with, &ours))?;
            Ok(began.elapsed().as_secs_f64())
        };
        let worktree = || -> Result<f64, Box<dyn Error>> {
            settle(&theirs)?;
            git(&["worktree", "prune"], &clone)?;
            let place = theirs.display().to_string();
            let began = Instant::now();
            git(&["worktree", "add", "--quiet", "--detach", &place, commit.as_str()], &clone)?;
            Ok(began.elapsed().as_secs_f64())
        };
        // In turn, so that neither always finds what the other has left in memory.
        let (of_ours, of_git) = match round % 2 {
            0 => (check_out()?, worktree()?),
            _ => {
                let of_git = worktree()?;
                (check_out()?, of_git)
            }
        };
        if round > 0 {
            took.push(of_ours);
            took_git.push(of_git);
            ratios.push(of_ours / of_git);
            took_again.push(check_out()?);
        }
    }
    let ratio = median(ratios.clone());
    println!(
        "checkout of a changed commit, {mebibytes} MiB in {} files: {:.2} s; `git worktree add` {:.2} s; a commit that is \
         here {:.2} s (medians of {rounds}; ratios {ratios:.2?})",
        origin.files(),
        median(took),
        median(took_git),
        median(took_again)
    );
    Ok(mark(&format!("{ratio:.2} x `git worktree add`, at most 1.2"), ratio <= 1.2))
}

/// Nothing is there, and the disk has nothing left to do.
fn settle(tree: &std::path::Path) -> std::io::Result<()> {
    if tree.exists() {
        fs::remove_dir_all(tree)?;
    }
    rustix::fs::sync();
    Ok(())
}
