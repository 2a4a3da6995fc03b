//! Push payloads in GitHub's shape, built by program.
//!
//! See <https://docs.github.com/en/webhooks/webhook-events-and-payloads#push>.

use bytes::Bytes;
use serde_json::{Value, json};

/// A push payload. Starts as an ordinary push of one commit that modifies one file.
#[derive(Clone, Debug)]
pub struct Payload(Value);

impl Payload {
    /// A push of `head` to `full_ref` (`refs/heads/main`) of `repository` (`acme/models`), by `dev`.
    #[must_use]
    pub fn new(repository: &str, full_ref: &str, head: &str) -> Self {
        let (owner, name) = repository.split_once('/').unwrap_or(("", repository));
        let commit = commit(head, &["configs/sft_a.yaml"]);
        Self(json!({
            "ref": full_ref,
            "before": sha(0xbef0),
            "after": head,
            "repository": {
                "id": 4242,
                "name": name,
                "full_name": repository,
                "private": true,
                "owner": { "name": owner, "email": null, "login": owner, "id": 7 },
                "html_url": format!("https://github.com/{repository}"),
                "clone_url": format!("https://github.com/{repository}.git"),
                "default_branch": "main",
                "created_at": 1_700_000_000,
                "updated_at": "2026-11-24T09:00:00Z",
                "pushed_at": 1_795_514_400,
            },
            "pusher": { "name": "dev", "email": "dev@example.org" },
            "organization": { "login": owner, "id": 7 },
            "sender": { "login": "dev", "id": 1, "type": "User" },
            "created": false,
            "deleted": false,
            "forced": false,
            "base_ref": null,
            "compare": format!("https://github.com/{repository}/compare/x"),
            "commits": [commit.clone()],
            "head_commit": commit,
        }))
    }

    /// The same with `value` at `pointer` (`/pusher/email`), which must be there already or be a new key of an
    /// object that is.
    ///
    /// # Panics
    ///
    /// When there is no such object.
    #[must_use]
    pub fn with(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer begins with a slash");
        let parent = self.0.pointer_mut(parent).expect("the pointer leads to something in the payload");
        parent[key] = value.into();
        self
    }

    /// The same without the field `name`.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.0.as_object_mut().expect("a payload is an object").remove(name);
        self
    }

    /// The same, whose one commit modifies `files`.
    #[must_use]
    pub fn modifying(self, files: &[&str]) -> Self {
        let commit = commit(self.head(), files);
        self.with("/commits", json!([commit.clone()])).with("/head_commit", commit)
    }

    /// The same with `count` commits that modify one file each, `configs/sft_0.yaml` and so on; the head is the
    /// last.
    #[must_use]
    pub fn with_commits(self, count: usize) -> Self {
        let file = |n: usize| format!("configs/sft_{n}.yaml");
        let mut commits: Vec<Value> =
            (0..count.saturating_sub(1)).map(|n| commit(&sha(n as u64 + 1), &[&file(n)])).collect();
        commits.push(commit(self.head(), &[&file(count - 1)]));
        let head = commits.last().cloned();
        self.with("/commits", commits).with("/head_commit", head)
    }

    /// The same of a ref that did not exist before.
    #[must_use]
    pub fn created(self) -> Self {
        self.with("/created", true).with("/before", sha(0))
    }

    /// The same as the deletion of the ref.
    #[must_use]
    pub fn deleted(self) -> Self {
        self.with("/deleted", true)
            .with("/after", sha(0))
            .with("/commits", json!([]))
            .with("/head_commit", Value::Null)
    }

    /// The same as a forced push.
    #[must_use]
    pub fn forced(self) -> Self {
        self.with("/forced", true)
    }

    /// The same of an annotated tag: `after` is the tag object, the commit is that of `head_commit`.
    #[must_use]
    pub fn annotated(self, tag_object: &str) -> Self {
        self.with("/after", tag_object)
    }

    /// As the body of a hook with content type `application/json`.
    #[must_use]
    pub fn json(&self) -> Bytes {
        self.0.to_string().into()
    }

    /// As the body of a hook with content type `application/x-www-form-urlencoded`.
    #[must_use]
    pub fn form(&self) -> Bytes {
        form(self.0.to_string().as_bytes())
    }

    /// As JSON of at least `size` bytes: the push gets as many further commits of 100 files as that takes.
    ///
    /// It reaches 20 MB and more below GitHub's caps of 2,048 commits and 3,000 files each.
    #[must_use]
    pub fn json_of_size(&self, size: usize) -> Bytes {
        let files: Vec<String> =
            (0..100).map(|n| format!("data/{:0>100}/part-{n:04}.json", "shard")).collect();
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        let filler = commit(PLACEHOLDER, &files).to_string();
        let whole = self.0.to_string();
        let (before, rest) = whole.split_once(COMMITS).expect("a payload has a list of commits");
        let mut body = String::with_capacity(size + filler.len() + whole.len());
        body.push_str(before);
        body.push_str(COMMITS);
        for n in 1.. {
            if body.len() + rest.len() >= size {
                break;
            }
            body.push_str(&filler.replace(PLACEHOLDER, &sha(n)));
            body.push(',');
        }
        body.push_str(rest);
        body.into()
    }

    fn head(&self) -> &str {
        self.0["head_commit"]["id"].as_str().expect("only a deletion has no head commit")
    }
}

/// A commit hash made of a number; 0 is the zeros that stand for none.
#[must_use]
pub fn sha(number: u64) -> String {
    format!("{number:040x}")
}

/// A JSON document as a form with the one field `payload`.
#[must_use]
pub fn form(json: &[u8]) -> Bytes {
    let mut body = b"payload=".to_vec();
    for &byte in json {
        match byte.is_ascii_alphanumeric() {
            true => body.push(byte),
            false => body.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]),
        }
    }
    body.into()
}

fn commit(id: &str, modified: &[&str]) -> Value {
    json!({
        "id": id,
        "tree_id": "cccccccccccccccccccccccccccccccccccccccc",
        "distinct": true,
        "message": "tune",
        "timestamp": "2026-11-24T10:00:00+00:00",
        "author": { "name": "Dev", "email": "dev@example.org", "username": "dev" },
        "committer": { "name": "GitHub", "email": "noreply@github.com", "username": "web-flow" },
        "added": [],
        "removed": [],
        "modified": modified,
    })
}

const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
const PLACEHOLDER: &str = "0123456789abcdef0123456789abcdef01234567";
const COMMITS: &str = "\"commits\":[";
