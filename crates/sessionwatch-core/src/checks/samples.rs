//! An ordinary application's numbers, for tests to change one of.

use super::{CheckInput, CheckOutcome, Thresholds, Verdict};
use crate::{
    census::{Census, Duplicates, Fact, Histogram},
    history::{Changes, Compared},
    instant::{DAY, Instant},
};

pub(super) struct Sample {
    pub(super) census: Census,
    pub(super) thresholds: Thresholds,
    pub(super) duration_us: i64,
    pub(super) changes: Option<Changes>,
}

impl Default for Sample {
    fn default() -> Self {
        let census = Census {
            taken_at: Instant::from_micros(100 * DAY).unwrap(),
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
            duplicates: Fact::Counted(Duplicates::default()),
            orphaned: Fact::Counted(0),
        };
        Self { census, thresholds: Thresholds::default(), duration_us: 0, changes: None }
    }
}

impl Sample {
    pub(super) fn input(&self) -> CheckInput<'_> {
        CheckInput {
            census: &self.census,
            thresholds: &self.thresholds,
            duration_us: self.duration_us,
            compared: match &self.changes {
                Some(changes) => Compared::Since(changes),
                None => Compared::Impossible("looks are not compared"),
            },
        }
    }

    pub(super) fn fails(&self, decide: fn(CheckInput<'_>) -> CheckOutcome) -> bool {
        decide(self.input()).verdict == Verdict::Failing
    }

    /// A sample of a run after another, with those changes between them.
    pub(super) fn since(change: impl FnOnce(&mut Changes)) -> Self {
        let mut changes = Changes::none();
        change(&mut changes);
        Self { changes: Some(changes), ..Self::default() }
    }

    /// A sample with that census.
    pub(super) fn of(change: impl FnOnce(&mut Census)) -> Self {
        let mut sample = Self::default();
        change(&mut sample.census);
        sample
    }
}
