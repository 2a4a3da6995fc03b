//! A world whose jobs are in a database, with servers and workers that share it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::SystemTime;

use serde_json::Value;
use swifthook::send::{Answer, Delivery};

use crate::world::{Running, SECRET, World, until};

pub(crate) struct Site {
    pub(crate) world: World,
    url: String,
    recipe: String,
}

/// A worker that runs. It is killed when the test is over.
pub(crate) struct Working(Option<Child>);

impl Site {
    /// With a recipe that says these lines.
    pub(crate) fn new(url: &str, recipe: &str) -> Self {
        Self { world: World::new(recipe), url: url.to_owned(), recipe: recipe.to_owned() }
    }

    /// A server whose `[worker]` says these lines.
    pub(crate) fn serve(&self, worker: &str) -> Running {
        self.world
            .configure(&format!("{}\n[store]\nurl = \"{}\"\n[worker]\n{worker}", self.recipe, self.url));
        self.world.serve()
    }

    /// A worker on what it takes for a host of its own.
    pub(crate) fn work(&self, name: &str, worker: &str) -> Working {
        let log = fs::File::options().create(true).append(true).open(self.world.path("server.log")).unwrap();
        let config = format!(
            "[store]\nurl = \"{}\"\nstate_dir = \"{name}\"\n[worker]\n{worker}\n\
             [[repository]]\nname = \"acme/models\"\nclone_url = \"file://{}\"\n\
             [[recipe]]\nname = \"sft\"\nrepository = \"acme/models\"\nbranches = [\"main\"]\ntrust = \"code\"\n{}\n",
            self.url,
            self.world.path("repository").display(),
            self.recipe
        );
        let file = format!("{name}.toml");
        fs::write(self.world.path(&file), config).unwrap();
        let mut command = self.world.program(&["worker", "--config", &file]);
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("working with "), "{line}{}", self.world.server_log());
        Working(Some(child))
    }

    /// A push of a commit that nobody pushed before, with its commit.
    pub(crate) fn push(&self) -> (String, Value) {
        let number = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
        let before = self.world.commit("before.txt", &number.to_string());
        let commit = self.world.commit("config.txt", &number.to_string());
        let push = self.world.push(&before, &commit, &["config.txt"]);
        (commit, push)
    }

    /// How often the command of the recipe began.
    pub(crate) fn runs(&self) -> usize {
        fs::read_to_string(self.world.path("ran")).unwrap_or_default().lines().count()
    }

    pub(crate) fn lets_go(&self) {
        fs::write(self.world.path("go"), "").unwrap();
    }
}

impl Working {
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.0.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits for its end.
    pub(crate) fn ended(mut self) -> std::process::ExitStatus {
        let mut child = self.0.take().unwrap();
        until(|| child.try_wait().unwrap()).unwrap_or_else(|| {
            let _ = child.kill();
            panic!("it does not end")
        })
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Posts deliveries from many threads at once, in turn to each server.
pub(crate) fn deliver_all(to: &[&Running], deliveries: &[Delivery]) -> Vec<Answer> {
    const THREADS: usize = 16;
    let share = deliveries.len().div_ceil(THREADS);
    std::thread::scope(|scope| {
        let threads: Vec<_> = deliveries
            .chunks(share)
            .map(|chunk| {
                scope.spawn(move || {
                    let to = to.iter().cycle();
                    chunk.iter().zip(to).map(|(delivery, to)| deliver(to, delivery)).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

pub(crate) fn deliver(to: &Running, delivery: &Delivery) -> Answer {
    delivery.post(&to.hook.parse().unwrap(), SECRET.as_bytes()).unwrap()
}

/// Leaves a mark, and ends so when it is let go.
pub(crate) fn marks_and_ends_with(code: u8) -> String {
    format!(
        "run = {{ command = [\"sh\", \"-c\", \"echo $SWIFTHOOK_JOB >> $HOME/ran; until [ -e $HOME/go ]; do sleep 0.05; done; exit {code}\"] }}"
    )
}
