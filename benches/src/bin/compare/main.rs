//! Measures the real server under load against a bare axum server, in turn, in one run:
//!
//! ```text
//! cargo build --release -p swifthook
//! cargo run --release -p swifthook-benches --bin compare [cpu] [memory] [start]
//! ```
//!
//! The server is pinned to one core and the load to another. What is compared is the server's processor time per
//! request, since wall-clock rates drift on shared machines; where a rate is told, a run in which others took more
//! than a fifth of the server's core is refused. It exits with 1 where a mark is missed.

mod bare;
mod body;
mod cpu;
mod load;
mod memory;
mod server;
mod site;
mod start;

use std::error::Error;
use std::process::ExitCode;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [command, address] = &arguments[..]
        && command == "bare"
    {
        return bare::serve(address).map(|()| ExitCode::SUCCESS);
    }
    server::pin_the_load()?;
    let is_asked_for = |name| arguments.is_empty() || arguments.iter().any(|argument| argument == name);
    let mut all_reached = true;
    if is_asked_for("cpu") {
        all_reached &= cpu::measure()?;
    }
    if is_asked_for("memory") {
        all_reached &= memory::measure()?;
    }
    if is_asked_for("start") {
        all_reached &= start::measure()?;
    }
    Ok(if all_reached { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
