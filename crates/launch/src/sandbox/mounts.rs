//! The mounts of a sandbox: `bwrap(1)` goes through them in order, each over what was there before, and follows no links.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, FileType, access, fstat};
use rustix::io::dup;
use swifthook_core::Mount;

use super::reach::Reached;
use super::words::size;
use super::written::{Written, is_writable};
use crate::beneath::Beneath;

/// Mounts, as this process finds the files that they are of.
pub(super) struct Mounts {
    words: Vec<OsString>,
    /// Paths, and what lies at and below each: what the machine has at another one, or nothing of it. The last that fits counts.
    layers: Vec<(PathBuf, Option<PathBuf>)>,
    written: Written,
    /// Places that the run writes to, among what is mounted so far.
    bound: BTreeSet<PathBuf>,
    /// Places among the words at which file systems in memory are.
    in_memory: Vec<usize>,
    inherits: Inherits,
    /// Descriptors that the words name.
    open: Vec<OwnedFd>,
}

/// Open files that bubblewrap finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inherits {
    /// Those of this process, which becomes it.
    Descriptors,
    /// None: it is started elsewhere.
    #[cfg(any(feature = "slurm", test))]
    Nothing,
}

impl Mounts {
    /// # Errors
    ///
    /// If something is not there that the run needs.
    pub(super) fn of(mounts: &[Mount], inherits: Inherits) -> io::Result<Self> {
        let mut all = Self {
            words: Vec::new(),
            layers: vec![("/".into(), Some("/".into()))],
            written: Written::default(),
            bound: BTreeSet::new(),
            in_memory: Vec::new(),
            inherits,
            open: Vec::new(),
        };
        all.layers.extend(["/proc", "/dev", "/run"].map(|path| (path.into(), None)));
        all.written = Written::of(mounts);
        for file in NAMES {
            all.show_if_covered(Path::new(file));
        }
        all.fence(mounts);
        mounts.iter().try_for_each(|mount| all.add(mount))?;
        Ok(all)
    }

    /// Returns the number of file systems in memory.
    pub(super) fn in_memory(&self) -> u64 {
        self.in_memory.len() as u64
    }

    /// Gives each of them at most so many bytes.
    pub(super) fn sized(mut self, most: Option<u64>) -> Self {
        for at in self.in_memory.drain(..).rev() {
            self.words.splice(at..at, size(most));
        }
        self
    }

    pub(super) fn into_words(self) -> (Vec<OsString>, Vec<OwnedFd>) {
        (self.words, self.open)
    }

    fn add(&mut self, mount: &Mount) -> io::Result<()> {
        match mount {
            Mount::Empty(path) => self.empty(Path::new(path)),
            Mount::ReadOnly(path) => self.show(Path::new(path), "--ro-bind"),
            Mount::ReadOnlyBeneath { folder, path } => {
                return self.show_beneath(Path::new(folder), Path::new(path));
            }
            Mount::Cache(path) => self.cache(Path::new(path)),
            Mount::Writable { from, at } => return self.write(Path::new(from), Path::new(at)),
            Mount::Hidden(path) => self.hide(Path::new(path)),
        }
        Ok(())
    }

    fn empty(&mut self, path: &Path) {
        let Some(real) = self.real(path) else { return };
        if OF_THE_SYSTEM.iter().any(|folder| real == Path::new(folder)) || !real.is_dir() {
            return;
        }
        for place in self.places(&real, path) {
            self.cover("--tmpfs", place);
        }
    }

    /// Nothing that cannot be reached.
    fn show(&mut self, path: &Path, how: &str) {
        let real = match self.written.reach(path) {
            Ok(Reached::Real(real)) => real,
            Ok(Reached::Within(real)) => return self.lead(path, real),
            Err(_) => return,
        };
        // A folder may let others through that may not list it.
        let wanted = if real.is_dir() { Access::EXEC_OK } else { Access::READ_OK };
        if access(&real, wanted).is_err() {
            return;
        }
        for place in self.places(&real, path) {
            self.bind(how, &real, place);
        }
    }

    /// A place that runs write to is seen with the folder that it is in, and they may change where it leads until it is mounted.
    fn lead(&mut self, path: &Path, real: PathBuf) {
        if path != real && self.seen(path).is_none() {
            self.words.extend(["--symlink".into(), real.clone().into(), path.into()]);
            self.layers.push((path.to_owned(), Some(real)));
        }
    }

    /// Somebody may change what is beneath the folder until it is mounted: so it is held from now on.
    fn show_beneath(&mut self, folder: &Path, path: &Path) -> io::Result<()> {
        let Ok(real) = folder.canonicalize() else { return Ok(()) };
        let held = match Beneath::passage(&real).and_then(|beneath| beneath.hold(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            held => held?,
        };
        if FileType::from_raw_mode(fstat(&held)?.st_mode).is_symlink() {
            return Err(io::Error::other(format!(
                "`{}` is a symbolic link, and is not followed",
                path.display()
            )));
        }
        let source = real.join(path);
        for place in self.places(&source, &folder.join(path)) {
            match self.inherits {
                Inherits::Descriptors => {
                    // For good: it stays open when another program is executed.
                    let held = dup(&held)?;
                    let number = held.as_raw_fd().to_string();
                    self.words.extend(["--ro-bind-fd".into(), number.into(), place.clone().into()]);
                    self.open.push(held);
                    self.layers.push((place, Some(source.clone())));
                }
                #[cfg(any(feature = "slurm", test))]
                Inherits::Nothing => self.bind("--ro-bind", &source, place),
            }
        }
        Ok(())
    }

    fn cache(&mut self, path: &Path) {
        self.show(path, if is_writable(path) { "--bind" } else { "--ro-bind" });
    }

    fn write(&mut self, from: &Path, at: &Path) -> io::Result<()> {
        let told = |error| io::Error::other(format!("`{}` cannot be written to: {error}", from.display()));
        let real = match self.written.reach(from).map_err(told)? {
            Reached::Real(real) => real,
            Reached::Within(real) => {
                self.lead(at, real);
                return Ok(());
            }
        };
        access(&real, Access::WRITE_OK).map_err(|error| told(error.into()))?;
        let target =
            if from == at { real.clone() } else { at.canonicalize().unwrap_or_else(|_| at.to_owned()) };
        for place in self.places(&target, at) {
            self.bind("--bind", &real, place);
        }
        Ok(())
    }

    /// What a path leads to. In a folder that runs write to it leads no further than its own place: a link there may be of a
    /// run, which would have all later ones begin without what it leads to.
    fn real(&self, path: &Path) -> Option<PathBuf> {
        match self.written.reach(path).ok()? {
            Reached::Real(real) => Some(real),
            Reached::Within(place) => match place.canonicalize() {
                Ok(real) => Some(real).filter(|real| *real == place),
                // Whoever closed a folder opens it again: so it is covered as a whole.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => place
                    .ancestors()
                    .find(|at| at.canonicalize().is_ok_and(|real| real == *at))
                    .map(Path::to_owned),
                Err(_) => None,
            },
        }
    }

    /// Covers what a path leads to, wherever that is seen. A link is none to mount on, and leads to nothing then.
    fn hide(&mut self, path: &Path) {
        let Some(real) = self.real(path) else { return };
        let mut places = vec![real.clone()];
        places.extend((real != path).then(|| path.to_owned()));
        for place in places {
            if !self.seen(&place).is_some_and(|seen| seen.canonicalize().is_ok_and(|leads| leads == seen)) {
                continue;
            }
            self.pin(&place);
            match real.is_dir() {
                true => self.cover("--tmpfs", place),
                false => {
                    self.words.extend(["--ro-bind".into(), "/dev/null".into(), place.clone().into()]);
                    self.layers.push((place, None));
                }
            }
        }
    }

    /// Makes mounts of the folders between something to hide and what the run writes to: nobody moves a mount, and nothing
    /// is covered any more once the folder that it is in has another name.
    fn pin(&mut self, place: &Path) {
        let Some((top, Some(_))) = self.layers.iter().rev().find(|(layer, _)| place.starts_with(layer))
        else {
            return;
        };
        if !self.bound.contains(top) {
            return;
        }
        let top = top.clone();
        let mut between: Vec<_> = place.ancestors().skip(1).take_while(|folder| *folder != top).collect();
        while let Some(folder) = between.pop() {
            if let Some(from) = self.seen(folder) {
                self.bind("--bind", &from, folder.to_owned());
            }
        }
    }

    /// Shows folders with something to hide as they are now, without that. A mount over a file goes when the machine puts
    /// another in its place, as whoever rotates a secret does, and of a file that comes later there is none.
    fn fence(&mut self, mounts: &[Mount]) {
        let hidden = mounts.iter().filter_map(|mount| match mount {
            Mount::Hidden(path) => Some(PathBuf::from(path)),
            _ => None,
        });
        let mut folders: BTreeMap<PathBuf, Vec<OsString>> = BTreeMap::new();
        for path in hidden.flat_map(|path| [self.real(&path), Some(path)]).flatten() {
            let folder = path.parent().and_then(|folder| self.real(folder));
            if let (Some(folder), Some(name)) = (folder, path.file_name()) {
                folders.entry(folder).or_default().push(name.to_owned());
            }
        }
        for (folder, names) in folders {
            let is_other = NOT_FENCED.iter().any(|of| folder == Path::new(of))
                || self.seen(&folder).is_none()
                || mounts.iter().any(|mount| is_written_or_empty(mount, &folder));
            if !is_other && let Some(others) = others(&folder, &names) {
                self.fence_one(folder, others);
            }
        }
    }

    fn fence_one(&mut self, folder: PathBuf, others: Vec<PathBuf>) {
        self.cover("--tmpfs", folder);
        for other in others {
            match fs::read_link(&other) {
                Ok(target) => {
                    self.words.extend(["--symlink".into(), target.into(), other.clone().into()]);
                    self.layers.push((other.clone(), Some(other)));
                }
                Err(_) => self.show(&other, "--ro-bind"),
            }
        }
    }

    /// Files of names and times, which are links into what is covered on some machines.
    fn show_if_covered(&mut self, path: &Path) {
        let Ok(real) = path.canonicalize() else { return };
        if self.seen(&real).is_none() && real.is_file() {
            self.bind("--ro-bind", &real, real.clone());
        }
    }

    fn cover(&mut self, how: &str, place: PathBuf) {
        self.in_memory.push(self.words.len());
        self.words.extend([how.into(), place.clone().into()]);
        self.layers.push((place, None));
    }

    fn bind(&mut self, how: &str, from: &Path, place: PathBuf) {
        self.words.extend([how.into(), from.into(), place.clone().into()]);
        match how {
            "--bind" => self.bound.insert(place.clone()),
            _ => self.bound.remove(&place),
        };
        self.layers.push((place, Some(from.to_owned())));
    }

    /// The places at which something is to be mounted: its own path, and one that leads there by a link which is not seen.
    fn places(&self, real: &Path, path: &Path) -> Vec<PathBuf> {
        let at_both = real != path && self.seen(path).is_none();
        [real.to_owned()].into_iter().chain(at_both.then(|| path.to_owned())).collect()
    }

    /// The path of the machine that is seen at a path, unless nothing is.
    fn seen(&self, path: &Path) -> Option<PathBuf> {
        let (place, from) = self.layers.iter().rev().find(|(place, _)| path.starts_with(place))?;
        let rest = path.strip_prefix(place).ok()?;
        let from = from.as_ref()?;
        Some(if rest.as_os_str().is_empty() { from.clone() } else { from.join(rest) })
    }
}

/// Tells whether the run writes to `folder`, or does not see it at all.
fn is_written_or_empty(mount: &Mount, folder: &Path) -> bool {
    let (Mount::Empty(path) | Mount::Cache(path) | Mount::Writable { at: path, .. }) = mount else {
        return false;
    };
    Path::new(path).canonicalize().is_ok_and(|path| folder.starts_with(path))
}

/// The rest of a folder; `None` if that is too much to mount one by one, or cannot be told.
fn others(folder: &Path, hidden: &[OsString]) -> Option<Vec<PathBuf>> {
    let entries: Vec<_> = fs::read_dir(folder).ok()?.take(MOST_ENTRIES + 1).collect::<Result<_, _>>().ok()?;
    if entries.len() > MOST_ENTRIES {
        return None;
    }
    let is_shown =
        |kind: fs::FileType| kind.is_dir() || kind.is_file() || kind.is_symlink() || kind.is_socket();
    let others = entries.into_iter().filter(|entry| !hidden.contains(&entry.file_name()));
    Some(others.filter(|entry| entry.file_type().is_ok_and(is_shown)).map(|entry| entry.path()).collect())
}

const NAMES: [&str; 3] = ["/etc/resolv.conf", "/etc/hosts", "/etc/localtime"];
const OF_THE_SYSTEM: [&str; 15] = [
    "/", "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/opt", "/proc", "/run", "/sbin", "/srv", "/sys",
    "/usr", "/var",
];
/// Folders that are mounts of each sandbox, or that nothing can cover.
const NOT_FENCED: [&str; 7] = ["/", "/dev", "/proc", "/run", "/sys", "/tmp", "/var/tmp"];
pub(super) const FOR_ALL: [&str; 2] = ["/tmp", "/var/tmp"];
const MOST_ENTRIES: usize = 64;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder that is no part of a path of the system.
    fn world() -> tempfile::TempDir {
        tempfile::tempdir_in("/var/tmp").unwrap()
    }

    fn text(path: &Path) -> String {
        path.to_str().unwrap().to_owned()
    }

    fn words(mounts: &[Mount]) -> Vec<String> {
        let mounts = Mounts::of(mounts, Inherits::Nothing).unwrap_or_else(|error| panic!("{error}"));
        mounts.into_words().0.into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    /// The mounts on a path, in order.
    fn on(words: &[String], path: &Path) -> Vec<String> {
        let at = |number: &usize| words[*number] == text(path) && !words[number - 1].starts_with("--ro-bind");
        let told = (0..words.len()).filter(|number| *number > 0).filter(at);
        told.map(|number| words[number - 1].clone()).collect()
    }

    #[test]
    fn what_a_link_leads_to_is_covered_and_the_link_is_none_to_mount_on() {
        let (world, elsewhere) = (world(), world());
        let (link, target) = (world.path().join("secret"), elsewhere.path().join("rotated/secret"));
        fs::create_dir(elsewhere.path().join("rotated")).unwrap();
        fs::write(&target, "x").unwrap();
        symlink(&target, &link).unwrap();
        fs::create_dir(world.path().join("cache")).unwrap();
        let cached = world.path().join("cache/secret");
        symlink(&target, &cached).unwrap();
        let cache = Mount::Cache(text(&world.path().join("cache")));
        let words = words(&[cache, Mount::Hidden(text(&link)), Mount::Hidden(text(&cached))]);
        for link in [&link, &cached] {
            assert_eq!(on(&words, link), Vec::<String>::new(), "{words:?}");
        }
        // Its folder is shown without it, so that there is nothing to cover.
        assert_eq!(on(&words, target.parent().unwrap()), ["--tmpfs"], "{words:?}");
        assert_eq!(on(&words, &target), Vec::<String>::new(), "{words:?}");
    }

    #[test]
    fn a_link_that_a_run_has_left_in_a_cache_leads_to_nothing_that_is_covered() {
        let (world, elsewhere) = (world(), world());
        let (cache, target) = (world.path().join("cache"), elsewhere.path().join("needed"));
        fs::create_dir(&cache).unwrap();
        fs::create_dir(&target).unwrap();
        fs::write(target.join("credentials"), "x").unwrap();
        for (name, leads_to) in
            [("stored_tokens", Path::new("/")), ("token", &target), ("modelscope", &target)]
        {
            symlink(leads_to, cache.join(name)).unwrap();
        }
        fs::write(cache.join("private"), "x").unwrap();
        let hidden = ["stored_tokens", "token", "modelscope/credentials", "private"];
        let hidden = hidden.map(|name| Mount::Hidden(text(&cache.join(name))));
        let shown = Mount::Writable { from: text(&cache), at: text(&cache) };
        for shown in [shown, Mount::Cache(text(&cache))] {
            let mounts: Vec<_> = [shown].into_iter().chain(hidden.clone()).collect();
            let words = words(&mounts);
            for place in [Path::new("/"), &target, &target.join("credentials"), elsewhere.path()] {
                assert_eq!(on(&words, place), Vec::<String>::new(), "{}: {words:?}", place.display());
            }
            let covered = format!("--ro-bind /dev/null {}", cache.join("private").display());
            assert!(words.join(" ").contains(&covered), "{words:?}");
        }
    }

    #[test]
    fn a_folder_with_a_secret_is_shown_without_it_and_without_what_comes_later() {
        let world = world();
        for file in ["secret", "data"] {
            fs::write(world.path().join(file), "x").unwrap();
        }
        symlink("data", world.path().join("link")).unwrap();
        let hidden = ["secret", "not-yet"].map(|name| Mount::Hidden(text(&world.path().join(name))));
        let words = words(&hidden).join(" ");
        let at = |name: &str| world.path().join(name).display().to_string();
        assert!(words.contains(&format!("--tmpfs {}", world.path().display())), "{words}");
        assert!(words.contains(&format!("--ro-bind {0} {0}", at("data"))), "{words}");
        assert!(words.contains(&format!("--symlink data {}", at("link"))), "{words}");
        assert!(!words.contains("secret") && !words.contains("not-yet"), "{words}");
    }

    #[test]
    fn a_secret_within_a_cache_is_covered_after_the_cache_is_shown_and_a_folder_too() {
        let world = world();
        fs::create_dir_all(world.path().join("cache/credentials")).unwrap();
        fs::write(world.path().join("cache/token"), "x").unwrap();
        let at = |name: &str| text(&world.path().join(name));
        let words = words(&[
            Mount::Cache(at("cache")),
            Mount::Hidden(at("cache/token")),
            Mount::Hidden(at("cache/credentials")),
            Mount::Hidden(at("cache/absent")),
        ]);
        let told = [
            ["--bind", &at("cache"), &at("cache")].join(" "),
            ["--ro-bind", "/dev/null", &at("cache/token")].join(" "),
            ["--tmpfs", &at("cache/credentials")].join(" "),
        ];
        assert_eq!(words.join(" "), told.join(" "));
    }

    #[test]
    fn folders_between_a_cache_and_a_secret_in_it_are_mounts_which_nobody_moves() {
        let world = world();
        let at = |name: &str| text(&world.path().join(name));
        fs::create_dir_all(world.path().join("cache/a/b")).unwrap();
        for file in ["cache/a/token", "cache/a/b/secret"] {
            fs::write(at(file), "x").unwrap();
        }
        let words = words(&[
            Mount::Cache(at("cache")),
            Mount::Hidden(at("cache/a/token")),
            Mount::Hidden(at("cache/a/b/secret")),
        ]);
        let bound = |name: &str| ["--bind", &at(name), &at(name)].join(" ");
        let told = [
            bound("cache"),
            bound("cache/a"),
            ["--ro-bind", "/dev/null", &at("cache/a/token")].join(" "),
            bound("cache/a/b"),
            ["--ro-bind", "/dev/null", &at("cache/a/b/secret")].join(" "),
        ];
        assert_eq!(words.join(" "), told.join(" "));
    }

    #[test]
    fn what_a_covered_link_led_to_is_at_both_paths() {
        let (world, elsewhere) = (world(), world());
        symlink(elsewhere.path(), world.path().join("state")).unwrap();
        fs::create_dir(elsewhere.path().join("tree")).unwrap();
        let tree = world.path().join("state/tree");
        let write = Mount::Writable { from: text(&tree), at: text(&tree) };
        let real = elsewhere.path().join("tree");
        let hidden_home = words(&[Mount::Empty(text(world.path())), write.clone()]);
        assert_eq!(on(&hidden_home, &tree).len(), 1, "{hidden_home:?}");
        assert!(
            hidden_home.join(" ").contains(&format!("--bind {0} {0}", real.display())),
            "{hidden_home:?}"
        );
        assert_eq!(on(&words(&[write]), &tree).len(), 0, "the link is seen");
    }

    #[test]
    fn nothing_is_mounted_that_a_link_in_a_folder_of_runs_leads_to() {
        let (world, home) = (world(), world());
        let at = |name: &str| text(&world.path().join(name));
        fs::create_dir_all(at("hf")).unwrap();
        symlink(home.path(), at("hf/hub")).unwrap();
        symlink(at("hf"), at("alias")).unwrap();
        let mounts = [
            Mount::Empty(at("hf")),
            Mount::ReadOnly(at("hf/hub")),
            Mount::Cache(at("hf/hub")),
            Mount::Cache(at("hf/hub/made")),
            Mount::Cache(at("alias/hub")),
            Mount::Writable { from: at("hf"), at: at("hf") },
            Mount::Writable { from: at("hf/hub"), at: at("hf/hub") },
        ];
        for mounts in [mounts.to_vec(), mounts.iter().rev().cloned().collect()] {
            let words = words(&mounts).join(" ");
            assert!(!words.contains(&text(home.path())) && !words.contains(&at("hf/hub")), "{words}");
            assert!(words.contains(&format!("--bind {0} {0}", at("hf"))), "{words}");
        }
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "nothing is made there");
        // What a link outside led to is found where it is.
        let led = words(&[
            Mount::Empty(text(home.path())),
            Mount::Writable { from: at("hf"), at: at("hf") },
            Mount::Empty(text(world.path())),
        ]);
        assert!(!led.contains(&at("hf/hub")), "{led:?}");
    }

    #[test]
    fn a_link_of_home_into_a_folder_of_runs_is_one_in_the_sandbox_too() {
        let (world, home) = (world(), world());
        fs::create_dir_all(world.path().join("hf/hub")).unwrap();
        symlink(world.path().join("hf"), home.path().join("cache")).unwrap();
        let (hf, hub) = (text(&world.path().join("hf")), home.path().join("cache/hub"));
        let write = Mount::Writable { from: hf.clone(), at: hf.clone() };
        let words = words(&[Mount::Empty(text(home.path())), Mount::Cache(text(&hub)), write]).join(" ");
        assert!(words.contains(&format!("--symlink {hf}/hub {}", hub.display())), "{words}");
    }

    #[test]
    fn state_within_a_folder_of_runs_is_not_what_they_write_to() {
        let world = world();
        let at = |name: &str| text(&world.path().join(name));
        fs::create_dir_all(at("data/state/runs/1-1/tree")).unwrap();
        let tree = at("data/state/runs/1-1/tree");
        let words = words(&[
            Mount::Writable { from: at("data"), at: at("data") },
            Mount::Empty(at("data/state")),
            Mount::Writable { from: tree.clone(), at: tree.clone() },
        ]);
        assert!(words.join(" ").contains(&format!("--bind {tree} {tree}")), "{words:?}");
    }

    #[test]
    fn a_checkpoint_is_held_and_none_is_shown_that_a_link_leads_to() {
        let (world, outside) = (world(), world());
        fs::create_dir_all(world.path().join("1-1/output/c")).unwrap();
        fs::create_dir(outside.path().join("c")).unwrap();
        let shown = |path: &str| {
            let mount = Mount::ReadOnlyBeneath { folder: text(world.path()), path: path.to_owned() };
            Mounts::of(&[mount], Inherits::Descriptors)
        };
        let (words, open) =
            shown("1-1/output/c").map(Mounts::into_words).unwrap_or_else(|why| panic!("{why}"));
        let place = words.iter().position(|word| word == "--ro-bind-fd").unwrap();
        assert_eq!(words[place + 1].to_str().unwrap(), open[0].as_raw_fd().to_string());
        symlink(outside.path(), world.path().join("1-1/link")).unwrap();
        symlink(outside.path().join("c"), world.path().join("1-1/last")).unwrap();
        for linked in ["1-1/link/c", "1-1/last"] {
            assert!(
                shown(linked).err().is_some_and(|why| why.to_string().contains("not followed")),
                "{linked}"
            );
        }
        assert!(shown("1-1/absent").is_ok_and(|mounts| mounts.open.is_empty()));
    }

    #[test]
    fn what_the_run_needs_has_to_be_there_and_the_rest_need_not() {
        let absent = "/var/tmp/no-such-folder/x".to_owned();
        let others =
            [Mount::Empty(absent.clone()), Mount::ReadOnly(absent.clone()), Mount::Hidden(absent.clone())];
        assert_eq!(words(&others), Vec::<String>::new());
        assert_eq!(
            words(&[Mount::Empty("/".to_owned()), Mount::Empty("/usr".to_owned())]),
            Vec::<String>::new()
        );
        let error = Mounts::of(&[Mount::Writable { from: absent.clone(), at: absent }], Inherits::Nothing)
            .err()
            .unwrap();
        assert!(error.to_string().starts_with("`/var/tmp/no-such-folder/x` cannot be written to"), "{error}");
    }
}
