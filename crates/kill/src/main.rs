//! Kills the real server under load, again and again, and then looks for what was lost, run twice or left behind:
//!
//! ```text
//! cargo build -p swifthook && cargo run -p swifthook-kill -- --kills 100
//! ```
//!
//! Pushes are signed and posted the whole time: new changes, old ones again, and some that no recipe wants. The server
//! gets SIGKILL, also while it starts, or SIGSTOP and later SIGCONT, and now and then the supervisor of a run is killed.
//! A run leaves a mark outside when it begins and when it ends. At the end every reply is compared with the store, and
//! every attempt in the store with the marks. It exits with 1 where they disagree, and keeps its folder.

mod audit;
mod driver;
mod http;
mod judge;
mod load;
mod marks;
mod processes;
mod schedule;
mod server;
mod site;
mod summary;

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;

use crate::driver::Driver;
use crate::load::Load;
use crate::schedule::schedule;
use crate::server::Server;
use crate::site::Site;

/// Kills the server under load and looks for what was lost.
#[derive(Parser)]
struct Arguments {
    /// How often the server is killed.
    #[arg(long, default_value_t = 20)]
    kills: usize,
    /// What the schedule is made of; the same number gives the same schedule.
    #[arg(long)]
    seed: Option<u64>,
    /// The server; without it, the `swifthook` that was built beside this program.
    #[arg(long)]
    server: Option<std::path::PathBuf>,
    /// Keeps the folder when all went well, too.
    #[arg(long)]
    keep: bool,
}

/// What stops the harness itself, or a promise that the server broke.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match Site::new() {
        Err(error) => {
            tell(&format!("the folder could not be set up: {error}"));
            ExitCode::FAILURE
        }
        Ok(site) => {
            let is_good = run(&arguments, &site).unwrap_or_else(|error| {
                tell(&format!("BREACH: {error}"));
                false
            });
            if !is_good || arguments.keep {
                tell(&format!("kept: {}", site.keep().display()));
            }
            if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}

fn run(arguments: &Arguments, site: &Site) -> Result<bool, Failure> {
    let seed = arguments.seed.unwrap_or_else(clock);
    tell(&format!("seed {seed}: repeat the schedule with --kills {} --seed {seed}", arguments.kills));
    let server = Server::start(site, arguments.server.as_deref())?;
    let load = Load::begin(site, seed);
    let mut driver = Driver::new(site, server, &load);
    let driven = driver.follow(&schedule(seed, arguments.kills));
    let sent = load.end()?;
    driven?;
    let evidence = audit::gather(site, &mut driver, sent)?;
    let breaches = judge::breaches(&evidence);
    tell(&summary::table(&evidence, &driver.done, &breaches));
    Ok(breaches.is_empty())
}

/// A seed that no two runs share.
fn clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.subsec_nanos().into())
}

#[expect(clippy::print_stdout, reason = "what was found is what this program is for")]
fn tell(text: &str) {
    println!("{text}");
}
