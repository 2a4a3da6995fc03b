//! The receiver: from a request to a verdict, without a socket and without a clock.
//!
//! [`Receiver::begin`] looks at path, method, headers and address before a byte of the body is read;
//! [`Reading::push`] takes the body as it comes; [`Reading::finish`] verifies, reads and decides. An adapter is a
//! loop over frames and can get no step wrong, since each one is made from the one before:
//!
//! ```
//! use bytes::Bytes;
//! use std::sync::Arc;
//! use swifthook_core::{Outcome, Receiver, Secret, SecretSet, Timestamp, Verdict, reply};
//! # use swifthook_core::{Push, TriggerPolicy};
//! # struct Always;
//! # impl TriggerPolicy for Always {
//! #     fn decide(&self, _: &Push, _: Timestamp) -> Verdict { Verdict::launch() }
//! # }
//!
//! let secret = Secret::new("2026", "correct horse battery staple")?;
//! let receiver = Arc::new(
//!     Receiver::builder()
//!         .hook("github", "/webhook", SecretSet::new(vec![secret.clone()])?, &["acme/*"])
//!         .recipe("sft", "acme/models", Always)
//!         .build()?,
//! );
//!
//! let body = Bytes::from_static(br#"{"zen":"Keep it logically awesome.","hook_id":1}"#);
//! let (head, ()) = http::Request::post("/webhook")
//!     .header("content-type", "application/json")
//!     .header("x-github-event", "ping")
//!     .header("x-hub-signature-256", secret.sign(&body))
//!     .body(())?
//!     .into_parts();
//!
//! let mut reading = receiver.begin("/webhook", &head, None)?;
//! reading.push(body)?;
//! let outcome = reading.finish(Timestamp(1_795_514_400_000));
//! assert!(matches!(outcome, Ok(Outcome::Pong)));
//! assert_eq!(reply(&outcome, None).status(), 200);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod address;
mod begin;
mod budget;
mod builder;
mod current;
mod hook;
mod judge;
mod limits;
mod reading;
mod refusal;

pub use address::PeerAddr;
pub use begin::Receiver;
pub use builder::{Builder, ConfigError};
pub use current::Current;
pub use hook::{Hook, Verified};
pub use judge::Outcome;
pub use limits::Limits;
pub use reading::Reading;
pub use refusal::Refusal;
