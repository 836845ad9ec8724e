//! PostgreSQL: one connection, one read-only transaction, and the two ways to read in it.
//!
//! Limits are set inside the transaction, since transaction poolers strip what is set outside it, and only the simple
//! protocol and one COPY are used, since poolers do not carry named statements over.

mod catalog;
mod privileges;
mod row_names;
mod scan;
pub mod search_path;
mod side_effects;
mod visibility;
mod write_session;

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use futures_util::TryStreamExt as _;
use pg_link::{Connection, Dsn, MAX_MESSAGE_BYTES, RowSink, RowSinkSlot, log_refusal};
use sessionwatch_core::{instant::Instant, snapshot::SessionSnapshot, snapshot::SnapshotOptions};
use tokio_postgres::{SimpleQueryMessage, error::SqlState};

use self::search_path::RoleSettings;
pub(super) use self::side_effects::{HOOKS, INHERITS, references};
pub use self::write_session::PostgresWrite;
use super::{
    error::TargetError,
    full_rows::FullRows,
    limits::Limits,
    read_session::CustomValue,
    scan_progress::ScanProgress,
    sql::{Sql, string},
};
use crate::profile::schema::{Dialect, Schema};

/// How long a server may take to be told that a look is over.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What takes the rows of a COPY in.
#[derive(Debug)]
enum RowTaker {
    /// A scan, into the ledger.
    Scan(Box<scan::Collector>),
    /// Full rows, for the archive.
    FullRows(FullRows),
}

impl RowSink for RowTaker {
    #[inline]
    fn push_row(&mut self, row: &[u8]) {
        match self {
            Self::Scan(collector) => collector.row(row),
            Self::FullRows(rows) => rows.push(row),
        }
    }
}

/// A connection inside its read-only transaction.
#[derive(Debug)]
pub struct PostgresRead {
    connection: Connection<RowTaker>,
    role: Box<RoleSettings>,
    /// The address names the schemas that are meant.
    path_named: bool,
    /// Questions that were sent, each a round trip.
    questions: AtomicU32,
    progress: Option<ScanProgress>,
}

/// The most memory that the rows of one query may take; a page of 5 000 sessions takes a few MiB.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// A connection between two transactions.
#[derive(Debug)]
pub struct PostgresIdle(Connection<RowTaker>);

impl PostgresRead {
    /// Connects and opens the transaction.
    ///
    /// # Errors
    ///
    /// If the server cannot be reached or refuses.
    pub async fn open(dsn: &Dsn, limits: Limits, deep: bool) -> Result<Self, TargetError> {
        let connection = Connection::open(dsn).await?;
        if !connection.is_encrypted() {
            refuse_pglite(&connection).await?;
        }
        Self::begin(connection, dsn, limits, deep).await
    }

    /// Opens another transaction over a connection that is there already.
    ///
    /// # Errors
    ///
    /// If the connection is lost, or the server refuses.
    pub async fn resume(idle: PostgresIdle, dsn: &Dsn, limits: Limits) -> Result<Self, TargetError> {
        Self::begin(idle.0, dsn, limits, false).await
    }

    async fn begin(
        connection: Connection<RowTaker>,
        dsn: &Dsn,
        limits: Limits,
        deep: bool,
    ) -> Result<Self, TargetError> {
        // A server that waits for its client to take in an answer heeds no other limit than that of TCP.
        let mut opening = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\nSET LOCAL statement_timeout = {0};\nSET LOCAL lock_timeout = {lock};\n\
             SET LOCAL idle_in_transaction_session_timeout = {0};\nSET LOCAL standard_conforming_strings = on;\nSET LOCAL DateStyle = 'ISO';\n\
             {1};\nSET LOCAL constraint_exclusion = off;\n\
             SELECT CASE WHEN current_setting('server_version_num')::int >= 140000\n\
             THEN set_config('client_connection_check_interval', '1000', true) END,\n\
             CASE WHEN current_setting('tcp_user_timeout', true) IS NOT NULL\n\
             THEN set_config('tcp_user_timeout', '{0}', true) END",
            limits.timeout.as_millis(),
            search_path::opening(&dsn.search_path),
            lock = limits.lock_timeout.as_millis(),
        );
        if deep {
            opening.push_str(
                ";\nSET LOCAL enable_indexscan = off;\nSET LOCAL enable_indexonlyscan = off;\nSET LOCAL enable_bitmapscan = off",
            );
        }
        let rows = fetch(connection.client(), &opening).await?;
        let role = rows.first().and_then(|row| RoleSettings::read(row));
        let role = role.ok_or_else(|| TargetError::Query("role settings".into()))?;
        role.require(&dsn.search_path)?;
        Ok(Self {
            connection,
            role: Box::new(role),
            path_named: !dsn.search_path.is_empty(),
            questions: AtomicU32::new(0),
            progress: None,
        })
    }

    pub(super) fn reporting(self, progress: Option<ScanProgress>) -> Self {
        Self { progress, ..self }
    }

    /// How many questions were sent so far.
    #[must_use]
    pub fn questions(&self) -> u32 {
        self.questions.load(Ordering::Relaxed)
    }

    /// The role that checks run as, with its search path.
    #[must_use]
    pub fn role(&self) -> &RoleSettings {
        &self.role
    }

    /// The instant at which the transaction began, by the server's clock.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn now(&self) -> Result<Instant, TargetError> {
        let rows = self.fetch("SELECT (EXTRACT(EPOCH FROM now()) * 1000000)::bigint").await?;
        let micros = rows.first().and_then(|row| row.first()?.as_deref()?.parse().ok());
        micros.and_then(Instant::from_micros).ok_or_else(|| TargetError::Query("clock".into()))
    }

    /// How far this server lags behind the one that it replicates, in microseconds; nothing if it is no replica, or does
    /// not say. One that receives, and has replayed all of it, does not lag, however long ago that was.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub async fn lag(&self) -> Result<Option<i64>, TargetError> {
        let query = "SELECT CASE WHEN NOT pg_is_in_recovery() THEN NULL\n\
             WHEN pg_last_wal_receive_lsn() <= pg_last_wal_replay_lsn() AND EXISTS (SELECT 1 FROM pg_stat_wal_receiver) THEN 0\n\
             ELSE EXTRACT(EPOCH FROM clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000000 END";
        #[expect(clippy::cast_possible_truncation, reason = "microseconds, far below 2^53")]
        Ok(self.told(query).await?.map(|lag| lag as i64))
    }

    /// How far this server has come, in bytes of the write-ahead log; nothing if it does not say.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub async fn position(&self) -> Result<Option<u64>, TargetError> {
        let query = "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()\n\
             ELSE pg_current_wal_insert_lsn() END - '0/0'::pg_lsn";
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes, far below 2^53")]
        Ok(self.told(query).await?.map(|position| position as u64))
    }

    /// A number that not every server tells.
    async fn told(&self, query: &str) -> Result<Option<f64>, TargetError> {
        match self.guarded("", &first_number(query)).await {
            Err(TargetError::Lost) => Err(TargetError::Lost),
            told => Ok(told.ok().flatten()),
        }
    }

    /// The tables and views that the role can see.
    ///
    /// # Errors
    ///
    /// If a catalogue query fails.
    pub async fn schema(&self) -> Result<Schema, TargetError> {
        catalog::read(self).await
    }

    /// The rows of a query, as text.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn fetch(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, TargetError> {
        tracing::debug!("query: {}", super::sql::without_values(sql));
        self.questions.fetch_add(1, Ordering::Relaxed);
        fetch(self.connection.client(), sql).await.map_err(|error| explain(self.connection.rows(), error))
    }

    /// The number in the first row of a query; `None` if the query fails, which leaves the transaction usable.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub async fn attempt(&self, sql: &str) -> Result<Option<u64>, TargetError> {
        self.fetch("SAVEPOINT attempt").await?;
        let rows = self.fetch(sql).await;
        self.fetch("ROLLBACK TO SAVEPOINT attempt").await?;
        match rows {
            Err(TargetError::Lost) => Err(TargetError::Lost),
            Err(_) => Ok(None),
            Ok(rows) => Ok(rows.first().and_then(|row| row.first()?.as_deref()?.parse().ok())),
        }
    }

    /// The number that a query of the operator's gives; nothing if it gives none.
    ///
    /// It alone runs under the search path that the role came with.
    ///
    /// # Errors
    ///
    /// If the query fails, is more than one statement, or writes.
    pub async fn number(
        &self,
        sql: &str,
        value: CustomValue,
        max_rows: u64,
    ) -> Result<Option<f64>, TargetError> {
        let whole = match value {
            CustomValue::Rows => format!(
                "SELECT pg_catalog.count(*)::pg_catalog.float8 FROM (SELECT 1 FROM (\n{sql}\n) AS query LIMIT {max_rows}) AS counted"
            ),
            CustomValue::First => first_number(sql),
        };
        let path = string(Dialect::Postgres, &self.role.search_path);
        self.guarded(&format!("SELECT pg_catalog.set_config('search_path', {path}, true)"), &whole).await
    }

    /// The number that a query gives, after another statement.
    ///
    /// The extended protocol takes one statement only, so the query cannot leave the read-only transaction; a savepoint
    /// keeps that usable if the query fails, and undoes what the statements set.
    async fn guarded(&self, before: &str, query: &str) -> Result<Option<f64>, TargetError> {
        let client = self.connection.client();
        tracing::debug!("query: {}", super::sql::without_values(query));
        let guarded = async {
            client.batch_execute(&format!("SAVEPOINT custom;\n{before}")).await?;
            let rows = client.query_typed(query, &[]).await;
            client.batch_execute("ROLLBACK TO SAVEPOINT custom").await?;
            let first = rows?.into_iter().next();
            first.map_or(Ok(None), |row| row.try_get::<_, Option<f64>>(0))
        };
        guarded.await.map_err(|error| explain(self.connection.rows(), query_error(&error)))
    }

    /// Pulls the sessions into a ledger.
    ///
    /// # Errors
    ///
    /// If the copy fails or breaks off.
    pub async fn scan(&self, sql: &Sql<'_>, frame: SnapshotOptions) -> Result<SessionSnapshot, TargetError> {
        self.questions.fetch_add(1, Ordering::Relaxed);
        let progress = self.progress.as_ref();
        let source =
            scan::Source { client: self.connection.client(), rows: self.connection.rows(), progress };
        scan::run(source, sql, frame).await
    }

    /// Ends the transaction, and gives the connection for another one; nothing if it is lost.
    pub async fn rest(self) -> Option<PostgresIdle> {
        let ended =
            tokio::time::timeout(CLOSE_TIMEOUT, self.connection.client().batch_execute("ROLLBACK")).await;
        matches!(ended, Ok(Ok(()))).then_some(PostgresIdle(self.connection))
    }

    /// Ends the transaction and the connection.
    pub async fn close(self) {
        let ending = async {
            // Nothing was written: whether the rollback arrives changes nothing.
            let _ = self.connection.client().batch_execute("ROLLBACK").await;
            self.connection.close().await;
        };
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, ending).await;
    }

    /// Asks the server to end what runs, and ends the connection.
    pub async fn abandon(mut self) {
        // A server that cannot be asked notices by itself that nobody listens any more.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.connection.cancel()).await;
        // Closing waits for the query to end: a pooler that still passes a request to cancel on should find it there.
        self.close().await;
    }

    /// Whether the connection is more than a local socket.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.connection.is_remote()
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn encrypted(&self) -> bool {
        self.connection.is_encrypted()
    }
}

impl PostgresIdle {
    /// Ends the connection.
    pub async fn close(self) {
        // A server that does not answer notices by itself that nobody is there any more.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.0.close()).await;
    }
}

/// The query for the databases whose names begin so, and the comments on them.
pub(super) fn databases(prefix: &str) -> String {
    let pattern = string(Dialect::Postgres, &format!("{}%", prefix.replace('_', "!_")));
    format!(
        "SELECT datname, pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database\n\
         WHERE datname LIKE {pattern} ESCAPE '!' ORDER BY datname"
    )
}

/// The query for the first column of the first row of another, as a number.
fn first_number(query: &str) -> String {
    format!("SELECT query.first::pg_catalog.float8 FROM (\n{query}\n) AS query(first) LIMIT 1")
}

/// The rows of a query, as text; an error if they are more than any query of ours has a use for.
async fn fetch(client: &tokio_postgres::Client, sql: &str) -> Result<Vec<Vec<Option<String>>>, TargetError> {
    let messages = client.simple_query_raw(sql).await.map_err(|error| query_error(&error))?;
    let mut messages = std::pin::pin!(messages);
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(message) = messages.try_next().await.map_err(|error| query_error(&error))? {
        let SimpleQueryMessage::Row(row) = message else { continue };
        let cells: Vec<Option<String>> = (0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect();
        let text: usize = cells.iter().flatten().map(String::len).sum();
        bytes += text + size_of_val(cells.as_slice());
        if bytes > MAX_ANSWER_BYTES {
            return Err(TargetError::AnswerTooLarge(MAX_ANSWER_BYTES >> 20));
        }
        rows.push(cells);
    }
    Ok(rows)
}

/// Refuses PGlite, where all connections share one transaction: what an application writes while it is read here fails, and
/// `prisma dev` ends over that. It encrypts nothing, so only servers that are near have to be asked.
async fn refuse_pglite(connection: &Connection<RowTaker>) -> Result<(), TargetError> {
    let messages = connection.client().simple_query("SELECT pg_catalog.version()").await;
    let messages = messages.map_err(|error| query_error(&error))?;
    let version = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    if version.is_some_and(is_pglite) { Err(TargetError::PgLite) } else { Ok(()) }
}

fn is_pglite(version: &str) -> bool {
    ["PGlite", "wasm32", "emscripten"].iter().any(|sign| version.contains(sign))
}

/// Whether a function of the target, such as a trigger, failed to find something by name.
fn is_unresolved_in_a_function(error: &tokio_postgres::Error) -> bool {
    let unresolved =
        [SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_FUNCTION, SqlState::UNDEFINED_OBJECT].iter();
    let inside = error.as_db_error().is_some_and(|refusal| refusal.where_().is_some());
    inside && unresolved.into_iter().any(|code| error.code() == Some(code))
}

/// What a failed query means, if the connection ended because of a row that was too long.
fn explain(rows: &RowSinkSlot<RowTaker>, error: TargetError) -> TargetError {
    match error {
        TargetError::Lost if rows.has_overflowed() => TargetError::AnswerTooLarge(MAX_MESSAGE_BYTES >> 20),
        error => error,
    }
}

/// What a failed query means, without the server's text.
fn query_error(error: &tokio_postgres::Error) -> TargetError {
    log_refusal(error);
    match error.code() {
        Some(code) if is_unresolved_in_a_function(error) => TargetError::Function(code.code().to_owned()),
        Some(code) if *code == SqlState::QUERY_CANCELED => TargetError::StatementTimeout,
        Some(code) if *code == SqlState::LOCK_NOT_AVAILABLE => TargetError::Locked,
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => TargetError::Permission,
        Some(code) if *code == SqlState::ADMIN_SHUTDOWN || *code == SqlState::CRASH_SHUTDOWN => {
            TargetError::Lost
        }
        // A connection exception: what PgBouncer says when its server is gone.
        Some(code) if code.code().starts_with("08") => TargetError::Lost,
        // The only limit of a configuration that a query can pass is that of temporary files.
        Some(code) if *code == SqlState::CONFIGURATION_LIMIT_EXCEEDED => TargetError::NoTemporarySpace,
        Some(code) if *code == SqlState::READ_ONLY_SQL_TRANSACTION => TargetError::ReadOnly,
        Some(code) if *code == SqlState::UNDEFINED_FUNCTION => TargetError::Unsupported,
        Some(code) => TargetError::Query(code.code().to_owned()),
        None => TargetError::Lost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_pglite_from_a_server() {
        for version in [
            "PostgreSQL 18.7 (PGlite 0.5.17) on wasm32-unknown-emscripten, compiled by emcc (Emscripten gcc/clang-like replacement + linker emulating GNU ld) 6.0.13, 32-bit",
            "PostgreSQL 17.5 on wasm32-unknown-linux, compiled by clang, 32-bit",
        ] {
            assert!(is_pglite(version), "{version}");
        }
        assert!(!is_pglite(
            "PostgreSQL 18.4 on x86_64-pc-linux-gnu, compiled by gcc (Ubuntu 7.5.0) 7.5.0, 64-bit"
        ));
    }
}
