//! Measures what stands between a job and its run, on this machine:
//!
//! ```text
//! cargo build --release -p swifthook
//! cargo run --release -p swifthook-benches --bin launch [start] [checkout] [adopt] [--size MIB] [--rounds N] [--cgroup FOLDER]
//! ```
//!
//! `checkout` makes a repository of `--size` MiB (1024 where nothing is said) in the folder for temporary files, and
//! needs four times that there. With a control group `start` measures runs in groups of their own too, in turn. It exits with 1 where a mark is missed.

mod adopt;
#[expect(dead_code, reason = "another program needs the rest of it")]
#[path = "../compare/body.rs"]
mod body;
mod checkout;
#[expect(dead_code, reason = "another program needs the rest of it")]
#[path = "../compare/load.rs"]
mod load;
mod repository;
mod start;

use std::error::Error;
use std::process::ExitCode;

use swifthook_launch::RunGroups;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    // Runs are supervised by this program too.
    swifthook_launch::supervise_if_asked();
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [stamp, file] = &arguments[..]
        && stamp == start::STAMP
    {
        return start::stamp(file).map(|()| ExitCode::SUCCESS);
    }
    let number = |name: &str, usual: usize| -> Result<usize, Box<dyn Error>> {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)).map_or(Ok(usual), |text| Ok(text.parse()?))
    };
    let names = ["start", "checkout", "adopt"];
    let is_any_named = arguments.iter().any(|argument| names.contains(&argument.as_str()));
    let is_asked_for = |name: &str| !is_any_named || arguments.iter().any(|argument| argument == name);
    let mut all_reached = true;
    if is_asked_for("start") {
        let groups = arguments.iter().position(|argument| argument == "--cgroup");
        let groups = groups.and_then(|at| arguments.get(at + 1)).map(RunGroups::at).transpose()?;
        all_reached &= start::measure(number("--rounds", 60)?, groups)?;
    }
    if is_asked_for("checkout") {
        all_reached &= checkout::measure(number("--size", 1024)?, number("--rounds", 7)?)?;
    }
    if is_asked_for("adopt") {
        all_reached &= adopt::measure(number("--rounds", 5)?)?;
    }
    Ok(if all_reached { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
