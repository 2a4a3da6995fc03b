use std::collections::BTreeMap;
use std::time::Duration;

use swifthook_core::{CommitSha, RefName, WorkspaceError};

use super::mirror::Mirror;

impl Mirror {
    /// The commits that the branches and tags of the remote are at, by one call that fetches nothing.
    pub(super) async fn tips(&self) -> Result<BTreeMap<RefName, CommitSha>, WorkspaceError> {
        // Asked from nowhere, so that it needs no mirror, and none that is damaged is in its way.
        let nowhere = self.path.with_extension("none");
        let told = self
            .remote_git_in("ask for the branches and tags", &nowhere)?
            .args(["ls-remote", "--quiet", "--heads", "--tags"])
            .trusting(&self.remote)
            .args(["--end-of-options", "origin"])
            .writing_at_most(MOST_TOLD)
            .taking_at_most(PATIENCE)
            .output()
            .await?;
        Ok(parse(&told))
    }

    /// The message of a commit that is here.
    pub(super) async fn message(&self, commit: &CommitSha) -> Result<String, WorkspaceError> {
        let told = self
            .git("read a message")
            .args(["cat-file", "commit", commit.as_str()])
            .writing_at_most(MOST_MESSAGE)
            .output()
            .await?;
        let text = String::from_utf8_lossy(&told);
        // Its headers end with the first empty line.
        Ok(text.split_once("\n\n").map(|(_, message)| message.to_owned()).unwrap_or_default())
    }
}

/// `<object>\t<ref>`, and of an annotated tag `<commit>\t<ref>^{}` after it. What is neither a branch nor a tag, or no
/// UTF-8, is nothing that a recipe could name.
fn parse(told: &[u8]) -> BTreeMap<RefName, CommitSha> {
    let lines = told.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    let mut tips = BTreeMap::new();
    for (object, name) in lines.filter_map(|line| line.split_once('\t')) {
        let name = name.strip_suffix("^{}").unwrap_or(name);
        if let (Ok(Some(commit)), Ok(name)) = (CommitSha::parse(object), RefName::parse(name)) {
            tips.insert(name, commit);
        }
    }
    tips
}

/// Hundreds of thousands of branches.
const MOST_TOLD: usize = 64 << 20;
/// Git itself takes more, and nobody reads it.
const MOST_MESSAGE: usize = 16 << 20;
/// Somebody else waits for the place.
const PATIENCE: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_annotated_tag_is_at_its_commit_and_what_is_no_ref_is_left_out() {
        let (a, b, c) = ("a".repeat(40), "b".repeat(40), "c".repeat(64));
        let told = format!(
            "{a}\trefs/heads/main\n{a}\trefs/tags/v1\n{b}\trefs/tags/v1^{{}}\n{c}\trefs/heads/x\ty\n\
             {a}\trefs/pull/1/head\n{a}\tHEAD\nwarning: odd\n{}\trefs/heads/none\n",
            "0".repeat(40)
        );
        let mut told = told.into_bytes();
        told.extend_from_slice(format!("{a}\trefs/heads/\u{e9}\n{a}\trefs/heads/").as_bytes());
        told.extend_from_slice(b"\xff\n");
        let tips = parse(&told);
        let tips: Vec<_> = tips.iter().map(|(name, tip)| format!("{name} {}", &tip.as_str()[..1])).collect();
        assert_eq!(tips, ["refs/heads/main a", "refs/heads/x\ty c", "refs/heads/\u{e9} a", "refs/tags/v1 b"]);
    }
}
