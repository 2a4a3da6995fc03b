//! One call of `git`, with nothing of its own to say: no configuration but ours, no hooks, no prompts, one
//! transport.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process_group};
use swifthook_core::WorkspaceError;
use tokio::process::Command;

use super::config::{Credentials, Remote, Transport};
use super::mirror::Lock;

/// A call of git, still without arguments.
pub(super) struct Git {
    command: Command,
    config: Vec<(String, String)>,
    what: &'static str,
}

impl Git {
    /// A call that reaches nothing but `git_dir`.
    pub(super) fn local(what: &'static str, git_dir: &Path) -> Self {
        let config = CONFIG.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let mut git = Self { command: Command::new("git"), config, what };
        git.command.env_clear();
        for name in INHERITED {
            git.command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        git.command
            .envs(ENVIRONMENT)
            .env("GIT_ALLOW_PROTOCOL", "none")
            .env("GIT_DIR", git_dir)
            .process_group(0)
            .kill_on_drop(true)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        git
    }

    /// The same in a working tree.
    pub(super) fn in_tree(mut self, directory: &Path) -> Self {
        self.command.env("GIT_WORK_TREE", directory).current_dir(directory);
        self
    }

    /// A call that reaches `remote` too, by its transport, and shows its credentials. They go by the environment,
    /// which only our user can read, and never by an argument.
    pub(super) fn remote(what: &'static str, git_dir: &Path, remote: &Remote) -> io::Result<Self> {
        let mut git = Self::local(what, git_dir);
        git.command.env("GIT_ALLOW_PROTOCOL", remote.transport.name());
        let mut ssh = "ssh -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=15".to_owned();
        match &remote.credentials {
            Some(Credentials::Key(path)) => {
                let path = path.to_string_lossy().replace('\'', r"'\''");
                ssh = format!("{ssh} -o IdentitiesOnly=yes -i '{path}'");
            }
            Some(Credentials::Token(token)) => git.show_token(remote, token),
            Some(Credentials::TokenFile(path)) => {
                let token = std::fs::read_to_string(path)
                    .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
                git.show_token(remote, token.trim());
            }
            Some(Credentials::Helper(helper)) => {
                git.config.push(("credential.helper".into(), helper.clone()))
            }
            None => {}
        }
        git.command.env("GIT_SSH_COMMAND", ssh);
        Ok(git)
    }

    /// As long as it runs, this call has the lock too: its input is the file that is locked, and it reads nothing.
    pub(super) fn holding(mut self, lock: &Lock<'_>) -> Self {
        if let Ok(file) = lock.file.try_clone() {
            self.command.stdin(file);
        }
        self
    }

    pub(super) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    pub(super) fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.command.args(arguments);
        self
    }

    /// For the repository at the other end of a path: it may belong to somebody else, and was named by the
    /// operator.
    pub(super) fn trusting(self, remote: &Remote) -> Self {
        match remote.transport {
            Transport::File => self.arg("--upload-pack=git -c 'safe.directory=*' upload-pack"),
            Transport::Https | Transport::Ssh => self,
        }
    }

    /// What it wrote, if it succeeded.
    pub(super) async fn output(self) -> Result<Vec<u8>, Failure> {
        let what = self.what;
        let failed = |message: String, code| Failure { what, code, message };
        let running = async {
            let child = self.into_command().spawn()?;
            let mut group = Group(child.id());
            let output = child.wait_with_output().await;
            group.0 = None;
            output
        };
        let output = match tokio::time::timeout(LIMIT, running).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => return Err(failed(format!("cannot run git: {error}"), None)),
            Err(_) => return Err(failed(format!("it took longer than {} min", LIMIT.as_secs() / 60), None)),
        };
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(failed(last_lines(&output.stderr), output.status.code()))
    }

    fn show_token(&mut self, remote: &Remote, token: &str) {
        // The user's name is of no account to GitHub, Gitea and Forgejo, but must be there. For this URL only: no
        // other host is shown it, wherever we are sent.
        let header = format!("Authorization: Basic {}", STANDARD.encode(format!("x-access-token:{token}")));
        self.config.push((format!("http.{}.extraHeader", remote.url), header));
    }

    fn into_command(self) -> Command {
        let mut command = self.command;
        command.env("GIT_CONFIG_COUNT", self.config.len().to_string());
        for (n, (key, value)) in self.config.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{n}"), key).env(format!("GIT_CONFIG_VALUE_{n}"), value);
        }
        command
    }
}

/// The process group of a git that has not ended: what it has started ends with it.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0.and_then(|id| Pid::from_raw(id.cast_signed())) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Git did not do it.
#[derive(Debug)]
pub(super) struct Failure {
    what: &'static str,
    code: Option<i32>,
    message: String,
}

impl Failure {
    /// The exit code by which several commands answer a question with no.
    pub(super) fn is_no(&self) -> bool {
        self.code == Some(1)
    }

    /// Whether the other side says that it does not have the commit, or does not give it away by its hash.
    pub(super) fn is_refused_hash(&self) -> bool {
        ["not our ref", "unadvertised object"].iter().any(|words| self.message.contains(words))
    }

    /// Whether the other side says that it has no such branch or tag.
    pub(super) fn is_unknown_ref(&self) -> bool {
        self.message.contains("couldn't find remote ref")
    }
}

impl From<Failure> for WorkspaceError {
    fn from(failure: Failure) -> Self {
        Self::passing(format!("cannot {}: {}", failure.what, failure.message))
    }
}

fn last_lines(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(5)..].join("; ")
}

/// Longer than any sane clone; a server that stalls is noticed much sooner.
const LIMIT: Duration = Duration::from_secs(60 * 60);

/// What git needs of the machine: programs, its certificates, its proxy, an SSH agent.
const INHERITED: [&str; 14] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "SSH_AUTH_SOCK",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
];

const ENVIRONMENT: [(&str, &str); 7] = [
    // Messages are told apart by their words.
    ("LC_ALL", "C"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_ATTR_NOSYSTEM", "1"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_ASKPASS", "true"),
    ("GIT_NO_LAZY_FETCH", "1"),
];

const CONFIG: [(&str, &str); 15] = [
    ("core.hooksPath", "/dev/null"),
    ("core.attributesFile", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("filter.lfs.smudge", ""),
    ("filter.lfs.clean", ""),
    ("filter.lfs.process", ""),
    ("filter.lfs.required", "false"),
    ("http.lowSpeedLimit", "1000"),
    ("http.lowSpeedTime", "60"),
    ("advice.detachedHead", "false"),
    // Forget every helper that was named before.
    ("credential.helper", ""),
];

#[cfg(test)]
mod tests {
    use swifthook_core::RepoName;

    use super::*;

    fn remote(credentials: Option<Credentials>) -> Remote {
        let name = RepoName::new("acme/models").unwrap();
        let remote = Remote::new(name, "https://git.example/acme/models.git").unwrap();
        Remote { credentials, ..remote }
    }

    #[tokio::test]
    async fn a_token_is_shown_to_its_url_alone_and_stands_in_no_argument() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "ghp_secret\n").unwrap();
        let header = "Authorization: Basic eC1hY2Nlc3MtdG9rZW46Z2hwX3NlY3JldA==";
        for credentials in [Credentials::Token("ghp_secret".into()), Credentials::TokenFile(file)] {
            for (url, shown) in [
                ("https://git.example/acme/models.git/info/refs", format!("{header}\n")),
                ("https://git.example/other/models.git", String::new()),
                ("https://evil.example/acme/models.git", String::new()),
            ] {
                let git = Git::remote("ask", dir.path(), &remote(Some(credentials.clone()))).unwrap();
                let git = git.args(["config", "--get-urlmatch", "http.extraHeader", url]);
                assert!(!format!("{:?}", git.command.as_std().get_args()).contains("secret"));
                let told = git.output().await.unwrap_or_default();
                assert_eq!(String::from_utf8(told).unwrap(), shown, "{url}");
            }
        }
    }

    #[test]
    fn a_key_may_lie_anywhere() {
        let remote = remote(Some(Credentials::Key("/keys/it's $(mine)".into())));
        let git = Git::remote("ask", Path::new("/nowhere"), &remote).unwrap();
        let ssh = git.command.as_std().get_envs().find(|(name, _)| *name == "GIT_SSH_COMMAND");
        let ssh = ssh.unwrap().1.unwrap().to_str().unwrap();
        assert!(ssh.ends_with(r"-o IdentitiesOnly=yes -i '/keys/it'\''s $(mine)'"), "{ssh}");
    }

    #[tokio::test]
    async fn a_local_call_reaches_no_remote() {
        let dir = tempfile::tempdir().unwrap();
        let git = Git::local("look", dir.path()).args(["ls-remote", "/"]);
        let failure = git.output().await.unwrap_err();
        assert!(failure.message.contains("transport 'file' not allowed"), "{failure:?}");
    }
}
