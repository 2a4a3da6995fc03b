use std::io;

use http::Uri;
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
            agent: ureq::Agent::config_builder().proxy(None).build().into(),
            running: runtime.spawn(server.run(async { drop(stopped.await) })),
            runtime,
            stop,
        })
    }

    pub(super) fn job(&self, id: &str) -> Result<JobView, DemoError> {
        let url = format!("{}/jobs/{id}", self.api);
        let asked = self.agent.get(&url).header("Authorization", self.token.bearer()).call();
        let read = asked.and_then(|mut answer| answer.body_mut().read_to_string());
        let text = read.map_err(|source| DemoError::Api { url: url.clone(), source })?;
        serde_json::from_str(&text).map_err(|error| DemoError::unexpected(format!("{url}: {error}")))
    }

    /// Shuts it down in good order, so that the store is free for what comes next.
    pub(super) fn stop(self) -> Result<(), DemoError> {
        drop(self.stop);
        let stopped = self.runtime.block_on(self.running);
        stopped.map_err(|error| DemoError::unexpected(format!("the server did not end well: {error}")))
    }
}
