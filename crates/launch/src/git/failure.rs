use std::fmt;

use swifthook_core::text::{printable, without_user_info};
use swifthook_core::{WorkspaceError, signal_in_words};

/// Git did not do it.
#[derive(Debug)]
pub(super) struct Failure {
    what: &'static str,
    code: Option<i32>,
    /// For people.
    message: String,
    /// Everything that this side said.
    said: String,
    /// Address to which the other side would have us go, if git was asked to tell.
    location: Option<String>,
}

impl Failure {
    pub(super) fn new(what: &'static str, message: String) -> Self {
        Self { what, code: None, message, said: String::new(), location: None }
    }

    /// Of a git that ended with this code after it wrote this.
    pub(super) fn of_git(what: &'static str, code: Option<i32>, stderr: &[u8]) -> Self {
        let lines = clean_lines(stderr);
        // What the other side says of itself decides nothing.
        let own: Vec<&str> =
            lines.iter().map(String::as_str).filter(|line| !line.starts_with("remote: ")).collect();
        let location = own.iter().rev().find_map(|line| location(line));
        Self { what, code, said: own.join("; "), message: in_short(&lines), location }
    }

    /// Failure of a git that a signal has ended after it wrote this.
    pub(super) fn of_signal(what: &'static str, signal: i32, stderr: &[u8]) -> Self {
        let ended = format!("git was ended by {}", signal_in_words(signal));
        let failure = Self::of_git(what, None, stderr);
        let message = match failure.message.is_empty() {
            true => ended,
            false => format!("{ended}: {}", failure.message),
        };
        Self { message, ..failure }
    }

    /// Leaves these words out, which the other side knows and may have repeated.
    pub(super) fn without(mut self, secrets: &[String]) -> Self {
        for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
            for text in [&mut self.message, &mut self.said].into_iter().chain(&mut self.location) {
                *text = text.replace(secret, "…");
            }
        }
        self
    }

    /// Tells whether the other side sends us elsewhere, where we do not go.
    pub(super) fn is_redirect(&self) -> bool {
        const STATUSES: [&str; 5] = ["301", "302", "303", "307", "308"];
        STATUSES.iter().any(|status| self.said.contains(&format!("returned error: {status}")))
    }

    /// Place to which it sends, if git was asked to tell.
    pub(super) fn location(self) -> Option<String> {
        self.location
    }

    /// The exit code by which several commands answer a question with no.
    pub(super) fn is_no(&self) -> bool {
        self.code == Some(1)
    }

    /// Whether the other side says that it does not have the commit, or does not give it away by its hash.
    pub(super) fn is_refused_hash(&self) -> bool {
        self.says(&["not our ref", "unadvertised object", "not valid"])
    }

    /// Whether the other side says that it has no such branch or tag.
    pub(super) fn is_unknown_ref(&self) -> bool {
        self.says(&["couldn't find remote ref"])
    }

    /// Whether a commit was named that is not here.
    pub(super) fn is_unknown_commit(&self) -> bool {
        self.says(&["Not a valid commit name", "Not a valid object name", "not a valid commit"])
            && !is_suspicious(&self.said)
    }

    /// Whether something was in the way that a git which was killed may have left.
    pub(super) fn is_in_the_way(&self) -> bool {
        self.says(&[".lock", "File exists"])
    }

    /// Tells whether it needed more memory than it may have.
    pub(super) fn is_out_of_memory(&self) -> bool {
        self.says(&["ut of memory"])
    }

    /// Whether there is no such command of git here.
    pub(super) fn is_unknown_command(&self) -> bool {
        self.says(&["is not a git command"])
    }

    /// Why the other side does not let us in, if that is what it is.
    fn no_access(&self) -> Option<NoAccess> {
        // An address that is not there is how some servers answer whoever may not see it.
        let is_not_found = self.says(&["fatal: repository '"]) && self.says(&["' not found"]);
        if self.says(&["Host key verification failed"]) {
            return Some(NoAccess::UnknownHost);
        }
        if self.says(&["No user exists for uid"]) {
            return Some(NoAccess::NoUser);
        }
        if self.says(&["cannot run ssh"]) {
            return Some(NoAccess::NoSsh);
        }
        let refused = [
            "Authentication failed",
            "could not read Username",
            "could not read Password",
            "Permission denied (",
            "Repository not found",
            "returned error: 401",
            "returned error: 403",
            "returned error: 404",
        ];
        (is_not_found || self.says(&refused)).then_some(NoAccess::Refused)
    }

    fn says(&self, words: &[&str]) -> bool {
        words.iter().any(|words| self.said.contains(words))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.what, self.message)
    }
}

impl From<Failure> for WorkspaceError {
    fn from(failure: Failure) -> Self {
        // What no version of git would check out.
        if failure.says(&["invalid path"]) {
            return Self::permanent(failure.to_string());
        }
        match failure.no_access() {
            // A person may change that at the server.
            Some(why) => Self::passing(failure.to_string()).because(why),
            None => Self::passing(failure.to_string()),
        }
    }
}

/// Why a server does not let us in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoAccess {
    #[error("the server does not let us in with what it was shown, or has no such repository")]
    Refused,
    #[error("the key of the server is not known: it has to stand in `known_hosts`")]
    UnknownHost,
    #[error("ssh wants an entry in `/etc/passwd` for the user that it is run as")]
    NoUser,
    #[error("there is no `ssh` here")]
    NoSsh,
    #[error("redirects are not followed, since whoever is asked next would be shown the credentials")]
    Moved,
}

/// Whether what git says may come from a mirror that is damaged. It may also come from the repository at the other end,
/// so that the mirror has to be looked at.
pub(super) fn is_suspicious(message: &str) -> bool {
    const WORDS: [&str; 19] = [
        "corrupt",
        "bad object",
        "bad tree",
        "bad config",
        "broken",
        "is empty",
        "unable to read",
        "unable to parse",
        "failed to read",
        "could not parse",
        "cannot be accessed",
        "invalid sha1 pointer",
        "invalid object",
        "missing",
        "not a git repository",
        "inflate",
        "does not match index",
        "bad revision",
        "did not send all necessary objects",
    ];
    let message = message.to_ascii_lowercase();
    WORDS.iter().any(|words| message.contains(words))
}

/// The place in a header that git traces: `… <= Recv header: location: https://…`.
fn location(line: &str) -> Option<String> {
    let (_, header) = line.split_once("<= Recv header: ")?;
    let (name, place) = header.split_once(':')?;
    name.eq_ignore_ascii_case("location").then(|| place.trim().to_owned())
}

/// Words of git, but for advice. The other end may have written some of it: nothing in it controls a terminal, no line
/// is longer than people read, and no address has a user in it.
fn clean_lines(stderr: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(stderr);
    let clean = |line: &str| -> String {
        let line = printable(line.trim()).into_owned();
        let line = without_user_info(&line);
        match line.char_indices().nth(LONGEST_LINE) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line.into_owned(),
        }
    };
    let is_said = |line: &String| !line.is_empty() && !line.starts_with("hint: ");
    text.lines().map(clean).filter(is_said).collect()
}

/// The first lines, which tell what went wrong, and the last, which tell what came of it.
fn in_short(lines: &[String]) -> String {
    match lines {
        [first, second, .., b, c, d] if lines.len() > 5 => format!("{first}; {second}; …; {b}; {c}; {d}"),
        few => few.join("; "),
    }
}

const LONGEST_LINE: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lets_us_in_is_in_nothing_that_git_said() {
        let said = b"fatal: unable to access 'https://x:ghp_secret@git.example/a/b/': no\nremote: you are ghp_other\n";
        let failure = Failure::of_git("fetch", Some(128), said).without(&["ghp_other".to_owned()]);
        let told = format!("{failure} {failure:?}");
        assert!(!told.contains("ghp_") && told.contains("'https://…@git.example/a/b/'"), "{told}");
    }

    #[test]
    fn a_line_without_an_end_is_told_in_short() {
        let failure = Failure::of_git("fetch", Some(128), "x".repeat(16 << 10).as_bytes());
        assert!(failure.to_string().len() < 1_100, "{failure}");
    }

    #[test]
    fn where_a_server_sends_us_is_read_from_the_headers_alone() {
        let said = b"remote: 1 <= Recv header: Location: https://evil.example/\n\
            08:59:49 http.c:872              <= Recv header: location: https://git.example/new\n\
            fatal: unable to access 'https://git.example/a/': The requested URL returned error: 301\n";
        let failure = Failure::of_git("ask", Some(128), said);
        assert!(failure.is_redirect());
        assert_eq!(failure.location().as_deref(), Some("https://git.example/new"));
        assert!(!Failure::of_git("ask", Some(128), b"remote: returned error: 301").is_redirect());
    }

    #[test]
    fn what_git_said_is_told_in_short_and_nothing_of_it_controls_a_terminal() {
        let said = b"error: 1\n2\n\nhint: try\n3\nremote: \x1b[2Jpwned\x07\n4\nfatal: 5\n";
        let failure = Failure::of_git("fetch", Some(128), said);
        let told = failure.to_string();
        assert_eq!(told, "cannot fetch: error: 1; 2; …; remote: \\u{1b}[2Jpwned\\u{7}; 4; fatal: 5");
    }

    #[test]
    fn a_server_that_does_not_let_us_in_is_told_from_one_that_is_away() {
        let why = |said: &str| Failure::of_git("fetch", Some(128), said.as_bytes()).no_access();
        for said in [
            "fatal: Authentication failed for 'https://git.example/a/b/'",
            "fatal: could not read Username for 'https://git.example': terminal prompts disabled",
            "git@git.example: Permission denied (publickey).\nfatal: Could not read from remote repository.",
            "remote: Not Found\nfatal: repository 'https://git.example/a/b/' not found",
            "ERROR: Repository not found.\nfatal: Could not read from remote repository.",
            "fatal: unable to access 'https://git.example/a/b/': The requested URL returned error: 403",
        ] {
            assert_eq!(why(said), Some(NoAccess::Refused), "{said}");
        }
        let unknown = "Host key verification failed.\nfatal: Could not read from remote repository.";
        assert_eq!(why(unknown), Some(NoAccess::UnknownHost));
        let no_user = "No user exists for uid 4711\nfatal: Could not read from remote repository.";
        assert_eq!(why(no_user), Some(NoAccess::NoUser));
        let no_ssh = "error: cannot run ssh: No such file or directory\nfatal: unable to fork";
        assert_eq!(why(no_ssh), Some(NoAccess::NoSsh));
        for said in [
            "fatal: unable to access 'https://git.example/a/b/': Could not resolve host: git.example",
            "fatal: unable to access 'https://git.example/a/b/': The requested URL returned error: 503",
            "ssh: connect to host git.example port 22: Connection refused",
            "remote: Permission denied (x)\nfatal: early EOF",
        ] {
            assert_eq!(why(said), None, "{said}");
        }
    }

    #[test]
    fn the_other_side_cannot_make_us_believe_that_it_was_us() {
        let failure = Failure::of_git("fetch", Some(128), b"remote: not our ref\nfatal: no route to host");
        assert!(!failure.is_refused_hash());
        let failure =
            Failure::of_git("fetch", Some(128), b"fatal: remote error: upload-pack: not our ref a1");
        assert!(failure.is_refused_hash());
    }
}
