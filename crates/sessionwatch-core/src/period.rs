//! A stretch of time.

use jiff::SignedDuration;

use crate::timestamp::UtcTimestamp;

/// A stretch of time: from one instant on, before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Its begin.
    pub from: UtcTimestamp,
    /// Its end, which is not in it.
    pub to: UtcTimestamp,
}

impl Period {
    /// All of time.
    pub const ALL_TIME: Self = Self { from: UtcTimestamp::MIN, to: UtcTimestamp::MAX };

    /// How long it is.
    #[must_use]
    pub const fn duration(self) -> SignedDuration {
        self.to.duration_since(self.from)
    }

    /// That long up to now, and now too.
    #[must_use]
    pub fn ending_at(now: UtcTimestamp, length: SignedDuration) -> Self {
        Self { from: now - length, to: now + SignedDuration::from_micros(1) }
    }
}
