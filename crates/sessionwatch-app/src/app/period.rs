//! A stretch of time.

use sessionwatch_core::instant::Instant;

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

    /// So many microseconds up to now, and now too.
    #[must_use]
    pub fn back_from(now: Instant, micros: i64) -> Self {
        Self { from: now.plus(-micros), to: now.plus(1) }
    }
}
