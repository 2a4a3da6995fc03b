//! A database that goes away and comes back.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use swifthook::send::Delivery;

use crate::cluster::Cluster;
use crate::site::{Site, deliver};
use crate::world::{Running, job_of, until};

#[test]
fn nothing_is_lost_and_nothing_trained_twice_while_the_database_stops_and_crashes() {
    let cluster = Cluster::new();
    let url = cluster.database("outage");
    let recipe = "superseded = \"keep\"\ngroup = \"{commit}\"\n\
        run = { command = [\"sh\", \"-c\", \"echo $SWIFTHOOK_JOB >> $HOME/ran\"] }";
    let site = Site::new(&url, recipe);
    let server = site.serve("slots = 3");
    let worker = site.work("worker", "slots = 2");
    let load = Load::new(&site, 60, 30);

    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..4).map(|_| scope.spawn(|| load.send(&server))).collect();
        for (how, kept_back) in [("fast", 20), ("immediate", 0)] {
            let answered = load.answered();
            until(|| (load.answered() >= answered + 10).then_some(())).expect("pushes are taken");
            cluster.stop(how);
            // None of them is taken now.
            load.kept_back.store(0, Ordering::Relaxed);
            let refused = load.refused.load(Ordering::Relaxed);
            let (status, why) =
                until(|| Some(ready(&server)).filter(|ready| ready.0 == 503)).expect("it is not ready");
            assert!(why.contains("\"failing\":[\"store\"]"), "{status} {why}");
            until(|| (load.refused.load(Ordering::Relaxed) > refused).then_some(()))
                .expect("a push is answered 503");
            load.kept_back.store(kept_back, Ordering::Relaxed);
            cluster.start();
            until(|| (ready(&server).0 == 200).then_some(())).expect("it is ready again, without a restart");
        }
        senders.into_iter().for_each(|sender| sender.join().unwrap());
    });

    let jobs = load.jobs.into_inner().unwrap();
    assert_eq!((jobs.len(), jobs.values().collect::<HashSet<_>>().len()), (60, 60));
    for (commit, id) in &jobs {
        let job = server.wait_for(id, &["succeeded", "failed", "quarantined", "cancelled"]);
        assert_eq!((&job["state"], &job["commit"]), (&json!("succeeded"), &json!(commit)), "{job:#}");
    }
    let ran = std::fs::read_to_string(site.world.path("ran")).unwrap();
    let mut ran: Vec<_> = ran.lines().collect();
    ran.sort_unstable();
    let mut ids: Vec<_> = jobs.values().map(String::as_str).collect();
    ids.sort_unstable();
    assert_eq!(ran, ids, "each once");
    let kept = until(|| Some(ignored(&server)).filter(|kept| *kept >= 30));
    assert!(kept.is_some(), "{} of 30 pushes that train nothing are kept", ignored(&server));
    server.signal("TERM");
    worker.signal("TERM");
    assert!(server.ended().success() && worker.ended().success());
}

/// Pushes that are delivered until they are answered well, as a person would from the webhook's page.
struct Load {
    waiting: Mutex<Vec<(Option<String>, Delivery)>>,
    /// Jobs by their commits.
    jobs: Mutex<HashMap<String, String>>,
    ignored: AtomicUsize,
    refused: AtomicUsize,
    /// How many are kept back for what comes, so that there is load then, however fast the server is.
    kept_back: AtomicUsize,
}

impl Load {
    fn new(site: &Site, trained: usize, ignored: usize) -> Self {
        let mut waiting = Vec::new();
        for number in 0..trained {
            let (commit, push) = site.push();
            if number < ignored {
                let mut other = push.clone();
                other["ref"] = json!("refs/heads/other");
                waiting.push((None, Delivery::push(other.to_string())));
            }
            waiting.push((Some(commit), Delivery::push(push.to_string())));
        }
        Self {
            waiting: Mutex::new(waiting),
            jobs: Mutex::default(),
            ignored: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            kept_back: AtomicUsize::new(50),
        }
    }

    fn send(&self, server: &Running) {
        loop {
            let next = {
                let mut waiting = self.waiting.lock().unwrap();
                let kept_back = self.kept_back.load(Ordering::Relaxed);
                (kept_back == 0 || waiting.len() > kept_back).then(|| waiting.pop())
            };
            match next {
                None => std::thread::sleep(Duration::from_millis(5)),
                Some(None) => return,
                Some(Some((commit, delivery))) => self.send_one(server, commit, delivery),
            }
        }
    }

    fn send_one(&self, server: &Running, commit: Option<String>, delivery: Delivery) {
        let answer = deliver(server, &delivery);
        match (answer.status.as_u16(), commit) {
            (200 | 202, Some(commit)) => {
                let before = self.jobs.lock().unwrap().insert(commit, job_of(&answer));
                assert_eq!(before, None);
            }
            (200, None) => drop(self.ignored.fetch_add(1, Ordering::Relaxed)),
            (503, commit) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                self.waiting.lock().unwrap().insert(0, (commit, delivery));
            }
            (status, _) => panic!("{status}: {}", answer.body),
        }
        // A pace at which the load outlasts the outages.
        std::thread::sleep(Duration::from_millis(10));
    }

    fn answered(&self) -> usize {
        self.jobs.lock().unwrap().len()
    }
}

fn ready(server: &Running) -> (u16, String) {
    let url = server.hook.replace("/webhook", "/readyz");
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
    let mut answer = agent.get(url).call().unwrap();
    (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
}

fn ignored(server: &Running) -> usize {
    let page = server.get("/api/v1/deliveries?limit=500");
    let deliveries = page["deliveries"].as_array().unwrap();
    deliveries.iter().filter(|delivery| delivery["ref"] == "refs/heads/other").count()
}
