use std::fmt;

/// A time of the day on some days of the week: `mon-fri`, `08:00-20:00`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// A bit for each day, from Monday on.
    days: u8,
    /// Minutes since midnight.
    start: u16,
    /// Minutes since midnight; not after `start` if it is those of the next day.
    end: u16,
}

/// What is wrong with a schedule, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSchedule {
    /// No days.
    #[error("not days: `{0}` (such as `mon-fri`, `sat,sun` or `mon,wed-fri`)")]
    Days(String),
    /// No hours.
    #[error("not hours: `{0}` (such as `08:00-20:00`, `22:00-06:00` over midnight, or `00:00-24:00`)")]
    Hours(String),
    /// Hours of no length.
    #[error("never open: `{0}` begins when it ends (the whole day is `00:00-24:00`)")]
    Empty(String),
    /// No time zone.
    #[error("not a time zone: `{0}` (a name of the IANA database, such as `Asia/Shanghai` or `UTC`)")]
    TimeZone(String),
}

impl Window {
    /// Reads a window. `days` are days and ranges of days, with commas between them; `hours` are two times of the
    /// day, of which the second may be `24:00`, or before the first for a window that ends on the next day: of
    /// `fri`, `22:00-06:00` the last hour is Saturday's from five to six.
    ///
    /// # Errors
    ///
    /// When either is something else, or nothing is between the two times.
    pub fn parse(days: &str, hours: &str) -> Result<Self, InvalidSchedule> {
        let days = parse_days(days).ok_or_else(|| InvalidSchedule::Days(days.to_owned()))?;
        let (start, end) = parse_hours(hours).ok_or_else(|| InvalidSchedule::Hours(hours.to_owned()))?;
        if start == end {
            return Err(InvalidSchedule::Empty(hours.to_owned()));
        }
        Ok(Self { days, start, end })
    }

    /// Whether it is open on that day (0 is Monday) at that minute.
    pub(super) fn contains(&self, weekday: u8, minute: u16) -> bool {
        let is_on = |weekday: u8| self.days & (1 << weekday) != 0;
        if self.start < self.end {
            return is_on(weekday) && (self.start..self.end).contains(&minute);
        }
        (is_on(weekday) && minute >= self.start) || (is_on((weekday + 6) % 7) && minute < self.end)
    }

    /// The minutes of a day at which it may open or close.
    pub(super) fn edges(&self) -> [u16; 2] {
        [self.start, self.end % MINUTES_OF_A_DAY]
    }
}

/// As it is written: `mon-wed,sat 22:00-06:00`.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days: Vec<_> = (0..7).filter(|day| self.days & (1 << day) != 0).map(|day| DAYS[day]).collect();
        let clock = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        write!(f, "{} {}-{}", days.join(","), clock(self.start), clock(self.end))
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn parse_days(text: &str) -> Option<u8> {
    text.split(',').try_fold(0, |days, part| Some(days | parse_day_range(part.trim())?))
}

/// The bits of `fri`, or of `fri-mon`, which goes on over the end of the week.
fn parse_day_range(text: &str) -> Option<u8> {
    let day = |word: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(word.trim()));
    let Some((first, last)) = text.split_once('-') else {
        return day(text).map(|day| 1 << day);
    };
    let (first, last) = (day(first)?, day(last)?);
    let length = (last + 7 - first) % 7;
    Some((first..=first + length).fold(0, |days, day| days | 1 << (day % 7)))
}

fn parse_hours(text: &str) -> Option<(u16, u16)> {
    let (start, end) = text.split_once('-')?;
    let (start, end) = (parse_clock(start.trim())?, parse_clock(end.trim())?);
    (start < MINUTES_OF_A_DAY).then_some((start, end))
}

fn parse_clock(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |digits: &str| match digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit()) {
        true => digits.parse::<u16>().ok(),
        false => None,
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let whole = hours * 60 + minutes;
    (minutes < 60 && whole <= MINUTES_OF_A_DAY).then_some(whole)
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const MINUTES_OF_A_DAY: u16 = 24 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_read_and_written() {
        for (days, hours, written) in [
            ("mon-fri", "08:00-20:00", "mon,tue,wed,thu,fri 08:00-20:00"),
            ("mon,wed,fri", "00:00-24:00", "mon,wed,fri 00:00-24:00"),
            ("fri-mon", "22:00-06:00", "mon,fri,sat,sun 22:00-06:00"),
            ("Sat, SUN ", " 09:30 - 17:45 ", "sat,sun 09:30-17:45"),
            ("tue-tue", "23:59-00:00", "tue 23:59-00:00"),
        ] {
            assert_eq!(Window::parse(days, hours).map(|window| window.to_string()), Ok(written.to_owned()));
        }
    }

    #[test]
    fn mistakes_say_what_would_be_right() {
        for days in ["", "mo", "monday", "mon-", "mon..fri", "mon,", "1-5"] {
            let error = Window::parse(days, "08:00-20:00").unwrap_err().to_string();
            assert_eq!(error, format!("not days: `{days}` (such as `mon-fri`, `sat,sun` or `mon,wed-fri`)"));
        }
        for hours in
            ["", "8-20", "8:00-20:00", "08:00", "08:60-09:00", "24:00-06:00", "08:00-24:01", "+8:00-09:00"]
        {
            let error = Window::parse("mon", hours).unwrap_err();
            assert_eq!(error, InvalidSchedule::Hours(hours.to_owned()));
        }
        let error = Window::parse("mon", "08:00-08:00").unwrap_err().to_string();
        assert_eq!(error, "never open: `08:00-08:00` begins when it ends (the whole day is `00:00-24:00`)");
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_opens() {
        let window = Window::parse("fri", "22:00-06:00").unwrap();
        let (friday, saturday) = (4, 5);
        for (day, minute, is_open) in [
            (friday, 5 * 60, false),
            (friday, 22 * 60 - 1, false),
            (friday, 22 * 60, true),
            (saturday, 0, true),
            (saturday, 6 * 60 - 1, true),
            (saturday, 6 * 60, false),
            (saturday, 23 * 60, false),
        ] {
            assert_eq!(window.contains(day, minute), is_open, "day {day}, minute {minute}");
        }
    }
}
