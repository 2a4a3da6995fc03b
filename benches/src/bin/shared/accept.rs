use std::error::Error;
use std::rc::Rc;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use swifthook_benches::marks::mark;
use swifthook_benches::payload::Size;

use crate::body::Requests;
use crate::cluster::Cluster;
use crate::load;
use crate::process::{cpu, cpu_of_all, postmaster};
use crate::site::{Server, Site, repository};

/// Pushes accepted a second by two servers, each with 64 connections.
pub(crate) fn measure(cluster: &Cluster) -> Result<bool, Box<dyn Error>> {
    let many = round(cluster, "many", 100, 6_000)?;
    let one = round(cluster, "one", 1, 3_000)?;
    Ok(mark(&format!("over 100 repositories {many:.0} accepted a second, at least 2,000"), many >= 2_000.0)
        & mark(&format!("in one group {one:.0} accepted a second, at least 800"), one >= 800.0))
}

#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
fn round(cluster: &Cluster, name: &str, repositories: usize, each: usize) -> Result<f64, Box<dyn Error>> {
    let database_pid = postmaster(cluster)?;
    let url = format!("{}?sslmode=disable", cluster.database(name));
    let site = Site::new(&url, repositories)?;
    let servers = [site.serve("one", 0)?, site.serve("other", 0)?];
    let names: Vec<_> = (0..repositories).map(repository).collect();
    // Both sides stand here: those that send, and the one that looks at the clock.
    let (ready, done) = (Barrier::new(3), Barrier::new(3));
    let times = || -> [Duration; 4] {
        let own = u32::try_from(rustix::process::getpid().as_raw_nonzero().get()).unwrap_or_default();
        [cpu(servers[0].pid()), cpu(servers[1].pid()), cpu_of_all(database_pid), cpu(own)]
    };
    let (before, took, after) = std::thread::scope(|scope| {
        for (number, server) in servers.iter().enumerate() {
            let (names, ready, done) = (&names, &ready, &done);
            scope.spawn(move || {
                let sent = send(server, names, number * (each + WARM_UP), each, ready);
                done.wait();
                if let Err(error) = sent {
                    panic!("the load failed: {error}");
                }
            });
        }
        ready.wait();
        let (before, began) = (times(), Instant::now());
        done.wait();
        (before, began.elapsed(), times())
    });
    let count = 2 * each;
    let rate = count as f64 / took.as_secs_f64();
    let us = |which: usize| (after[which] - before[which]).as_secs_f64() * 1e6 / count as f64;
    println!(
        "accepted, {repositories} repositories: {rate:.0} a second; µs of processor time a push: servers {:.0} + {:.0}, \
         database {:.0}, load {:.0}; all together {:.2} cores",
        us(0),
        us(1),
        us(2),
        us(3),
        (0..4).map(us).sum::<f64>() * rate / 1e6
    );
    Ok(rate)
}

fn send(
    server: &Server,
    names: &[String],
    first: usize,
    each: usize,
    ready: &Barrier,
) -> Result<(), Box<dyn Error>> {
    let requests = Rc::new(Requests::pushes_to(names, Size::SMALL, first, WARM_UP + each));
    let warm = load::send(server.address, &requests, 0, WARM_UP, 202).map(drop);
    ready.wait();
    warm?;
    load::send(server.address, &requests, WARM_UP, each, 202).map(drop)
}

const WARM_UP: usize = 500;
