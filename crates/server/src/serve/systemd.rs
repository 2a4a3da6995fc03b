use std::path::Path;
use std::process::Stdio;

use tracing::warn;

/// Warns where a restart of the service would kill the runs with it: systemd ends the whole control group of a unit,
/// unless the unit says `KillMode=process`.
pub async fn warn_if_runs_would_be_killed() {
    if std::env::var_os("INVOCATION_ID").is_none() {
        return;
    }
    let Some(unit) = std::fs::read_to_string("/proc/self/cgroup").ok().as_deref().and_then(unit_of) else {
        return;
    };
    let mode = kill_mode(&unit).await;
    if matches!(mode.as_deref(), Some("control-group" | "mixed")) {
        warn!(
            unit = unit.name,
            "a restart of this service kills its runs: say `KillMode=process` in the unit"
        );
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Unit {
    name: String,
    is_of_user: bool,
}

/// The service that a process belongs to, by its control group.
fn unit_of(cgroup: &str) -> Option<Unit> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    let name = Path::new(path).components().rev().find_map(|part| {
        let name = part.as_os_str().to_str()?;
        name.ends_with(".service").then(|| name.to_owned())
    })?;
    Some(Unit { name, is_of_user: path.contains("/user.slice/") || path.starts_with("/user.slice") })
}

async fn kill_mode(unit: &Unit) -> Option<String> {
    let manager = if unit.is_of_user { "--user" } else { "--system" };
    let mut command = std::process::Command::new("systemctl");
    command.args([manager, "show", "--property=KillMode", "--value", "--", &unit.name]).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await.ok()?.ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_the_innermost_service() {
        let unit = |name: &str, is_of_user| Some(Unit { name: name.to_owned(), is_of_user });
        assert_eq!(unit_of("0::/system.slice/swifthook.service\n"), unit("swifthook.service", false));
        assert_eq!(
            unit_of("0::/user.slice/user-1000.slice/user@1000.service/app.slice/swifthook.service\n"),
            unit("swifthook.service", true)
        );
        assert_eq!(unit_of("0::/user.slice/user-0.slice/session-1.scope\n"), None);
        assert_eq!(unit_of("12:cpu:/system.slice/x.service\n"), None);
    }
}
