//! How far the clock of a database is from this machine's.

use std::time::Instant as Monotonic;

use jiff::SignedDuration;
use sessionwatch_clock::to_signed_duration;
use sessionwatch_core::{
    duration::{HOUR, MINUTE},
    timestamp::UtcTimestamp,
};

/// Difference above which `serve` warns.
pub const WARNING_THRESHOLD: SignedDuration = SignedDuration::from_secs(5);
/// Difference up to which clocks agree again after a warning. It is smaller, so that a difference around the
/// threshold is one warning.
const RECOVERY_THRESHOLD: SignedDuration = SignedDuration::from_secs(4);

/// Two clocks, read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockDifference {
    /// What this machine's clock says.
    pub machine: UtcTimestamp,
    /// What the database's says.
    pub database: UtcTimestamp,
}

impl ClockDifference {
    /// Of a database's clock that was read then, by a machine's that says `now`.
    #[must_use]
    pub fn from_reading(database: UtcTimestamp, read: Monotonic, now: UtcTimestamp) -> Self {
        Self { machine: now - to_signed_duration(read.elapsed()), database }
    }

    /// Returns by how much the database's clock is ahead; negative where it is behind.
    #[must_use]
    pub const fn database_offset(self) -> SignedDuration {
        self.database.duration_since(self.machine)
    }

    /// Returns `true` if the clocks are so far apart that somebody should see to it.
    #[must_use]
    pub fn exceeds_threshold(self) -> bool {
        self.database_offset().abs() > WARNING_THRESHOLD
    }

    /// Returns `true` if clocks that were apart agree again.
    #[must_use]
    pub fn has_recovered(self) -> bool {
        self.database_offset().abs() <= RECOVERY_THRESHOLD
    }

    /// The difference, in words: `the clocks of main and of this machine differ by 600.0 s`.
    #[must_use]
    pub fn describe(self, database: &str) -> String {
        format!(
            "the clocks of {database} and of this machine differ by {}",
            format_duration(self.database_offset())
        )
    }
}

/// A length of time in either direction: `12.3 s`, `3 h 5 min`, `500 d`.
#[must_use]
pub fn format_duration(length: SignedDuration) -> String {
    let length = SignedDuration::try_from(length.unsigned_abs()).unwrap_or(SignedDuration::MAX);
    let minutes = length.saturating_add(MINUTE / 2).as_mins();
    let hours = length.saturating_add(HOUR / 2).as_hours();
    if minutes < 60 {
        format!("{:.1} s", length.as_secs_f64())
    } else if minutes < 24 * 60 {
        format!("{} h {} min", minutes / 60, minutes % 60)
    } else {
        format!("{} d {} h", hours / 24, hours % 24)
    }
}

#[cfg(test)]
mod tests {
    use sessionwatch_core::duration::{DAY, SECOND};

    use super::*;

    const SHORT: SignedDuration = SignedDuration::from_micros(1);

    #[test]
    fn differences_are_said_and_end_only_when_clocks_are_close() {
        let apart = |ahead| {
            let machine = UtcTimestamp::UNIX_EPOCH + DAY;
            ClockDifference { machine, database: machine + ahead }
        };
        assert_eq!(
            apart(600 * SECOND).describe("main"),
            "the clocks of main and of this machine differ by 600.0 s"
        );
        let lengths = [-11_100 * SECOND, 3 * HOUR - SHORT, DAY - SHORT, 500 * DAY + 5 * HOUR - SHORT]
            .map(format_duration);
        assert_eq!(lengths, ["3 h 5 min", "3 h 0 min", "1 d 0 h", "500 d 5 h"]);
        for seconds in [5.1, -5.1] {
            let apart = apart(SignedDuration::from_secs_f64(seconds));
            assert!(apart.exceeds_threshold() && !apart.has_recovered());
        }
        assert!(
            !apart(5 * SECOND).exceeds_threshold()
                && !apart(5 * SECOND).has_recovered()
                && apart(-4 * SECOND).has_recovered()
        );
    }
}
