//! Which host this is: runs of local processes are known by it.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use super::token::random;

/// The name of this machine, with what tells those of one name apart, and those that have other runs on one machine: a
/// mark that is made once and kept in `state_dir`, beside the runs. So it is the same when their store moves to a
/// database that other machines share.
pub(super) fn of(state_dir: &Path) -> io::Result<String> {
    Ok(format!("{}-{}", machine()?, mark(state_dir)?))
}

/// The name of this machine alone: whatever runs on it sees the same GPUs.
pub(super) fn machine() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned())
}

/// The mark that tells a state directory from others: eight hexadecimal digits.
pub(super) fn mark(state_dir: &Path) -> io::Result<String> {
    let file = state_dir.join("host");
    // A server starts on a disk that is full, too: what runs ends then, and has to be recorded.
    if !file.try_exists()? {
        make(state_dir, &file)?;
    }
    let mark = fs::read_to_string(&file)?.trim().to_owned();
    match mark.len() == 8 && mark.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(mark),
        false => {
            Err(io::Error::other(format!("`{}` does not hold eight hexadecimal digits", file.display())))
        }
    }
}

/// Makes the mark, unless somebody else is faster.
fn make(state_dir: &Path, file: &Path) -> io::Result<()> {
    let mut made = tempfile::NamedTempFile::new_in(state_dir)?;
    writeln!(made, "{}", &random()?[..8])?;
    made.as_file().sync_all()?;
    match made.persist_noclobber(file) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_directory_keeps_its_host_and_another_is_another() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let host = of(one.path()).unwrap();
        assert_eq!(of(one.path()).unwrap(), host);
        assert_ne!(of(other.path()).unwrap(), host);
        fs::write(one.path().join("host"), "").unwrap();
        assert!(of(one.path()).is_err(), "a mark that was lost is no new one: runs may be under way");
    }
}
