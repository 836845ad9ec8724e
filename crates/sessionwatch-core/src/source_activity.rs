//! Activity profiles of log sources, for detecting a source that is idle at an hour when it usually logs.

use std::{collections::BTreeMap, fmt::Write as _};

use jiff::SignedDuration;

use crate::timestamp::{MICROS_PER_HOUR, UtcTimestamp};

/// Hours kept: eight days, so that every hour of the last week can be compared.
const PROFILE_RETENTION_HOURS: i64 = 8 * 24;
/// Days of data needed before an hour is compared with the same hour of earlier days.
const MIN_KNOWN_DAYS: i64 = 3;
// With fewer days of data, a source counts as usually active if this many of its most recent hours had lines.
const RECENT_HOURS: i64 = 4;
const MIN_ACTIVE_RECENT_HOURS: usize = 3;

/// Number of lines of a source by hour since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActivityProfile(BTreeMap<i64, u64>);

/// Activity status of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceStatus {
    /// No line was ever read.
    NeverActive,
    /// The source is active, or idle at a time when it usually is.
    Normal,
    /// The source is idle at a time when it usually is active.
    Idle,
}

fn hour_number(at: UtcTimestamp) -> i64 {
    at.micros().div_euclid(MICROS_PER_HOUR)
}

impl ActivityProfile {
    /// Records a number of lines, and forgets old hours.
    pub fn record_lines(&mut self, at: UtcTimestamp, lines: u64) {
        if lines > 0 {
            *self.0.entry(hour_number(at)).or_default() += lines;
        }
        let oldest = hour_number(at) - PROFILE_RETENTION_HOURS;
        self.0.retain(|hour, _| *hour >= oldest);
    }

    /// Returns the number of lines in the clock hour before the one of `at`.
    #[must_use]
    pub fn lines_in_previous_hour(&self, at: UtcTimestamp) -> u64 {
        self.0.get(&(hour_number(at) - 1)).copied().unwrap_or(0)
    }

    /// Returns the number of lines in each of the last `hours` clock hours, the oldest first, the one of `at` included.
    #[must_use]
    pub fn lines_by_hour(&self, at: UtcTimestamp, hours: i64) -> Vec<u64> {
        let last = hour_number(at);
        (last - hours + 1..=last).map(|hour| self.0.get(&hour).copied().unwrap_or(0)).collect()
    }

    /// Returns the status of a source. `last` is the time of its last line; it can be idle only after at least
    /// `idle_after` without one.
    #[must_use]
    pub fn status_at(
        &self,
        last: Option<UtcTimestamp>,
        now: UtcTimestamp,
        idle_after: SignedDuration,
    ) -> SourceStatus {
        let Some(last) = last else { return SourceStatus::NeverActive };
        if now.duration_since(last) < idle_after {
            return SourceStatus::Normal;
        }
        // The hour of the last line is partly active, so the comparison starts with the next one.
        let silent = hour_number(last) + 1..=hour_number(now).max(hour_number(last) + 1);
        let quiet = silent.into_iter().any(|hour| self.is_usually_active(hour, last));
        if quiet { SourceStatus::Idle } else { SourceStatus::Normal }
    }

    /// Returns whether the source is usually active in an hour: on at least two thirds of the previous days, or, with
    /// too few days of data, in most of the hours before its last line.
    fn is_usually_active(&self, at: i64, last: UtcTimestamp) -> bool {
        let first = self.0.keys().next().copied().unwrap_or(at);
        let days: Vec<i64> = (1..8).map(|day| at - 24 * day).filter(|hour| *hour >= first).collect();
        let active = |hours: &[i64]| hours.iter().filter(|hour| self.0.contains_key(hour)).count();
        if days.len() >= usize::try_from(MIN_KNOWN_DAYS).unwrap_or(0) {
            return active(&days) * 3 >= days.len() * 2;
        }
        let lately: Vec<i64> = (0..RECENT_HOURS).map(|ago| hour_number(last) - ago).collect();
        active(&lately) >= MIN_ACTIVE_RECENT_HOURS
    }

    /// Formats the profile for storage.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, (hour, lines)| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{hour}:{lines} ");
            text
        })
    }

    /// Parses a stored profile; `None` if the text is malformed.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let one = |part: &str| {
            let (hour, lines) = part.split_once(':')?;
            Some((hour.parse().ok()?, lines.parse().ok()?))
        };
        text.split(' ').filter(|part| !part.is_empty()).map(one).collect::<Option<_>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::duration::HOUR;

    fn at(hours: i64) -> UtcTimestamp {
        UtcTimestamp::UNIX_EPOCH + SignedDuration::from_hours(1_700_000_000 / 3_600 + hours) + HOUR / 2
    }

    fn profile_of(hours: impl Iterator<Item = i64>) -> ActivityProfile {
        let mut profile = ActivityProfile::default();
        hours.for_each(|hour| profile.record_lines(at(hour), 10));
        profile
    }

    #[test]
    fn hours_without_lines_count_as_zero() {
        let profile = profile_of([0, 2].into_iter());
        assert_eq!(profile.lines_by_hour(at(2), 4), [0, 10, 0, 10]);
    }

    #[test]
    fn a_source_is_idle_only_at_unusual_times() {
        let status = |profile: &ActivityProfile, last, now| profile.status_at(Some(at(last)), at(now), HOUR);
        // Active in every hour of a day.
        let new = profile_of(0..24);
        assert_eq!(status(&new, 23, 23), SourceStatus::Normal);
        assert_eq!(status(&new, 23, 24), SourceStatus::Idle);
        // Active only now and then.
        let seldom = profile_of((0..24).step_by(6));
        assert_eq!(status(&seldom, 18, 22), SourceStatus::Normal);
        // Active every day from 8 to 18, for five days.
        let office = profile_of((0..120).filter(|hour| (8..18).contains(&(hour % 24))));
        assert_eq!(status(&office, 113, 120 + 7), SourceStatus::Normal);
        assert_eq!(status(&office, 113, 120 + 8), SourceStatus::Idle);
        assert_eq!(ActivityProfile::default().status_at(None, at(0), HOUR), SourceStatus::NeverActive);
    }

    #[test]
    fn profiles_round_trip_as_text_and_forget_old_hours() {
        let mut profile = profile_of(0..5);
        assert_eq!(ActivityProfile::from_text(&profile.to_text()), Some(profile.clone()));
        assert_eq!(ActivityProfile::from_text("x 1:y :"), None);
        profile.record_lines(at(300), 1);
        assert_eq!(profile.0.len(), 1);
        assert_eq!(profile.lines_in_previous_hour(at(301)), 1);
    }
}
