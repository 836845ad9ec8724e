//! Queries for a person to paste into the database's own client: by its clock, and with token prefixes only.

use sessionwatch_core::checks::{EvidenceKind, Thresholds};

use super::{scope::Scope, sql::Sql};

/// Writes queries about one target.
#[derive(Clone, Debug)]
pub struct PrintedQueries<'a> {
    sql: Sql<'a>,
    thresholds: &'a Thresholds,
}

impl<'a> PrintedQueries<'a> {
    /// Of this target, under these thresholds.
    #[must_use]
    pub fn new(scope: &Scope<'a>, thresholds: &'a Thresholds) -> Self {
        Self { sql: Sql { pasted: true, ..scope.queries() }, thresholds }
    }

    /// The client that they are for.
    #[must_use]
    pub fn client(&self) -> &'static str {
        self.sql.client()
    }

    /// Queries as one script, in which only built-in functions are called.
    #[must_use]
    pub fn script(&self, queries: &str) -> String {
        self.sql.safe_script(queries)
    }

    /// One of the seven queries of the operator's guide; the sixth is about `user`.
    #[must_use]
    pub fn operator_guide(&self, number: u8, user: &str) -> String {
        self.sql.of_guide(number, user, self.thresholds)
    }

    /// What shows whether a check finds something.
    #[must_use]
    pub fn check(&self, evidence: EvidenceKind) -> String {
        self.sql.check_query(evidence, self.thresholds)
    }
}
