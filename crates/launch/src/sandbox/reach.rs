use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// The end of a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// Something whose path nobody changes who is confined.
    Real(PathBuf),
    /// Something within a folder that runs write to: where a link in there leads is not looked at.
    Within(PathBuf),
}

/// Goes along a path of the machine and its links, as far as the folders that are `written` by runs.
pub(super) fn reach(path: &Path, written: &[PathBuf]) -> io::Result<Reached> {
    let (mut at, mut rest, mut links) = (PathBuf::from("/"), names(path), 0);
    while let Some(name) = rest.pop_front() {
        if written.iter().any(|folder| at.starts_with(folder)) {
            return Ok(Reached::Within([name].into_iter().chain(rest).fold(at, |at, name| at.join(name))));
        }
        if name == ".." {
            at.pop();
            continue;
        }
        let next = at.join(name);
        match fs::read_link(&next) {
            Ok(_) if links == MOST_LINKS => return Err(io::Error::other("too many links")),
            Ok(target) => {
                links += 1;
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                names(&target).into_iter().rev().for_each(|name| rest.push_front(name));
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => at = next,
            Err(error) => return Err(error),
        }
    }
    Ok(Reached::Real(at))
}

fn names(path: &Path) -> VecDeque<OsString> {
    let is_name = |part: &Component<'_>| matches!(part, Component::Normal(_) | Component::ParentDir);
    path.components().filter(is_name).map(|part| part.as_os_str().to_owned()).collect()
}

const MOST_LINKS: u32 = 40;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_as_far_as_the_folders_that_runs_write_to() {
        let world = tempfile::tempdir().unwrap();
        let root = world.path().canonicalize().unwrap();
        let at = |name: &str| root.join(name);
        fs::create_dir_all(at("cache/real")).unwrap();
        symlink("/", at("cache/hub")).unwrap();
        symlink("cache", at("link")).unwrap();
        symlink(at("link"), at("again")).unwrap();
        symlink("loop", at("loop")).unwrap();
        let written = [at("cache")];
        assert_eq!(reach(&at("again"), &written).unwrap(), Reached::Real(at("cache")));
        assert_eq!(reach(&at("link/../cache"), &[]).unwrap(), Reached::Real(at("cache")));
        for path in ["cache/hub", "again/hub"] {
            assert_eq!(reach(&at(path), &written).unwrap(), Reached::Within(at("cache/hub")), "{path}");
            assert_eq!(reach(&at(path), &[]).unwrap(), Reached::Real("/".into()));
        }
        assert_eq!(reach(&at("cache/hub/etc"), &written).unwrap(), Reached::Within(at("cache/hub/etc")));
        assert!(reach(&at("loop"), &[]).is_err() && reach(&at("absent"), &[]).is_err());
    }
}
