//! Queries for people to paste into the database's own client. They use its clock and show token prefixes
//! only.

use sessionwatch_core::checks::{CheckThresholds, EvidenceKind};

use super::{scope::QueryScope, sql::QueryBuilder};

/// Builds queries for one target.
#[derive(Clone, Debug)]
pub struct PrintedQueries<'a> {
    query_builder: QueryBuilder<'a>,
    thresholds: &'a CheckThresholds,
}

impl<'a> PrintedQueries<'a> {
    /// Creates the builder for a target and thresholds.
    #[must_use]
    pub fn new(scope: &QueryScope<'a>, thresholds: &'a CheckThresholds) -> Self {
        Self { query_builder: QueryBuilder { standalone: true, ..scope.query_builder() }, thresholds }
    }

    /// Returns the name of the client program.
    #[must_use]
    pub fn client_name(&self) -> &'static str {
        self.query_builder.client_name()
    }

    /// Wraps queries into one script that resolves names to built-in functions only.
    #[must_use]
    pub fn safe_script(&self, queries: &str) -> String {
        self.query_builder.safe_script(queries)
    }

    /// Returns one of the seven queries of the operator guide; the sixth is about `user`.
    #[must_use]
    pub fn operator_guide_query(&self, number: u8, user: &str) -> String {
        self.query_builder.operator_guide_query(number, user, self.thresholds)
    }

    /// Returns the query that shows what a check counts.
    #[must_use]
    pub fn check_query(&self, evidence: EvidenceKind) -> String {
        self.query_builder.check_query(evidence, self.thresholds)
    }
}
