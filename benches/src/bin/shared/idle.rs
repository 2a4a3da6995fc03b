use std::error::Error;
use std::time::Duration;

use swifthook_benches::marks::mark;

use crate::cluster::Cluster;
use crate::process::{cpu, cpu_of_all, postmaster};
use crate::site::Site;

/// A server with nothing to do, and what it costs the database.
#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
pub(crate) fn measure(cluster: &Cluster) -> Result<bool, Box<dyn Error>> {
    let database_pid = postmaster(cluster)?;
    let url = format!("{}?sslmode=disable", cluster.database("idle"));
    let site = Site::new(&url, 1)?;
    let server = site.serve("idle", 1)?;
    std::thread::sleep(SETTLING);
    let (own, database) = (cpu(server.pid()), cpu_of_all(database_pid));
    std::thread::sleep(LOOKING);
    let share = |time: Duration| time.as_secs_f64() * 100.0 / LOOKING.as_secs_f64();
    let own = share(cpu(server.pid()) - own);
    let database = share(cpu_of_all(database_pid) - database);
    println!("idle: server {own:.2} % of a core, database {database:.2} %");
    Ok(mark("an idle server takes at most 0.5 % of a core", own <= 0.5))
}

const SETTLING: Duration = Duration::from_secs(5);
const LOOKING: Duration = Duration::from_secs(40);
