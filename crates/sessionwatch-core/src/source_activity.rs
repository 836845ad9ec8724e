//! Whether a source of log lines that normally speaks has gone quiet.

use std::{collections::BTreeMap, fmt::Write as _};

use jiff::SignedDuration;

use crate::instant::{Instant, MICROS_PER_HOUR};

/// Hours that are remembered: eight days.
const REMEMBERED: i64 = 8 * 24;
/// Days before that have to be known before they are what is usual.
const DAYS: i64 = 3;
/// Hours before the silence that are asked while fewer days are known, and how many of them must have had lines.
const LATELY: i64 = 4;
const OFTEN: usize = 3;

/// When a source spoke: lines by hours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActivityProfile(BTreeMap<i64, u64>);

/// What is known of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceStatus {
    /// It never spoke.
    Never,
    /// It speaks, or is quiet when it usually is.
    Usual,
    /// It is quiet though it usually is not.
    Quiet,
}

fn hour(at: Instant) -> i64 {
    at.micros().div_euclid(MICROS_PER_HOUR)
}

impl ActivityProfile {
    /// Notes so many lines.
    pub fn heard(&mut self, at: Instant, lines: u64) {
        if lines > 0 {
            *self.0.entry(hour(at)).or_default() += lines;
        }
        let oldest = hour(at) - REMEMBERED;
        self.0.retain(|hour, _| *hour >= oldest);
    }

    /// Lines in the hour before an instant's.
    #[must_use]
    pub fn lines_in_the_hour_before(&self, at: Instant) -> u64 {
        self.0.get(&(hour(at) - 1)).copied().unwrap_or(0)
    }

    /// Whether a source that was heard last at an instant is too quiet now, after at least that long.
    #[must_use]
    pub fn voice(&self, last: Option<Instant>, now: Instant, idle_after: SignedDuration) -> SourceStatus {
        let Some(last) = last else { return SourceStatus::Never };
        if now.duration_since(last) < idle_after {
            return SourceStatus::Usual;
        }
        // The first hour of the silence may be the last one of the speech.
        let silent = hour(last) + 1..=hour(now).max(hour(last) + 1);
        let quiet = silent.into_iter().any(|hour| self.speaks_usually(hour, last));
        if quiet { SourceStatus::Quiet } else { SourceStatus::Usual }
    }

    /// Whether it usually speaks in an hour: on most of the days before, or, while few are known, in most of the hours
    /// before the silence.
    fn speaks_usually(&self, at: i64, last: Instant) -> bool {
        let first = self.0.keys().next().copied().unwrap_or(at);
        let days: Vec<i64> = (1..8).map(|day| at - 24 * day).filter(|hour| *hour >= first).collect();
        let spoke = |hours: &[i64]| hours.iter().filter(|hour| self.0.contains_key(hour)).count();
        if days.len() >= usize::try_from(DAYS).unwrap_or(0) {
            return spoke(&days) * 3 >= days.len() * 2;
        }
        let lately: Vec<i64> = (0..LATELY).map(|ago| hour(last) - ago).collect();
        spoke(&lately) >= OFTEN
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

    fn at(hours: i64) -> Instant {
        Instant::UNIX_EPOCH + SignedDuration::from_hours(1_700_000_000 / 3_600 + hours) + HOUR / 2
    }

    fn rhythm(hours: impl Iterator<Item = i64>) -> ActivityProfile {
        let mut rhythm = ActivityProfile::default();
        hours.for_each(|hour| rhythm.heard(at(hour), 10));
        rhythm
    }

    #[test]
    fn quiet_is_what_is_not_usual() {
        let voice = |rhythm: &ActivityProfile, last, now| rhythm.voice(Some(at(last)), at(now), HOUR);
        // It has spoken all the time for a day.
        let new = rhythm(0..24);
        assert_eq!(voice(&new, 23, 23), SourceStatus::Usual);
        assert_eq!(voice(&new, 23, 24), SourceStatus::Quiet);
        // It speaks only now and then.
        let seldom = rhythm((0..24).step_by(6));
        assert_eq!(voice(&seldom, 18, 22), SourceStatus::Usual);
        // Every day from 8 to 18, for five days.
        let office = rhythm((0..120).filter(|hour| (8..18).contains(&(hour % 24))));
        assert_eq!(voice(&office, 113, 120 + 7), SourceStatus::Usual);
        assert_eq!(voice(&office, 113, 120 + 8), SourceStatus::Quiet);
        assert_eq!(ActivityProfile::default().voice(None, at(0), HOUR), SourceStatus::Never);
    }

    #[test]
    fn it_is_kept_as_text_and_forgets() {
        let mut rhythm = rhythm(0..5);
        assert_eq!(ActivityProfile::from_text(&rhythm.to_text()), Some(rhythm.clone()));
        assert_eq!(ActivityProfile::from_text("x 1:y :"), None);
        rhythm.heard(at(300), 1);
        assert_eq!(rhythm.0.len(), 1);
        assert_eq!(rhythm.lines_in_the_hour_before(at(301)), 1);
    }
}
