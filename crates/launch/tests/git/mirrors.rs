//! What becomes of mirrors.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use swifthook_core::{CommitSha, Problem};

use crate::world::World;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::test]
async fn what_a_killed_git_left_in_the_mirror_is_no_hindrance() {
    let world = World::new();
    world.write("a.txt", "1");
    let first = world.commit();
    world.checkout("main", &first).await.unwrap();
    let second = world.commit();
    let mirror = world.mirror();
    let left = [
        format!("refs/swifthook/{second}.lock"),
        "HEAD.lock".to_owned(),
        "config.lock".to_owned(),
        "packed-refs.lock".to_owned(),
        "shallow.lock".to_owned(),
        "objects/pack/tmp_pack_abcdef".to_owned(),
        "gc.pid".to_owned(),
    ];
    for name in &left {
        fs::write(mirror.join(name), "").unwrap();
    }
    world.checkout("main", &second).await.unwrap();
    for name in &left {
        assert!(!mirror.join(name).exists(), "{name} is still there");
    }
}

#[tokio::test]
async fn a_fetch_that_fails_leaves_nothing_that_fills_the_disk() {
    let world = World::new();
    world.write("a.txt", "1");
    let first = world.commit();
    world.checkout("main", &first).await.unwrap();
    let second = world.commit();
    fs::write(world.mirror().join("objects/pack/tmp_pack_abcdef"), "half of it").unwrap();
    fs::rename(world.origin(), world.dir.path().join("elsewhere")).unwrap();
    assert!(!world.checkout("main", &second).await.unwrap_err().is_permanent());
    assert!(!world.mirror().join("objects/pack/tmp_pack_abcdef").exists());
}

type Damage = fn(&Path, &CommitSha);

/// Each way to break a mirror, with a name.
fn breakages() -> Vec<(&'static str, Damage)> {
    fn objects(mirror: &Path) -> Vec<PathBuf> {
        let fans = fs::read_dir(mirror.join("objects")).unwrap().flatten();
        let fans = fans.filter(|fan| fan.file_name().len() == 2);
        let mut all: Vec<_> =
            fans.flat_map(|fan| fs::read_dir(fan.path()).unwrap().flatten()).map(|o| o.path()).collect();
        all.sort();
        all
    }
    vec![
        ("empty objects", |mirror, _| {
            for object in objects(mirror) {
                fs::remove_file(&object).unwrap();
                fs::write(&object, "").unwrap();
            }
        }),
        ("no objects", |mirror, _| {
            fs::remove_dir_all(mirror.join("objects")).unwrap();
            fs::create_dir_all(mirror.join("objects/pack")).unwrap();
        }),
        ("garbage in objects", |mirror, _| {
            for object in objects(mirror) {
                fs::remove_file(&object).unwrap();
                fs::write(&object, "garbage").unwrap();
            }
        }),
        ("no HEAD", |mirror, _| drop(fs::remove_file(mirror.join("HEAD")))),
        ("garbage in config", |mirror, _| fs::write(mirror.join("config"), "[core\n???").unwrap()),
        ("an empty ref", |mirror, commit| {
            fs::write(mirror.join(format!("refs/swifthook/{commit}")), "").unwrap()
        }),
        ("another's objects", |mirror, commit| {
            let (a, b) = commit.as_str().split_at(2);
            let own = mirror.join("objects").join(a).join(b);
            let other = objects(mirror).into_iter().find(|object| *object != own).unwrap();
            fs::remove_file(&own).unwrap();
            fs::copy(other, own).unwrap();
        }),
    ]
}

#[tokio::test]
async fn a_damaged_mirror_is_found_and_made_anew() {
    for (how, damage) in breakages() {
        let world = World::new();
        world.write("a.txt", "1");
        let first = world.commit();
        world.checkout("main", &first).await.unwrap();
        damage(&world.mirror(), &first);
        let tree = world.checkout("main", &first).await.unwrap_or_else(|error| panic!("{how}: {error}"));
        assert_eq!(fs::read_to_string(tree.join("a.txt")).unwrap(), "1", "{how}");
        damage(&world.mirror(), &first);
        world.write("a.txt", "2");
        let second = world.commit();
        let changed = world.diff("main", Some(&first), &second).await;
        assert_eq!(changed.len(), 1, "{how}");
        let tree = world.checkout("main", &second).await.unwrap_or_else(|error| panic!("{how}: {error}"));
        assert_eq!(fs::read_to_string(tree.join("a.txt")).unwrap(), "2", "{how}");
    }
}

#[tokio::test]
async fn a_repository_that_is_damaged_itself_costs_no_sound_mirror() {
    let world = World::new();
    world.write("a.txt", "1");
    let first = world.commit();
    world.checkout("main", &first).await.unwrap();
    world.write("a.txt", "2");
    let second = world.commit();
    let object = format!(".git/objects/{}/{}", &second.as_str()[..2], &second.as_str()[2..]);
    let whole = fs::read(world.origin().join(&object)).unwrap();
    fs::remove_file(world.origin().join(&object)).unwrap();
    fs::write(world.origin().join(&object), "").unwrap();
    fs::write(world.mirror().join("mine"), "").unwrap();
    let error = world.checkout("main", &second).await.unwrap_err();
    assert!(world.mirror().join("mine").exists(), "it was made anew for {error}");
    fs::write(world.origin().join(&object), whole).unwrap();
    world.checkout("main", &second).await.unwrap();
}

#[tokio::test]
async fn commits_that_nobody_has_wanted_for_long_are_forgotten_but_for_some_and_those_of_trees() {
    let world = World::new();
    let workspace = world.workspace();
    let mut commits = Vec::new();
    for number in 0..40 {
        world.write("a.txt", &number.to_string());
        let commit = world.commit();
        if number == 0 {
            world.checkout("main", &commit).await.unwrap();
        } else {
            world.diff("main", Some(&commit), &commit).await;
        }
        let age = DAY * (100 - number);
        let file =
            fs::OpenOptions::new().append(true).open(world.mirror().join(format!("refs/swifthook/{commit}")));
        file.unwrap().set_modified(SystemTime::now() - age).unwrap();
        commits.push(commit);
    }
    let tidied = workspace.tidy(SystemTime::now()).await;
    assert_eq!((tidied.forgotten, tidied.packed), (7, 1), "40, of which 32 and that of the tree are kept");
    assert!(world.mirror().join(format!("refs/swifthook/{}", commits[0])).exists());
    let tree = world.tree();
    let status = std::process::Command::new("git").current_dir(&tree).args(["log", "-p"]).output().unwrap();
    assert!(status.status.success(), "{status:?}");
    assert_eq!(workspace.tidy(SystemTime::now()).await, Default::default());
    fs::remove_dir_all(&tree).unwrap();
    assert_eq!(workspace.tidy(SystemTime::now()).await.forgotten, 1);
    // What was forgotten is fetched again when it is wanted again.
    world.checkout("main", &commits[3]).await.unwrap();
    assert_eq!(fs::read_to_string(tree.join("a.txt")).unwrap(), "3");
}

#[tokio::test]
async fn a_mirror_that_nothing_names_goes_when_it_was_not_used_for_long() {
    let world = World::new();
    let commit = world.commit();
    world.checkout("main", &commit).await.unwrap();
    let others = swifthook_launch::GitWorkspace::new(world.dir.path().join("state"), []).unwrap();
    let now = SystemTime::now();
    assert_eq!(others.tidy(now).await.removed, 0, "it was used a moment ago");
    assert_eq!(world.workspace().tidy(now + DAY * 99).await.removed, 0, "it is named");
    assert_eq!(others.tidy(now + DAY * 99).await.removed, 0, "a tree needs it");
    fs::remove_dir_all(world.tree()).unwrap();
    assert_eq!(others.tidy(now + DAY * 99).await.removed, 1);
    assert!(!world.mirror().exists());
    world.checkout("main", &commit).await.unwrap();
}

#[tokio::test]
async fn many_small_fetches_are_packed() {
    let world = World::new();
    let mut commit = world.commit();
    for number in 0..8 {
        for file in 0..64 {
            world.write(&format!("{file}.txt"), &format!("{number} {file}"));
        }
        commit = world.commit();
        world.checkout("main", &commit).await.unwrap();
    }
    // As if there were many more: what counts is one of 256 folders.
    for number in 0..30 {
        let folder = world.mirror().join("objects/17");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{number:038}")), "").unwrap();
    }
    assert_eq!(world.workspace().tidy(SystemTime::now()).await.packed, 1);
    let packs = fs::read_dir(world.mirror().join("objects/pack")).unwrap().flatten();
    assert_eq!(packs.filter(|pack| pack.path().extension().is_some_and(|end| end == "pack")).count(), 1);
    world.checkout("main", &commit).await.unwrap();
}
