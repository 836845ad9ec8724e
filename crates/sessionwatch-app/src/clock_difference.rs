//! How far the clock of a database is from this machine's.

use std::time::Instant as Monotonic;

use sessionwatch_core::instant::{HOUR, Instant, SECOND};

/// Difference above which `serve` warns, in microseconds.
pub const WARNING_THRESHOLD: i64 = 5 * SECOND;
/// Difference up to which clocks agree again after a warning, in microseconds. It is smaller, so that a difference around the
/// threshold is one warning.
const RECOVERY_THRESHOLD: i64 = 4 * SECOND;

/// Two clocks, read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What this machine's clock says.
    pub machine: Instant,
    /// What the database's says.
    pub database: Instant,
}

impl Difference {
    /// Of a database's clock that was read then, by a machine's that says `now`.
    #[must_use]
    pub fn of(database: Instant, read: Monotonic, now: Instant) -> Self {
        let ago = i64::try_from(read.elapsed().as_micros()).unwrap_or(i64::MAX);
        Self { machine: now.plus(-ago), database }
    }

    /// Returns the microseconds by which the database's clock is ahead; negative where it is behind.
    #[must_use]
    pub const fn ahead(self) -> i64 {
        self.database.since(self.machine)
    }

    /// Returns `true` if the clocks are so far apart that somebody should see to it.
    #[must_use]
    pub const fn is_large(self) -> bool {
        self.ahead().abs() > WARNING_THRESHOLD
    }

    /// Returns `true` if clocks that were apart agree again.
    #[must_use]
    pub const fn is_over(self) -> bool {
        self.ahead().abs() <= RECOVERY_THRESHOLD
    }

    /// The difference, in words: `the clocks of main and of this machine differ by 600.0 s`.
    #[must_use]
    pub fn said(self, database: &str) -> String {
        format!("the clocks of {database} and of this machine differ by {}", length(self.ahead()))
    }
}

/// A length of time in either direction: `12.3 s`, `3 h 5 min`, `500 d`.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "seconds for people")]
pub fn length(micros: i64) -> String {
    const MINUTE: i64 = 60 * SECOND;
    let micros = micros.saturating_abs();
    let (minutes, hours) =
        (micros.saturating_add(MINUTE / 2) / MINUTE, micros.saturating_add(HOUR / 2) / HOUR);
    if minutes < 60 {
        format!("{:.1} s", micros as f64 / 1e6)
    } else if minutes < 24 * 60 {
        format!("{} h {} min", minutes / 60, minutes % 60)
    } else {
        format!("{} d {} h", hours / 24, hours % 24)
    }
}

#[cfg(test)]
mod tests {
    use sessionwatch_core::instant::DAY;

    use super::*;

    #[test]
    fn differences_are_said_and_end_only_when_clocks_are_close() {
        let apart = |micros| {
            let machine = Instant::from_micros(DAY).unwrap();
            Difference { machine, database: machine.plus(micros) }
        };
        assert_eq!(
            apart(600 * SECOND).said("main"),
            "the clocks of main and of this machine differ by 600.0 s"
        );
        let lengths = [-11_100 * SECOND, 3 * HOUR - 1, DAY - 1, 500 * DAY + 5 * HOUR - 1].map(length);
        assert_eq!(lengths, ["3 h 5 min", "3 h 0 min", "1 d 0 h", "500 d 5 h"]);
        for seconds in [5.1, -5.1] {
            #[expect(clippy::cast_possible_truncation, reason = "small")]
            let apart = apart((seconds * 1e6) as i64);
            assert!(apart.is_large() && !apart.is_over());
        }
        assert!(
            !apart(5 * SECOND).is_large() && !apart(5 * SECOND).is_over() && apart(-4 * SECOND).is_over()
        );
    }
}
