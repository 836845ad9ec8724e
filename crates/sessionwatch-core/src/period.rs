//! Periods of time.

use jiff::SignedDuration;

use crate::timestamp::UtcTimestamp;

/// Half-open period between two instants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Start, inclusive.
    pub from: UtcTimestamp,
    /// End, exclusive.
    pub to: UtcTimestamp,
}

impl Period {
    /// All of time.
    pub const ALL_TIME: Self = Self { from: UtcTimestamp::MIN, to: UtcTimestamp::MAX };

    /// Returns the length of the period.
    #[must_use]
    pub const fn duration(self) -> SignedDuration {
        self.to.duration_since(self.from)
    }

    /// Creates the period of this length up to and including `now`.
    #[must_use]
    pub fn ending_at(now: UtcTimestamp, length: SignedDuration) -> Self {
        Self { from: now - length, to: now + SignedDuration::from_micros(1) }
    }
}
