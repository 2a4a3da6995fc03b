//! How values stand in rows. Whatever is written here carries [`FORMAT`] in its row.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use swifthook_core::{
    Argv, CommitSha, ConfigDigest, Debounce, DeliveryId, Gap, Identity, JobId, JobSpec, Origin, PathChange,
    Paths, PushFacts, RefName, RepoName, Retry, Source, Stage, State, Superseding, Timestamp,
};

use crate::ids::{join, split};

/// The version of the blobs that this code writes.
pub(crate) const FORMAT: i64 = 1;

/// What a row holds is not what this code writes.
#[derive(Debug, thiserror::Error)]
#[error("a stored {what} cannot be read")]
pub(crate) struct Corrupt {
    pub(crate) what: &'static str,
    #[source]
    pub(crate) source: Option<serde_json::Error>,
}

impl Corrupt {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, source: None }
    }
}

/// Both halves of an id, as SQLite's integers.
pub(crate) fn halves(id: [u8; 16]) -> (i64, i64) {
    let (number, rest) = split(id);
    (number.cast_signed(), rest.cast_signed())
}

pub(crate) fn whole(number: i64, rest: i64) -> [u8; 16] {
    join(number.cast_unsigned(), rest.cast_unsigned())
}

pub(crate) fn ids(bytes: &[u8]) -> Result<Vec<JobId>, Corrupt> {
    let (ids, rest) = bytes.as_chunks::<16>();
    match rest {
        [] => Ok(ids.iter().map(|id| JobId(*id)).collect()),
        _ => Err(Corrupt::new("list of ids")),
    }
}

/// The jobs of a delivery that were known before it. Where that was not kept, those that are older than it.
pub(crate) fn known_jobs(
    kept: Option<&[u8]>,
    delivery: DeliveryId,
    jobs: &[JobId],
) -> Result<Vec<JobId>, Corrupt> {
    match kept {
        Some(kept) => ids(kept),
        None => Ok(jobs.iter().copied().filter(|job| job.0 < delivery.0).collect()),
    }
}

pub(crate) fn stage_code(stage: Stage) -> i64 {
    match stage {
        Stage::Queued => 0,
        Stage::Held => 1,
        Stage::Running => 2,
        Stage::Finishing => 3,
        Stage::Succeeded => 4,
        Stage::Failed => 5,
        Stage::Cancelled => 6,
        Stage::Superseded => 7,
        Stage::Quarantined => 8,
    }
}

pub(crate) fn stage(code: i64) -> Result<Stage, Corrupt> {
    let found = Stage::ALL.into_iter().find(|stage| stage_code(*stage) == code);
    found.ok_or(Corrupt::new("stage"))
}

/// A commit's hash in binary: half as long as its digits.
pub(crate) fn commit_bytes(commit: &CommitSha) -> Vec<u8> {
    let digits = commit.as_str().as_bytes();
    digits.chunks_exact(2).map(|pair| nibble(pair[0]) << 4 | nibble(pair[1])).collect()
}

pub(crate) fn commit(bytes: &[u8]) -> Result<CommitSha, Corrupt> {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    let digits: String = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
    CommitSha::parse(&digits).ok().flatten().ok_or(Corrupt::new("commit"))
}

/// The kind of a source, its hook and its GUID.
pub(crate) fn source_parts(source: &Source) -> (i64, Option<&str>, Option<&str>) {
    match source {
        Source::Hook { hook, guid } => (0, Some(hook), Some(guid)),
        Source::Reconcile => (1, None, None),
        Source::Pull => (2, None, None),
        Source::Person => (3, None, None),
    }
}

pub(crate) fn source(kind: i64, hook: Option<Arc<str>>, guid: Option<Arc<str>>) -> Result<Source, Corrupt> {
    match (kind, hook, guid) {
        (0, Some(hook), Some(guid)) => Ok(Source::Hook { hook, guid }),
        (1, ..) => Ok(Source::Reconcile),
        (2, ..) => Ok(Source::Pull),
        (3, ..) => Ok(Source::Person),
        _ => Err(Corrupt::new("source")),
    }
}

/// A job's state; `None` is that of a job that was queued and nothing more.
pub(crate) fn state_blob(state: &State) -> Option<Vec<u8>> {
    (*state != State::queued(None, None)).then(|| json(state))
}

pub(crate) fn state(blob: Option<&[u8]>) -> Result<State, Corrupt> {
    blob.map_or_else(|| Ok(State::queued(None, None)), |blob| read("state", blob))
}

/// What a job is to do, beyond what its row says in columns.
#[derive(Serialize, Deserialize)]
struct Spec<'a> {
    launcher: Arc<str>,
    #[serde(default, skip_serializing_if = "no_words")]
    command: Argv,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "is_default")]
    superseded: Superseding,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    debounce: Option<Debounce>,
    #[serde(default, skip_serializing_if = "is_default")]
    retry: Cow<'a, Retry>,
    #[serde(default, skip_serializing_if = "is_default")]
    origin: Cow<'a, Origin>,
}

pub(crate) fn spec_blob(spec: &JobSpec) -> Vec<u8> {
    // Named one by one, so that a new field cannot be forgotten here.
    let JobSpec {
        recipe: _,
        config: _,
        group: _,
        priority: _,
        labels: _,
        launcher,
        command,
        file,
        superseded,
        debounce,
        retry,
        origin,
    } = spec;
    json(&Spec {
        launcher: launcher.clone(),
        command: command.clone(),
        file: file.clone(),
        superseded: *superseded,
        debounce: *debounce,
        retry: Cow::Borrowed(retry),
        origin: Cow::Borrowed(origin),
    })
}

/// The columns of a spec.
pub(crate) struct SpecColumns {
    pub(crate) recipe: Arc<str>,
    pub(crate) config: Option<Arc<str>>,
    pub(crate) group: Arc<str>,
    pub(crate) priority: i32,
    pub(crate) labels: Vec<Arc<str>>,
}

pub(crate) fn spec(columns: SpecColumns, blob: &[u8]) -> Result<JobSpec, Corrupt> {
    let SpecColumns { recipe, config, group, priority, labels } = columns;
    let spec: Spec<'_> = read("spec", blob)?;
    Ok(JobSpec {
        recipe,
        config,
        group,
        priority,
        labels,
        launcher: spec.launcher,
        command: spec.command,
        file: spec.file,
        superseded: spec.superseded,
        debounce: spec.debounce,
        retry: spec.retry.into_owned(),
        origin: spec.origin.into_owned(),
    })
}

/// Reads a place back. A repository's name has no space in it.
pub(crate) fn place(name: &str) -> Option<(RepoName, RefName)> {
    let (repository, ref_name) = name.split_once(' ')?;
    Some((RepoName::new(repository).ok()?, RefName::parse(ref_name).ok()?))
}

/// The facts of a push, but for its time: a bit for the marker, and above it why the list of paths may be short.
pub(crate) fn facts_code(facts: &PushFacts) -> i64 {
    let gap = match facts.gap {
        None => 0,
        Some(Gap::Forced) => 1,
        Some(Gap::NewBranch) => 2,
        Some(Gap::Caps) => 3,
        Some(Gap::NotListed) => 4,
        Some(Gap::Contradictory) => 6,
        Some(Gap::MaybeForced) => 7,
        Some(Gap::NotText) => 8,
        Some(_) => 5,
    };
    gap << 1 | i64::from(facts.skip_marker)
}

pub(crate) fn facts(code: i64, pushed_at: Option<Timestamp>) -> Result<PushFacts, Corrupt> {
    let gap = match code >> 1 {
        0 => None,
        1 => Some(Gap::Forced),
        2 => Some(Gap::NewBranch),
        3 => Some(Gap::Caps),
        4 => Some(Gap::NotListed),
        5 => Some(Gap::Truncated),
        6 => Some(Gap::Contradictory),
        7 => Some(Gap::MaybeForced),
        8 => Some(Gap::NotText),
        _ => return Err(Corrupt::new("facts of a push")),
    };
    Ok(PushFacts { pushed_at, skip_marker: code & 1 == 1, gap })
}

/// The name that the number of a repository is kept under.
pub(crate) fn identity_name(identity: &Identity) -> String {
    format!("{IDENTITIES}{} {} {}", identity.hook, identity.id, identity.name)
}

/// Reads it back. A hook's name may have a space in it, and neither of the others has one.
pub(crate) fn identity(name: &str) -> Option<Identity> {
    let (rest, name) = name.strip_prefix(IDENTITIES)?.rsplit_once(' ')?;
    let (hook, id) = rest.rsplit_once(' ')?;
    Some(Identity { hook: hook.into(), id: id.parse().ok()?, name: RepoName::new(name).ok()? })
}

/// What the names of numbers of repositories begin with.
pub(crate) const IDENTITIES: &str = "repository id ";

/// The name that a configuration is kept under.
pub(crate) fn config_name(config: ConfigDigest) -> String {
    let mut name = String::from("config ");
    for byte in config.0 {
        write!(name, "{byte:02x}").expect("writing to a string succeeds");
    }
    name
}

/// Reads a configuration's digest back.
pub(crate) fn config(name: &str) -> Option<ConfigDigest> {
    let digits = name.strip_prefix("config ")?;
    let mut digest = [0; 32];
    for (i, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(ConfigDigest(digest))
}

/// Paths, each as how many of its first bytes are those of the path before it, length and kind of the rest in one
/// number, and then the rest. The paths of a push have much in common, and what is not written is not synced either.
pub(crate) fn paths_blob(paths: &Paths) -> Option<Vec<u8>> {
    let mut blob = Vec::new();
    let mut before: &[u8] = &[];
    for (path, change) in paths.raw() {
        let shared = shared_start(before, path);
        let rest = &path[shared..];
        put_number(&mut blob, shared);
        put_number(&mut blob, rest.len() << 1 | usize::from(change == PathChange::Removed));
        blob.extend_from_slice(rest);
        before = path;
    }
    (!blob.is_empty()).then_some(blob)
}

/// How many bytes two texts begin with alike. Eight at a time first: lists of paths are long, and much alike.
fn shared_start(one: &[u8], other: &[u8]) -> usize {
    let words = one.chunks_exact(8).zip(other.chunks_exact(8));
    let alike = 8 * words.take_while(|(a, b)| a == b).count();
    alike + one[alike..].iter().zip(&other[alike..]).take_while(|(a, b)| a == b).count()
}

pub(crate) fn paths(mut blob: &[u8]) -> Result<Paths, Corrupt> {
    let corrupt = || Corrupt::new("list of paths");
    let mut paths: Vec<(Vec<u8>, PathChange)> = Vec::new();
    let mut path = Vec::new();
    while !blob.is_empty() {
        let shared = take_number(&mut blob).filter(|&shared| shared <= path.len()).ok_or_else(corrupt)?;
        let number = take_number(&mut blob).ok_or_else(corrupt)?;
        let (rest, after) = blob.split_at_checked(number >> 1).ok_or_else(corrupt)?;
        path.truncate(shared);
        path.extend_from_slice(rest);
        let change = if number & 1 == 1 { PathChange::Removed } else { PathChange::Present };
        paths.push((path.clone(), change));
        blob = after;
    }
    Ok(Paths::from_raw(paths))
}

pub(crate) fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("these types have only strings for keys")
}

pub(crate) fn read<'a, T: Deserialize<'a>>(what: &'static str, blob: &'a [u8]) -> Result<T, Corrupt> {
    serde_json::from_slice(blob).map_err(|error| Corrupt { what, source: Some(error) })
}

fn put_number(blob: &mut Vec<u8>, mut number: usize) {
    while number > 0x7f {
        blob.push(number as u8 | 0x80);
        number >>= 7;
    }
    blob.push(number as u8);
}

fn take_number(blob: &mut &[u8]) -> Option<usize> {
    let mut number = 0;
    for shift in (0..usize::BITS - 7).step_by(7) {
        let (byte, rest) = blob.split_first()?;
        *blob = rest;
        number |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        digit => digit - b'a' + 10,
    }
}

fn no_words(command: &Argv) -> bool {
    command.is_empty()
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_was_not_kept_which_jobs_were_known_it_is_told_by_their_age() {
        let id = |first| [first, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let (old, new) = (JobId(id(1)), JobId(id(3)));
        let known = |kept| known_jobs(kept, DeliveryId(id(2)), &[old, new]).unwrap();
        assert_eq!(known(None), [old]);
        assert_eq!(known(Some(&[])), []);
        assert_eq!(known(Some(&id(3))), [new]);
    }

    #[test]
    fn paths_of_every_length_are_read_back() {
        let long = "x".repeat(70_000);
        let list = [
            ("", PathChange::Present),
            ("a\nb\0", PathChange::Removed),
            (&long[..63], PathChange::Present),
            (&long[..64], PathChange::Removed),
            (&long, PathChange::Removed),
            ("configs/\u{e4}.yaml", PathChange::Present),
            // Shares half of a character with the one before it.
            ("configs/\u{e5}.yaml", PathChange::Present),
            ("configs/\u{e5}.yaml", PathChange::Removed),
        ];
        let written: Paths = list.into_iter().collect();
        assert_eq!(paths(&paths_blob(&written).unwrap()).unwrap(), written);
        let odd = [(&b"a\xe9"[..], PathChange::Present), (b"a\xea", PathChange::Removed)];
        assert!(paths(&paths_blob(&Paths::from_raw(odd)).unwrap()).unwrap().raw().eq(odd), "bytes are bytes");
        assert_eq!(paths_blob(&Paths::empty()), None);
    }

    #[test]
    fn a_list_of_paths_that_was_damaged_is_refused() {
        for blob in [&[0x80][..], &[0], &[0, 6, b'a'], &[1, 2, b'a'], &[0xff; 12]] {
            assert!(paths(blob).is_err(), "{blob:?}");
        }
    }

    #[test]
    fn the_number_of_a_repository_is_read_back_whatever_its_hook_is_called() {
        for hook in ["github", "my hook 7"] {
            let name = RepoName::new("acme/models").unwrap();
            let kept = Identity { hook: hook.into(), id: 4_242, name };
            assert_eq!(identity(&identity_name(&kept)), Some(kept));
        }
        for other in [
            "acme/models refs/heads/main",
            "repository id ",
            "repository id x",
            "repository id a b acme/models",
        ] {
            assert_eq!(identity(other), None, "{other}");
        }
    }

    #[test]
    fn commits_of_both_lengths_are_read_back() {
        for digits in ["0123456789abcdef0123456789abcdef01234567", &"f0".repeat(32)] {
            let sha = CommitSha::parse(digits).unwrap().unwrap();
            assert_eq!(commit(&commit_bytes(&sha)).unwrap(), sha);
        }
        assert!(commit(&[1; 19]).is_err());
    }
}
