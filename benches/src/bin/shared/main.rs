//! Measures servers and workers that share one PostgreSQL, which this makes for itself (`initdb` and `pg_ctl` have to
//! be here):
//!
//! ```text
//! cargo build --release -p swifthook --features postgres
//! cargo run --release -p swifthook-benches --features postgres --bin shared [accept] [claims] [start] [idle]
//! ```
//!
//! Database, servers and load share the cores of this machine, so rates are those of all of them together; the
//! processor time of each is told. It exits with 1 where a mark is missed.

mod accept;
#[expect(dead_code, reason = "another program needs the rest of it")]
#[path = "../compare/body.rs"]
mod body;
mod claims;
#[expect(dead_code, reason = "tests need the rest of it")]
#[expect(clippy::unwrap_used, reason = "it is for tests: what goes wrong ends the program")]
#[path = "../../../../crates/server/tests/postgres/cluster.rs"]
mod cluster;
mod idle;
#[expect(dead_code, reason = "another program needs the rest of it")]
#[path = "../compare/load.rs"]
mod load;
mod process;
mod site;
mod start;

use std::error::Error;
use std::process::ExitCode;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let is_asked_for = |name| arguments.is_empty() || arguments.iter().any(|argument| argument == name);
    let cluster = cluster::Cluster::new();
    let mut all_reached = true;
    if is_asked_for("accept") {
        all_reached &= accept::measure(&cluster)?;
    }
    if is_asked_for("claims") {
        all_reached &= claims::measure(&cluster)?;
    }
    if is_asked_for("start") {
        all_reached &= start::measure(&cluster)?;
    }
    if is_asked_for("idle") {
        all_reached &= idle::measure(&cluster)?;
    }
    Ok(if all_reached { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
