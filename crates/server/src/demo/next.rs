use std::env;
use std::path::Path;

use super::screen::Screen;
use super::setting::{Kept, PAYLOAD};

/// Commands to go on with, that work as they are printed.
pub(super) fn what_next(screen: &Screen, kept: &Kept, job: &str) {
    let (program, folder) = (program(), quoted(&kept.folder));
    let commands = [
        (format!("{program} deliveries list"), "every push, and why it trained or did not"),
        (format!("{program} jobs logs {job}"), "what the run said"),
        (format!("{program} serve"), "goes on; send it the push again from another terminal:"),
        (format!("{program} send {PAYLOAD}"), "the change is known, so nothing trains twice"),
        (removal(kept), "removes all that the demo has made, once no server runs there"),
    ];
    screen.line("");
    screen.heading("  Go on from here");
    screen.aside("    # all that the demo has made is in this folder");
    screen.line(&format!("    cd {folder}"));
    for (command, why) in commands {
        screen.aside(&format!("    # {why}"));
        screen.line(&format!("    {command}"));
    }
}

/// The command that removes a demo. What git keeps is for reading only, which `rm` would ask about.
pub(super) fn removal(kept: &Kept) -> String {
    format!("rm -rf {}", quoted(&kept.folder))
}

/// How this program is called: by its name where that finds it, otherwise by its path.
fn program() -> String {
    let own = env::current_exe().unwrap_or_default();
    let name = own.file_name().unwrap_or_default();
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    match found.and_then(|file| file.canonicalize().ok()) {
        Some(file) if file == own => name.to_string_lossy().into_owned(),
        _ => quoted(&own),
    }
}

/// As a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(is_plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
