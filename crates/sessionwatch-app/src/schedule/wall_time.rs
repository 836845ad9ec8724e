//! Cron expressions across changes of local time (DST), by the rules of Vixie cron.
//!
//! An expression with `*` in its minutes or hours, including steps, follows elapsed time: it is due at every instant
//! whose wall time matches, even twice when the clocks go back. Any other expression names times of day: each is due
//! once, at its first occurrence, or at the end of the gap if the clocks skip it.

use croner::Cron;
use jiff::{
    SignedDuration, Timestamp,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone},
};

/// Resolution of timestamps.
const MIN_TIME_STEP: SignedDuration = SignedDuration::from_nanos(1);

/// Returns the first time after `last`; `None` if there is none.
pub(super) fn next_occurrence(cron: &Cron, zone: &TimeZone, last: Timestamp) -> Option<Timestamp> {
    if uses_elapsed_time(cron) {
        return next_elapsed(cron, zone, last);
    }
    let mut wall = zone.to_datetime(last);
    loop {
        wall = next_wall_time(cron, wall, false)?;
        let at = timestamp_at(wall, zone)?;
        if at > last {
            return Some(at);
        }
    }
}

/// Returns the last time at or before `now`; `None` if there is none.
pub(super) fn previous_occurrence(cron: &Cron, zone: &TimeZone, now: Timestamp) -> Option<Timestamp> {
    if uses_elapsed_time(cron) {
        return previous_elapsed(cron, zone, now);
    }
    let mut wall = zone.to_datetime(now);
    if let AmbiguousOffset::Fold { before, after } = zone.to_ambiguous_timestamp(wall).offset() {
        // In a repeated hour, every wall time of that hour may have occurred already.
        wall = wall.checked_add(before.duration_since(after)).ok()?;
    }
    let mut inclusive = true;
    loop {
        wall = previous_wall_time(cron, wall, inclusive)?;
        let at = timestamp_at(wall, zone)?;
        if at <= now {
            return Some(at);
        }
        inclusive = false;
    }
}

/// Returns `true` if the expression has `*` in its minutes or hours.
fn uses_elapsed_time(cron: &Cron) -> bool {
    cron.pattern.minutes.from_wildcard || cron.pattern.hours.from_wildcard
}

/// Returns the next time by elapsed time. Searches the rest of the current UTC offset period, then later ones.
fn next_elapsed(cron: &Cron, zone: &TimeZone, last: Timestamp) -> Option<Timestamp> {
    let mut offset = zone.to_offset(last);
    let (mut from, mut inclusive) = (last, false);
    loop {
        let change = zone.following(from).next();
        let at = offset.to_timestamp(next_wall_time(cron, offset.to_datetime(from), inclusive)?).ok()?;
        match change {
            Some(change) if at >= change.timestamp() => {
                (from, offset, inclusive) = (change.timestamp(), change.offset(), true);
            }
            _ => return Some(at),
        }
    }
}

/// Returns the last time by elapsed time. Searches the current UTC offset period backward, then earlier ones.
fn previous_elapsed(cron: &Cron, zone: &TimeZone, now: Timestamp) -> Option<Timestamp> {
    let mut until = now;
    loop {
        let offset = zone.to_offset(until);
        let change = zone.preceding(until.checked_add(MIN_TIME_STEP).ok()?).next();
        let at = offset.to_timestamp(previous_wall_time(cron, offset.to_datetime(until), true)?).ok()?;
        match change {
            Some(change) if at < change.timestamp() => {
                until = change.timestamp().checked_sub(MIN_TIME_STEP).ok()?;
            }
            _ => return Some(at),
        }
    }
}

/// Returns the next wall time that matches an expression.
fn next_wall_time(cron: &Cron, from: DateTime, inclusive: bool) -> Option<DateTime> {
    // Interpreted as UTC, so that croner applies no DST rules of its own.
    let from = from.to_zoned(TimeZone::UTC).ok()?;
    Some(cron.find_next_occurrence(&from, inclusive).ok()?.datetime())
}

/// Returns the last wall time that matches an expression.
fn previous_wall_time(cron: &Cron, from: DateTime, inclusive: bool) -> Option<DateTime> {
    let from = from.to_zoned(TimeZone::UTC).ok()?;
    Some(cron.find_previous_occurrence(&from, inclusive).ok()?.datetime())
}

/// Returns the instant of a wall time: the first of two if it is repeated, and the end of the gap if it is skipped.
fn timestamp_at(wall: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(wall).offset() {
        AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
            offset.to_timestamp(wall).ok()
        }
        AmbiguousOffset::Gap { before, .. } => {
            // With the old offset, the skipped wall time lies after the change, so the last change before it is the
            // gap.
            let after = before.to_timestamp(wall).ok()?;
            let changes = zone.preceding(after.checked_add(MIN_TIME_STEP).ok()?);
            changes.map(|change| change.timestamp()).next().or(Some(after))
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::Time;
    use proptest::prelude::*;

    use super::super::Schedule;
    use super::*;
    use crate::schedule::tests::utc;

    const MINUTE: SignedDuration = SignedDuration::from_mins(1);

    fn due(text: &str, zone: &str, from: &str, to: &str) -> Vec<String> {
        let schedule = Schedule::parse_cron(text, &TimeZone::get(zone).unwrap()).unwrap();
        let (mut at, to, mut due) = (utc(from), utc(to), vec![]);
        while let Some(next) = schedule.next_after(at).filter(|next| *next <= to) {
            let shown = Timestamp::from(next);
            due.push(shown.to_zoned(TimeZone::get(zone).unwrap()).strftime("%H:%M%:::z").to_string());
            assert_eq!(schedule.last_at_or_before(next), Some(next), "{text}");
            at = next;
        }
        due
    }

    #[test]
    fn a_time_of_day_is_due_once_when_the_clocks_go_back() {
        let night = ["2026-10-24T22:00:00Z", "2026-10-25T03:30:00Z"];
        let berlin = |text| due(text, "Europe/Berlin", night[0], night[1]);
        assert_eq!(berlin("30 2 * * *"), ["02:30+02"]);
        assert_eq!(berlin("0,30 2 * * *"), ["02:00+02", "02:30+02"]);
        assert_eq!(berlin("15 1-3 * * *"), ["01:15+02", "02:15+02", "03:15+01"]);
        assert_eq!(berlin("10-50/20 2 * * sun"), ["02:10+02", "02:30+02", "02:50+02"]);
        let hourly = ["00:00+02", "01:00+02", "02:00+02", "02:00+01", "03:00+01", "04:00+01"];
        assert_eq!(berlin("0 * * * *")[..], hourly[1..]);
        assert_eq!(berlin("*/15 2 * * *").len(), 8);
        assert_eq!(berlin("*/30 * * * *").len(), 11);
        let chatham =
            due("*/15 2 * * sun", "Pacific/Chatham", "2019-04-06T12:14:00Z", "2019-04-06T15:00:00Z");
        assert_eq!(chatham, ["02:00+13:45", "02:15+13:45", "02:30+13:45", "02:45+13:45", "02:45+12:45"]);
    }

    #[test]
    fn a_skipped_time_of_day_is_due_at_the_end_of_the_gap() {
        let night = ["2026-03-28T23:00:00Z", "2026-03-29T02:30:00Z"];
        let berlin = |text| due(text, "Europe/Berlin", night[0], night[1]);
        assert_eq!(berlin("30 2 * * *"), ["03:00+02"]);
        assert_eq!(berlin("0,30 2 * * *"), ["03:00+02"]);
        assert_eq!(berlin("30 1-3 * * *"), ["01:30+01", "03:00+02", "03:30+02"]);
        assert_eq!(berlin("0 2,3 * * *"), ["03:00+02"]);
        assert_eq!(berlin("30 * * * *"), ["00:30+01", "01:30+01", "03:30+02", "04:30+02"]);
        // Samoa skipped a whole day.
        let samoa = due("0 12 * * *", "Pacific/Apia", "2011-12-30T00:00:00Z", "2011-12-31T00:00:00Z");
        assert_eq!(samoa, ["00:00+14", "12:00+14"]);
    }

    /// Applies the rule minute by minute: a wall time that occurs for the first time, or is skipped, is due.
    fn model(cron: &Cron, zone: &TimeZone, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
        let named = |wall: DateTime| cron.is_time_matching(&wall.to_zoned(TimeZone::UTC).unwrap()).unwrap();
        let (mut now, mut highest, mut due) = (from, zone.to_datetime(from), vec![]);
        while now < to {
            now += MINUTE;
            let wall = zone.to_datetime(now);
            if uses_elapsed_time(cron) {
                if named(wall) {
                    due.push(now);
                }
                continue;
            }
            let mut is_due = false;
            while highest < wall {
                highest = highest.checked_add(MINUTE).unwrap();
                is_due |= named(highest);
            }
            if is_due {
                due.push(now);
            }
        }
        due
    }

    const ZONES: [&str; 12] = [
        "Europe/Berlin",
        "America/New_York",
        "America/Sao_Paulo",
        "America/Havana",
        "Asia/Beirut",
        "Asia/Tehran",
        "Africa/Casablanca",
        "Africa/Cairo",
        "Australia/Lord_Howe",
        "Pacific/Chatham",
        "Pacific/Apia",
        "UTC",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        /// Around every change of local time, and in both directions, the due times match the model.
        #[test]
        fn agrees_with_the_rule_minute_by_minute(
            zone in prop::sample::select(&ZONES[..]),
            year in 1990i16..2050,
            (minutes, hours) in prop_oneof![
                ("[0-5]?[0-9]", "[0-4]"),
                ("(0,30|5-55/10|0-59)", "(0-3|1,2|0-4/2|23)"),
                (r"(\*|\*/15|\*/7)", r"(2|0-4|\*)"),
                ("[0-5]?[0-9]", r"(\*|\*/2)"),
            ],
            days in r"(\*|sun|29-31)",
        ) {

            let text = format!("{minutes} {hours} * * {}", if days == "29-31" { "*" } else { &days });
            let zone = TimeZone::get(zone).unwrap();
            let cron: Cron = text.parse().unwrap();
            let start = DateTime::from_parts(jiff::civil::date(year, 1, 1), Time::midnight());
            let start = start.to_zoned(TimeZone::UTC).unwrap().timestamp();
            // At the end of its data, a zone reports a transition at which nothing changes.
            let changes = zone.following(start).map(|change| change.timestamp()).take(3);
            let changes = changes.filter(|change| change.as_second() % 60 == 0);
            for change in changes.chain([start]) {
                let (from, to) = (change - SignedDuration::from_hours(30), change + SignedDuration::from_hours(30));
                let expected = model(&cron, &zone, from, to);
                let ahead =
                    std::iter::successors(next_occurrence(&cron, &zone, from), |at| next_occurrence(&cron, &zone, *at));
                let ahead: Vec<Timestamp> = ahead.take_while(|at| *at <= to).collect();
                prop_assert_eq!(&ahead, &expected, "{}", &text);
                let back = std::iter::successors(previous_occurrence(&cron, &zone, to), |at| {
                    previous_occurrence(&cron, &zone, *at - MIN_TIME_STEP)
                });
                let mut back: Vec<Timestamp> = back.take_while(|at| *at > from).collect();
                back.reverse();
                prop_assert_eq!(&back, &expected, "{}", &text);
            }
        }
    }
}
