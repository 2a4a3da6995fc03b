//! Processor time of processes.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::cluster::Cluster;

/// The first process of a database, whose children are all the others.
pub(crate) fn postmaster(cluster: &Cluster) -> Result<u32, Box<dyn Error>> {
    let file = Path::new(&cluster.data()).join("postmaster.pid");
    Ok(fs::read_to_string(file)?.lines().next().unwrap_or_default().parse()?)
}

/// Of a process and of its children that have ended.
pub(crate) fn cpu(pid: u32) -> Duration {
    stat(pid).map_or(Duration::ZERO, |stat| stat.own + stat.ended)
}

/// Of a process and of all of its children.
pub(crate) fn cpu_of_all(pid: u32) -> Duration {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|process| process.file_name().to_str()?.parse().ok());
    let children = pids.filter_map(stat).filter(|stat| stat.parent == pid);
    cpu(pid) + children.map(|stat| stat.own + stat.ended).sum::<Duration>()
}

struct Stat {
    parent: u32,
    own: Duration,
    ended: Duration,
}

fn stat(pid: u32) -> Option<Stat> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; after it the parent is field 4, and times are the fields 14 to 17.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field)?.parse::<u64>().ok();
    let time = |ticks: u64| {
        Duration::from_secs(1).mul_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    };
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        own: time(ticks(11)? + ticks(12)?),
        ended: time(ticks(13)? + ticks(14)?),
    })
}
