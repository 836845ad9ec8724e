//! Operations on an open target: one read-only transaction in any supported database.

use jiff::SignedDuration;
use sessionwatch_core::{
    snapshot::{SessionSnapshot, SnapshotOptions},
    timestamp::UtcTimestamp,
};

use super::{
    address::TargetAddress,
    backend::{BufferedRows, IdleBackend as _, ReadBackend as _, ReadOptions},
    capabilities::Capabilities,
    cells::TextRow,
    error::TargetError,
    mapping::TableName,
    scan_progress::ScanProgress,
    sql::{self, QueryBuilder, database_schema::DatabaseSchema},
    supported_databases::each,
    time_limits::TimeLimits,
};
pub use super::{
    backend::CustomValue,
    supported_databases::{PooledConnection, ReadSession},
};

impl PooledConnection {
    /// Closes the connection.
    pub async fn close(self) {
        each!(self, PooledConnection, idle => idle.close().await);
    }
}

impl ReadSession {
    /// Opens a target.
    ///
    /// # Errors
    ///
    /// If the target cannot be reached or refuses.
    pub async fn open(
        address: &TargetAddress,
        limits: TimeLimits,
        ignore_constraints: bool,
        fingerprint_key: i64,
    ) -> Result<Self, TargetError> {
        Self::connect(address, ReadOptions { limits, ignore_constraints, fingerprint_key }).await
    }

    /// Returns the capabilities of this kind of database.
    #[must_use]
    pub fn capabilities(&self) -> &'static Capabilities {
        each!(self, ReadSession, session => session.capabilities())
    }

    /// Returns the name of the role, if the role is a superuser.
    #[must_use]
    pub fn superuser_role(&self) -> Option<&str> {
        each!(self, ReadSession, session => session.superuser_role())
    }

    /// Returns `true` if a table has rows, and `false` if the table is empty or unreadable.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub async fn has_rows(&self, table: &TableName) -> Result<bool, TargetError> {
        Ok(self.try_fetch_number(&sql::has_rows_query(table)).await? == Some(1))
    }

    /// Sets the receiver of the progress of scans.
    #[must_use]
    pub fn with_progress(mut self, progress: Option<ScanProgress>) -> Self {
        each!(&mut self, ReadSession, session => session.set_progress(progress));
        self
    }

    /// Returns the time of the check run: by the server's clock, or by this machine's for a file.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn server_time(&self) -> Result<UtcTimestamp, TargetError> {
        each!(self, ReadSession, session => session.server_time().await)
    }

    /// Returns the replication position of this server in bytes of WAL, or `None` if unknown.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub async fn replication_position(&self) -> Result<Option<u64>, TargetError> {
        each!(self, ReadSession, session => session.replication_position().await)
    }

    /// Returns the lag of a replica, or `None` if unknown or not a replica.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub async fn replica_lag(&self) -> Result<Option<SignedDuration>, TargetError> {
        each!(self, ReadSession, session => session.replica_lag().await)
    }

    /// Returns the number of round trips made so far; zero for a file.
    pub(crate) fn query_count(&self) -> u32 {
        each!(self, ReadSession, session => session.query_count())
    }

    /// Measures a round trip with a trivial query.
    pub(crate) async fn ping(&self) -> Result<(), TargetError> {
        self.fetch_rows("SELECT 1").await.map(drop)
    }

    /// Returns the visible tables and views.
    ///
    /// # Errors
    ///
    /// If the catalog cannot be read.
    pub async fn describe_schema(&self) -> Result<DatabaseSchema, TargetError> {
        each!(self, ReadSession, session => session.describe_schema().await)
    }

    /// Returns the rows of a query as text.
    pub(crate) async fn fetch_rows(&self, sql: &str) -> Result<Vec<TextRow>, TargetError> {
        each!(self, ReadSession, session => session.fetch_rows(sql).await)
    }

    /// Returns the number in the first row of a query, or `None` if the query fails. The transaction stays
    /// usable.
    ///
    /// # Errors
    ///
    /// If the connection is lost, or the database cannot continue.
    pub(crate) async fn try_fetch_number(&self, sql: &str) -> Result<Option<u64>, TargetError> {
        each!(self, ReadSession, session => session.try_fetch_number(sql).await)
    }

    /// Opens a cursor over many rows, read page by page with [`Self::next_page`].
    pub(crate) async fn open_cursor(&self, sql: &str) -> Result<BufferedRows, TargetError> {
        each!(self, ReadSession, session => session.open_cursor(sql).await)
    }

    /// Returns the next rows as text, or `None` at the end.
    pub(crate) async fn next_page(
        &self,
        pages: &mut BufferedRows,
    ) -> Result<Option<Vec<TextRow>>, TargetError> {
        let rows = each!(self, ReadSession, session => session.next_page(pages).await)?;
        Ok((!rows.is_empty()).then_some(rows))
    }

    /// Reads every session into a snapshot.
    pub(crate) async fn scan_sessions(
        &self,
        sql: &QueryBuilder<'_>,
        options: SnapshotOptions,
    ) -> Result<SessionSnapshot, TargetError> {
        each!(self, ReadSession, session => session.scan_sessions(sql, options).await)
    }

    /// Returns the number that a custom query yields, or `None` for NULL or no row. The transaction stays
    /// usable if the query fails.
    ///
    /// # Errors
    ///
    /// If the query fails, consists of several statements, or writes.
    pub async fn fetch_custom_value(
        &self,
        sql: &str,
        value: CustomValue,
        max_rows: u64,
    ) -> Result<Option<f64>, TargetError> {
        each!(self, ReadSession, session => session.fetch_custom_value(sql, value, max_rows).await)
    }

    /// Cancels the running query and drops the connection.
    pub async fn cancel_and_close(self) {
        each!(self, ReadSession, session => session.cancel_and_close().await);
    }

    /// Ends the transaction and closes the connection.
    pub async fn close(self) {
        each!(self, ReadSession, session => session.close().await);
    }
}
