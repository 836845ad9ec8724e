//! Whether a source of log lines that normally speaks has gone quiet.

use std::{collections::BTreeMap, fmt::Write as _};

use jiff::SignedDuration;

use crate::timestamp::{MICROS_PER_HOUR, UtcTimestamp};

/// Hours that are remembered: eight days.
const PROFILE_RETENTION_HOURS: i64 = 8 * 24;
/// Days before that have to be known before they are what is usual.
const MIN_KNOWN_DAYS: i64 = 3;
/// Hours before the silence that are asked while fewer days are known, and how many of them must have had lines.
const RECENT_HOURS: i64 = 4;
const MIN_ACTIVE_RECENT_HOURS: usize = 3;

/// When a source spoke: lines by hours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActivityProfile(BTreeMap<i64, u64>);

/// What is known of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceStatus {
    /// It never spoke.
    NeverActive,
    /// It speaks, or is quiet when it usually is.
    Normal,
    /// It is quiet though it usually is not.
    Idle,
}

fn hour_number(at: UtcTimestamp) -> i64 {
    at.micros().div_euclid(MICROS_PER_HOUR)
}

impl ActivityProfile {
    /// Notes so many lines.
    pub fn record_lines(&mut self, at: UtcTimestamp, lines: u64) {
        if lines > 0 {
            *self.0.entry(hour_number(at)).or_default() += lines;
        }
        let oldest = hour_number(at) - PROFILE_RETENTION_HOURS;
        self.0.retain(|hour, _| *hour >= oldest);
    }

    /// Lines in the hour before an instant's.
    #[must_use]
    pub fn lines_in_previous_hour(&self, at: UtcTimestamp) -> u64 {
        self.0.get(&(hour_number(at) - 1)).copied().unwrap_or(0)
    }

    /// Whether a source that was heard last at an instant is too quiet now, after at least that long.
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
        // The first hour of the silence may be the last one of the speech.
        let silent = hour_number(last) + 1..=hour_number(now).max(hour_number(last) + 1);
        let quiet = silent.into_iter().any(|hour| self.is_usually_active(hour, last));
        if quiet { SourceStatus::Idle } else { SourceStatus::Normal }
    }

    /// Whether it usually speaks in an hour: on most of the days before, or, while few are known, in most of the hours
    /// before the silence.
    fn is_usually_active(&self, at: i64, last: UtcTimestamp) -> bool {
        let first = self.0.keys().next().copied().unwrap_or(at);
        let days: Vec<i64> = (1..8).map(|day| at - 24 * day).filter(|hour| *hour >= first).collect();
        let spoke = |hours: &[i64]| hours.iter().filter(|hour| self.0.contains_key(hour)).count();
        if days.len() >= usize::try_from(MIN_KNOWN_DAYS).unwrap_or(0) {
            return spoke(&days) * 3 >= days.len() * 2;
        }
        let lately: Vec<i64> = (0..RECENT_HOURS).map(|ago| hour_number(last) - ago).collect();
        spoke(&lately) >= MIN_ACTIVE_RECENT_HOURS
    }

    /// As it is kept.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, (hour, lines)| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{hour}:{lines} ");
            text
        })
    }

    /// As it was kept; what is no such text is nothing.
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

    fn rhythm(hours: impl Iterator<Item = i64>) -> ActivityProfile {
        let mut rhythm = ActivityProfile::default();
        hours.for_each(|hour| rhythm.record_lines(at(hour), 10));
        rhythm
    }

    #[test]
    fn quiet_is_what_is_not_usual() {
        let voice = |rhythm: &ActivityProfile, last, now| rhythm.status_at(Some(at(last)), at(now), HOUR);
        // It has spoken all the time for a day.
        let new = rhythm(0..24);
        assert_eq!(voice(&new, 23, 23), SourceStatus::Normal);
        assert_eq!(voice(&new, 23, 24), SourceStatus::Idle);
        // It speaks only now and then.
        let seldom = rhythm((0..24).step_by(6));
        assert_eq!(voice(&seldom, 18, 22), SourceStatus::Normal);
        // Every day from 8 to 18, for five days.
        let office = rhythm((0..120).filter(|hour| (8..18).contains(&(hour % 24))));
        assert_eq!(voice(&office, 113, 120 + 7), SourceStatus::Normal);
        assert_eq!(voice(&office, 113, 120 + 8), SourceStatus::Idle);
        assert_eq!(ActivityProfile::default().status_at(None, at(0), HOUR), SourceStatus::NeverActive);
    }

    #[test]
    fn it_is_kept_as_text_and_forgets() {
        let mut rhythm = rhythm(0..5);
        assert_eq!(ActivityProfile::from_text(&rhythm.to_text()), Some(rhythm.clone()));
        assert_eq!(ActivityProfile::from_text("x 1:y :"), None);
        rhythm.record_lines(at(300), 1);
        assert_eq!(rhythm.0.len(), 1);
        assert_eq!(rhythm.lines_in_previous_hour(at(301)), 1);
    }
}
