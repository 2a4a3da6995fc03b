use swifthook_conformance::client::{Client, Request, SECRET};
use swifthook_conformance::payload::{Payload, sha};
use swifthook_core::{History, JobFilter};

use super::*;

const A_DAY: Duration = Duration::from_secs(24 * 3_600);

/// What a push by `sender` of these files is answered, and when its job may start.
async fn pushed(week: &Range<Timestamp>, sender: &str, files: &[&str]) -> (u16, String, Option<Timestamp>) {
    let queue: Arc<MemoryQueue> = Arc::default();
    let app = app(SECRET, week.clone(), queue.clone()).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = Client::connect(listener.local_addr().unwrap()).await;
    let server = tokio::spawn(async { axum::serve(listener, app).await });
    let payload = Payload::new("acme/models", "refs/heads/main", &sha(1));
    // Older than its hook's `max_age` it would be held.
    let now = Timestamp::from(SystemTime::now()).0 / 1_000;
    let payload = payload.modifying(files).with("/sender/login", sender).with("/repository/pushed_at", now);
    client.send(&Request::push(payload.json())).await;
    let reply = client.reply().await.unwrap();
    server.abort();
    let jobs = queue.jobs(&JobFilter::default()).await.unwrap();
    let not_before = jobs.first().and_then(|job| job.state.not_before);
    (reply.status, String::from_utf8_lossy(&reply.body).into_owned(), not_before)
}

#[tokio::test]
async fn in_a_release_week_only_the_team_trains_at_once() {
    let now = Timestamp::from(SystemTime::now());
    let this_week = now.before(A_DAY)..now.after(A_DAY);
    for (sender, not_before) in [("grace", None), ("ADA", None), ("eve", Some(this_week.end))] {
        let (status, body, told) = pushed(&this_week, sender, &["configs/a.yaml"]).await;
        assert_eq!((status, told), (202, not_before), "{sender}: {body}");
    }
}

#[tokio::test]
async fn in_any_other_week_everybody_does() {
    let now = Timestamp::from(SystemTime::now());
    let last_week = now.before(7 * A_DAY)..now.before(A_DAY);
    let (status, body, not_before) = pushed(&last_week, "eve", &["configs/a.yaml"]).await;
    assert_eq!((status, not_before), (202, None), "{body}");
}

#[tokio::test]
async fn what_does_not_train_is_told_why() {
    let now = Timestamp::from(SystemTime::now());
    let this_week = now.before(A_DAY)..now.after(A_DAY);
    for (sender, file, reason) in [
        ("dependabot[bot]", "configs/a.yaml", "`dependabot[bot]` is one of the senders"),
        ("grace", "configs/readme.md", "`configs/readme.md` does not match configs/**, !**/*.md"),
    ] {
        let (status, body, _) = pushed(&this_week, sender, &[file]).await;
        assert!(status == 200 && body.contains(reason), "{status} {body}");
    }
}
