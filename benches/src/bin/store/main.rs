//! The marks of the store on SQLite.
//!
//! ```text
//! cargo build --release -p swifthook-benches --bin store
//! target/release/store many [COUNT]      # beside COUNT (a million) finished jobs, against an empty store
//! benches/slow-sync                      # group commit against one transaction each, each sync taking 5 ms
//! ```
//!
//! It exits with 1 where a mark is missed.

mod group;
mod history;
mod many;

use std::error::Error;
use std::process::ExitCode;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let is_reached = match arguments[..] {
        ["group"] => runtime.block_on(group::measure())?,
        ["many"] => runtime.block_on(many::measure(1_000_000))?,
        ["many", count] => runtime.block_on(many::measure(count.parse()?))?,
        _ => return Err("say `group` or `many [COUNT]`".into()),
    };
    Ok(if is_reached { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
