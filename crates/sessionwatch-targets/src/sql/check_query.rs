//! The query behind a check.

use sessionwatch_core::checks::{EvidenceKind, Thresholds};

use super::{List, RowKind, Rows, Sql};

/// Rows of a query at most.
const MAX_ROWS: usize = 100;

impl Sql<'_> {
    /// What shows whether a check finds something, as one query.
    #[must_use]
    pub fn check_query(&self, evidence: EvidenceKind, thresholds: &Thresholds) -> String {
        let max_active = thresholds.user_session_excess.max;
        match evidence {
            EvidenceKind::Duplicates => self.rows(Rows::all(RowKind::Duplicates), MAX_ROWS),
            // No query sees two runs: this one shows what they are compared by.
            EvidenceKind::Rebound | EvidenceKind::Revived => self.list(List::all(MAX_ROWS)),
            EvidenceKind::Orphans => self.rows(Rows::all(RowKind::Orphans), MAX_ROWS),
            EvidenceKind::OldestExpired => self.rows(Rows::all(RowKind::OldestExpired), MAX_ROWS),
            EvidenceKind::BeyondPolicy => self.rows(Rows::all(RowKind::BeyondPolicy), MAX_ROWS),
            EvidenceKind::ActiveHolders => self.top_users('a', max_active, MAX_ROWS),
            EvidenceKind::Creators if self.mapping.created.is_some() => {
                self.top_users('r', thresholds.rapid_creation.max_per_hour, MAX_ROWS)
            }
            // Who holds most is the nearest that one query shows.
            EvidenceKind::Creators => self.top_users('n', max_active, MAX_ROWS),
            EvidenceKind::Value => self.counts(),
        }
    }
}
