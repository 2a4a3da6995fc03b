//! One call of `git`, with nothing of its own to say: no configuration but ours, no hooks, no prompts, one
//! transport.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::process::Command;

use super::config::{Credentials, Remote, Transport};
use super::failure::Failure;
use super::lock::Lock;
use super::process::{self, Reader, Whole};

/// A call of git, still without arguments.
pub(super) struct Git {
    command: Command,
    config: Vec<(String, String)>,
    what: &'static str,
    limits: process::Limits,
    holder: Option<std::fs::File>,
    /// Secrets, left out of all that is told of it.
    secrets: Vec<String>,
}

impl Git {
    /// A call that reaches nothing but `git_dir`.
    pub(super) fn local(what: &'static str, git_dir: &Path) -> Self {
        let config = CONFIG.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let limits = process::Limits::LOCAL;
        let mut git =
            Self { command: Command::new("git"), config, what, limits, holder: None, secrets: Vec::new() };
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

    /// The same for a program that asks git about other repositories too: it finds this one by its place.
    pub(super) fn by_place(mut self, directory: &Path) -> Self {
        self.command.env_remove("GIT_DIR").current_dir(directory);
        self
    }

    /// A call that reaches `remote` too, as `origin`, by its transport, and shows its credentials. They go by the
    /// environment, which only our user can read, and never by an argument.
    pub(super) fn remote(what: &'static str, git_dir: &Path, remote: &Remote) -> io::Result<Self> {
        let mut git = Self::local(what, git_dir);
        git.limits = process::Limits::REMOTE;
        git.command.env("GIT_ALLOW_PROTOCOL", remote.transport.name());
        git.set("remote.origin.url", &remote.url);
        let mut ssh = SSH.to_owned();
        match &remote.credentials {
            Some(Credentials::Key(path)) => ssh = format!("{ssh} -o IdentitiesOnly=yes -i {}", quoted(path)),
            Some(Credentials::Folder(folder)) => {
                ssh += &ssh_options(folder);
                git.show_folder(remote, folder);
            }
            Some(Credentials::Token(token)) => git.show_token(remote, token),
            Some(Credentials::TokenFile(path)) => {
                let token = read_secret(path)
                    .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
                git.show_token(remote, token.trim());
            }
            Some(Credentials::Helper(helper)) => {
                // What git-lfs is told of other hosts is no reason to ask it for what is theirs.
                if let Some(origin) = origin_of(remote) {
                    git.set(&format!("credential.{origin}.helper"), helper);
                }
            }
            None => {}
        }
        git.command.env("GIT_SSH_COMMAND", ssh);
        Ok(git)
    }

    /// As long as it runs, this call has the lock too: its input is the file that is locked, and it reads nothing.
    /// Whoever finds the lock taken learns from it who this is, should we be killed before it.
    pub(super) fn holding(mut self, lock: &Lock<'_>) -> Self {
        if let (Ok(input), Ok(record)) = (lock.file.try_clone(), lock.file.try_clone()) {
            self.command.stdin(input);
            self.holder = Some(record);
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
            Transport::File => {
                self.arg("--upload-pack=git -c 'safe.directory=*' -c uploadpack.allowFilter=true upload-pack")
            }
            Transport::Https | Transport::Ssh => self,
        }
    }

    /// Does the same, and the headers that come back are in its last words.
    pub(super) fn telling_headers(mut self) -> Self {
        self.command.envs([
            ("GIT_TRACE_CURL", "1"),
            ("GIT_TRACE_CURL_NO_DATA", "1"),
            ("GIT_TRACE_REDACT", "1"),
        ]);
        self
    }

    /// Limits the memory for what it works on.
    pub(super) fn using_at_most(mut self, bytes: u64) -> Self {
        self.limits.memory = Some(bytes);
        self
    }

    /// Sets how long its output may be.
    pub(super) fn writing_at_most(mut self, bytes: usize) -> Self {
        self.limits.output = bytes;
        self
    }

    /// The same where it may take no longer than this.
    pub(super) fn taking_at_most(mut self, whole: std::time::Duration) -> Self {
        self.limits.whole = whole;
        self
    }

    /// The same with a value of the configuration, before all others.
    pub(super) fn with(mut self, key: &str, value: &str) -> Self {
        self.set(key, value);
        self
    }

    /// What it wrote, if it succeeded.
    pub(super) async fn output(self) -> Result<Vec<u8>, Failure> {
        let mut all = Whole { most: self.limits.output, bytes: Vec::new() };
        self.run(&mut all).await?;
        Ok(all.bytes)
    }

    /// Shows everything that it writes to `reader`, piece by piece, until it ends or `reader` has enough. Nothing of it is
    /// kept here.
    pub(super) async fn read_by(self, reader: &mut impl Reader) -> Result<(), Failure> {
        self.run(reader).await
    }

    async fn run(self, reader: &mut impl Reader) -> Result<(), Failure> {
        let (what, limits, holder) = (self.what, self.limits, self.holder);
        let mut command = self.command;
        command.env("GIT_CONFIG_COUNT", self.config.len().to_string());
        for (n, (key, value)) in self.config.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{n}"), key).env(format!("GIT_CONFIG_VALUE_{n}"), value);
        }
        let done = process::run(what, command, limits, holder, reader).await;
        done.map_err(|failure| failure.without(&self.secrets))
    }

    fn set(&mut self, key: &str, value: &str) {
        self.config.push((key.to_owned(), value.to_owned()));
    }

    /// By a helper, since the name and the password that it writes go through a pipe. It is asked for the host of this URL
    /// alone, wherever we are sent.
    fn show_folder(&mut self, remote: &Remote, folder: &Path) {
        let Some(origin) = origin_of(remote) else { return };
        let (user, password) = (folder.join("username"), folder.join("password"));
        if password.exists() {
            if let Ok(password) = read_secret(&password) {
                let name = read_secret(&user).unwrap_or_else(|_| TOKEN_USER.to_owned());
                let shown = STANDARD.encode(format!("{}:{}", name.trim(), password.trim()));
                self.secrets.extend([password.trim().to_owned(), shown]);
            }
            // `printf` is one of the shell's own commands, so that its arguments are those of no process. A token needs a
            // name too, and any will do.
            let user =
                if user.exists() { format!("$(cat {})", quoted(&user)) } else { TOKEN_USER.to_owned() };
            let password = quoted(&password);
            let helper = format!(
                "!f() {{ test \"$1\" != get || printf 'username=%s\\npassword=%s\\n' \"{user}\" \"$(cat {password})\"; }}; f"
            );
            self.set(&format!("credential.{origin}.helper"), &helper);
        }
        let authority = folder.join("ca.crt");
        if authority.exists() {
            self.set(&format!("http.{origin}.sslCAInfo"), &authority.to_string_lossy());
            // Which would win, for every host: https://git-scm.com/docs/git-config#Documentation/git-config.txt-httpsslCAInfo
            self.command.env_remove("GIT_SSL_CAINFO");
        }
    }

    fn show_token(&mut self, remote: &Remote, token: &str) {
        // The user's name is of no account to GitHub, Gitea and Forgejo, but must be there. For this URL only: no
        // other host is shown it, wherever we are sent.
        let shown = STANDARD.encode(format!("{TOKEN_USER}:{token}"));
        self.set(&format!("http.{}.extraHeader", remote.url), &format!("Authorization: Basic {shown}"));
        self.secrets.extend([token.to_owned(), shown]);
    }
}

/// Scheme, host and port of a remote that is reached by https: whoever else asks is not shown its credentials.
fn origin_of(remote: &Remote) -> Option<String> {
    let host = remote.url.strip_prefix("https://")?.split('/').next()?;
    Some(format!("https://{host}"))
}

/// A file that holds one token or password. What is longer is none.
fn read_secret(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(std::fs::File::open(path)?, MOST_SECRET + 1), &mut text)?;
    if text.len() as u64 > MOST_SECRET {
        let why = format!("it has more than {} KiB, and so is no token", MOST_SECRET >> 10);
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(text)
}

/// The key in a folder, and the hosts that it knows.
fn ssh_options(folder: &Path) -> String {
    let (key, hosts) = (folder.join("ssh-privatekey"), folder.join("known_hosts"));
    let mut options = String::new();
    if key.exists() {
        options += &format!(" -o IdentitiesOnly=yes -i {}", quoted(&key));
    }
    if hosts.exists() {
        options += &format!(" -o StrictHostKeyChecking=yes -o UserKnownHostsFile={}", quoted(&hosts));
    }
    options
}

/// As one word of a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

const MOST_SECRET: u64 = 64 << 10;

const TOKEN_USER: &str = "x-access-token";

/// A network that is gone is noticed within a minute or two; a server that hangs, by [`process::Limits`].
const SSH: &str = "ssh -o BatchMode=yes -o ForwardAgent=no -o ConnectTimeout=30 -o ServerAliveInterval=15 -o ServerAliveCountMax=4";

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

const ENVIRONMENT: [(&str, &str); 9] = [
    // Messages are told apart by their words.
    ("LC_ALL", "C"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_ATTR_NOSYSTEM", "1"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_ASKPASS", "true"),
    // What a blobless mirror lacks is fetched by us, and by nothing else.
    ("GIT_NO_LAZY_FETCH", "1"),
    ("GIT_LFS_SKIP_SMUDGE", "1"),
    // When a commit was last wanted is told by the file of its ref.
    ("GIT_DEFAULT_REF_FORMAT", "files"),
];

const CONFIG: [(&str, &str); 24] = [
    ("core.hooksPath", "/dev/null"),
    ("core.attributesFile", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("protocol.ext.allow", "never"),
    // Nothing but what is configured is asked. Git shows an `http.extraHeader` to whoever it is sent to, and fetches
    // from the `http-alternates` of a server only where it follows redirects too.
    ("http.followRedirects", "false"),
    ("transfer.bundleURI", "false"),
    ("promisor.acceptFromServer", "none"),
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("gc.auto", "0"),
    ("gc.packRefs", "false"),
    ("maintenance.auto", "false"),
    ("filter.lfs.smudge", ""),
    ("filter.lfs.clean", ""),
    ("filter.lfs.process", ""),
    ("filter.lfs.required", "false"),
    // A slow server is waited for as long as anything comes.
    ("http.lowSpeedLimit", "1"),
    ("http.lowSpeedTime", "60"),
    ("fetch.writeCommitGraph", "false"),
    // As many as there are cores, where there are many files.
    ("checkout.workers", "0"),
    ("core.logAllRefUpdates", "false"),
    ("advice.detachedHead", "false"),
    ("advice.fetchShowForcedUpdates", "false"),
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

    #[tokio::test]
    async fn a_helper_is_asked_for_the_origin_of_its_repository_alone() {
        let dir = tempfile::tempdir().unwrap();
        let remote = remote(Some(Credentials::Helper("mine".into())));
        for (url, helper) in [
            ("https://git.example/acme/models.git/info/lfs", "mine\n"),
            ("https://evil.example/acme/models.git", "\n"),
            ("https://git.example:8443/acme/models.git", "\n"),
            ("http://git.example/acme/models.git", "\n"),
        ] {
            let git = Git::remote("ask", dir.path(), &remote).unwrap();
            let told = git.args(["config", "--get-urlmatch", "credential.helper", url]).output().await;
            assert_eq!(String::from_utf8(told.unwrap()).unwrap(), helper, "{url}");
        }
    }

    #[test]
    fn a_token_that_has_no_end_is_none() {
        let remote = remote(Some(Credentials::TokenFile("/dev/zero".into())));
        let refused = Git::remote("ask", Path::new("/nowhere"), &remote).err().unwrap();
        assert!(refused.to_string().contains("more than 64 KiB"), "{refused}");
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
        assert!(failure.to_string().contains("transport 'file' not allowed"), "{failure:?}");
    }
}
