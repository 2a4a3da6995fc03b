use std::error::Error;
use std::rc::Rc;
use std::time::{Duration, Instant};

use swifthook_benches::marks::mark;
use swifthook_core::{History, JobFilter, Stage};
use swifthook_queue::postgres::{Options, PostgresQueue};

use crate::body::Requests;
use crate::cluster::Cluster;
use crate::load;
use crate::site::{Site, repository};

/// From the claim of a job to the start of its attempt, by the database's clock, on a worker that is idle; the push
/// comes by another server.
#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
pub(crate) fn measure(cluster: &Cluster) -> Result<bool, Box<dyn Error>> {
    let url = format!("{}?sslmode=disable", cluster.database("start"));
    let site = Site::new(&url, 1)?;
    let mut before = site.commit()?;
    let (receiver, _worker) = (site.serve("receiver", 0)?, site.serve("worker", 1)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let queue = runtime.block_on(PostgresQueue::open(&url, Options::default()))?;
    let (mut waited, mut started, mut launched) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..JOBS {
        let commit = site.commit()?;
        let push = Rc::new(Requests::push_of(&repository(0), &before, &commit));
        load::send(receiver.address, &push, 0, 1, 202)?;
        before = commit;
        let lines = runtime.block_on(ended(&queue))?;
        let at = |what: &str| lines.iter().find(|line| &*line.what == what).map(|line| line.at.0);
        let found = (at("enqueued"), at("claimed"), at("started"), at("submitted"));
        let (Some(enqueued), Some(claimed), Some(began), Some(submitted)) = found else {
            return Err(format!("not all is in the timeline: {lines:?}").into());
        };
        waited.push(claimed - enqueued);
        started.push(began - claimed);
        launched.push(submitted - enqueued);
    }
    let p99 = |times: &mut Vec<i64>| {
        times.sort_unstable();
        (times[times.len() / 2], times[times.len() * 99 / 100])
    };
    let (waited, started, launched) = (p99(&mut waited), p99(&mut started), p99(&mut launched));
    println!(
        "start: of {JOBS} jobs, median and p99 in ms: enqueued to claimed {} and {}, claimed to started {} and {}, \
         enqueued to submitted, checkout too, {} and {}",
        waited.0, waited.1, started.0, started.1, launched.0, launched.1
    );
    Ok(mark(&format!("claimed to started {} ms at p99, at most 100", started.1), started.1 <= 100))
}

/// The timeline of the newest job, once it has ended.
async fn ended(queue: &PostgresQueue) -> Result<Vec<swifthook_core::TimelineEntry>, Box<dyn Error>> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let newest = queue.jobs(&JobFilter { limit: 1, ..JobFilter::default() }).await?;
        if let [job] = &newest[..]
            && job.state.stage.is_final()
        {
            if job.state.stage != Stage::Succeeded {
                return Err(format!("it ended otherwise: {:?}", job.state).into());
            }
            return Ok(queue.timeline(job.id).await?);
        }
        if Instant::now() > deadline {
            return Err("no job ended".into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

const JOBS: usize = 100;
