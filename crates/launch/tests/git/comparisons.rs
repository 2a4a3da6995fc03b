//! What a push is compared with that has no commit before it, or none that the server still has.

use async_trait::async_trait;
use swifthook_core::{
    ChangeSet, CommitSha, Comparison, Gap, KnownHeads, PathChange, RefName, Workspace, WorkspaceError,
};
use swifthook_launch::History;

use crate::world::World;

#[tokio::test]
async fn a_tag_is_compared_with_the_newest_earlier_one_that_is_its_ancestor() {
    for history in [History::Full, History::Blobless, History::Shallow] {
        let world = World::with(history);
        let tagged = |tag: &str, file: &str| {
            world.write(file, tag);
            let commit = world.commit();
            world.git(&["tag", tag]);
            commit
        };
        tagged("v1", "a.yaml");
        world.write("b.yaml", "1");
        world.commit();
        world.git(&["tag", "-a", "-m", ".", "v2"]);
        tagged("nightly-3", "c.yaml");
        let third = tagged("v3", "d.yaml");
        // One more of the same commit is neither earlier nor later, or each of the two would be nothing new.
        world.git(&["tag", "v3-again"]);
        world.git(&["checkout", "-q", "-b", "side", "v1"]);
        let side = tagged("v4", "side.yaml");
        world.git(&["checkout", "-q", "main"]);

        let changed = world.tag("v3", &third, |tag| tag.starts_with('v')).await;
        assert_eq!(changed, ["c.yaml", "d.yaml"], "{history:?}: with v2, an annotated one");
        let changed = world.tag("v3", &third, |_| true).await;
        assert_eq!(changed, ["d.yaml"], "{history:?}: with nightly-3");
        let changed = world.tag("v4", &side, |tag| tag.starts_with('v')).await;
        assert_eq!(changed, ["side.yaml"], "{history:?}: v2 and v3 are no ancestors");
        let everything = world.tag("v3", &third, |_| false).await;
        assert_eq!(everything, ["a.yaml", "b.yaml", "c.yaml", "d.yaml"], "{history:?}: it is the first");
        let first = CommitSha::parse(&world.git(&["rev-parse", "v1"])).unwrap().unwrap();
        assert_eq!(world.tag("v1", &first, |_| true).await, ["a.yaml"], "{history:?}");
    }
}

#[tokio::test]
async fn a_tag_on_a_merge_is_compared_with_the_later_of_its_ancestors() {
    let world = World::new();
    world.write("a", "1");
    let base = world.commit();
    world.git(&["tag", "v1"]);
    world.git(&["checkout", "-q", "-b", "side"]);
    world.write("side", "1");
    world.commit();
    world.git(&["tag", "v1.1"]);
    world.git(&["checkout", "-q", "main"]);
    world.write("main", "1");
    world.commit();
    world.git(&["merge", "-q", "--no-ff", "-m", ".", "side"]);
    assert_eq!(world.tag("v2", &world.head(), |_| true).await, ["main"]);
    assert_ne!(world.head(), base);
}

#[tokio::test]
async fn a_tag_that_was_moved_is_compared_with_where_it_was() {
    let world = World::new();
    world.write("a", "1");
    let before = world.commit();
    world.write("b", "1");
    let head = world.commit();
    world.git(&["tag", "v1"]);
    let tag = RefName::Tag("v1".into());
    let asked = Comparison::new(&world.name, &tag, Some(&before), &head);
    assert_eq!(world.compare(&asked).await, ["b"]);
}

#[tokio::test]
async fn where_head_names_no_branch_the_default_branch_of_the_payload_counts_and_else_nothing() {
    for history in [History::Full, History::Shallow] {
        let world = World::with(history);
        world.write("a", "1");
        world.commit();
        world.git(&["checkout", "-q", "-b", "feature"]);
        world.write("b", "1");
        let head = world.commit();
        world.git(&["symbolic-ref", "HEAD", "refs/heads/not-there"]);
        let feature = RefName::Branch("feature".into());
        let asked = Comparison::new(&world.name, &feature, None, &head);
        let by = |default_branch| Comparison { default_branch, ..asked };
        assert_eq!(world.compare(&by(Some("main"))).await, ["b"], "{history:?}");
        for nowhere in [None, Some("gone"), Some("mai?"), Some("*"), Some("--upload-pack=x")] {
            assert_eq!(world.compare(&by(nowhere)).await, ["a", "b"], "{history:?}: {nowhere:?}");
        }
        assert_eq!(world.compare(&by(Some("feature"))).await, ["a", "b"], "{history:?}: it is that");
        let known = Known(vec![world.commit_of("main")]);
        assert_eq!(world.compare(&Comparison { known: &known, ..by(None) }).await, ["b"]);
    }
}

#[tokio::test]
async fn a_default_branch_that_was_renamed_has_changed_nothing() {
    let world = World::new();
    world.write("a.yaml", "1");
    let first = world.commit();
    world.write("b.yaml", "1");
    let head = world.commit();
    world.git(&["branch", "-m", "main", "trunk"]);
    let trunk = RefName::Branch("trunk".into());
    let asked = Comparison::new(&world.name, &trunk, None, &head);
    for (known, changed) in [
        (vec![first.clone(), head.clone()], &[][..]),
        (vec![head.clone()], &[]),
        (vec![first], &["b.yaml"]),
        (vec![unknown()], &["a.yaml", "b.yaml"]),
        (vec![], &["a.yaml", "b.yaml"]),
    ] {
        let known = Known(known);
        let told = world.compare(&Comparison { known: &known, ..asked }).await;
        assert_eq!(told, changed, "{known:?}");
    }
}

#[tokio::test]
async fn a_branch_that_was_cut_from_a_commit_that_is_known_has_changed_nothing() {
    let world = World::new();
    world.write("a", "1");
    world.commit();
    world.git(&["checkout", "-q", "-b", "feature"]);
    world.write("b", "1");
    let head = world.commit();
    world.git(&["checkout", "-q", "main"]);
    let other = RefName::Branch("other".into());
    world.git(&["branch", "other", head.as_str()]);
    let asked = Comparison::new(&world.name, &other, None, &head);
    assert_eq!(world.compare(&asked).await, ["b"]);
    let known = Known(vec![head.clone()]);
    assert!(world.compare(&Comparison { known: &known, ..asked }).await.is_empty());
}

#[tokio::test]
async fn a_forced_push_of_the_default_branch_whose_past_is_gone_is_compared_with_what_is_known() {
    let world = World::new();
    world.write("a.yaml", "1");
    let base = world.commit();
    world.write("old.yaml", "1");
    let gone = world.commit();
    world.git(&["reset", "-q", "--hard", base.as_str()]);
    world.write("new.yaml", "1");
    let head = world.commit();
    world.forget();
    let main = RefName::Branch("main".into());
    let known = Known(vec![gone.clone(), base.clone()]);
    let asked = Comparison { known: &known, ..Comparison::new(&world.name, &main, Some(&gone), &head) };
    assert_eq!(world.compare(&asked).await, ["new.yaml"]);
    let back = Comparison { head: &base, ..asked };
    assert!(world.compare(&back).await.is_empty(), "it was there before");
}

#[tokio::test]
async fn what_cannot_be_looked_up_is_asked_again_and_nothing_made_of_it() {
    struct Down;
    #[async_trait]
    impl KnownHeads for Down {
        async fn commits(&self) -> Result<Vec<CommitSha>, WorkspaceError> {
            Err(WorkspaceError::passing("the store does not answer"))
        }
    }
    let world = World::new();
    world.write("a", "1");
    let head = world.commit();
    let main = RefName::Branch("main".into());
    let asked = Comparison { known: &Down, ..Comparison::new(&world.name, &main, None, &head) };
    let error = world.workspace().compare(&asked).await.unwrap_err();
    assert_eq!(error.to_string(), "the store does not answer");
    // Where the commit before is there nobody asks.
    assert!(world.compare(&Comparison { before: Some(&head), ..asked }).await.is_empty());
}

#[tokio::test]
async fn of_more_files_than_are_looked_at_those_that_are_wanted_are_found() {
    let world = World::new();
    let before = world.commit();
    for n in 0..40 {
        world.write(&format!("data/{n}"), "1");
    }
    world.write("configs/a.yaml", "1");
    let head = world.commit();
    let main = RefName::Branch("main".into());
    let is_wanted = |path: &[u8]| path.starts_with(b"configs/");
    let asked = Comparison::new(&world.name, &main, Some(&before), &head);
    let asked = Comparison { wanted: Some(&is_wanted), ..asked };
    assert_eq!(world.compare(&asked).await, ["configs/a.yaml"]);
}

#[tokio::test]
async fn a_name_that_is_no_text_keeps_its_bytes() {
    use std::os::unix::ffi::OsStrExt;

    let world = World::new();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9.yaml");
    std::fs::write(world.origin().join(name), "1").unwrap();
    let head = world.commit();
    let main = RefName::Branch("main".into());
    let changes = world.workspace().compare(&Comparison::new(&world.name, &main, None, &head)).await.unwrap();
    assert!(changes.paths().raw().eq([(&b"caf\xe9.yaml"[..], PathChange::Present)]));
    assert_eq!(world.compare(&Comparison::new(&world.name, &main, None, &head)).await, [r#""caf\351.yaml""#]);
}

impl World {
    /// The names of the files that the push of a tag changed.
    async fn tag(&self, tag: &str, head: &CommitSha, counts: fn(&str) -> bool) -> Vec<String> {
        let tag = RefName::Tag(tag.into());
        self.compare(&Comparison { counts: &counts, ..Comparison::new(&self.name, &tag, None, head) }).await
    }

    async fn compare(&self, asked: &Comparison<'_>) -> Vec<String> {
        let changes = self.workspace().compare(asked).await.unwrap_or_else(|error| panic!("{error:?}"));
        assert_ne!(changes.gap(), Some(Gap::Truncated));
        let ChangeSet::Complete(paths) = changes else { panic!("{changes:?}") };
        paths
            .iter()
            .filter(|(_, change)| *change == PathChange::Present)
            .map(|(path, _)| path.to_owned())
            .collect()
    }

    fn commit_of(&self, name: &str) -> CommitSha {
        CommitSha::parse(&self.git(&["rev-parse", name])).unwrap().unwrap()
    }
}

#[derive(Debug)]
struct Known(Vec<CommitSha>);

#[async_trait]
impl KnownHeads for Known {
    async fn commits(&self) -> Result<Vec<CommitSha>, WorkspaceError> {
        Ok(self.0.clone())
    }
}

fn unknown() -> CommitSha {
    CommitSha::parse(&"a".repeat(40)).unwrap().unwrap()
}
