use std::error::Error;
use std::fs;
use std::rc::Rc;
use std::time::Duration;

use swifthook_benches::marks::{mark, median};
use swifthook_benches::payload::Size;

use crate::body::Requests;
use crate::load;
use crate::server::Server;
use crate::site::{Recipe, Site};

/// Processor time per request, and rates.
#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
pub(crate) fn measure() -> Result<bool, Box<dyn Error>> {
    let mut all_reached = true;
    for (name, size, count) in [("small", Size::SMALL, 40_000), ("20x10", Size::TWENTY_BY_TEN, 16_000)] {
        let requests = Rc::new(Requests::pushes(size, 0, WARM_UP + count));
        let bytes = requests.get(0).len();
        println!("{name}, {bytes} bytes with the head; {count} requests, medians of {ROUNDS} rounds");
        let mut rounds = Rounds::default();
        for _ in 0..ROUNDS {
            rounds.bare.push(bare(&requests, count)?);
            rounds.ignored.push(swifthook(Recipe::Ignores, 200, &requests, count)?);
            rounds.accepted.push(swifthook(Recipe::Accepts, 202, &requests, count)?);
        }
        all_reached &= rounds.tell();
    }
    Ok(all_reached)
}

#[derive(Default)]
struct Rounds {
    bare: Vec<Figures>,
    ignored: Vec<Figures>,
    accepted: Vec<Figures>,
}

/// What one round showed.
struct Figures {
    cpu_us: f64,
    rate: f64,
    /// The part of its core that nobody took from the server.
    core: f64,
}

impl Rounds {
    #[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
    fn tell(&self) -> bool {
        println!("  {:38}{:>8} {:>8} {:>11} {:>6}", "", "µs CPU", "x bare", "requests/s", "core");
        let bare = middle(&self.bare);
        for (name, rounds) in [
            ("bare axum, reads the body only", &self.bare),
            ("ignored, verdict stored", &self.ignored),
            ("accepted, durable and deduplicated", &self.accepted),
        ] {
            let Figures { cpu_us, rate, core } = middle(rounds);
            let (times, core) = (cpu_us / bare.cpu_us, core * 100.0);
            println!("  {name:38}{cpu_us:>8.1} {times:>8.2} {rate:>11.0} {core:>4.0} %");
        }
        let times = |rounds: &[Figures]| middle(rounds).cpu_us / bare.cpu_us;
        let accepted = middle(&self.accepted);
        // Both are told, so no `&&` between them.
        mark("ignored at most 5 x bare axum", times(&self.ignored) <= 5.0)
            & mark("accepted at most 9 x bare axum", times(&self.accepted) <= 9.0)
            & rate_mark(&accepted)
    }
}

#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
fn rate_mark(accepted: &Figures) -> bool {
    if accepted.core < 0.8 {
        println!("  refused: others took more than a fifth of the server's core, so its rate says nothing");
        return false;
    }
    let allowed = accepted.rate * accepted.cpu_us / 1e6;
    mark(
        &format!("accepted at {allowed:.2} of the rate that its CPU figure allows, at least 0.8"),
        allowed >= 0.8,
    )
}

fn bare(requests: &Rc<Requests>, count: usize) -> Result<Figures, Box<dyn Error>> {
    let server = Server::bare()?;
    // Processor time is told in hundredths of a second, and here is little of it.
    let figures = load_on(&server, requests, 4 * count, 200)?;
    server.stop()?;
    Ok(figures)
}

fn swifthook(
    recipe: Recipe,
    status: u16,
    requests: &Rc<Requests>,
    count: usize,
) -> Result<Figures, Box<dyn Error>> {
    let site = Site::new(recipe)?;
    let server = site.serve()?;
    let blocker = site.block()?;
    let figures = load_on(&server, requests, count, status)?;
    server.stop()?;
    drop(blocker);
    Ok(figures)
}

fn load_on(
    server: &Server,
    requests: &Rc<Requests>,
    count: usize,
    status: u16,
) -> Result<Figures, Box<dyn Error>> {
    load::send(server.address, requests, 0, WARM_UP, status)?;
    let (cpu, core) = (server.cpu()?, busy()?);
    let load = load::send(server.address, requests, WARM_UP, count, status)?;
    let (cpu, core) = (server.cpu()? - cpu, busy()? - core);
    Ok(Figures {
        cpu_us: cpu.as_secs_f64() * 1e6 / count as f64,
        rate: load.requests as f64 / load.took.as_secs_f64(),
        core: 1.0 - core.saturating_sub(cpu).as_secs_f64() / load.took.as_secs_f64(),
    })
}

/// How long the server's core has been busy, with whatever.
fn busy() -> Result<Duration, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/stat")?;
    let core = stat.lines().find_map(|line| line.strip_prefix("cpu0 ")).ok_or("no cpu0 in /proc/stat")?;
    // user nice system idle iowait irq softirq steal
    let fields: Vec<u64> = core.split_whitespace().take(8).map(str::parse).collect::<Result<_, _>>()?;
    let ticks: u64 = [0, 1, 2, 5, 6, 7].iter().filter_map(|&field| fields.get(field)).sum();
    Ok(Duration::from_secs(1).mul_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

fn middle(rounds: &[Figures]) -> Figures {
    let of = |value: fn(&Figures) -> f64| median(rounds.iter().map(value).collect());
    Figures { cpu_us: of(|f| f.cpu_us), rate: of(|f| f.rate), core: of(|f| f.core) }
}

const WARM_UP: usize = 2_000;
const ROUNDS: usize = 5;
