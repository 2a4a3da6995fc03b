use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp as Instant, ToSpan};

use super::{InvalidSchedule, Window};
use crate::admission::{Admission, Admit, Fleet, Wait};
use crate::job::Job;
use crate::policy::Reason;
use crate::time::Timestamp;

/// Windows in a time zone, and what becomes of a job whose turn comes outside of them. Without a window it is
/// always open.
#[derive(Clone, Debug)]
pub struct Schedule {
    zone: TimeZone,
    windows: Vec<Window>,
    outside: Outside,
}

/// What becomes of a job outside of its hours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outside {
    /// It waits for the next opening; one that runs goes on.
    #[default]
    Hold,
    /// It is given up.
    Skip,
    /// It waits for the next opening, and one that runs makes way until then.
    Pause,
}

impl Schedule {
    /// A schedule in the time zone of that name.
    ///
    /// # Errors
    ///
    /// When no time zone has that name.
    pub fn new(
        zone: &str,
        windows: impl IntoIterator<Item = Window>,
        outside: Outside,
    ) -> Result<Self, InvalidSchedule> {
        let known = TimeZoneDatabase::bundled().get(zone);
        let zone = known.map_err(|_| InvalidSchedule::TimeZone(zone.to_owned()))?;
        Ok(Self { zone, windows: windows.into_iter().collect(), outside })
    }

    /// What becomes of a job outside of its hours.
    #[must_use]
    pub fn outside(&self) -> Outside {
        self.outside
    }

    /// Whether a window is open.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.is_open_at(instant(now))
    }

    /// The first moment from `now` on at which a window is open: `now` itself if one is. `None` if none opens within
    /// three weeks: every window comes each week, but a time that is skipped when the clocks go forward does not.
    #[must_use]
    pub fn opens_at(&self, now: Timestamp) -> Option<Timestamp> {
        match self.is_open(now) {
            true => Some(now),
            false => self.next_change(now),
        }
    }

    /// The first moment after `now` at which no window is open: `now` itself if none is. `None` if it never closes.
    #[must_use]
    pub fn closes_at(&self, now: Timestamp) -> Option<Timestamp> {
        match self.is_open(now) {
            true => self.next_change(now),
            false => Some(now),
        }
    }

    /// The first moment after `now` at which it is open where it is not now, or the other way round.
    fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let now = instant(now);
        let (is_open, last) = (self.is_open_at(now), now.checked_add((DAYS_AHEAD * 24).hours()).ok()?);
        let today = self.zone.to_datetime(now).date();
        let days = (-1..DAYS_AHEAD).filter_map(|days| today.checked_add(days.days()).ok());
        // The clock shows an edge of a window, or it jumps over one.
        let edges = days.flat_map(|day| self.edges_of(day));
        let jumps = self.zone.following(now).map(|jump| jump.timestamp()).take_while(|time| *time <= last);
        edges
            .chain(jumps)
            .filter(|time| *time > now && self.is_open_at(*time) != is_open)
            .min()
            .map(|time| Timestamp(time.as_millisecond()))
    }

    /// The moments of a day at which a window may open or close: of a time that comes twice, both.
    fn edges_of(&self, day: Date) -> impl Iterator<Item = Instant> + '_ {
        self.windows.iter().flat_map(Window::edges).flat_map(move |minute| {
            let (hour, minute) = ((minute / 60) as i8, (minute % 60) as i8);
            let time = Time::new(hour, minute, 0, 0).expect("edges are minutes of a day");
            let moment = self.zone.to_ambiguous_timestamp(DateTime::from_parts(day, time));
            [moment.earlier(), moment.later()].into_iter().filter_map(Result::ok)
        })
    }

    fn is_open_at(&self, now: Instant) -> bool {
        let clock = self.zone.to_datetime(now);
        let weekday = clock.weekday().to_monday_zero_offset().unsigned_abs();
        let minute = u16::from(clock.hour().unsigned_abs()) * 60 + u16::from(clock.minute().unsigned_abs());
        self.windows.is_empty() || self.windows.iter().any(|window| window.contains(weekday, minute))
    }

    fn why_closed(&self, opening: Option<Timestamp>) -> String {
        match opening {
            Some(time) => format!("outside of its hours until {}", self.when(time)),
            None => "outside of its hours".to_owned(),
        }
    }

    fn when(&self, time: Timestamp) -> String {
        let clock = self.zone.to_datetime(instant(time));
        let zone = self.zone.iana_name().unwrap_or("UTC");
        clock.strftime("%a %Y-%m-%d %H:%M").to_string() + " " + zone
    }
}

impl Admission for Schedule {
    fn admit(&self, _job: &Job, now: Timestamp, _fleet: &Fleet) -> Admit {
        if self.is_open(now) {
            return Admit::Now;
        }
        let opening = self.opens_at(now);
        let why = self.why_closed(opening);
        match self.outside {
            Outside::Skip => Admit::NoLonger(Reason::new("schedule", why)),
            Outside::Hold | Outside::Pause => {
                Admit::NotBefore(opening.unwrap_or_else(|| now.after(A_DAY)), Wait::Window, why)
            }
        }
    }

    fn makes_way(&self, _job: &Job, now: Timestamp) -> Option<String> {
        let is_to = self.outside == Outside::Pause && !self.is_open(now);
        is_to.then(|| self.why_closed(self.opens_at(now)))
    }
}

/// The moment, or the nearest one that has a date.
fn instant(time: Timestamp) -> Instant {
    let nearest = if time.0 < 0 { Instant::MIN } else { Instant::MAX };
    Instant::from_millisecond(time.0).unwrap_or(nearest)
}

const DAYS_AHEAD: i64 = 21;
const A_DAY: std::time::Duration = std::time::Duration::from_secs(24 * 3_600);

#[cfg(test)]
mod tests;
