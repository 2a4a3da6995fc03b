use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use swifthook_core::Account;

/// Becomes the user of a run, for good: no user of a sandbox is root, which without any capability still reads what is
/// root's.
///
/// # Errors
///
/// If whoever starts it is root and names nobody else, or is not and does.
pub(super) fn become_user_of(account: Option<&Account>) -> io::Result<()> {
    match (account, geteuid().is_root()) {
        (None, false) => Ok(()),
        (None, true) => Err(io::Error::other("root has no sandbox: it needs another user")),
        (Some(_), false) => Err(io::Error::other("only root can start a sandbox of another user")),
        (Some(account), true) if account.user == 0 => Err(io::Error::other("a sandbox of root is none")),
        (Some(account), true) => assume(account),
    }
}

/// Of this thread: there is no other yet.
fn assume(account: &Account) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(account.user), Gid::from_raw(account.group));
    let groups: Vec<_> = account.groups.iter().copied().map(Gid::from_raw).collect();
    set_thread_groups(&groups)?;
    set_thread_res_gid(gid, gid, gid)?;
    Ok(set_thread_res_uid(uid, uid, uid)?)
}

/// The users of the machine with one whom it does not know: programs ask who they are.
pub(super) fn with_name(name: &str, account: &Account, home: &str) -> Vec<u8> {
    let mut users = fs::read(PASSWD).unwrap_or_default();
    if !users.is_empty() && !users.ends_with(b"\n") {
        users.push(b'\n');
    }
    let Account { user, group, .. } = account;
    users.extend(format!("{name}:x:{user}:{group}::{home}:/bin/sh\n").into_bytes());
    users
}

/// A file in memory that stays open when another program is executed.
pub(crate) fn in_memory(name: &str, bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create(name, MemfdFlags::empty())?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// The words that have bubblewrap show the users.
pub(super) fn shown(users: &File) -> Option<[OsString; 3]> {
    let place = Path::new(PASSWD).canonicalize().ok()?;
    Some(["--ro-bind-data".into(), users.as_raw_fd().to_string().into(), place.into()])
}

const PASSWD: &str = "/etc/passwd";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_whom_the_machine_does_not_know_has_a_name_beside_those_it_knows() {
        let account = Account { user: 1_879_048_199, group: 7, groups: Vec::new(), name: None };
        let users = String::from_utf8(with_name("swifthook-sft", &account, "/root")).unwrap();
        assert!(users.starts_with("root:"), "{users}");
        assert!(users.ends_with("\nswifthook-sft:x:1879048199:7::/root:/bin/sh\n"), "{users}");
    }
}
