use std::collections::BTreeSet;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use http::{StatusCode, Uri};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::DemoError;
use super::setting::Setting;
use crate::api::JobView;
use crate::config::Config;
use crate::serve::{self, Token};

/// The server of the demo. It runs in this process, and the demo knows it as everybody does: over HTTP.
pub(super) struct Server {
    pub(super) url: Uri,
    api: String,
    token: Token,
    agent: ureq::Agent,
    runtime: Runtime,
    running: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Server {
    pub(super) fn start(setting: &Setting) -> Result<Self, DemoError> {
        let config = Config::load(&setting.config, &|name| std::env::var(name).ok())?;
        let state_dir = config.store.state_dir.clone();
        let failed = |error: io::Error| DemoError::folder(&state_dir, error);
        let runtime = Runtime::new().map_err(failed)?;
        let server = runtime.block_on(serve::Server::open(config))?;
        let addresses = server.addresses();
        let (stop, stopped) = oneshot::channel();
        Ok(Self {
            url: format!("http://{}/webhook", addresses.hooks).parse().expect("an address makes a URL"),
            api: format!("http://{}/api/v1", addresses.admin),
            token: Token::found_in(&state_dir).map_err(failed)?,
            agent: ureq::Agent::config_builder().proxy(None).http_status_as_error(false).build().into(),
            running: runtime.spawn(server.run(async { drop(stopped.await) })),
            runtime,
            stop,
        })
    }

    pub(super) fn job(&self, id: &str) -> Result<JobView, DemoError> {
        self.get(&format!("jobs/{id}"))
    }

    /// Ends all that waits and runs.
    pub(super) fn end_all(&self) -> Result<(), DemoError> {
        let (mut ended, deadline) = (BTreeSet::new(), Instant::now() + PATIENCE);
        loop {
            let open: Page = self.get("jobs?state=held,queued,running,finishing&limit=1000")?;
            if open.jobs.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(DemoError::unexpected("the training does not end"));
            }
            for job in open.jobs {
                if ended.insert(job.id) {
                    self.cancel(&job)?;
                }
            }
            thread::sleep(GLANCE);
        }
    }

    /// One that has ended meanwhile refuses, which is fine.
    fn cancel(&self, job: &JobView) -> Result<(), DemoError> {
        let path = format!("jobs/{}/cancel", job.id);
        let (status, answer) = self.call(&path, Some(&serde_json::json!({})))?;
        if status == StatusCode::PRECONDITION_REQUIRED {
            self.call(&path, Some(&serde_json::json!({ "confirm": answer["confirm"] })))?;
        }
        Ok(())
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, DemoError> {
        let (_, answer) = self.call(path, None)?;
        let told = answer.to_string();
        serde_json::from_value(answer)
            .map_err(|error| DemoError::unexpected(format!("{path}: {error}: {told}")))
    }

    fn call(&self, path: &str, body: Option<&Value>) -> Result<(StatusCode, Value), DemoError> {
        let url = format!("{}/{path}", self.api);
        let bearer = self.token.bearer();
        let asked = match body {
            None => self.agent.get(&url).header("Authorization", bearer).call(),
            Some(body) => self.agent.post(&url).header("Authorization", bearer).send(body.to_string()),
        };
        let read = asked.and_then(|mut answer| Ok((answer.status(), answer.body_mut().read_to_string()?)));
        let (status, text) = read.map_err(|source| DemoError::Api { url: url.clone(), source })?;
        let answer = serde_json::from_str(&text);
        Ok((status, answer.map_err(|error| DemoError::unexpected(format!("{url}: {error}")))?))
    }

    /// Shuts it down in good order, so that the store is free for what comes next.
    pub(super) fn stop(self) -> Result<(), DemoError> {
        drop(self.stop);
        let stopped = self.runtime.block_on(self.running);
        stopped.map_err(|error| DemoError::unexpected(format!("the server did not end well: {error}")))
    }
}

#[derive(Deserialize)]
struct Page {
    jobs: Vec<JobView>,
}

/// A run that does not end when it is asked to is killed after its grace, half a minute.
const PATIENCE: Duration = Duration::from_secs(90);
const GLANCE: Duration = Duration::from_millis(40);
