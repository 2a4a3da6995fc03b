//! 429 for addresses that send too much that is not signed.
//!
//! A signed push is never refused for being one too many, not even from an address that a stranger shares: only what
//! was refused anyway is counted, and answered 429 instead. What that saves is the log, and the connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{CONNECTION, HeaderValue};
use swifthook_core::{Answered, ClientAddr, Current, PeerAddr, Refusal, reply};

/// Counts what was not signed, by address.
pub(super) struct Throttle {
    receiver: Arc<Current>,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    windows: HashMap<ClientAddr, Window>,
    /// Time at which they were too many and those that are over were looked for.
    swept: Option<Instant>,
}

struct Window {
    ends: Instant,
    count: u32,
}

impl Throttle {
    pub(super) fn new(receiver: Arc<Current>) -> Self {
        Self { receiver, counts: Mutex::default() }
    }
}

/// Answers 429 instead of a refusal to whoever has been refused too often.
pub(super) async fn throttle(
    State(throttle): State<Arc<Throttle>>,
    request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<PeerAddr>().map(|peer| peer.0);
    let client = peer.and_then(|peer| throttle.receiver.load().client_addr(request.headers(), peer));
    let response = next.run(request).await;
    let is_unsigned = response.extensions().get::<Answered>().is_some_and(|answered| answered.is_unsigned);
    let Some(client) = client.filter(|_| is_unsigned) else { return response };
    let wait = throttle.counts.lock().expect("nothing panics under this lock").count(client, Instant::now());
    let Some(retry_after) = wait else { return response };
    let mut refused = reply(&Err(Refusal::TooMany { retry_after }), None).map(Body::from);
    refused.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    refused
}

impl Counts {
    /// Counts one more of `client`; how long it is to wait, if that was one too many.
    fn count(&mut self, client: ClientAddr, now: Instant) -> Option<Duration> {
        if self.windows.len() >= MOST_CLIENTS && !self.windows.contains_key(&client) {
            self.sweep(now);
            if self.windows.len() >= MOST_CLIENTS {
                // It is refused in any case.
                return None;
            }
        }
        let window = self.windows.entry(client).or_insert(Window { ends: now + WINDOW, count: 0 });
        if window.ends <= now {
            *window = Window { ends: now + WINDOW, count: 0 };
        }
        window.count = window.count.saturating_add(1);
        (window.count > MOST).then(|| window.ends.duration_since(now).max(Duration::from_secs(1)))
    }
}

impl Counts {
    /// Forgets those that are over, not at each of many requests.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_none_or(|swept| now.duration_since(swept) >= SWEEP) {
            self.swept = Some(now);
            self.windows.retain(|_, window| window.ends > now);
        }
    }
}

/// Refusals of one address within a window. A person who sets up a hook makes a dozen.
const MOST: u32 = 60;
const WINDOW: Duration = Duration::from_secs(60);
const SWEEP: Duration = Duration::from_secs(1);
/// Some 64 bytes each.
const MOST_CLIENTS: usize = 16_384;

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn count(counts: &mut Counts, client: &str, now: Instant) -> Option<Duration> {
        counts.count(ClientAddr::of(client.parse().unwrap()), now)
    }

    #[test]
    fn an_address_may_be_refused_a_number_of_times_in_a_minute() {
        let (mut counts, now) = (Counts::default(), Instant::now());
        for _ in 0..MOST {
            assert_eq!(count(&mut counts, "192.0.2.1", now), None);
        }
        assert_eq!(count(&mut counts, "::ffff:192.0.2.1", now), Some(WINDOW));
        assert_eq!(count(&mut counts, "192.0.2.2", now), None, "another one is another one");
        assert_eq!(count(&mut counts, "192.0.2.1", now + WINDOW), None, "and it may begin again");
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let (mut counts, now) = (Counts::default(), Instant::now());
        for i in 0..MOST {
            assert_eq!(count(&mut counts, &format!("2001:db8::{i:x}"), now), None);
        }
        assert!(count(&mut counts, "2001:db8::ffff", now).is_some());
        assert_eq!(count(&mut counts, "2001:db8:0:1::1", now), None);
    }

    #[test]
    fn many_addresses_do_not_fill_the_memory() {
        let (mut counts, now) = (Counts::default(), Instant::now());
        for i in 0..50_000_u32 {
            counts.count(ClientAddr::of(IpAddr::from(i.to_be_bytes())), now);
        }
        assert!(counts.windows.len() <= MOST_CLIENTS);
        counts.count(ClientAddr::of(IpAddr::from(60_000_u32.to_be_bytes())), now + WINDOW);
        assert_eq!(counts.windows.len(), 1, "those whose time is over made room");
    }
}
