//! The mounts of a sandbox: `bwrap(1)` goes through them in order, each over what was there before, and follows no links.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use swifthook_core::Mount;

use super::words::size;

/// Mounts, as this process finds the files that they are of.
pub(super) struct Mounts {
    words: Vec<OsString>,
    /// Paths, and what lies at and below each: what the machine has at another one, or nothing of it. The last that fits counts.
    layers: Vec<(PathBuf, Option<PathBuf>)>,
    /// Places that the run writes to.
    written: BTreeSet<PathBuf>,
    /// Where in the words file systems in memory are.
    in_memory: Vec<usize>,
}

impl Mounts {
    /// # Errors
    ///
    /// When something is not there that the run needs.
    pub(super) fn of(mounts: &[Mount]) -> io::Result<Self> {
        let layers = vec![("/".into(), Some("/".into()))];
        let mut all = Self { words: Vec::new(), layers, written: BTreeSet::new(), in_memory: Vec::new() };
        all.layers.extend(["/proc", "/dev", "/run"].map(|path| (path.into(), None)));
        for cache in mounts.iter().filter_map(cache) {
            // Its mount says what came of it.
            let _ = fs::create_dir_all(cache);
        }
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

    pub(super) fn into_words(self) -> Vec<OsString> {
        self.words
    }

    fn add(&mut self, mount: &Mount) -> io::Result<()> {
        match mount {
            Mount::Empty(path) => self.empty(Path::new(path)),
            Mount::ReadOnly(path) => self.show(Path::new(path), "--ro-bind"),
            Mount::Cache(path) => self.cache(Path::new(path)),
            Mount::Writable { from, at } => return self.write(Path::new(from), Path::new(at)),
            Mount::Hidden(path) => self.hide(Path::new(path)),
        }
        Ok(())
    }

    fn empty(&mut self, path: &Path) {
        let Ok(real) = path.canonicalize() else { return };
        if OF_THE_SYSTEM.iter().any(|folder| real == Path::new(folder)) || !real.is_dir() {
            return;
        }
        for place in self.places(&real, path) {
            self.cover("--tmpfs", place);
        }
    }

    /// Nothing that cannot be reached.
    fn show(&mut self, path: &Path, how: &str) {
        let Ok(real) = path.canonicalize() else { return };
        // A folder may let others through that may not list it.
        let wanted = if real.is_dir() { Access::EXEC_OK } else { Access::READ_OK };
        if access(&real, wanted).is_err() {
            return;
        }
        for place in self.places(&real, path) {
            self.bind(how, &real, place);
        }
    }

    fn cache(&mut self, path: &Path) {
        let is_writable = path.is_dir() && access(path, Access::WRITE_OK).is_ok();
        self.show(path, if is_writable { "--bind" } else { "--ro-bind" });
    }

    fn write(&mut self, from: &Path, at: &Path) -> io::Result<()> {
        let told = |error| io::Error::other(format!("`{}` cannot be written to: {error}", from.display()));
        let real = from.canonicalize().map_err(told)?;
        access(&real, Access::WRITE_OK).map_err(|error| told(error.into()))?;
        let target =
            if from == at { real.clone() } else { at.canonicalize().unwrap_or_else(|_| at.to_owned()) };
        for place in self.places(&target, at) {
            self.bind("--bind", &real, place);
        }
        Ok(())
    }

    /// Covers what a path leads to, wherever that is seen. A link is none to mount on, and leads to nothing then.
    fn hide(&mut self, path: &Path) {
        let Ok(real) = path.canonicalize() else { return };
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
        if !self.written.contains(top) {
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
        for path in hidden.flat_map(|path| [path.canonicalize().ok(), Some(path)]).flatten() {
            let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
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
            "--bind" => self.written.insert(place.clone()),
            _ => self.written.remove(&place),
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

fn cache(mount: &Mount) -> Option<&Path> {
    match mount {
        Mount::Cache(path) => Some(Path::new(path)),
        _ => None,
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
        let mounts = Mounts::of(mounts).unwrap_or_else(|error| panic!("{error}"));
        mounts.into_words().into_iter().map(|word| word.into_string().unwrap()).collect()
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
    fn what_the_run_needs_has_to_be_there_and_the_rest_need_not() {
        let absent = "/var/tmp/no-such-folder/x".to_owned();
        let others =
            [Mount::Empty(absent.clone()), Mount::ReadOnly(absent.clone()), Mount::Hidden(absent.clone())];
        assert_eq!(words(&others), Vec::<String>::new());
        assert_eq!(
            words(&[Mount::Empty("/".to_owned()), Mount::Empty("/usr".to_owned())]),
            Vec::<String>::new()
        );
        let error = Mounts::of(&[Mount::Writable { from: absent.clone(), at: absent }]).err().unwrap();
        assert!(error.to_string().starts_with("`/var/tmp/no-such-folder/x` cannot be written to"), "{error}");
    }
}
