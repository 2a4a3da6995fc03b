use std::error::Error;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use swifthook_benches::marks::{mark, median};

use crate::body::{REPOSITORY, Requests};
use crate::load;
use crate::server::Server;
use crate::site::{Recipe, Site};

/// How long it is from the answer to the first byte that the run writes, when the repository is known.
#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
pub(crate) fn measure() -> Result<bool, Box<dyn Error>> {
    let site = Site::new(Recipe::Runs)?;
    let server = site.serve()?;
    let mut runs = Vec::new();
    // The first one clones, and is not counted.
    one_run(&site, &server, &mut runs)?;
    let times = (0..RUNS).map(|_| one_run(&site, &server, &mut runs)).collect::<Result<Vec<_>, _>>()?;
    server.stop()?;
    let longest = times.iter().copied().fold(0.0, f64::max);
    let middle = median(times);
    println!("202 to the first line of the run: {middle:.0} ms, the longest of {RUNS} {longest:.0} ms");
    Ok(mark("at most 150 ms", middle <= 150.0))
}

/// In milliseconds.
fn one_run(site: &Site, server: &Server, runs: &mut Vec<PathBuf>) -> Result<f64, Box<dyn Error>> {
    let push = Rc::new(Requests::push_of(REPOSITORY, &"a".repeat(40), &site.commit()?));
    load::send(server.address, &push, 0, 1, 202)?;
    let answered = Instant::now();
    let log = site.log_of_a_new_run(runs).ok_or("the run does not start")?;
    let took = answered.elapsed().as_secs_f64() * 1e3;
    site.wait_until_idle().ok_or("the run does not end")?;
    runs.push(log);
    Ok(took)
}

const RUNS: usize = 20;
