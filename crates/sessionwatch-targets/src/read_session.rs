//! An open target, whatever the product: one read-only transaction.

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
    databases::each,
    error::TargetError,
    limits::TimeLimits,
    mapping::TableName,
    scan_progress::ScanProgress,
    sql::{self, QueryBuilder, schema::DatabaseSchema},
};
pub use super::{
    backend::CustomValue,
    databases::{PooledConnection, ReadSession},
};

impl PooledConnection {
    /// Ends the connection.
    pub async fn close(self) {
        each!(self, PooledConnection, idle => idle.close().await);
    }
}

impl ReadSession {
    /// Opens the target.
    ///
    /// # Errors
    ///
    /// If it cannot be reached or refuses.
    pub async fn open(
        address: &TargetAddress,
        limits: TimeLimits,
        ignore_constraints: bool,
        fingerprint_key: i64,
    ) -> Result<Self, TargetError> {
        Self::connect(address, ReadOptions { limits, ignore_constraints, fingerprint_key }).await
    }

    /// What this kind of database can do.
    #[must_use]
    pub fn capabilities(&self) -> &'static Capabilities {
        each!(self, ReadSession, session => session.capabilities())
    }

    /// The role, if it may do everything.
    #[must_use]
    pub fn superuser_role(&self) -> Option<&str> {
        each!(self, ReadSession, session => session.superuser_role())
    }

    /// Whether a table has a row. One that may not be read tells nothing.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub async fn has_rows(&self, table: &TableName) -> Result<bool, TargetError> {
        Ok(self.try_fetch_number(&sql::has_rows_query(table)).await? == Some(1))
    }

    /// Tells of the progress of scans.
    #[must_use]
    pub fn with_progress(mut self, progress: Option<ScanProgress>) -> Self {
        each!(&mut self, ReadSession, session => session.set_progress(progress));
        self
    }

    /// The instant of the check run: the server's clock, or this machine's for a file.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn server_time(&self) -> Result<UtcTimestamp, TargetError> {
        each!(self, ReadSession, session => session.server_time().await)
    }

    /// How far this copy of the database has come, in bytes of its write-ahead log; nothing if that cannot be known.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub async fn replication_position(&self) -> Result<Option<u64>, TargetError> {
        each!(self, ReadSession, session => session.replication_position().await)
    }

    /// How far a replica lags; nothing if that cannot be known.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub async fn replica_lag(&self) -> Result<Option<SignedDuration>, TargetError> {
        each!(self, ReadSession, session => session.replica_lag().await)
    }

    /// How many questions were sent to the database so far, each a round trip; a file is asked without any.
    pub(crate) fn query_count(&self) -> u32 {
        each!(self, ReadSession, session => session.query_count())
    }

    /// Asks for nothing, to learn how long the way there and back takes.
    pub(crate) async fn ping(&self) -> Result<(), TargetError> {
        self.fetch_rows("SELECT 1").await.map(drop)
    }

    /// The tables and views that can be seen.
    ///
    /// # Errors
    ///
    /// If the catalog cannot be read.
    pub async fn describe_schema(&self) -> Result<DatabaseSchema, TargetError> {
        each!(self, ReadSession, session => session.describe_schema().await)
    }

    /// The rows of a query, as text, for the verbs of this crate only.
    pub(crate) async fn fetch_rows(&self, sql: &str) -> Result<Vec<TextRow>, TargetError> {
        each!(self, ReadSession, session => session.fetch_rows(sql).await)
    }

    /// The number in the first row of a query; `None` if the query fails, which leaves the transaction usable.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub(crate) async fn try_fetch_number(&self, sql: &str) -> Result<Option<u64>, TargetError> {
        each!(self, ReadSession, session => session.try_fetch_number(sql).await)
    }

    /// Begins to read many rows, of which [`Self::next_page`] gives some thousands at a time.
    pub(crate) async fn open_cursor(&self, sql: &str) -> Result<BufferedRows, TargetError> {
        each!(self, ReadSession, session => session.open_cursor(sql).await)
    }

    /// The next rows, as text; nothing at the end.
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

    /// The number that a query of the operator's gives; nothing if it gives none. A query that fails leaves the
    /// transaction usable.
    ///
    /// # Errors
    ///
    /// If the query fails, is more than one statement, or writes.
    pub async fn fetch_custom_value(
        &self,
        sql: &str,
        value: CustomValue,
        max_rows: u64,
    ) -> Result<Option<f64>, TargetError> {
        each!(self, ReadSession, session => session.fetch_custom_value(sql, value, max_rows).await)
    }

    /// Asks the database to end what runs, and drops the connection.
    pub async fn cancel_and_close(self) {
        each!(self, ReadSession, session => session.cancel_and_close().await);
    }

    /// Ends the transaction and the connection.
    pub async fn close(self) {
        each!(self, ReadSession, session => session.close().await);
    }
}
