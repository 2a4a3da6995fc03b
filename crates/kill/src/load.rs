//! Signed pushes, as fast as the runs come along: new changes, old ones again, and some that no recipe wants.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::Failure;
use crate::http::{Reply, ask};
use crate::marks;
use crate::schedule::Random;
use crate::site::{REPOSITORY, SECRET, Site};

/// What was sent and what came back.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) pushes: usize,
    pub(crate) unanswered: usize,
    pub(crate) not_stored: usize,
    pub(crate) accepted: usize,
    /// A commit and a job that a reply named for it; none where the reply broke off.
    pub(crate) promises: Vec<(String, Option<String>)>,
    /// The commits of all pushes that a recipe wants, answered or not.
    pub(crate) commits: Vec<String>,
    /// Replies that must not be.
    pub(crate) wrong: Vec<String>,
    deliveries: Vec<Delivery>,
    next: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Delivery {
    commit: Option<String>,
    guid: String,
    body: Vec<u8>,
}

/// The threads that send.
pub(crate) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    site: Where,
    sent: Mutex<Sent>,
    accepted: AtomicUsize,
    is_over: AtomicBool,
}

struct Where {
    hooks: std::net::SocketAddr,
    marks: std::path::PathBuf,
    branches: Vec<Vec<String>>,
}

impl Load {
    pub(crate) fn begin(site: &Site, seed: u64) -> Self {
        let sent = Sent { next: vec![0; site.branches.len()], ..Sent::default() };
        let shared = Arc::new(Shared {
            site: Where { hooks: site.hooks, marks: site.marks(), branches: site.branches.clone() },
            sent: Mutex::new(sent),
            accepted: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        });
        let send = |number: u64| {
            let shared = shared.clone();
            thread::spawn(move || shared.send(&mut Random::new(seed.wrapping_add(number))))
        };
        let threads = (1..=2).map(send).collect();
        Self { shared, threads }
    }

    /// Tells how many 202 there were.
    pub(crate) fn counter(&self) -> impl Fn() -> usize + 'static {
        let shared = self.shared.clone();
        move || shared.accepted.load(Ordering::Relaxed)
    }

    /// Stops and tells what was sent.
    pub(crate) fn end(self) -> Result<Sent, Failure> {
        self.shared.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().map_err(|_| "the load failed")?;
        }
        Ok(std::mem::take(&mut *self.shared.sent.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Shared {
    fn send(&self, random: &mut Random) {
        while !self.is_over.load(Ordering::Relaxed) {
            let delivery = self.choose(random);
            let reply = ask(self.site.hooks, "POST /webhook", &head(&delivery), &delivery.body).ok();
            self.note(&delivery, reply);
            thread::sleep(Duration::from_millis(10) + random.milliseconds(50));
        }
    }

    fn choose(&self, random: &mut Random) -> Delivery {
        let ended = marks::count_ends(&self.site.marks);
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let dice = random.below(10);
        if dice < 2 {
            return push("refs/heads/docs", None, &format!("{:040x}", random.next()), random);
        }
        let has_room = sent.commits.len() < ended + BACKLOG;
        if (dice < 7 && has_room) || sent.deliveries.is_empty() {
            return self.new_change(&mut sent, random);
        }
        let place = usize::try_from(random.next()).unwrap_or(0) % sent.deliveries.len();
        let old = sent.deliveries[place].clone();
        match random.below(2) {
            0 => old,
            _ => Delivery { guid: guid(random), ..old },
        }
    }

    fn new_change(&self, sent: &mut Sent, random: &mut Random) -> Delivery {
        let branches = &self.site.branches;
        let branch = usize::try_from(random.next()).unwrap_or(0) % branches.len();
        let place = sent.next[branch] % branches[branch].len();
        sent.next[branch] += 1;
        let before = place.checked_sub(1).map(|place| &*branches[branch][place]);
        let commit = &branches[branch][place];
        let mut delivery = push(&format!("refs/heads/train/{branch}"), before, commit, random);
        delivery.commit = Some(commit.clone());
        sent.commits.push(commit.clone());
        sent.deliveries.push(delivery.clone());
        delivery
    }

    fn note(&self, delivery: &Delivery, reply: Option<Reply>) {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.pushes += 1;
        let Some(reply) = reply else {
            sent.unanswered += 1;
            return;
        };
        match (reply.status, &delivery.commit) {
            (202, Some(commit)) => {
                sent.accepted += 1;
                sent.promises.extend(promises(commit, &reply));
                self.accepted.fetch_add(1, Ordering::Relaxed);
            }
            (200, Some(commit)) => sent.promises.extend(promises(commit, &reply)),
            (200, None) => {}
            (503, _) => sent.not_stored += 1,
            (status, _) => {
                let text = format!("{status}: {}", String::from_utf8_lossy(&reply.body));
                sent.wrong.push(text);
            }
        }
    }
}

/// The jobs that a reply names; the commit alone where it broke off.
fn promises(commit: &str, reply: &Reply) -> Vec<(String, Option<String>)> {
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let verdicts = body["verdicts"].as_array().into_iter().flatten();
    let jobs = verdicts.flat_map(|verdict| verdict["jobs"].as_array().into_iter().flatten());
    let named: Vec<_> =
        jobs.filter_map(|job| Some((commit.to_owned(), Some(job["id"].as_str()?.to_owned())))).collect();
    if named.is_empty() { vec![(commit.to_owned(), None)] } else { named }
}

fn push(full_ref: &str, before: Option<&str>, head: &str, random: &mut Random) -> Delivery {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let (owner, name) = REPOSITORY.split_once('/').expect("a repository has an owner");
    let commit = json!({ "id": head, "message": "tune", "added": [], "removed": [], "modified": ["number"] });
    let body = json!({
        "ref": full_ref, "before": before.unwrap_or(ZEROS), "after": head,
        "created": before.is_none(), "deleted": false, "forced": false, "base_ref": null,
        "repository": {
            "id": 4242, "name": name, "full_name": REPOSITORY, "owner": { "login": owner },
            "default_branch": "main", "pushed_at": now,
        },
        "pusher": { "name": "dev" }, "sender": { "login": "dev", "id": 1, "type": "User" },
        "commits": [commit.clone()], "head_commit": commit,
    });
    Delivery { commit: None, guid: guid(random), body: body.to_string().into_bytes() }
}

fn head(delivery: &Delivery) -> String {
    let mut hmac =
        Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("an HMAC takes keys of any length");
    hmac.update(&delivery.body);
    let signature = base16ct::lower::encode_string(&hmac.finalize().into_bytes());
    format!(
        "Content-Type: application/json\r\nX-GitHub-Event: push\r\nX-GitHub-Delivery: {}\r\n\
         X-Hub-Signature-256: sha256={signature}\r\n",
        delivery.guid
    )
}

fn guid(random: &mut Random) -> String {
    let [a, b] = [random.next(), random.next()];
    format!("{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}", a >> 32, a & 0xffff, b >> 52, b & 0xfff, (a ^ b) >> 16)
}

/// So many changes wait at most, so that the runs come along on any machine.
const BACKLOG: usize = 24;
const ZEROS: &str = "0000000000000000000000000000000000000000";
