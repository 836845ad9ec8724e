//! Sample check input of an ordinary application; each test changes one value.

use jiff::SignedDuration;

use super::{CheckInput, CheckOutcome, CheckThresholds, CheckVerdict};
use crate::{
    session_history::{Comparison, SessionChanges},
    session_stats::{DuplicateTokens, Histogram, Measured, SessionStats},
    timestamp::{MICROS_PER_DAY, UtcTimestamp},
};

pub(super) struct CheckSample {
    pub(super) stats: SessionStats,
    pub(super) thresholds: CheckThresholds,
    pub(super) duration: SignedDuration,
    pub(super) changes: Option<SessionChanges>,
}

impl Default for CheckSample {
    fn default() -> Self {
        let stats = SessionStats {
            taken_at: UtcTimestamp::from_micros(100 * MICROS_PER_DAY).unwrap(),
            sessions: 100,
            active: 100,
            expired: 0,
            never_expiring: 0,
            undecodable: 0,
            anonymous: 0,
            active_with_user: 100,
            oldest_expired: None,
            furthest_expiry: None,
            beyond_policy: Some(0),
            active_per_user: Histogram::from([(1, 100)]),
            rows_per_user: Histogram::from([(1, 100)]),
            created_per_user: None,
            created_last_hour: None,
            duplicates: Measured::Counted(DuplicateTokens::default()),
            orphaned: Measured::Counted(0),
        };
        Self { stats, thresholds: CheckThresholds::default(), duration: SignedDuration::ZERO, changes: None }
    }
}

impl CheckSample {
    pub(super) fn input(&self) -> CheckInput<'_> {
        CheckInput {
            stats: &self.stats,
            thresholds: &self.thresholds,
            read_duration: self.duration,
            comparison: match &self.changes {
                Some(changes) => Comparison::Since(changes),
                None => Comparison::Impossible("runs are not compared"),
            },
        }
    }

    pub(super) fn is_failing(&self, decide: fn(CheckInput<'_>) -> CheckOutcome) -> bool {
        decide(self.input()).verdict == CheckVerdict::Failing
    }

    /// Returns a sample with changes since the previous run.
    pub(super) fn with_changes(change: impl FnOnce(&mut SessionChanges)) -> Self {
        let mut changes = SessionChanges::empty();
        change(&mut changes);
        Self { changes: Some(changes), ..Self::default() }
    }

    /// Returns a sample with modified stats.
    pub(super) fn with_stats(change: impl FnOnce(&mut SessionStats)) -> Self {
        let mut sample = Self::default();
        change(&mut sample.stats);
        sample
    }
}
