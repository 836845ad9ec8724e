//! An open target, whatever the product: one read-only transaction.

use sessionwatch_core::{instant::Instant, snapshot::SessionSnapshot, snapshot::SnapshotOptions};

use super::{
    address::Address,
    capabilities::{self, Capabilities},
    error::TargetError,
    limits::Limits,
    postgres::{PostgresIdle, PostgresRead},
    scan_progress::ScanProgress,
    sql::{self, Sql},
    sqlite::SqliteRead,
};
use crate::profile::{mapping::TableName, schema::Schema};

/// Rows that are read at once.
const PAGE: usize = 5_000;

/// What number a custom query gives. Nothing else of its result leaves the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CustomValue {
    /// How many rows there are.
    Rows,
    /// The first column of the first row.
    First,
}

/// A row as text.
pub(super) type TextRow = Vec<Option<String>>;

/// Rows of a file that are still to be given; a server keeps its own.
#[derive(Debug)]
pub(super) struct Pages(Vec<TextRow>);

/// A target inside its read-only transaction.
#[derive(Debug)]
pub enum ReadSession {
    /// PostgreSQL.
    Postgres(PostgresRead),
    /// SQLite.
    Sqlite(SqliteRead),
}

/// A connection between two transactions. A file needs none.
#[derive(Debug)]
pub struct PooledConnection(PostgresIdle);

impl PooledConnection {
    /// Ends the connection.
    pub async fn close(self) {
        self.0.close().await;
    }
}

impl ReadSession {
    /// Opens another transaction over a connection that is there already; nothing if that is lost.
    pub async fn resume(idle: PooledConnection, address: &Address, limits: Limits) -> Option<Self> {
        let Address::Postgres(dsn) = address else { return None };
        PostgresRead::resume(idle.0, dsn, limits).await.ok().map(Self::Postgres)
    }

    /// Ends the transaction, and gives the connection for another one, if there is one and it is not lost.
    pub async fn rest(self) -> Option<PooledConnection> {
        match self {
            Self::Postgres(session) => session.rest().await.map(PooledConnection),
            Self::Sqlite(_) => None,
        }
    }

    /// Opens the target.
    ///
    /// # Errors
    ///
    /// If it cannot be reached or refuses.
    pub async fn open(address: &Address, limits: Limits, deep: bool, key: i64) -> Result<Self, TargetError> {
        match address {
            Address::Postgres(dsn) => Ok(Self::Postgres(PostgresRead::open(dsn, limits, deep).await?)),
            Address::Sqlite(path) => Ok(Self::Sqlite(SqliteRead::open(path, limits, key)?)),
        }
    }

    /// What this kind of database can do.
    #[must_use]
    pub fn capabilities(&self) -> &'static Capabilities {
        match self {
            Self::Postgres(_) => &capabilities::POSTGRES,
            Self::Sqlite(_) => &capabilities::SQLITE,
        }
    }

    /// The role, if it may do everything.
    #[must_use]
    pub fn superuser(&self) -> Option<&str> {
        match self {
            Self::Postgres(session) => session.role().superuser.then(|| session.role().name.as_str()),
            Self::Sqlite(_) => None,
        }
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
    pub fn reporting(self, progress: Option<ScanProgress>) -> Self {
        match self {
            Self::Postgres(session) => Self::Postgres(session.reporting(progress)),
            Self::Sqlite(session) => Self::Sqlite(session.reporting(progress)),
        }
    }

    /// The instant of the look: the server's clock, or this machine's for a file.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn now(&self) -> Result<Instant, TargetError> {
        match self {
            Self::Postgres(session) => session.now().await,
            Self::Sqlite(_) => Ok(crate::clock::now()),
        }
    }

    /// How far this copy of the database has come, in bytes of its write-ahead log; nothing if that cannot be known.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub async fn position(&self) -> Result<Option<u64>, TargetError> {
        match self {
            Self::Postgres(session) => session.position().await,
            Self::Sqlite(_) => Ok(None),
        }
    }

    /// How far a replica lags, in microseconds; nothing if that cannot be known.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub async fn lag(&self) -> Result<Option<i64>, TargetError> {
        match self {
            Self::Postgres(session) => session.lag().await,
            Self::Sqlite(_) => Ok(None),
        }
    }

    /// How many questions were sent to the database so far, each a round trip; a file is asked without any.
    pub(super) fn questions(&self) -> u32 {
        match self {
            Self::Postgres(session) => session.questions(),
            Self::Sqlite(_) => 0,
        }
    }

    /// Asks for nothing, to learn how long the way there and back takes.
    pub(super) async fn ping(&self) -> Result<(), TargetError> {
        self.fetch("SELECT 1").await.map(drop)
    }

    /// The tables and views that can be seen.
    ///
    /// # Errors
    ///
    /// If the catalogue cannot be read.
    pub async fn describe(&self) -> Result<Schema, TargetError> {
        match self {
            Self::Postgres(session) => session.schema().await,
            Self::Sqlite(session) => session.schema(),
        }
    }

    /// The rows of a query, as text; outside of tests, for the verbs of this module only.
    ///
    /// # Errors
    ///
    /// If the query fails.
    #[doc(hidden)]
    pub async fn fetch(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, TargetError> {
        match self {
            Self::Postgres(session) => session.fetch(sql).await,
            Self::Sqlite(session) => session.fetch(sql),
        }
    }

    /// The number in the first row of a query; `None` if the query fails, which leaves the transaction usable.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub(super) async fn attempt(&self, sql: &str) -> Result<Option<u64>, TargetError> {
        match self {
            Self::Postgres(session) => session.attempt(sql).await,
            Self::Sqlite(session) => {
                let rows = session.fetch(sql).unwrap_or_default();
                Ok(rows.first().and_then(|row| row.first()?.as_deref()?.parse().ok()))
            }
        }
    }

    /// Begins to read many rows, of which [`Self::next_page`] gives some thousands at a time.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub(super) async fn pages(&self, sql: &str) -> Result<Pages, TargetError> {
        match self {
            Self::Postgres(session) => {
                session.fetch(&format!("DECLARE pages NO SCROLL CURSOR FOR {sql}")).await?;
                Ok(Pages(vec![]))
            }
            Self::Sqlite(session) => {
                let mut rows = session.fetch(sql)?;
                rows.reverse();
                Ok(Pages(rows))
            }
        }
    }

    /// The next rows, as text; nothing at the end.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub(super) async fn next_page(&self, pages: &mut Pages) -> Result<Option<Vec<TextRow>>, TargetError> {
        let rows = match self {
            Self::Postgres(session) => session.fetch(&format!("FETCH {PAGE} FROM pages")).await?,
            Self::Sqlite(_) => {
                let mut rows = pages.0.split_off(pages.0.len().saturating_sub(PAGE));
                rows.reverse();
                rows
            }
        };
        if rows.is_empty() {
            if let Self::Postgres(session) = self {
                session.fetch("CLOSE pages").await?;
            }
            return Ok(None);
        }
        Ok(Some(rows))
    }

    /// Pulls the sessions into a ledger.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub(super) async fn scan(
        &self,
        sql: &Sql<'_>,
        frame: SnapshotOptions,
    ) -> Result<SessionSnapshot, TargetError> {
        match self {
            Self::Postgres(session) => session.scan(sql, frame).await,
            Self::Sqlite(session) => session.scan(sql, frame),
        }
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
        match self {
            Self::Postgres(session) => session.number(sql, value, max_rows).await,
            Self::Sqlite(session) => session.number(sql, value, max_rows),
        }
    }

    /// Asks the database to end what runs, and drops the connection.
    pub async fn abandon(self) {
        if let Self::Postgres(session) = self {
            session.abandon().await;
        }
    }

    /// Ends the transaction and the connection.
    pub async fn close(self) {
        if let Self::Postgres(session) = self {
            session.close().await;
        }
    }
}
