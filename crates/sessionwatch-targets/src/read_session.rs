//! An open target, whatever the product: one read-only transaction.

use jiff::SignedDuration;
use sessionwatch_core::{
    instant::Instant,
    snapshot::{SessionSnapshot, SnapshotOptions},
};

use super::{
    address::Address,
    backend::{IdleBackend as _, Pages, ReadBackend as _, ReadOptions},
    capabilities::Capabilities,
    cells::TextRow,
    databases::each,
    error::TargetError,
    limits::Limits,
    mapping::TableName,
    scan_progress::ScanProgress,
    sql::{self, Sql, schema::Schema},
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
    pub async fn open(address: &Address, limits: Limits, deep: bool, key: i64) -> Result<Self, TargetError> {
        Self::connect(address, ReadOptions { limits, deep, key }).await
    }

    /// What this kind of database can do.
    #[must_use]
    pub fn capabilities(&self) -> &'static Capabilities {
        each!(self, ReadSession, session => session.capabilities())
    }

    /// The role, if it may do everything.
    #[must_use]
    pub fn superuser(&self) -> Option<&str> {
        each!(self, ReadSession, session => session.superuser())
    }

    /// Whether a table has a row. One that may not be read tells nothing.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub async fn has_rows(&self, table: &TableName) -> Result<bool, TargetError> {
        Ok(self.attempt(&sql::has_rows(table)).await? == Some(1))
    }

    /// Tells of the progress of scans.
    #[must_use]
    pub fn reporting(mut self, progress: Option<ScanProgress>) -> Self {
        each!(&mut self, ReadSession, session => session.report_to(progress));
        self
    }

    /// The instant of the check run: the server's clock, or this machine's for a file.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn now(&self) -> Result<Instant, TargetError> {
        each!(self, ReadSession, session => session.now().await)
    }

    /// How far this copy of the database has come, in bytes of its write-ahead log; nothing if that cannot be known.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub async fn position(&self) -> Result<Option<u64>, TargetError> {
        each!(self, ReadSession, session => session.position().await)
    }

    /// How far a replica lags; nothing if that cannot be known.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub async fn lag(&self) -> Result<Option<SignedDuration>, TargetError> {
        each!(self, ReadSession, session => session.lag().await)
    }

    /// How many questions were sent to the database so far, each a round trip; a file is asked without any.
    pub(crate) fn questions(&self) -> u32 {
        each!(self, ReadSession, session => session.questions())
    }

    /// Asks for nothing, to learn how long the way there and back takes.
    pub(crate) async fn ping(&self) -> Result<(), TargetError> {
        self.fetch("SELECT 1").await.map(drop)
    }

    /// The tables and views that can be seen.
    ///
    /// # Errors
    ///
    /// If the catalog cannot be read.
    pub async fn describe(&self) -> Result<Schema, TargetError> {
        each!(self, ReadSession, session => session.describe().await)
    }

    /// The rows of a query, as text, for the verbs of this crate only.
    pub(crate) async fn fetch(&self, sql: &str) -> Result<Vec<TextRow>, TargetError> {
        each!(self, ReadSession, session => session.fetch(sql).await)
    }

    /// The number in the first row of a query; `None` if the query fails, which leaves the transaction usable.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub(crate) async fn attempt(&self, sql: &str) -> Result<Option<u64>, TargetError> {
        each!(self, ReadSession, session => session.attempt(sql).await)
    }

    /// Begins to read many rows, of which [`Self::next_page`] gives some thousands at a time.
    pub(crate) async fn pages(&self, sql: &str) -> Result<Pages, TargetError> {
        each!(self, ReadSession, session => session.pages(sql).await)
    }

    /// The next rows, as text; nothing at the end.
    pub(crate) async fn next_page(&self, pages: &mut Pages) -> Result<Option<Vec<TextRow>>, TargetError> {
        let rows = each!(self, ReadSession, session => session.next_page(pages).await)?;
        Ok((!rows.is_empty()).then_some(rows))
    }

    /// Reads every session into a snapshot.
    pub(crate) async fn scan(
        &self,
        sql: &Sql<'_>,
        options: SnapshotOptions,
    ) -> Result<SessionSnapshot, TargetError> {
        each!(self, ReadSession, session => session.scan(sql, options).await)
    }

    /// The number that a query of the operator's gives; nothing if it gives none. A query that fails leaves the
    /// transaction usable.
    ///
    /// # Errors
    ///
    /// If the query fails, is more than one statement, or writes.
    pub async fn custom_value(
        &self,
        sql: &str,
        value: CustomValue,
        max_rows: u64,
    ) -> Result<Option<f64>, TargetError> {
        each!(self, ReadSession, session => session.custom_value(sql, value, max_rows).await)
    }

    /// Asks the database to end what runs, and drops the connection.
    pub async fn abandon(self) {
        each!(self, ReadSession, session => session.abandon().await);
    }

    /// Ends the transaction and the connection.
    pub async fn close(self) {
        each!(self, ReadSession, session => session.close().await);
    }
}
