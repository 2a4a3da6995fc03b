//! What every launcher promises, on the real cluster of `KUBECONFIG`: see `scripts/kubernetes-contract.sh`.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world has failed")]

#[expect(dead_code, reason = "other tests need the rest of it")]
mod support;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use k8s_openapi::api::batch::v1::Job;
use kube::client::Body;
use kube::{Api, Client};
use swifthook_conformance::launcher::{Ground, Plan};
use swifthook_core::{RunKey, RunSpec, TrainingLauncher};
use swifthook_launch::{KubernetesLauncher, KubernetesSettings, Tools};
use tokio::sync::watch;

struct Cluster {
    disk: tempfile::TempDir,
    is_cut_off: watch::Sender<bool>,
    client: OnceLock<Client>,
}

impl Cluster {
    fn new() -> Self {
        Self {
            disk: tempfile::tempdir().unwrap(),
            is_cut_off: watch::Sender::new(false),
            client: OnceLock::new(),
        }
    }

    fn runs(&self) -> PathBuf {
        self.disk.path().join("runs")
    }

    fn namespace() -> String {
        std::env::var("SWIFTHOOK_TEST_NAMESPACE").unwrap_or_else(|_| "default".into())
    }

    fn client(&self) -> &Client {
        self.client.get_or_init(|| {
            assert!(std::env::var_os("KUBECONFIG").is_some(), "KUBECONFIG names no cluster");
            let loading = tokio::runtime::Handle::current();
            tokio::task::block_in_place(|| loading.block_on(Client::try_default())).unwrap()
        })
    }

    /// The cluster as it is reached over a line that can be cut.
    fn line(&self) -> Client {
        let (client, is_cut_off) = (self.client().clone(), self.is_cut_off.clone());
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let (client, mut cut) = (client.clone(), is_cut_off.subscribe());
            async move {
                if *cut.borrow_and_update() {
                    return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
                }
                let answer = client.send(request).await.map_err(io::Error::other)?;
                let (parts, mut body) = answer.into_parts();
                // Goes with the body, so when the launcher has read that it is broken.
                let held = cut.clone();
                let frames = async_stream(move |sender| async move {
                    loop {
                        let piece = tokio::select! {
                            _ = cut.wait_for(|is_cut_off| *is_cut_off) => Some(Err(io::ErrorKind::ConnectionReset.into())),
                            frame = body.frame() => frame.map(|frame| {
                                frame.map(|frame| frame.into_data().unwrap_or_default()).map_err(io::Error::other)
                            }),
                        };
                        let Some(piece) = piece else { return };
                        let is_broken = piece.is_err();
                        if sender.send(piece).await.is_err() || is_broken {
                            return;
                        }
                    }
                });
                let frames = frames.inspect(move |_| drop(held.has_changed()));
                Ok(http::Response::from_parts(parts, StreamBody::new(frames).boxed_unsync()))
            }
        });
        Client::new(service, "default")
    }

    fn settings() -> KubernetesSettings {
        KubernetesSettings {
            namespace: Self::namespace(),
            owner: "swifthook-contract".into(),
            image: Some(std::env::var("SWIFTHOOK_TEST_IMAGE").expect("SWIFTHOOK_TEST_IMAGE names an image")),
            tools: Tools {
                image: std::env::var("SWIFTHOOK_TEST_TOOLS").expect("SWIFTHOOK_TEST_TOOLS names an image"),
                program: "swifthook-supervise".into(),
            },
            ..KubernetesSettings::default()
        }
    }
}

/// What a task sends, as frames.
fn async_stream<F: Future<Output = ()> + Send + 'static>(
    task: impl FnOnce(tokio::sync::mpsc::Sender<io::Result<Bytes>>) -> F,
) -> impl futures_util::Stream<Item = io::Result<Frame<Bytes>>> {
    let (sender, mut received) = tokio::sync::mpsc::channel(16);
    tokio::spawn(task(sender));
    futures_util::stream::poll_fn(move |context| {
        received.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    })
}

impl Ground for Cluster {
    fn launcher(&self) -> Arc<dyn TrainingLauncher> {
        Arc::new(KubernetesLauncher::new(self.line(), self.runs(), Self::settings()).unwrap())
    }

    fn run(&self, key: &RunKey, plan: Plan) -> RunSpec {
        fs::create_dir_all(self.runs()).unwrap();
        let then = match plan {
            Plan::Exits(code) => format!("exit {code}"),
            Plan::Killed(signal) => format!("kill -{signal} $$"),
            Plan::Lasts => "exec sleep 600".to_owned(),
        };
        let mut run = support::script(&self.runs(), key, &format!("echo {key}; {then}"));
        run.working_dir = run.run_dir.join("tree");
        // That of this machine is none of the image.
        run.env.remove("PATH");
        run
    }

    fn begun(&self, key: &RunKey) -> usize {
        let jobs: Api<Job> = Api::namespaced(self.client().clone(), &Self::namespace());
        let asking = tokio::runtime::Handle::current();
        let job = tokio::task::block_in_place(|| asking.block_on(jobs.get_opt(&format!("swifthook-{key}"))))
            .unwrap();
        let is_of_a_run = |job: &Job| {
            !job.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key("swifthook/spent"))
        };
        usize::from(job.as_ref().is_some_and(is_of_a_run))
    }

    fn log(&self, key: &RunKey) -> Option<String> {
        Some(fs::read_to_string(self.runs().join(key.to_string()).join("log")).unwrap_or_default())
    }

    fn cut_off(&self) {
        self.is_cut_off.send_replace(true);
        // Until every launcher has let go of its connections.
        while self.is_cut_off.receiver_count() > 0 {
            std::thread::yield_now();
        }
    }

    fn reconnect(&self) {
        self.is_cut_off.send_replace(false);
    }

    async fn pass(&self, time: Duration) {
        // The world decides how long things take.
        tokio::time::sleep(time.clamp(Duration::from_millis(200), Duration::from_secs(1))).await;
    }
}

swifthook_conformance::launcher_contract!(Cluster::new());
