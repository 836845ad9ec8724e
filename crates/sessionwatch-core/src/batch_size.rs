//! Adaptive batch size of deletions, so that the application never waits long for a lock.

use jiff::SignedDuration;

/// Target time for which a batch holds its locks: half of the longest wait an application should notice.
pub const TARGET_LOCK_TIME: SignedDuration = SignedDuration::from_millis(25);
/// Size of the first batch, in rows.
const INITIAL_BATCH_ROWS: usize = 250;
/// Bounds of a batch, in rows.
const MIN_BATCH_ROWS: usize = 10;
const MAX_BATCH_ROWS: usize = 5_000;

/// Current batch size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdaptiveBatchSize {
    size: usize,
}

impl Default for AdaptiveBatchSize {
    fn default() -> Self {
        Self { size: INITIAL_BATCH_ROWS }
    }
}

impl AdaptiveBatchSize {
    /// Returns the size of the next batch, in rows.
    #[must_use]
    pub fn size(self) -> usize {
        self.size
    }

    /// Adjusts the size after a batch of `rows` rows that held its locks for `held`.
    pub fn observe_batch(&mut self, rows: usize, held: SignedDuration) {
        let micros =
            // At least 1, because the result is a divisor below.
            |length: SignedDuration| usize::try_from(length.as_micros().max(1)).unwrap_or(usize::MAX);
        let fitting = rows.saturating_mul(micros(TARGET_LOCK_TIME)) / micros(held);
        // A fast batch may be luck, so growth is limited to half. The last batch is often short and must not cause
        // growth.
        let next = if fitting < self.size { fitting } else { fitting.min(self.size + self.size / 2) };
        if rows >= self.size || fitting < self.size {
            self.size = next.clamp(MIN_BATCH_ROWS, MAX_BATCH_ROWS);
        }
    }

    /// Halves the size after a lock conflict or if the database is busy.
    pub fn observe_contention(&mut self) {
        self.size = (self.size / 2).max(MIN_BATCH_ROWS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_gradually_and_shrinks_at_once() {
        let mut pace = AdaptiveBatchSize::default();
        for _ in 0..20 {
            let rows = pace.size();
            // Ten microseconds per row.
            pace.observe_batch(rows, SignedDuration::from_micros(i64::try_from(rows * 10).unwrap()));
        }
        assert_eq!(pace.size(), 2_500);
        pace.observe_batch(2_500, SignedDuration::from_millis(500));
        assert_eq!(pace.size(), 125);
        pace.observe_batch(125, SignedDuration::MAX);
        assert_eq!(pace.size(), MIN_BATCH_ROWS);
        pace.observe_contention();
        assert_eq!(pace.size(), MIN_BATCH_ROWS);
        for _ in 0..40 {
            pace.observe_batch(pace.size(), SignedDuration::ZERO);
        }
        assert_eq!(pace.size(), MAX_BATCH_ROWS);
    }

    #[test]
    fn a_short_last_batch_causes_no_growth() {
        let mut pace = AdaptiveBatchSize::default();
        pace.observe_batch(3, SignedDuration::from_micros(10));
        assert_eq!(pace, AdaptiveBatchSize::default());
        pace.observe_batch(3, SignedDuration::from_millis(50));
        assert_eq!(pace.size(), MIN_BATCH_ROWS);
    }
}
