//! A world for the real program: a folder, a git repository that a small team would have, and a server.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use swifthook::send::{Answer, Delivery};

pub(crate) const SECRET: &str = "correct horse battery staple 2026";

/// A folder with a repository and a configuration.
pub(crate) struct World {
    folder: tempfile::TempDir,
    /// As whom the program runs, if not as us.
    user: Option<u32>,
}

impl World {
    /// With a recipe that says these lines.
    pub(crate) fn new(recipe: &str) -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap(), user: None };
        fs::create_dir(world.path("repository")).unwrap();
        world.git(&["init", "--quiet", "--initial-branch=main"]);
        world.commit("README.md", "models\n");
        fs::write(world.path("secret"), format!("{SECRET}\n")).unwrap();
        world.pace(0);
        world.configure(recipe);
        world
    }

    /// Gives all of it to a user, as whom the program runs from now on.
    pub(crate) fn give_to(&mut self, user: u32) {
        let owner = format!("{user}:{user}");
        let given = Command::new("chown").args(["-R", &owner]).arg(self.folder.path()).status().unwrap();
        assert!(given.success());
        self.user = Some(user);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn configure(&self, recipe: &str) {
        let config = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\nreconcile = \"off\"\n\n\
             [[hook]]\nsecrets = [\"file:secret\"]\n\n\
             [[repository]]\nname = \"acme/models\"\nclone_url = \"file://{}\"\n\n\
             [[recipe]]\nname = \"sft\"\nrepository = \"acme/models\"\nbranches = [\"main\"]\ntrust = \"code\"\n{recipe}\n",
            self.path("repository").display()
        );
        fs::write(self.path("swifthook.toml"), config).unwrap();
    }

    /// How long each step of a training takes that begins from now on, in milliseconds: so that one that is to be
    /// interrupted cannot end before, and the next one need not be waited for.
    pub(crate) fn pace(&self, step: u64) {
        fs::write(self.path("pace"), step.to_string()).unwrap();
    }

    /// Commits a file and gives the commit.
    pub(crate) fn commit(&self, file: &str, text: &str) -> String {
        let path = self.path("repository").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message=change"]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args([
                "-c",
                "safe.directory=*",
                "-c",
                "user.name=dev",
                "-c",
                "user.email=dev@example.org",
                "-c",
                "commit.gpgsign=false",
            ])
            .args(arguments)
            .current_dir(self.path("repository"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A push of `after` to main in which these files changed.
    pub(crate) fn push(&self, before: &str, after: &str, files: &[&str]) -> Value {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        json!({
            "ref": "refs/heads/main", "before": before, "after": after,
            "created": false, "deleted": false, "forced": false,
            "repository": { "id": 1, "full_name": "acme/models", "name": "models", "pushed_at": now,
                            "owner": { "login": "acme", "name": "acme" }, "default_branch": "main" },
            "pusher": { "name": "dev", "email": null }, "sender": { "login": "dev" },
            "commits": [{ "id": after, "message": "change", "added": files, "modified": [], "removed": [] }],
            "head_commit": { "id": after, "message": "change" },
        })
    }

    /// The program, in this world and with nothing of the environment around.
    pub(crate) fn program(&self, arguments: &[&str]) -> Command {
        let program = assert_cmd::cargo::cargo_bin!("swifthook");
        let mut command = match self.user {
            Some(user) => {
                let mut command = Command::new("setpriv");
                let (uid, gid) = (format!("--reuid={user}"), format!("--regid={user}"));
                command.args([&uid, &gid, "--clear-groups"]).arg(program);
                command
            }
            None => Command::new(program),
        };
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", self.search_path())
            .env("LD_LIBRARY_PATH", self.path("bin"))
            .env("HOME", self.folder.path())
            .env("LANG", "C.UTF-8");
        command
    }

    /// With the programs of this world first, if it has any.
    fn search_path(&self) -> String {
        format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap())
    }

    pub(crate) fn serve(&self) -> Running {
        self.serve_with(&[])
    }

    pub(crate) fn serve_with(&self, arguments: &[&str]) -> Running {
        let mut command = self.program(&["serve"]);
        command.args(arguments);
        self.started(command)
    }

    /// Serves under another program, which `by` gives.
    pub(crate) fn serve_by(&self, by: impl FnOnce(&Command) -> Command) -> Running {
        let program = self.program(&["serve"]);
        let mut command = by(&program);
        command.current_dir(self.folder.path()).env_clear();
        command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        self.started(command)
    }

    fn started(&self, mut command: Command) -> Running {
        let log = fs::File::options().create(true).append(true).open(self.path("server.log")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // The hooks, of which there may be none, and last the admin API.
        let (mut hook, mut admin) = (String::new(), None);
        while admin.is_none() {
            let line = lines.next().unwrap_or_else(|| panic!("it ended: {}", self.server_log())).unwrap();
            let url = line.find("http://").map(|start| line[start..].split(' ').next().unwrap().to_owned());
            match url {
                Some(url) if line.contains("admin API at ") => admin = Some(url),
                Some(url) if hook.is_empty() => hook = url,
                _ => {}
            }
        }
        let admin = admin.unwrap();
        let token = fs::read_to_string(self.path("swifthook-state/admin-token")).unwrap().trim().to_owned();
        Running { child: Some(child), hook, admin, token }
    }

    pub(crate) fn server_log(&self) -> String {
        fs::read_to_string(self.path("server.log")).unwrap_or_default()
    }
}

/// A server that runs. It is killed when the test is over.
pub(crate) struct Running {
    child: Option<Child>,
    pub(crate) hook: String,
    pub(crate) admin: String,
    pub(crate) token: String,
}

impl Running {
    /// Posts a push as GitHub does.
    pub(crate) fn deliver(&self, payload: &Value) -> Answer {
        self.deliver_signed(payload, SECRET)
    }

    pub(crate) fn deliver_signed(&self, payload: &Value, secret: &str) -> Answer {
        let delivery = Delivery::push(payload.to_string());
        delivery.post(&self.hook.parse().unwrap(), secret.as_bytes()).unwrap()
    }

    /// A call of the admin API: status and body.
    pub(crate) fn call(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        self.call_as(method, path, body, &format!("Bearer {}", self.token))
    }

    pub(crate) fn call_as(&self, method: &str, path: &str, body: &str, authorization: &str) -> (u16, String) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.admin))
            .header("authorization", authorization)
            .body(body.to_owned())
            .unwrap();
        let mut answer = agent.run(request).unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let (status, body) = self.call("GET", path, "");
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    pub(crate) fn job(&self, id: &str) -> Value {
        self.get(&format!("/api/v1/jobs/{id}"))
    }

    /// The job once it is in one of the states.
    pub(crate) fn wait_for(&self, id: &str, states: &[&str]) -> Value {
        until(|| Some(self.job(id)).filter(|job| states.contains(&job["state"].as_str().unwrap())))
            .unwrap_or_else(|| panic!("not {states:?}: {:#}", self.job(id)))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits for its end.
    pub(crate) fn ended(mut self) -> std::process::ExitStatus {
        let mut child = self.child.take().unwrap();
        until(|| child.try_wait().unwrap()).unwrap_or_else(|| {
            let _ = child.kill();
            panic!("it does not end")
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a recipe says to train with the toy trainer by this configuration, at the [pace](World::pace) of its world.
pub(crate) fn trains(config: &str) -> String {
    let program = assert_cmd::cargo::cargo_bin!("swifthook").display();
    let text = "cat \"$1\" >\"$2/config\" && echo \"step_delay_ms: $(cat \"$HOME/pace\")\" >>\"$2/config\" && \
        exec \"$0\" toy-trainer --config \"$2/config\" --output-dir \"$2\"";
    format!(
        "run = {{ command = [\"sh\", \"-c\", '{text}', \"{program}\", \"{config}\", \"{{output_dir}}\"] }}"
    )
}

/// Waits until there is something, at most a while.
pub(crate) fn until<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + Duration::from_secs(180);
    while Instant::now() < deadline {
        if let Some(found) = look() {
            return Some(found);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    None
}

pub(crate) fn job_of(answer: &Answer) -> String {
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    body["verdicts"][0]["jobs"][0]["id"].as_str().unwrap_or_else(|| panic!("no job: {body}")).to_owned()
}

/// Whether a file appears.
pub(crate) fn appears(file: &Path) -> bool {
    until(|| file.exists().then_some(())).is_some()
}
