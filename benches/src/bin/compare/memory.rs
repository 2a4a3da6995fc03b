use std::error::Error;
use std::rc::Rc;

use swifthook_benches::marks::mark;
use swifthook_benches::payload::Size;

use crate::body::Requests;
use crate::load;
use crate::site::{Recipe, Site};

/// What one push of 24 MB adds to the server's memory.
#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
pub(crate) fn measure() -> Result<bool, Box<dyn Error>> {
    let site = Site::new(Recipe::Accepts)?;
    let server = site.serve()?;
    let blocker = site.block()?;
    load::send(server.address, &Rc::new(Requests::pushes(Size::SMALL, 0, 100)), 0, 100, 202)?;
    let idle = server.memory("VmRSS")?;
    let large = Rc::new(Requests::large(24_000_000));
    let took = load::send(server.address, &large, 0, 1, 202)?.took;
    let (body, peak) = (large.get(0).len(), server.memory("VmHWM")?);
    server.stop()?;
    drop(blocker);
    let times = peak.saturating_sub(idle) as f64 / body as f64;
    println!(
        "a push of {} MB: {} MB idle, {} MB at the peak, answered in {} ms",
        body / MB,
        idle / MB,
        peak / MB,
        took.as_millis()
    );
    Ok(mark(&format!("idle + {times:.2} x body, at most 2.5"), times <= 2.5))
}

const MB: usize = 1_000_000;
