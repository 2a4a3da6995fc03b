//! Kills the real server under load, again and again, and then looks for what was lost, run twice or left behind:
//!
//! ```text
//! cargo build -p swifthook --features postgres,failpoints
//! cargo run -p swifthook-kill -- --kills 100 --points
//! cargo run -p swifthook-kill -- --minutes 30 --points --store postgres --receivers 2 --workers 2
//! ```
//!
//! Pushes are signed and posted the whole time: new changes, old ones again to another receiver, and some that no
//! recipe wants. Receivers and workers get SIGKILL, also while they start, or SIGSTOP and SIGCONT when their leases
//! have run out, at random moments and at marked points (a build with `failpoints`); so do the supervisors of runs.
//! The database and the broker are the harness's own, and are stopped and started. A run leaves a mark outside when it begins and when it
//! ends. At the end every reply is compared with the store, and every attempt in the store with the marks. It exits
//! with 1 where they disagree, and keeps its folder.

mod audit;
mod broker;
mod cluster;
mod config;
mod done;
mod driver;
mod http;
mod judge;
mod load;
mod marks;
mod member;
mod points;
mod processes;
mod repository;
mod schedule;
mod services;
mod setup;
mod site;
mod summary;
mod upkeep;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;

use crate::cluster::Cluster;
use crate::done::Done;
use crate::driver::Driver;
use crate::load::Load;
use crate::schedule::Schedule;
use crate::services::Services;
use crate::setup::SetUp;
use crate::site::Site;

/// Kills the server under load and looks for what was lost.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    set_up: SetUp,
    /// How often servers and workers are killed.
    #[arg(long, default_value_t = 20)]
    kills: usize,
    /// How long all of it goes on, instead of a number of kills.
    #[arg(long)]
    minutes: Option<u64>,
    /// What the schedule is made of; the same number gives the same schedule.
    #[arg(long)]
    seed: Option<u64>,
    /// The server; without it, the `swifthook` that was built beside this program.
    #[arg(long)]
    server: Option<PathBuf>,
    /// Keeps the folder when all went well, too.
    #[arg(long)]
    keep: bool,
}

/// What stops the harness itself, or a promise that the server broke.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match set_up(&arguments.set_up) {
        Err(error) => {
            tell(&format!("it could not be set up: {error}"));
            ExitCode::FAILURE
        }
        Ok((site, services)) => {
            let is_good = run(&arguments, &site, &services).unwrap_or_else(|error| {
                tell(&format!("BREACH: {error}"));
                false
            });
            if !is_good || arguments.keep {
                let log = services.cluster.as_ref().map(Cluster::log).unwrap_or_default();
                let _ = std::fs::write(site.path().join("postgresql.log"), log);
                tell(&format!("kept: {}", site.keep().display()));
            }
            if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}

fn set_up(set_up: &SetUp) -> Result<(Site, Services), Failure> {
    set_up.check()?;
    let services = Services::start(set_up)?;
    Ok((Site::new(set_up, &services)?, services))
}

fn run(arguments: &Arguments, site: &Site, services: &Services) -> Result<bool, Failure> {
    let seed = arguments.seed.unwrap_or_else(clock);
    tell(&format!("seed {seed}: --seed {seed} gives this schedule again"));
    let program = std::path::absolute(arguments.server.clone().map_or_else(beside, Ok)?)?;
    let mut driver = Driver::start(site, program, services)?;
    let load = Load::begin(site, seed);
    let until = arguments.minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let is_enough = |done: &Done| match until {
        Some(until) => Instant::now() >= until,
        None => done.kills() >= arguments.kills,
    };
    let driven = driver.follow(Schedule::new(seed, &arguments.set_up), &load, is_enough);
    let sent = load.end()?;
    driven?;
    let evidence = audit::gather(site, &mut driver, sent)?;
    let breaches = judge::breaches(&evidence);
    tell(&summary::table(&evidence, &driver.done, &breaches));
    if arguments.set_up.points && driver.done.points.is_empty() {
        return Err("no point was reached: build it with --features failpoints".into());
    }
    Ok(breaches.is_empty())
}

fn beside() -> Result<PathBuf, Failure> {
    let beside = std::env::current_exe()?.with_file_name("swifthook");
    if beside.exists() { Ok(beside) } else { Err("build it first: cargo build -p swifthook".into()) }
}

/// A seed that no two runs share.
fn clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.subsec_nanos().into())
}

#[expect(clippy::print_stdout, reason = "what was found is what this program is for")]
fn tell(text: &str) {
    println!("{text}");
}
