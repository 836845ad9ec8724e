//! Queries for a person to paste into the database's own client: by its clock, and with token prefixes only.

use sessionwatch_core::checks::{EvidenceKind, Thresholds};

use super::{scope::Scope, sql::Sql};
use crate::profile::schema::Dialect;

/// Keeps functions and operators of the application from taking the place of built-in ones.
const SAFE_PATH: &str = "-- Only built-in functions and operators, whatever the search path has.\nSET search_path = pg_catalog, pg_temp;\n";

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
        match self.sql.schema.dialect {
            Dialect::Postgres => "psql",
            Dialect::Sqlite => "sqlite3",
        }
    }

    /// Queries as one script, in which only built-in functions are called.
    #[must_use]
    pub fn script(&self, queries: &str) -> String {
        match self.sql.schema.dialect {
            Dialect::Postgres => format!("{SAFE_PATH}{queries}RESET search_path;\n"),
            Dialect::Sqlite => queries.to_owned(),
        }
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
