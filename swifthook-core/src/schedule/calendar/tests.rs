use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::id::JobId;
use crate::job::{Change, JobSpec, Retry, State, Superseding};
use crate::testing::push;

fn at(text: &str) -> Timestamp {
    let moment: Instant = text.parse().unwrap();
    Timestamp(moment.as_millisecond())
}

fn schedule(zone: &str, windows: &[(&str, &str)]) -> Schedule {
    let windows = windows.iter().map(|(days, hours)| Window::parse(days, hours).unwrap());
    Schedule::new(zone, windows, Outside::Hold).unwrap()
}

fn job() -> Job {
    let push = push("refs/heads/main", &[]);
    let change = Change {
        repository: push.repository,
        ref_name: push.ref_name,
        head: push.head.unwrap(),
        recipe: "train".into(),
        config: "".into(),
        run: 0,
    };
    let spec = JobSpec {
        recipe: "train".into(),
        config: None,
        group: "train".into(),
        priority: 0,
        launcher: "local".into(),
        labels: Vec::new(),
        command: [].into(),
        file: None,
        superseded: Superseding::default(),
        debounce: None,
        retry: Retry::default(),
        origin: Default::default(),
    };
    Job {
        id: JobId([0; 16]),
        change,
        before: push.before,
        sender: push.sender,
        pushed_at: push.pushed_at,
        source: push.source,
        spec,
        state: State::queued(None, None),
        created_at: Timestamp(0),
        rerun_of: None,
        superseded_by: None,
        progress: None,
    }
}

#[test]
fn a_time_zone_that_does_not_exist_is_told() {
    let error = Schedule::new("Asia/Shangai", [], Outside::Hold).unwrap_err().to_string();
    assert_eq!(
        error,
        "not a time zone: `Asia/Shangai` (a name of the IANA database, such as `Asia/Shanghai` or `UTC`)"
    );
}

#[test]
fn openings_and_closings() {
    let working_hours: &[_] = &[("mon-fri", "08:00-20:00")];
    let nights: &[_] = &[("mon-fri", "22:00-06:00"), ("sat,sun", "00:00-24:00")];
    for (zone, windows, now, opens, closes) in [
        // Tuesday, 2026-11-24.
        ("UTC", working_hours, "2026-11-24T07:59:59.999Z", "2026-11-24T08:00Z", "2026-11-24T07:59:59.999Z"),
        ("UTC", working_hours, "2026-11-24T08:00Z", "2026-11-24T08:00Z", "2026-11-24T20:00Z"),
        ("UTC", working_hours, "2026-11-24T20:00Z", "2026-11-25T08:00Z", "2026-11-24T20:00Z"),
        ("UTC", working_hours, "2026-11-27T20:00Z", "2026-11-30T08:00Z", "2026-11-27T20:00Z"),
        ("Asia/Shanghai", working_hours, "2026-11-24T12:00Z", "2026-11-25T00:00Z", "2026-11-24T12:00Z"),
        ("Asia/Shanghai", working_hours, "2026-11-24T00:00Z", "2026-11-24T00:00Z", "2026-11-24T12:00Z"),
        ("UTC", nights, "2026-11-24T05:00Z", "2026-11-24T05:00Z", "2026-11-24T06:00Z"),
        ("UTC", nights, "2026-11-24T06:00Z", "2026-11-24T22:00Z", "2026-11-24T06:00Z"),
        // From Friday's night on, over the weekend, until Sunday's midnight.
        ("UTC", nights, "2026-11-27T23:00Z", "2026-11-27T23:00Z", "2026-11-30T00:00Z"),
        ("UTC", nights, "2026-11-30T03:00Z", "2026-11-30T22:00Z", "2026-11-30T03:00Z"),
    ] {
        let schedule = schedule(zone, windows);
        assert_eq!(schedule.opens_at(at(now)), Some(at(opens)), "{zone}, opens from {now} on");
        assert_eq!(schedule.closes_at(at(now)), Some(at(closes)), "{zone}, closes from {now} on");
    }
}

#[test]
fn an_hour_that_is_skipped_is_not_there() {
    // Berlin's clocks go from 02:00 to 03:00 on Sunday, 2026-03-29, at 01:00Z.
    let only_then = schedule("Europe/Berlin", &[("sun", "02:15-02:45")]);
    assert_eq!(only_then.opens_at(at("2026-03-28T12:00Z")), Some(at("2026-04-05T00:15Z")));
    let begins_then = schedule("Europe/Berlin", &[("sun", "02:30-06:00")]);
    assert_eq!(begins_then.opens_at(at("2026-03-29T00:00Z")), Some(at("2026-03-29T01:00Z")), "at 03:00");
    let ends_then = schedule("Europe/Berlin", &[("sun", "01:00-02:30")]);
    assert_eq!(ends_then.closes_at(at("2026-03-29T00:30Z")), Some(at("2026-03-29T01:00Z")), "at 03:00");
    // New York's on Sunday, 2026-03-08, at 07:00Z.
    let begins_then = schedule("America/New_York", &[("sun", "02:30-06:00")]);
    assert_eq!(begins_then.opens_at(at("2026-03-08T05:00Z")), Some(at("2026-03-08T07:00Z")));
}

#[test]
fn an_hour_that_comes_twice_counts_twice() {
    // Berlin's clocks go from 03:00 to 02:00 on Sunday, 2026-10-25, at 01:00Z.
    let berlin = schedule("Europe/Berlin", &[("sun", "02:15-02:45")]);
    for (now, opens, closes) in [
        ("2026-10-25T00:00Z", "2026-10-25T00:15Z", "2026-10-25T00:00Z"),
        ("2026-10-25T00:20Z", "2026-10-25T00:20Z", "2026-10-25T00:45Z"),
        ("2026-10-25T00:45Z", "2026-10-25T01:15Z", "2026-10-25T00:45Z"),
        ("2026-10-25T01:20Z", "2026-10-25T01:20Z", "2026-10-25T01:45Z"),
        ("2026-10-25T01:45Z", "2026-11-01T01:15Z", "2026-10-25T01:45Z"),
    ] {
        assert_eq!(berlin.opens_at(at(now)), Some(at(opens)), "opens from {now} on");
        assert_eq!(berlin.closes_at(at(now)), Some(at(closes)), "closes from {now} on");
    }
    let until_three = schedule("Europe/Berlin", &[("sun", "01:00-03:00")]);
    assert_eq!(
        until_three.closes_at(at("2026-10-25T00:30Z")),
        Some(at("2026-10-25T02:00Z")),
        "no break at two"
    );
    // New York's from 02:00 to 01:00 on Sunday, 2026-11-01, at 06:00Z.
    let new_york = schedule("America/New_York", &[("sun", "00:00-01:30")]);
    assert_eq!(new_york.closes_at(at("2026-11-01T05:00Z")), Some(at("2026-11-01T05:30Z")));
    assert_eq!(new_york.opens_at(at("2026-11-01T05:45Z")), Some(at("2026-11-01T06:00Z")), "01:00 once more");
}

#[test]
fn a_day_that_does_not_exist_is_passed_over() {
    // Samoa had no Friday, 2011-12-30.
    let fridays = schedule("Pacific/Apia", &[("fri", "00:00-24:00")]);
    assert_eq!(fridays.opens_at(at("2011-12-29T12:00Z")), Some(at("2012-01-05T10:00Z")));
}

#[test]
fn what_is_always_open_never_closes() {
    for windows in
        [&[][..], &[("mon-sun", "00:00-24:00")], &[("mon-sun", "00:00-12:00"), ("mon-sun", "12:00-00:00")]]
    {
        let schedule = schedule("Europe/Berlin", windows);
        assert!(schedule.is_open(at("2026-03-29T01:00Z")));
        assert_eq!(schedule.closes_at(at("2026-03-29T01:00Z")), None);
    }
}

#[test]
fn a_job_outside_of_its_hours_waits_or_is_given_up() {
    let now = at("2026-11-24T20:00Z");
    let admit = |outside, now| {
        let schedule = Schedule { outside, ..schedule("Europe/Berlin", &[("mon-fri", "08:00-20:00")]) };
        schedule.admit(&job(), now, &Fleet::default())
    };
    let why = || "outside of its hours until Wed 2026-11-25 08:00 Europe/Berlin".to_owned();
    for outside in [Outside::Hold, Outside::Pause] {
        assert_eq!(admit(outside, now), Admit::NotBefore(at("2026-11-25T07:00Z"), Wait::Window, why()));
        assert_eq!(admit(outside, at("2026-11-24T12:00Z")), Admit::Now);
    }
    assert_eq!(admit(Outside::Skip, now), Admit::NoLonger(Reason::new("schedule", why())));
}

#[test]
fn no_moment_is_too_far_away() {
    let schedule = schedule("Europe/Berlin", &[("mon", "08:00-09:00")]);
    for far in [i64::MIN, -1, 0, i64::MAX] {
        let _ = schedule.admit(&job(), Timestamp(far), &Fleet::default());
    }
}

proptest! {
    #[test]
    fn between_now_and_the_opening_it_is_closed(
        zone in prop::sample::select(vec!["Europe/Berlin", "America/New_York", "Asia/Shanghai", "UTC"]),
        days in prop::sample::subsequence(vec!["mon", "tue", "wed", "thu", "fri", "sat", "sun"], 1..7),
        (start, end) in (0..1_440_u16, 1..1_440_u16),
        // Minutes of 2026.
        now in 0..365 * 1_440_i64,
    ) {
        let end = (start + end) % 1_440;
        let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        let hours = format!("{}-{}", clock(start), clock(end));
        let schedule = schedule(zone, &[(&days.join(","), &hours)]);
        let now = Timestamp(at("2026-01-01T00:00Z").0 + now * 60_000);
        let change = schedule.next_change(now).unwrap();
        let is_open = schedule.is_open(now);
        prop_assert!(change > now);
        prop_assert_eq!(schedule.is_open(change), !is_open);
        let mut between = now.0;
        while between < change.0 {
            prop_assert_eq!(schedule.is_open(Timestamp(between)), is_open);
            between += 15 * 60_000;
        }
        prop_assert_eq!(schedule.is_open(Timestamp(change.0 - 1)), is_open);
    }
}
