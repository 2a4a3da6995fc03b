//! The submodules of a working tree, where a recipe asks for them.

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use swifthook_core::text::printable;
use swifthook_core::{Checkout, CommitSha, WorkspaceError};

use super::mirror::Mirror;
use super::process::Records;
use super::submodule::Submodule;

/// Puts the submodules of `commit`, whose working tree is at `directory`, into their places, and theirs in turn.
pub(super) async fn check_out(
    mirrors: &Path,
    parent: &Mirror,
    commit: &CommitSha,
    with: &Checkout,
    directory: &Path,
) -> Result<(), WorkspaceError> {
    let mut found = 0;
    let mut waiting: VecDeque<(Submodule, PathBuf, usize)> = VecDeque::new();
    let mut add = |all: Vec<Submodule>, directory: &Path, depth: usize, waiting: &mut VecDeque<_>| {
        found += all.len();
        if found > MOST || (depth > DEEPEST && !all.is_empty()) {
            return Err(WorkspaceError::permanent(format!(
                "more than {MOST} submodules, or submodules in submodules deeper than {DEEPEST}"
            )));
        }
        waiting.extend(all.into_iter().map(|one| (one, directory.to_owned(), depth)));
        Ok(())
    };
    add(parent.submodules(commit, with).await?, directory, 1, &mut waiting)?;
    while let Some((submodule, above, depth)) = waiting.pop_front() {
        let Submodule { path, commit, remote, mirror } = submodule;
        let commit = CommitSha::parse(&commit)
            .ok()
            .flatten()
            .ok_or_else(|| WorkspaceError::permanent(format!("`{path}` is no commit of a submodule")))?;
        let directory = place(&above, &path)?;
        let mirror = Mirror::of_submodule(mirrors.join(mirror), remote);
        let next = match one(&mirror, &commit, with, &directory).await {
            Err(error) => {
                mirror.mend(error).await?;
                one(&mirror, &commit, with, &directory).await?
            }
            Ok(next) => next,
        };
        add(next, &directory, depth + 1, &mut waiting)?;
    }
    Ok(())
}

/// Checks one submodule out, and says which it has itself.
async fn one(
    mirror: &Mirror,
    commit: &CommitSha,
    with: &Checkout,
    directory: &Path,
) -> Result<Vec<Submodule>, WorkspaceError> {
    let _use = mirror.in_use().await?;
    mirror.ensure(None, commit).await?;
    mirror.fetch_files(commit).await?;
    mirror.add_tree(directory, commit).await?;
    if with.lfs {
        mirror.pull_lfs(directory).await?;
    }
    mirror.submodules(commit, with).await
}

/// The place of a submodule in a tree: what git has made there is a folder, and no way to it is a link. Git makes no
/// other, and what lies beyond one is not ours to write.
fn place(tree: &Path, path: &str) -> Result<PathBuf, WorkspaceError> {
    let directory = tree.join(path);
    let real = |path: &Path| {
        path.canonicalize()
            .map_err(|error| WorkspaceError::passing("cannot find the place of a submodule").because(error))
    };
    if real(&directory)? != real(tree)?.join(path) {
        return Err(WorkspaceError::permanent(format!(
            "the place of the submodule `{path}` is not in its tree"
        )));
    }
    Ok(directory)
}

impl Mirror {
    /// The submodules of a commit that is here, each of which may be fetched.
    async fn submodules(
        &self,
        commit: &CommitSha,
        with: &Checkout,
    ) -> Result<Vec<Submodule>, WorkspaceError> {
        let links = self.links(commit).await?;
        if links.is_empty() || with.submodules.is_empty() {
            return Ok(Vec::new());
        }
        let addresses = self.addresses(commit).await?;
        let of = |(path, head): &(String, String)| {
            let url = addresses.get(path).ok_or_else(|| {
                let path = printable(path);
                WorkspaceError::permanent(format!("the submodule at `{path}` has no address in .gitmodules"))
            })?;
            Submodule::new(&self.remote, (path, head), url, &with.submodules)
        };
        links.iter().map(of).collect()
    }

    /// Path and commit of each submodule.
    async fn links(&self, commit: &CommitSha) -> Result<Vec<(String, String)>, WorkspaceError> {
        let link = |entry: &[u8]| {
            // Not a text: nothing that git would have put there is meant by it.
            let entry = std::str::from_utf8(entry).ok()?;
            let (facts, path) = entry.split_once('\t')?;
            Some((path.to_owned(), facts.split(' ').nth(2)?.to_owned()))
        };
        let mut links = Vec::new();
        let mut take = |entry: &[u8]| {
            links.extend(entry.starts_with(b"160000 ").then(|| link(entry)).flatten());
            // One more than there may be is enough to refuse them.
            if links.len() > MOST { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        self.git("look for submodules")
            .args(["ls-tree", "-r", "-z", "--full-tree", "--end-of-options", commit.as_str()])
            .read_by(&mut Records::new(0, &mut take))
            .await?;
        Ok(links)
    }

    /// The address of each path, by `.gitmodules`.
    async fn addresses(&self, commit: &CommitSha) -> Result<HashMap<String, String>, WorkspaceError> {
        // It has to be a regular file: git follows no link there either.
        self.read_file(commit, ".gitmodules", MOST_BYTES).await?;
        let listed = self
            .git("read .gitmodules")
            .args(["config", "--null", "--list", "--no-includes"])
            .arg(format!("--blob={commit}:.gitmodules"))
            .writing_at_most(MOST_BYTES * 2)
            .output()
            .await
            .map_err(|failure| WorkspaceError::permanent(failure.to_string()))?;
        Ok(parse(&String::from_utf8_lossy(&listed)))
    }
}

/// `submodule.<name>.<key>\n<value>\0`, again and again; of a key that comes twice the last counts.
fn parse(listed: &str) -> HashMap<String, String> {
    let mut by_name: HashMap<&str, [Option<&str>; 2]> = HashMap::new();
    for (key, value) in listed.split('\0').filter_map(|entry| entry.split_once('\n')) {
        let Some((name, key)) = key.strip_prefix("submodule.").and_then(|key| key.rsplit_once('.')) else {
            continue;
        };
        let which = match key {
            "path" => 0,
            "url" => 1,
            _ => continue,
        };
        by_name.entry(name).or_default()[which] = Some(value);
    }
    let whole = |told: &[Option<&str>; 2]| Some((told[0]?.to_owned(), told[1]?.to_owned()));
    by_name.values().filter_map(whole).collect()
}

const MOST_BYTES: usize = 256 << 10;
const MOST: usize = 200;
const DEEPEST: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_path_and_url_are_read() {
        let listed = "submodule.a.b.path\nvendor/a\0submodule.a.b.url\n../a.git\0submodule.a.b.update\n!touch pwned\0\
                      submodule.c.path\nc\0core.fsmonitor\nx\0alias\0";
        let expected = HashMap::from([("vendor/a".to_owned(), "../a.git".to_owned())]);
        assert_eq!(parse(listed), expected);
    }

    #[test]
    fn a_place_behind_a_link_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, outside) = (dir.path().join("tree"), dir.path().join("outside"));
        std::fs::create_dir_all(tree.join("vendor/sub")).unwrap();
        std::fs::create_dir_all(outside.join("sub")).unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("link")).unwrap();
        assert_eq!(place(&tree, "vendor/sub").unwrap(), tree.join("vendor/sub"));
        assert!(place(&tree, "link/sub").is_err());
        assert!(place(&tree, "../outside/sub").is_err());
    }
}
