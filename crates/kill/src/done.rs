use std::collections::{BTreeMap, BTreeSet};

use crate::broker::Way;
use crate::cluster::Mode;

/// What was done.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) receivers: usize,
    pub(crate) workers: usize,
    pub(crate) short_stops: usize,
    /// SIGSTOP for longer than a lease, of receivers and of workers.
    pub(crate) long_stops: [usize; 2],
    /// How often a process was killed and stopped at a point.
    pub(crate) points: BTreeMap<&'static str, [usize; 2]>,
    /// The runs whose supervisor was killed.
    pub(crate) supervisors: BTreeSet<String>,
    pub(crate) supervisors_stopped: usize,
    pub(crate) database: BTreeMap<Mode, usize>,
    pub(crate) backends: usize,
    pub(crate) broker: BTreeMap<Way, usize>,
    /// Processes that did not start, since the database was away.
    pub(crate) gave_up: usize,
}

impl Done {
    /// How often a server or a worker was killed.
    pub(crate) fn kills(&self) -> usize {
        self.receivers + self.workers
    }

    pub(crate) fn killed(&mut self, is_receiver: bool) {
        *(if is_receiver { &mut self.receivers } else { &mut self.workers }) += 1;
    }

    pub(crate) fn killed_at(&mut self, point: &'static str) {
        self.points.entry(point).or_default()[0] += 1;
    }

    /// Stopped, and continued.
    pub(crate) fn stopped(&mut self, is_receiver: bool, is_long: bool, point: Option<&'static str>) {
        if is_long {
            self.long_stops[usize::from(!is_receiver)] += 1;
        } else {
            self.short_stops += 1;
        }
        if let Some(point) = point {
            self.points.entry(point).or_default()[1] += 1;
        }
    }

    pub(crate) fn database_stopped(&mut self, mode: Mode) {
        *self.database.entry(mode).or_default() += 1;
    }

    pub(crate) fn broker_stopped(&mut self, way: Way) {
        *self.broker.entry(way).or_default() += 1;
    }
}
