//! The one transaction in which a file is read.

use rusqlite::Connection;

use super::rows;
use crate::{cells::TextRow, error::TargetError, scan_progress::ScanProgress, sql::without_values};

/// A file inside its read transaction.
#[derive(Debug)]
pub struct SqliteRead {
    pub(super) connection: Connection,
    pub(super) progress: Option<ScanProgress>,
}

impl SqliteRead {
    /// The rows of a query, as text.
    ///
    /// # Errors
    ///
    /// If the query fails or passes the time limit.
    pub(super) fn query(&self, sql: &str) -> Result<Vec<TextRow>, TargetError> {
        tracing::debug!("query: {}", without_values(sql));
        rows(&self.connection, sql)
    }
}
