//! Folders of data: what in them has a loader read something else.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;
use swifthook_msswift::Allowed;

/// Reason for which a folder is more than its files; nothing if it is not.
///
/// `datasets` takes what it loads from the front matter of a `README.md`, from `.huggingface.yaml` and from
/// `dataset_infos.json`, and what it saved itself from `state.json`: all may name files outside.
pub(super) fn steers_a_loader(folder: &Path, is_cached: bool) -> io::Result<Option<String>> {
    if is_cached {
        return saved(folder);
    }
    for name in ["dataset_infos.json", "dataset_info.json", ".huggingface.yaml"] {
        if folder.join(name).symlink_metadata().is_ok() {
            return Ok(Some(format!("`{name}` is in it, which says what is loaded: name the files of data")));
        }
    }
    let Some(text) = head(&folder.join("README.md"))? else { return Ok(None) };
    Ok(names_files(&text).then(|| {
        "the front matter of its `README.md` says which files are loaded: name the files of data".to_owned()
    }))
}

/// Returns true for front matter with a key that names files, or one that may be written with escapes.
fn names_files(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let Some(below) = text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']).strip_prefix("---") else {
        return false;
    };
    let front = below.split_once("\n---").map_or(below, |(front, _)| front);
    ["configs", "data_files", "data_dir", "\\"].iter().any(|word| front.contains(word))
}

/// Checks a data set that `datasets` saved, or a folder of such.
fn saved(folder: &Path) -> io::Result<Option<String>> {
    let below = folder.read_dir()?.filter_map(|entry| Some(entry.ok()?.path()));
    for state in below.chain([folder.to_owned()]).map(|folder| folder.join("state.json")) {
        let Some(text) = head(&state)? else { continue };
        let files = serde_json::from_slice::<Value>(&text).ok().and_then(|state| {
            let names = state.get("_data_files")?.as_array()?.iter();
            Some(names.map(|file| file["filename"].as_str().unwrap_or("/").to_owned()).collect::<Vec<_>>())
        });
        let Some(files) = files else {
            return Ok(Some(format!("`{}` does not say which files it has", state.display())));
        };
        if let Some(out) = files.iter().find(|name| name.contains('/')) {
            return Ok(Some(format!("`{}` names `{out}`, which is no file beside it", state.display())));
        }
    }
    Ok(None)
}

/// The beginning of a file; nothing if there is none.
fn head(file: &Path) -> io::Result<Option<Vec<u8>>> {
    if !file.metadata().is_ok_and(|file| file.is_file()) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    File::open(file)?.take(HEAD).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Link below a path, or in it, that leads to where no pattern does; nothing if there is none.
pub(super) fn leads_out(path: &Path, allowed: &Allowed) -> io::Result<Option<String>> {
    let mut places = Places { allowed, roots: HashMap::new() };
    let real = path.canonicalize()?;
    if real != path && !places.has(&real) {
        return Ok(Some(out(path, &real)));
    }
    let (mut folders, mut seen, mut entries) = (vec![real.clone()], HashSet::from([real]), 0);
    while let Some(folder) = folders.pop().filter(|folder| folder.is_dir()) {
        for entry in folder.read_dir()? {
            let entry = entry?;
            entries += 1;
            if entries > MOST_ENTRIES {
                return Ok(Some(format!(
                    "more than {MOST_ENTRIES} files are in it, too many to be looked at: name the files of data"
                )));
            }
            let kind = entry.file_type()?;
            if kind.is_dir() && seen.insert(entry.path()) {
                folders.push(entry.path());
            } else if kind.is_symlink() {
                // One that leads nowhere is read by nobody.
                let Ok(real) = entry.path().canonicalize() else { continue };
                if !places.has(&real) {
                    return Ok(Some(out(&entry.path(), &real)));
                }
                if real.is_dir() && seen.insert(real.clone()) {
                    folders.push(real);
                }
            }
        }
    }
    Ok(None)
}

fn out(link: &Path, real: &Path) -> String {
    format!(
        "`{}` is a link to `{}`, which the recipe's `data` does not let pass",
        link.display(),
        real.display()
    )
}

/// The places that patterns let pass, also where the folder that one begins with is a link itself.
struct Places<'a> {
    allowed: &'a Allowed,
    roots: HashMap<String, Option<PathBuf>>,
}

impl Places<'_> {
    fn has(&mut self, real: &Path) -> bool {
        let is_allowed = |path: &Path| path.to_str().is_some_and(|path| self.allowed.has_path(path));
        if is_allowed(real) {
            return true;
        }
        let allowed = self.allowed;
        allowed.patterns().filter(|pattern| pattern.starts_with('/')).any(|pattern| {
            let root = literal(pattern);
            let of = self.roots.entry(root.to_owned());
            let Some(at) = of.or_insert_with(|| Path::new(root).canonicalize().ok()) else { return false };
            let Ok(rest) = real.strip_prefix(at) else { return false };
            let named = if rest.as_os_str().is_empty() { root.into() } else { Path::new(root).join(rest) };
            is_allowed(&named)
        })
    }
}

/// The folders of a pattern before the first that has wildcards.
fn literal(pattern: &str) -> &str {
    match pattern.find(['*', '?', '[', '{', '\\']) {
        Some(wild) => pattern[..wild].rsplit_once('/').map_or("/", |(root, _)| root),
        None => pattern,
    }
}

const HEAD: u64 = 1024 * 1024;
/// A listing of so many takes a second or two, also over a network.
const MOST_ENTRIES: usize = 200_000;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn allowed(pattern: &str) -> Allowed {
        Allowed::files([pattern]).unwrap()
    }

    #[test]
    fn a_folder_that_says_itself_what_is_loaded_is_no_data() {
        for (name, text, is_told) in [
            ("README.md", "---\nconfigs:\n- data_files: /etc/x\n---\n", true),
            ("README.md", "\u{feff}\n---\n{\"c\\u006fnfigs\": []}\n---\n", true),
            ("README.md", "---\r\n\"configs\" : []\r\n---", true),
            ("README.md", "---\nlicense: mit\n---\nThe configs are above.\n", false),
            ("README.md", "# configs\ndata_files\n", false),
            ("dataset_infos.json", "{}", true),
            ("dataset_info.json", "{}", true),
            (".huggingface.yaml", "", true),
            ("train.jsonl", "{}", false),
        ] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(name), text).unwrap();
            assert_eq!(steers_a_loader(folder.path(), false).unwrap().is_some(), is_told, "{name} {text}");
        }
    }

    #[test]
    fn what_datasets_saved_names_files_beside_it_alone() {
        let folder = tempfile::tempdir().unwrap();
        let train = folder.path().join("train");
        fs::create_dir(&train).unwrap();
        fs::write(train.join("dataset_info.json"), "{}").unwrap();
        for (name, is_told) in [("data-0.arrow", false), ("../../x.arrow", true), ("/etc/x.arrow", true)] {
            let state = format!("{{\"_data_files\": [{{\"filename\": \"{name}\"}}]}}");
            fs::write(train.join("state.json"), state).unwrap();
            for at in [folder.path(), &train] {
                assert_eq!(steers_a_loader(at, true).unwrap().is_some(), is_told, "{name}");
            }
        }
        fs::write(train.join("state.json"), "{").unwrap();
        assert!(steers_a_loader(&train, true).unwrap().is_some());
    }

    #[test]
    fn a_link_that_leads_out_of_what_is_allowed_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().canonicalize().unwrap();
        let data = at.join("data");
        fs::create_dir_all(data.join("a/b")).unwrap();
        fs::create_dir_all(at.join("outside")).unwrap();
        fs::write(at.join("outside/x.jsonl"), "{}").unwrap();
        fs::write(data.join("y.jsonl"), "{}").unwrap();
        let only = allowed(&format!("{}/data/**", at.display()));
        symlink(data.join("y.jsonl"), data.join("a/y.jsonl")).unwrap();
        symlink(at.join("absent"), data.join("a/absent")).unwrap();
        symlink(data.join("a"), data.join("a/b/loop")).unwrap();
        for name in ["a", "a/y.jsonl", "y.jsonl"] {
            assert_eq!(leads_out(&data.join(name), &only).unwrap(), None, "{name}");
        }
        symlink(at.join("outside/x.jsonl"), data.join("a/b/x.jsonl")).unwrap();
        symlink(at.join("outside"), data.join("whole")).unwrap();
        for name in ["a", "a/b/x.jsonl", "whole", "whole/x.jsonl"] {
            let why = leads_out(&data.join(name), &only).unwrap().expect(name);
            assert!(why.contains("which the recipe's `data` does not let pass"), "{why}");
        }
        // An operator's own links are meant: the folder that a pattern begins with, and a file that one names.
        symlink(&data, at.join("alias")).unwrap();
        let alias = allowed(&format!("{}/alias/*.jsonl", at.display()));
        assert_eq!(leads_out(&at.join("alias/y.jsonl"), &alias).unwrap(), None);
        let file = allowed(&format!("{}/data/a/b/x.jsonl", at.display()));
        assert_eq!(leads_out(&data.join("a/b/x.jsonl"), &file).unwrap(), None);
    }
}
