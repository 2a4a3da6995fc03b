//! Numbers for Prometheus. Labels come from closed sets only: nothing that a payload says is one.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use swifthook_core::{Answered, Stage};

use super::connections::Counts;
use super::occasionally::{Line, LineBudget};

/// What a server has counted since its start.
#[derive(Debug)]
pub struct Metrics {
    counted: Mutex<Counted>,
    refusal_lines: Mutex<LineBudget>,
    known_lines: Mutex<LineBudget>,
}

#[derive(Debug, Default)]
struct Counted {
    deliveries: BTreeMap<(&'static str, String), u64>,
    refusals: BTreeMap<(u16, String), u64>,
    finished: BTreeMap<&'static str, u64>,
    alarms: BTreeMap<String, u64>,
    accepting: Histogram,
    store_errors: u64,
    /// When the last push could not be stored, unless one could be since.
    refused_at: Option<Instant>,
}

#[derive(Debug, Default)]
struct Histogram {
    counts: [u64; BOUNDS.len()],
    sum: f64,
    total: u64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            counted: Mutex::default(),
            refusal_lines: Mutex::new(LineBudget::new(REFUSAL_LINES)),
            known_lines: Mutex::new(LineBudget::new(KNOWN_LINES)),
        }
    }
}

impl Metrics {
    pub(super) fn answered(&self, answered: &Answered, status: u16) {
        let reason = answered.reason.as_deref().unwrap_or_default().to_owned();
        let mut counted = self.counted();
        let count = match answered.decision {
            "refused" => counted.refusals.entry((status, reason)).or_default(),
            decision => counted.deliveries.entry((decision, reason)).or_default(),
        };
        *count += 1;
    }

    /// Tells whether a refusal gets a line in the log.
    pub(super) fn refusal_line(&self, now: Instant) -> Line {
        self.refusal_lines.lock().expect("nothing panics under this lock").take(now)
    }

    /// Tells whether a delivery that brings nothing new gets a line in the log.
    pub(super) fn known_line(&self, now: Instant) -> Line {
        self.known_lines.lock().expect("nothing panics under this lock").take(now)
    }

    pub(super) fn accepted(&self, took: Duration, is_stored: bool) {
        let mut counted = self.counted();
        counted.accepting.observe(took);
        counted.store_errors += u64::from(!is_stored);
        counted.refused_at = (!is_stored).then(Instant::now);
    }

    /// Tells whether the last push could not be stored, a moment ago.
    pub(super) fn refuses(&self) -> bool {
        self.counted().refused_at.is_some_and(|at| at.elapsed() < REMEMBERED)
    }

    pub(super) fn finished(&self, stage: Stage) {
        *self.counted().finished.entry(stage.word()).or_default() += 1;
    }

    /// The watchdog found something wrong with a run; `kind` is its word for it.
    pub(super) fn alarmed(&self, kind: &str) {
        *self.counted().alarms.entry(kind.to_owned()).or_default() += 1;
    }

    /// All of them, in the text format
    /// (<https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>). `jobs` are the counts of
    /// the moment.
    #[must_use]
    pub fn text(&self, jobs: &[(Stage, u64)]) -> String {
        let counted = self.counted();
        let mut text = Text::default();
        text.family("swifthook_deliveries_total", "counter", "Deliveries by decision and reason.");
        for ((decision, reason), count) in &counted.deliveries {
            text.line("swifthook_deliveries_total", &[("decision", decision), ("reason", reason)], count);
        }
        text.family("swifthook_refusals_total", "counter", "Refused requests by status and reason.");
        for ((status, reason), count) in &counted.refusals {
            let labels = [("status", &*status.to_string()), ("reason", reason)];
            text.line("swifthook_refusals_total", &labels, count);
        }
        text.family("swifthook_accept_seconds", "histogram", "How long it took to store a decided push.");
        counted.accepting.write("swifthook_accept_seconds", &mut text);
        text.family("swifthook_accept_errors_total", "counter", "Decided pushes that could not be stored.");
        text.line("swifthook_accept_errors_total", &[], counted.store_errors);
        text.family("swifthook_jobs", "gauge", "Jobs that have not ended, by state.");
        for (stage, count) in jobs {
            text.line("swifthook_jobs", &[("state", stage.word())], count);
        }
        if !counted.alarms.is_empty() {
            text.family(
                "swifthook_watchdog_alarms_total",
                "counter",
                "Runs found stuck or astray, by what was wrong.",
            );
            for (kind, count) in &counted.alarms {
                text.line("swifthook_watchdog_alarms_total", &[("kind", kind)], count);
            }
        }
        text.family("swifthook_jobs_finished_total", "counter", "Jobs that this server saw end, by state.");
        for (state, count) in &counted.finished {
            text.line("swifthook_jobs_finished_total", &[("state", state)], count);
        }
        text.0
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().expect("nothing panics under this lock")
    }
}

/// What became of messages of a broker, in the same format.
pub(super) fn messages(counts: [(&'static str, u64); 4]) -> String {
    let mut text = Text::default();
    text.family("swifthook_broker_messages_total", "counter", "Messages by what became of them here.");
    for (what, count) in counts {
        text.line("swifthook_broker_messages_total", &[("what", what)], count);
    }
    text.0
}

/// The connections of each port, and the bytes of bodies in memory, in the same format.
pub(super) fn ports(counts: &[(&'static str, Counts)], body_bytes: Option<usize>) -> String {
    let mut text = Text::default();
    text.family("swifthook_connections", "gauge", "Connections that are open, by port.");
    for (port, counts) in counts {
        text.line("swifthook_connections", &[("port", port)], counts.open);
    }
    let help = "Connections that made room for others, by port.";
    text.family("swifthook_connections_evicted_total", "counter", help);
    for (port, counts) in counts {
        text.line("swifthook_connections_evicted_total", &[("port", port)], counts.evicted);
    }
    let help = "Connections, and requests by way of proxies, for which none could make room, by port.";
    text.family("swifthook_connections_refused_total", "counter", help);
    for (port, counts) in counts {
        text.line("swifthook_connections_refused_total", &[("port", port)], counts.refused);
    }
    if let Some(bytes) = body_bytes {
        text.family("swifthook_body_bytes", "gauge", "Bytes of bodies that are being received.");
        text.line("swifthook_body_bytes", &[], bytes);
    }
    text.0
}

/// The GPUs of a machine, in the same format.
pub(super) fn gpus(counts: [(&'static str, usize); 4]) -> String {
    let mut text = Text::default();
    text.family(
        "swifthook_gpus",
        "gauge",
        "GPUs of this machine: leased to runs, free, used by others, broken.",
    );
    for (state, count) in counts {
        text.line("swifthook_gpus", &[("state", state)], count);
    }
    text.0
}

impl Histogram {
    fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.sum += seconds;
        self.total += 1;
        for (bound, count) in BOUNDS.iter().zip(&mut self.counts) {
            *count += u64::from(seconds <= *bound);
        }
    }

    fn write(&self, name: &str, text: &mut Text) {
        let bucket = format!("{name}_bucket");
        for (bound, count) in BOUNDS.iter().zip(self.counts) {
            text.line(&bucket, &[("le", &bound.to_string())], count);
        }
        text.line(&bucket, &[("le", "+Inf")], self.total);
        text.line(&format!("{name}_sum"), &[], self.sum);
        text.line(&format!("{name}_count"), &[], self.total);
    }
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Label values are our own words, in which nothing has to be escaped.
    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<_> = labels.iter().map(|(label, word)| format!("{label}=\"{word}\"")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

/// For how long a push that could not be stored says that the next one cannot be either: whoever balances asks that often.
const REMEMBERED: Duration = Duration::from_secs(15);
/// Lines of refusals in the log, a minute, of all clients together.
const REFUSAL_LINES: u32 = 600;
/// Lines of deliveries that bring nothing new, as one that is replayed.
const KNOWN_LINES: u32 = 600;
/// Seconds. GitHub gives up after ten.
const BOUNDS: [f64; 11] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0, 8.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_that_could_not_be_stored_is_remembered_until_one_could() {
        let metrics = Metrics::default();
        assert!(!metrics.refuses());
        metrics.accepted(Duration::from_millis(2), false);
        assert!(metrics.refuses());
        metrics.accepted(Duration::from_millis(2), true);
        assert!(!metrics.refuses());
    }

    #[test]
    fn what_happened_at_the_ports_is_told() {
        let hooks = Counts { open: 512, evicted: 30, refused: 2 };
        let text = ports(&[("hooks", hooks), ("admin", Counts::default())], Some(1_000));
        for line in [
            "swifthook_connections{port=\"hooks\"} 512",
            "swifthook_connections_evicted_total{port=\"hooks\"} 30",
            "swifthook_connections_refused_total{port=\"hooks\"} 2",
            "swifthook_connections_evicted_total{port=\"admin\"} 0",
            "swifthook_body_bytes 1000",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} in {text}");
        }
    }

    #[test]
    fn what_was_counted_is_written_as_prometheus_reads_it() {
        let metrics = Metrics::default();
        metrics.accepted(Duration::from_millis(2), true);
        metrics.accepted(Duration::from_secs(9), false);
        metrics.finished(Stage::Succeeded);
        insta::assert_snapshot!(metrics.text(&[(Stage::Queued, 3), (Stage::Running, 1)]));
    }
}
