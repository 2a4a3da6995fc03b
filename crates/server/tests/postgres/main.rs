//! The real program on a real PostgreSQL, which these tests make for themselves and may stop: they need the server's
//! programs (`initdb`, `pg_ctl`), and fail without them.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod cluster;
mod outage;
mod receivers;
mod site;
mod tls;
mod workers;
#[expect(dead_code, reason = "other tests need the rest of it")]
#[path = "../server/world.rs"]
mod world;
