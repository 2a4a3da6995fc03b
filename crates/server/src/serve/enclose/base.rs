//! The Python that a virtual environment stands on.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use swifthook_launch::Beneath;

use crate::serve::uv::ENVIRONMENTS;

/// The folder of the Python of the environment that a run is in: `home = …/bin` in `pyvenv.cfg`, see
/// <https://docs.python.org/3/library/venv.html>. It blocks, as a disk may.
///
/// An environment that uv made of a commit is what the commit likes, so that its word counts for a Python alone that the recipe has too:
/// one on its `PATH`, or in `UV_PYTHON_INSTALL_DIR`.
pub(super) fn base(env: &BTreeMap<String, String>, state_dir: &Path) -> Option<PathBuf> {
    let venv = PathBuf::from(env.get("VIRTUAL_ENV")?);
    let home = home(&venv)?;
    if !venv.starts_with(state_dir.join(ENVIRONMENTS)) {
        return home.parent().map(Path::to_owned);
    }
    let real = home.canonicalize().ok()?;
    let installed = env.get("UV_PYTHON_INSTALL_DIR").and_then(|folder| Path::new(folder).canonicalize().ok());
    let is_installed = installed
        .is_some_and(|folder| real.parent().is_some_and(|base| base.starts_with(&folder) && base != folder));
    let path = env.get("PATH").map(String::as_str).unwrap_or_default();
    let mut folders =
        std::env::split_paths(path).filter(|folder| folder.is_absolute() && !folder.starts_with(&venv));
    let is_known = is_installed || folders.any(|folder| has_python(&folder, &real));
    real.parent().filter(|_| is_known).map(Path::to_owned)
}

/// Tells whether a Python that `folder` has is in `home`, where a link may lead.
fn has_python(folder: &Path, home: &Path) -> bool {
    let pythons = ["python3", "python"].map(|name| folder.join(name));
    let here = folder.canonicalize().is_ok_and(|folder| folder == home);
    pythons
        .iter()
        .filter(|python| python.is_file())
        .any(|python| here || python.canonicalize().is_ok_and(|python| python.parent() == Some(home)))
}

fn home(venv: &Path) -> Option<PathBuf> {
    let read = Beneath::at(venv).and_then(|venv| venv.read_all("pyvenv.cfg", MOST_BYTES)).ok()?;
    let text = String::from_utf8(read).ok()?;
    let home = text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name.trim() == "home").then(|| PathBuf::from(value.trim()))
    })?;
    let is_plain = home.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    (home.is_absolute() && is_plain).then_some(home)
}

/// The file has some hundred bytes.
const MOST_BYTES: u64 = 16 << 10;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    struct Machine(tempfile::TempDir);

    impl Machine {
        /// With an environment of an operator, one that uv made, two Pythons and somebody's work.
        fn new() -> Self {
            let machine = Self(tempfile::tempdir().unwrap());
            for folder in
                ["own", "state/environments/1/venv", "conda/bin", "pythons/cpython-3/bin", "bin", "work/bin"]
            {
                fs::create_dir_all(machine.at(folder)).unwrap();
            }
            for python in ["conda/bin/python3", "pythons/cpython-3/bin/python3"] {
                fs::write(machine.at(python), "").unwrap();
            }
            machine
        }

        fn at(&self, path: &str) -> PathBuf {
            self.0.path().canonicalize().unwrap().join(path)
        }

        fn base(&self, venv: &str, home: &str, more: &[(&str, &str)]) -> Option<PathBuf> {
            fs::write(self.at(venv).join("pyvenv.cfg"), format!("home = {}\n", self.at(home).display()))
                .unwrap();
            self.base_of(venv, more)
        }

        fn base_of(&self, venv: &str, more: &[(&str, &str)]) -> Option<PathBuf> {
            let all = [("VIRTUAL_ENV", venv)].into_iter().chain(more.iter().copied());
            let env =
                all.map(|(name, path)| (name.to_owned(), self.at(path).display().to_string())).collect();
            base(&env, &self.at("state"))
        }
    }

    const OWN: &str = "own";
    const OF_UV: &str = "state/environments/1/venv";

    #[test]
    fn the_python_that_an_operators_environment_stands_on_is_found() {
        let machine = Machine::new();
        assert_eq!(machine.base_of(OWN, &[]), None);
        assert_eq!(machine.base(OWN, "work/bin", &[]), Some(machine.at("work")));
        assert_eq!(machine.base(OWN, "work/../bin", &[]), None);
    }

    #[test]
    fn an_environment_that_a_commit_has_made_shows_a_python_of_the_recipe_and_nothing_else() {
        let machine = Machine::new();
        let base = |home, more: &[(&str, &str)]| machine.base(OF_UV, home, more);
        assert_eq!(base("work/bin", &[]), None);
        assert_eq!(base("conda/bin", &[]), None);
        assert_eq!(base("conda/bin", &[("PATH", "conda/bin")]), Some(machine.at("conda")));
        // Folders of programs there are many.
        assert_eq!(base("work/bin", &[("PATH", "work/bin")]), None);
        let installed = [("UV_PYTHON_INSTALL_DIR", "pythons")];
        assert_eq!(base("pythons/cpython-3/bin", &installed), Some(machine.at("pythons/cpython-3")));
        symlink(machine.at("work"), machine.at("pythons/link")).unwrap();
        assert_eq!(base("pythons/link/bin", &installed), None);
        symlink(machine.at("pythons/cpython-3/bin/python3"), machine.at("bin/python3")).unwrap();
        assert_eq!(base("pythons/cpython-3/bin", &[("PATH", "bin")]), Some(machine.at("pythons/cpython-3")));
    }

    #[test]
    fn what_is_no_small_file_is_not_read() {
        let machine = Machine::new();
        let file = machine.at(OWN).join("pyvenv.cfg");
        assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
        assert_eq!(machine.base_of(OWN, &[]), None);
        for target in ["/dev/zero", "/proc/self/environ"] {
            fs::remove_file(&file).unwrap();
            symlink(target, &file).unwrap();
            assert_eq!(machine.base_of(OWN, &[]), None);
        }
        fs::remove_file(&file).unwrap();
        fs::File::create(&file).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(machine.base_of(OWN, &[]), None);
    }
}
