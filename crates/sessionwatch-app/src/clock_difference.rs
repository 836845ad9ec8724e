//! The difference between the clock of a database and this machine's.

use std::time::Instant as Monotonic;

use jiff::SignedDuration;
use sessionwatch_clock::to_signed_duration;
use sessionwatch_core::{
    duration::{HOUR, MINUTE},
    timestamp::UtcTimestamp,
};

/// Difference above which `serve` warns.
pub const WARNING_THRESHOLD: SignedDuration = SignedDuration::from_secs(5);
/// Difference up to which clocks agree again after a warning. Smaller than the threshold, so that a difference that
/// fluctuates around it causes one warning only.
const RECOVERY_THRESHOLD: SignedDuration = SignedDuration::from_secs(4);

/// Two clocks, read at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockDifference {
    /// Time of this machine.
    pub machine: UtcTimestamp,
    /// Time of the database.
    pub database: UtcTimestamp,
}

impl ClockDifference {
    /// Compares the clock of a database, which showed `database` when read at `read`, with a machine clock that shows
    /// `now`.
    #[must_use]
    pub fn from_reading(database: UtcTimestamp, read: Monotonic, now: UtcTimestamp) -> Self {
        Self { machine: now - to_signed_duration(read.elapsed()), database }
    }

    /// Returns the offset of the database's clock: positive if it is ahead, negative if behind.
    #[must_use]
    pub const fn database_offset(self) -> SignedDuration {
        self.database.duration_since(self.machine)
    }

    /// Returns `true` if the difference exceeds the warning threshold.
    #[must_use]
    pub fn exceeds_threshold(self) -> bool {
        self.database_offset().abs() > WARNING_THRESHOLD
    }

    /// Returns `true` if clocks that differed agree again.
    #[must_use]
    pub fn has_recovered(self) -> bool {
        self.database_offset().abs() <= RECOVERY_THRESHOLD
    }

    /// Describes the difference: `the clocks of main and this machine differ by 600.0 s`.
    #[must_use]
    pub fn describe(self, database: &str) -> String {
        format!(
            "the clocks of {database} and this machine differ by {}",
            format_duration(self.database_offset())
        )
    }
}

/// Formats the absolute value of a duration: `12.3 s`, `3 h 5 min`, `500 d 5 h`.
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
    fn differences_are_described_and_recover_below_the_threshold() {
        let apart = |ahead| {
            let machine = UtcTimestamp::UNIX_EPOCH + DAY;
            ClockDifference { machine, database: machine + ahead }
        };
        assert_eq!(
            apart(600 * SECOND).describe("main"),
            "the clocks of main and this machine differ by 600.0 s"
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
