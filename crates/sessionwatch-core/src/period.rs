//! A stretch of time.

use jiff::SignedDuration;

use crate::instant::Instant;

/// A stretch of time: from one instant on, before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Its begin.
    pub from: Instant,
    /// Its end, which is not in it.
    pub to: Instant,
}

impl Period {
    /// All of time.
    pub const ALWAYS: Self = Self { from: Instant::MIN, to: Instant::MAX };

    /// How long it is.
    #[must_use]
    pub const fn duration(self) -> SignedDuration {
        self.to.duration_since(self.from)
    }

    /// That long up to now, and now too.
    #[must_use]
    pub fn back_from(now: Instant, length: SignedDuration) -> Self {
        Self { from: now - length, to: now + SignedDuration::from_micros(1) }
    }
}
