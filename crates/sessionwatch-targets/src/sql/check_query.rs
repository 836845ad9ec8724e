//! The query shown for a check.

use sessionwatch_core::checks::{CheckThresholds, EvidenceKind};

use super::{EvidenceQuery, EvidenceRowKind, QueryBuilder, SessionListQuery};

/// Maximum number of rows of such a query.
const MAX_CHECK_QUERY_ROWS: usize = 100;

impl QueryBuilder<'_> {
    /// Returns one query that shows what a check counts.
    #[must_use]
    pub fn check_query(&self, evidence: EvidenceKind, thresholds: &CheckThresholds) -> String {
        let max_active = thresholds.user_session_excess.max;
        match evidence {
            EvidenceKind::Duplicates => self.evidence_query(
                EvidenceQuery::all_of_kind(EvidenceRowKind::Duplicates),
                MAX_CHECK_QUERY_ROWS,
            ),
            // No single query can compare two runs, so this one lists the sessions that are compared.
            EvidenceKind::Reassigned | EvidenceKind::Reappeared => {
                self.session_list_query(SessionListQuery::all(MAX_CHECK_QUERY_ROWS))
            }
            EvidenceKind::Orphans => self
                .evidence_query(EvidenceQuery::all_of_kind(EvidenceRowKind::Orphans), MAX_CHECK_QUERY_ROWS),
            EvidenceKind::OldestExpired => self.evidence_query(
                EvidenceQuery::all_of_kind(EvidenceRowKind::OldestExpired),
                MAX_CHECK_QUERY_ROWS,
            ),
            EvidenceKind::BeyondPolicy => self.evidence_query(
                EvidenceQuery::all_of_kind(EvidenceRowKind::BeyondPolicy),
                MAX_CHECK_QUERY_ROWS,
            ),
            EvidenceKind::ActiveUsers => self.top_users_query('a', max_active, MAX_CHECK_QUERY_ROWS),
            EvidenceKind::CreatingUsers if self.mapping.created.is_some() => {
                self.top_users_query('r', thresholds.rapid_creation.max_per_hour, MAX_CHECK_QUERY_ROWS)
            }
            // Without a creation column, the users with the most rows come closest.
            EvidenceKind::CreatingUsers => self.top_users_query('n', max_active, MAX_CHECK_QUERY_ROWS),
            EvidenceKind::Value => self.session_stats_query(),
        }
    }
}
