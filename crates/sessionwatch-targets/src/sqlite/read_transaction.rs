//! The read transaction on a file.

use rusqlite::Connection;

use super::query_rows;
use crate::{cells::TextRow, error::TargetError, scan_progress::ScanProgress, sql::redact_literals};

/// A file inside its read transaction.
#[derive(Debug)]
pub struct SqliteRead {
    pub(super) connection: Connection,
    pub(super) progress: Option<ScanProgress>,
}

impl SqliteRead {
    /// Returns the rows of a query as text.
    ///
    /// # Errors
    ///
    /// If the query fails or exceeds the time limit.
    pub(super) fn query_rows(&self, sql: &str) -> Result<Vec<TextRow>, TargetError> {
        tracing::debug!("query: {}", redact_literals(sql));
        query_rows(&self.connection, sql)
    }
}
