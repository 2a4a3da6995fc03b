//! A policy of one's own: in a release week the release team trains at once, and what others push trains when the week
//! is over.
//!
//! Run it, and point a webhook of a repository of `acme` at it (content type `application/json`):
//!
//! ```text
//! GITHUB_WEBHOOK_SECRET='at least 16 bytes' cargo run -p custom-policy
//! ```

use std::error::Error;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use swifthook_core::condition::{Condition, Rule, Truth, all, branches, not, paths, senders};
use swifthook_core::{Current, Push, Receiver, SecretSet, Timestamp, TriggerPolicy, Verdict};
use swifthook_queue::MemoryQueue;

struct ReleaseWeek {
    /// When it is.
    week: Range<Timestamp>,
    /// Who goes first in it.
    team: Rule,
    /// What trains at all, whenever it is pushed.
    trains: Rule,
}

/// A rule knows of the push alone; the policy adds what depends on the time.
impl TriggerPolicy for ReleaseWeek {
    fn decide(&self, push: &Push, now: Timestamp) -> Verdict {
        let waits = self.week.contains(&now) && self.team.holds(push) != Truth::True;
        match self.trains.decide(push, now) {
            // "Later" is part of the verdict: nobody has to push again.
            Verdict::Launch { .. } if waits => Verdict::Launch { not_before: Some(self.week.end) },
            // A skip keeps its reason, and for a hold it is asked again when the diff is known.
            verdict => verdict,
        }
    }
}

fn app(secret: &str, week: Range<Timestamp>, queue: Arc<MemoryQueue>) -> Result<Router, Box<dyn Error>> {
    let policy = ReleaseWeek {
        week,
        team: senders(["ada", "grace"]),
        trains: all([
            branches(["main", "release/**"])?,
            not(senders(["dependabot[bot]"])),
            paths(["configs/**", "!**/*.md"])?,
        ]),
    };
    let receiver = Receiver::builder()
        .hook("github", "/webhook", SecretSet::one(secret)?, &["acme/*"])
        .recipe("sft", "acme/models", policy)
        .build()?;
    Ok(swifthook_axum::routes("/webhook", Arc::new(Current::new(receiver)), queue))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let now = Timestamp::from(SystemTime::now());
    let week = now..now.after(Duration::from_secs(7 * 24 * 3_600));
    eprintln!("the release week ends at {}", week.end);
    let app = app(&std::env::var("GITHUB_WEBHOOK_SECRET")?, week, Arc::default())?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    // With the addresses of clients, each of them has a share of what there is for bodies.
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    Ok(axum::serve(listener, app).await?)
}

#[cfg(test)]
mod tests;
