use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use swifthook_core::Sandbox;

use super::words::namespaces;

/// Tries whether this machine lets `user` and their group (`None` for whoever asks) make the namespaces and the `/proc` of a
/// sandbox. Some kernels do not, and some containers.
///
/// # Errors
///
/// Reason against it, in bubblewrap's words.
pub fn can_sandbox(program: &Path, user: Option<(u32, u32)>, network: bool) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(namespaces(&Sandbox { network, ..Sandbox::default() }));
    command
        .args(["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--"])
        .arg(program)
        .arg("--version");
    if let Some((user, group)) = user {
        // With no other groups: https://doc.rust-lang.org/std/os/unix/process/trait.CommandExt.html#tymethod.uid
        command.uid(user).gid(group);
    }
    let tried = command.current_dir("/").env_clear().stdin(Stdio::null()).output();
    let tried = tried.map_err(|error| format!("`{}` cannot be run: {error}", program.display()))?;
    if tried.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&tried.stderr);
    let line = said.lines().map(str::trim).find(|line| !line.is_empty());
    Err(line.unwrap_or("bubblewrap fails and says nothing").to_owned())
}

/// Tells whether what is in a sandbox can be kept from making user namespaces of its own, in which it would have
/// capabilities: bubblewrap has that since 0.8, and some containers do not let it.
pub(super) fn can_forbid_namespaces(program: &str) -> bool {
    let mut command = Command::new(program);
    command.args(["--unshare-user", FORBID_NAMESPACES, "--ro-bind", "/", "/", "--", program, "--version"]);
    let tried = command.current_dir("/").env_clear().stdin(Stdio::null()).output();
    tried.is_ok_and(|tried| tried.status.success())
}

pub(super) const FORBID_NAMESPACES: &str = "--disable-userns";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_cannot_says_why() {
        assert_eq!(
            can_sandbox(Path::new("/bin/false"), None, true).unwrap_err(),
            "bubblewrap fails and says nothing"
        );
        let why = can_sandbox(Path::new("/no/such/bwrap"), None, true).unwrap_err();
        assert!(why.starts_with("`/no/such/bwrap` cannot be run: "), "{why}");
        let why = can_sandbox(Path::new("/bin/ls"), None, true).unwrap_err();
        assert!(why.contains("unshare-user"), "{why}");
        assert!(!can_forbid_namespaces("/bin/false") && !can_forbid_namespaces("/no/such/bwrap"));
    }
}
