//! Queries for a person to paste into the database's own client: by its clock, and with token prefixes only.

use sessionwatch_core::checks::{CheckThresholds, EvidenceKind};

use super::{scope::QueryScope, sql::QueryBuilder};

/// Writes queries about one target.
#[derive(Clone, Debug)]
pub struct PrintedQueries<'a> {
    query_builder: QueryBuilder<'a>,
    thresholds: &'a CheckThresholds,
}

impl<'a> PrintedQueries<'a> {
    /// Of this target, under these thresholds.
    #[must_use]
    pub fn new(scope: &QueryScope<'a>, thresholds: &'a CheckThresholds) -> Self {
        Self { query_builder: QueryBuilder { standalone: true, ..scope.query_builder() }, thresholds }
    }

    /// The client that they are for.
    #[must_use]
    pub fn client_name(&self) -> &'static str {
        self.query_builder.client_name()
    }

    /// Queries as one script, in which only built-in functions are called.
    #[must_use]
    pub fn safe_script(&self, queries: &str) -> String {
        self.query_builder.safe_script(queries)
    }

    /// One of the seven queries of the operator's guide; the sixth is about `user`.
    #[must_use]
    pub fn operator_guide_query(&self, number: u8, user: &str) -> String {
        self.query_builder.operator_guide_query(number, user, self.thresholds)
    }

    /// What shows whether a check finds something.
    #[must_use]
    pub fn check_query(&self, evidence: EvidenceKind) -> String {
        self.query_builder.check_query(evidence, self.thresholds)
    }
}
