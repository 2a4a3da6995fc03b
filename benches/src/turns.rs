//! Ratios that hold on a machine with other work: everything that is compared runs in turn, in one process, and is
//! measured by the processor time of its thread.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::marks::median;

/// One of the things that are compared.
pub struct Subject<'a> {
    /// What is told of it.
    pub name: String,
    /// The most that it may take, in multiples of the first subject.
    pub mark: Option<f64>,
    /// Does it once; the number counts up, so that no two are alike.
    pub once: Box<dyn FnMut(usize) + 'a>,
}

impl<'a> Subject<'a> {
    /// A subject without a mark.
    pub fn new(name: impl Into<String>, once: impl FnMut(usize) + 'a) -> Self {
        Self { name: name.into(), mark: None, once: Box::new(once) }
    }

    /// The same with a mark.
    #[must_use]
    pub fn at_most(self, mark: f64) -> Self {
        Self { mark: Some(mark), ..self }
    }
}

/// Runs the subjects in turn and prints what each takes, and its ratio to the first: medians over the rounds.
#[expect(clippy::print_stdout, reason = "the figures are what a benchmark is for")]
pub fn compare(title: &str, subjects: &mut [Subject<'_>]) {
    println!("{title}");
    let repetitions = (ROUND_SECONDS / seconds(&mut subjects[0], 0, 1)).clamp(1.0, 1e6) as usize;
    let mut rounds = vec![Vec::new(); subjects.len()];
    let start = Instant::now();
    for round in 0..ROUNDS {
        if round >= FEWEST_ROUNDS && start.elapsed() > PATIENCE {
            break;
        }
        for (subject, took) in subjects.iter_mut().zip(&mut rounds) {
            took.push(seconds(subject, round * repetitions, repetitions));
        }
    }
    for (i, subject) in subjects.iter().enumerate() {
        let ratio = median(rounds[i].iter().zip(&rounds[0]).map(|(took, first)| took / first).collect());
        let micros = median(rounds[i].clone()) * 1e6;
        let mark = subject.mark.map_or_else(String::new, |mark| {
            format!("  mark {mark:.2}: {}", if ratio <= mark { "reached" } else { "MISSED" })
        });
        println!("  {:44}{micros:>12.2} µs {ratio:>7.2} x{mark}", subject.name);
    }
}

/// The processor time of one repetition.
fn seconds(subject: &mut Subject<'_>, first: usize, repetitions: usize) -> f64 {
    let start = clock_gettime(ClockId::ThreadCPUTime);
    (first..first + repetitions).for_each(&mut subject.once);
    let end = clock_gettime(ClockId::ThreadCPUTime);
    let took = (end.tv_sec - start.tv_sec) as f64 + (end.tv_nsec - start.tv_nsec) as f64 * 1e-9;
    took / repetitions as f64
}

const ROUNDS: usize = 41;
const FEWEST_ROUNDS: usize = 5;
const ROUND_SECONDS: f64 = 0.01;
const PATIENCE: Duration = Duration::from_secs(15);
