//! Signed pushes, as fast as the runs come along: new changes, old ones again, commits that a branch comes to again from
//! elsewhere, and some that no recipe wants.

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
use crate::repository::REPOSITORY;
use crate::schedule::Random;
use crate::site::{SECRET, Site};

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
    /// What is to be sent next, before anything else.
    due: Vec<Delivery>,
    next: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Delivery {
    commit: Option<String>,
    guid: String,
    body: Vec<u8>,
    /// The receiver that it was first sent to.
    first: usize,
    /// It moves nothing, so that no job of it has to train.
    is_empty: bool,
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
    hooks: Vec<std::net::SocketAddr>,
    marks: std::path::PathBuf,
    branches: Vec<Vec<String>>,
    backlog: usize,
    has_broker: bool,
}

impl Load {
    pub(crate) fn begin(site: &Site, seed: u64) -> Self {
        let sent = Sent { next: vec![0; site.branches.len()], ..Sent::default() };
        let shared = Arc::new(Shared {
            site: Where {
                hooks: site.hooks(),
                marks: site.marks(),
                branches: site.branches.clone(),
                backlog: site.backlog,
                has_broker: site.has_broker,
            },
            sent: Mutex::new(sent),
            accepted: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        });
        // Each receiver has senders of its own, so that one that stands still holds up no other.
        let send = |sender: usize| {
            let shared = shared.clone();
            let mut random = Random::new(seed.wrapping_add(1 + sender as u64));
            thread::spawn(move || shared.send(sender, &mut random))
        };
        let receivers = shared.site.hooks.len();
        let threads = (0..SENDERS * receivers).map(send).collect();
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
    fn send(&self, sender: usize, random: &mut Random) {
        let receiver = sender % self.site.hooks.len();
        let hooks = self.site.hooks[receiver];
        while !self.is_over.load(Ordering::Relaxed) {
            let delivery = self.choose(receiver, random);
            let reply = ask(hooks, "POST /webhook", &head(&delivery), &delivery.body, PATIENCE).ok();
            self.note(&delivery, reply);
            thread::sleep(Duration::from_millis(10) + random.milliseconds(50));
        }
    }

    fn choose(&self, receiver: usize, random: &mut Random) -> Delivery {
        let ended = marks::count_ends(&self.site.marks);
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(due) = sent.due.pop() {
            return due;
        }
        let dice = random.below(12);
        if dice < 2 {
            return push("refs/heads/docs", None, &format!("{:040x}", random.next()), random);
        }
        let has_room = sent.commits.len() < ended + self.site.backlog;
        if (dice < 7 && has_room) || sent.deliveries.is_empty() {
            return self.new_change(&mut sent, receiver, random);
        }
        let old = old(&sent.deliveries, receiver, random).clone();
        if dice > 9 {
            return self.repetition(&old, receiver, random);
        }
        match random.below(2) {
            0 => old,
            _ => Delivery { guid: guid(random), ..old },
        }
    }

    fn new_change(&self, sent: &mut Sent, receiver: usize, random: &mut Random) -> Delivery {
        let branches = &self.site.branches;
        let branch = usize::try_from(random.next()).unwrap_or(0) % branches.len();
        let place = sent.next[branch] % branches[branch].len();
        sent.next[branch] += 1;
        let before = place.checked_sub(1).map(|place| &*branches[branch][place]);
        let commit = &branches[branch][place];
        let full_ref = format!("refs/heads/train/{branch}");
        let mut delivery = push(&full_ref, before, commit, random);
        (delivery.commit, delivery.first) = (Some(commit.clone()), receiver);
        sent.commits.push(commit.clone());
        sent.deliveries.push(delivery.clone());
        if random.below(6) > 0 {
            return delivery;
        }
        // GitHub Enterprise tells of a push at first as if it moved nothing.
        sent.due.push(delivery);
        let empty = moved(&full_ref, Some(commit), commit, Listed::Nothing, random);
        Delivery { first: receiver, is_empty: true, ..empty }
    }

    /// The branch is forced to a commit that it was at before, from another one.
    fn repetition(&self, old: &Delivery, receiver: usize, random: &mut Random) -> Delivery {
        let commit = old.commit.as_deref().unwrap_or_default();
        let branches = self.site.branches.iter().enumerate();
        let mut places = branches.filter_map(|(branch, all)| {
            all.iter().position(|other| other == commit).map(|place| (branch, all, place))
        });
        let Some((branch, all, place)) = places.next() else { return old.clone() };
        let step = 1 + usize::try_from(random.below(5)).unwrap_or(0);
        let before =
            &all[if random.below(2) == 0 { place + step } else { place.wrapping_sub(step) } % all.len()];
        let full_ref = format!("refs/heads/train/{branch}");
        let forced = moved(&full_ref, Some(before), commit, Listed::Forced, random);
        Delivery { commit: Some(commit.to_owned()), first: receiver, ..forced }
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
            // Git is asked whether it moved anything.
            (202, None) if delivery.is_empty => {}
            // A broker takes it before anybody knows whether a job comes of it.
            (202, None) if self.site.has_broker => {}
            (503, _) => sent.not_stored += 1,
            (status, _) => {
                let text = format!("{status}: {}", String::from_utf8_lossy(&reply.body));
                sent.wrong.push(text);
            }
        }
    }
}

/// A delivery that was sent before, to another receiver if there is one: any, or one of the last, whose first sending
/// may be under way.
fn old<'a>(deliveries: &'a [Delivery], receiver: usize, random: &mut Random) -> &'a Delivery {
    let newest = deliveries.len().saturating_sub(if random.below(2) == 0 { 6 } else { usize::MAX });
    let some = &deliveries[newest..];
    let others: Vec<_> = some.iter().filter(|delivery| delivery.first != receiver).collect();
    let place = usize::try_from(random.next()).unwrap_or(0);
    if others.is_empty() { &some[place % some.len()] } else { others[place % others.len()] }
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

/// What a payload tells of the commits of a push.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listed {
    All,
    /// The lists mean nothing.
    Forced,
    Nothing,
}

fn push(full_ref: &str, before: Option<&str>, head: &str, random: &mut Random) -> Delivery {
    moved(full_ref, before, head, Listed::All, random)
}

fn moved(full_ref: &str, before: Option<&str>, head: &str, listed: Listed, random: &mut Random) -> Delivery {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let (owner, name) = REPOSITORY.split_once('/').expect("a repository has an owner");
    let commit = json!({ "id": head, "message": "tune", "added": [], "removed": [], "modified": ["number"] });
    let body = json!({
        "ref": full_ref, "before": before.unwrap_or(ZEROS), "after": head,
        "created": before.is_none(), "deleted": false, "forced": listed == Listed::Forced, "base_ref": null,
        "repository": {
            "id": 4242, "name": name, "full_name": REPOSITORY, "owner": { "login": owner },
            "default_branch": "main", "pushed_at": now,
        },
        "pusher": { "name": "dev" }, "sender": { "login": "dev", "id": 1, "type": "User" },
        "commits": if listed == Listed::All { json!([commit.clone()]) } else { json!([]) }, "head_commit": commit,
    });
    let body = body.to_string().into_bytes();
    Delivery { commit: None, guid: guid(random), body, first: 0, is_empty: false }
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

const SENDERS: usize = 2;
/// As long as GitHub waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
const ZEROS: &str = "0000000000000000000000000000000000000000";
