//! Reading PostgreSQL: one connection, and one transaction that can only read.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use jiff::SignedDuration;
use pg_link::{Connection, Dsn};
use sessionwatch_core::{
    instant::Instant,
    snapshot::{SessionSnapshot, SnapshotOptions},
};
use tokio_postgres::SimpleQueryMessage;

use super::{
    CAPABILITIES, RowTaker, catalog, databases, explain, query_error, row_ids, scan,
    search_path::{self, RoleSettings},
    server_info, side_effects,
};
use crate::{
    backend::{
        CustomValue, IdleBackend, NamedDatabase, PAGE, Pages, ReadBackend, ReadOptions, RowIdSequence,
        RowNames, ServerInfo,
    },
    capabilities::Capabilities,
    cells::TextRow,
    error::TargetError,
    limits::Limits,
    mapping::TableName,
    scan_progress::ScanProgress,
    side_effects::Catalog,
    sql::{
        Addressing, Dialect, Sql,
        schema::{Schema, Table, TableKind},
        string, without_values,
    },
};

/// How long a server may take to be told that a check run is over.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection inside its read-only transaction.
#[derive(Debug)]
pub struct PostgresRead {
    connection: Connection<RowTaker>,
    role: Box<RoleSettings>,
    /// The address names the schemas that are meant.
    pub(super) path_named: bool,
    /// Questions that were sent, each a round trip.
    questions: AtomicU32,
    progress: Option<ScanProgress>,
}

/// A connection between two transactions.
#[derive(Debug)]
pub struct PostgresIdle(Box<Connection<RowTaker>>);

impl PostgresRead {
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
        let rows = super::fetch(connection.client(), &opening).await?;
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

    /// The role that checks run as, with its search path.
    #[must_use]
    pub(super) fn role(&self) -> &RoleSettings {
        &self.role
    }

    /// A number that not every server tells.
    async fn told(&self, query: &str) -> Result<Option<f64>, TargetError> {
        match self.guarded("", &first_number(query)).await {
            Err(TargetError::Lost) => Err(TargetError::Lost),
            told => Ok(told.ok().flatten()),
        }
    }

    /// The rows of a query, as text.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub(super) async fn query(&self, sql: &str) -> Result<Vec<TextRow>, TargetError> {
        tracing::debug!("query: {}", without_values(sql));
        self.questions.fetch_add(1, Ordering::Relaxed);
        super::fetch(self.connection.client(), sql)
            .await
            .map_err(|error| explain(self.connection.rows(), error))
    }

    /// The number that a query gives, after another statement.
    ///
    /// The extended protocol takes one statement only, so the query cannot leave the read-only transaction; a savepoint
    /// keeps that usable if the query fails, and undoes what the statements set.
    async fn guarded(&self, before: &str, query: &str) -> Result<Option<f64>, TargetError> {
        let client = self.connection.client();
        tracing::debug!("query: {}", without_values(query));
        let guarded = async {
            client.batch_execute(&format!("SAVEPOINT custom;\n{before}")).await?;
            let rows = client.query_typed(query, &[]).await;
            client.batch_execute("ROLLBACK TO SAVEPOINT custom").await?;
            let first = rows?.into_iter().next();
            first.map_or(Ok(None), |row| row.try_get::<_, Option<f64>>(0))
        };
        guarded.await.map_err(|error| explain(self.connection.rows(), query_error(&error)))
    }

    /// Whether the connection is more than a local socket.
    #[must_use]
    pub(super) fn is_remote(&self) -> bool {
        self.connection.is_remote()
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub(super) fn is_encrypted(&self) -> bool {
        self.connection.is_encrypted()
    }
}

impl ReadBackend for PostgresRead {
    type Address = Dsn;
    type Idle = PostgresIdle;

    async fn open(dsn: &Dsn, options: ReadOptions) -> Result<Self, TargetError> {
        let connection = Connection::open(dsn).await?;
        if !connection.is_encrypted() {
            refuse_pglite(&connection).await?;
        }
        Self::begin(connection, dsn, options.limits, options.deep).await
    }

    async fn resume(idle: PostgresIdle, dsn: &Dsn, limits: Limits) -> Result<Self, TargetError> {
        Self::begin(*idle.0, dsn, limits, false).await
    }

    async fn rest(self) -> Option<PostgresIdle> {
        let ended =
            tokio::time::timeout(CLOSE_TIMEOUT, self.connection.client().batch_execute("ROLLBACK")).await;
        matches!(ended, Ok(Ok(()))).then(|| PostgresIdle(Box::new(self.connection)))
    }

    async fn close(self) {
        let ending = async {
            // Nothing was written: whether the rollback arrives changes nothing.
            let _ = self.connection.client().batch_execute("ROLLBACK").await;
            self.connection.close().await;
        };
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, ending).await;
    }

    async fn abandon(mut self) {
        // A server that cannot be asked notices by itself that nobody listens any more.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.connection.cancel()).await;
        // Closing waits for the query to end: a pooler that still passes a request to cancel on should find it there.
        self.close().await;
    }

    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn report_to(&mut self, progress: Option<ScanProgress>) {
        self.progress = progress;
    }

    fn superuser(&self) -> Option<&str> {
        self.role.superuser.then_some(self.role.name.as_str())
    }

    fn questions(&self) -> u32 {
        self.questions.load(Ordering::Relaxed)
    }

    async fn now(&self) -> Result<Instant, TargetError> {
        let rows = self.query("SELECT (EXTRACT(EPOCH FROM now()) * 1000000)::bigint").await?;
        let micros = rows.first().and_then(|row| row.first()?.as_deref()?.parse().ok());
        micros.and_then(Instant::from_micros).ok_or_else(|| TargetError::Query("clock".into()))
    }

    async fn position(&self) -> Result<Option<u64>, TargetError> {
        let query = "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()\n\
             ELSE pg_current_wal_insert_lsn() END - '0/0'::pg_lsn";
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes, far below 2^53")]
        Ok(self.told(query).await?.map(|position| position as u64))
    }

    async fn lag(&self) -> Result<Option<SignedDuration>, TargetError> {
        let query = "SELECT CASE WHEN NOT pg_is_in_recovery() THEN NULL\n\
             WHEN pg_last_wal_receive_lsn() <= pg_last_wal_replay_lsn() AND EXISTS (SELECT 1 FROM pg_stat_wal_receiver) THEN 0\n\
             ELSE EXTRACT(EPOCH FROM clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000000 END";
        #[expect(clippy::cast_possible_truncation, reason = "microseconds, far below 2^53")]
        Ok(self.told(query).await?.map(|lag| SignedDuration::from_micros(lag as i64)))
    }

    async fn describe(&self) -> Result<Schema, TargetError> {
        catalog::read(self).await
    }

    async fn fetch(&self, sql: &str) -> Result<Vec<TextRow>, TargetError> {
        self.query(sql).await
    }

    async fn attempt(&self, sql: &str) -> Result<Option<u64>, TargetError> {
        self.query("SAVEPOINT attempt").await?;
        let rows = self.query(sql).await;
        self.query("ROLLBACK TO SAVEPOINT attempt").await?;
        match rows {
            Err(TargetError::Lost) => Err(TargetError::Lost),
            Err(_) => Ok(None),
            Ok(rows) => Ok(rows.first().and_then(|row| row.first()?.as_deref()?.parse().ok())),
        }
    }

    async fn pages(&self, sql: &str) -> Result<Pages, TargetError> {
        self.query(&format!("DECLARE pages NO SCROLL CURSOR FOR {sql}")).await?;
        Ok(Pages::default())
    }

    async fn next_page(&self, _: &mut Pages) -> Result<Vec<TextRow>, TargetError> {
        let rows = self.query(&format!("FETCH {PAGE} FROM pages")).await?;
        if rows.is_empty() {
            self.query("CLOSE pages").await?;
        }
        Ok(rows)
    }

    async fn scan(&self, sql: &Sql<'_>, options: SnapshotOptions) -> Result<SessionSnapshot, TargetError> {
        self.questions.fetch_add(1, Ordering::Relaxed);
        let progress = self.progress.as_ref();
        let source =
            scan::Source { client: self.connection.client(), rows: self.connection.rows(), progress };
        scan::run(source, sql, options).await
    }

    async fn custom_value(
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
        let path = string(Dialect::POSTGRES, &self.role.search_path);
        self.guarded(&format!("SELECT pg_catalog.set_config('search_path', {path}, true)"), &whole).await
    }

    async fn row_names(&self, sessions: &TableName, found: Option<&Table>) -> Result<RowNames, TargetError> {
        // Views have no places. Plans of what is no table are refused.
        match found.map(|table| table.kind) {
            Some(TableKind::Table | TableKind::Partitioned) => self.row_names_of_table(sessions).await,
            Some(TableKind::View | TableKind::MaterializedView | TableKind::Foreign) | None => {
                Ok(RowNames::By(Addressing::Id))
            }
        }
    }

    async fn side_effects(&self) -> Result<Catalog, TargetError> {
        side_effects::read(async |query| self.query(query).await).await
    }

    async fn server_info(&self, sessions: &TableName) -> Result<ServerInfo, TargetError> {
        server_info::read(self, sessions).await
    }

    async fn row_id_sequence(&self, sql: &Sql<'_>) -> Result<Option<RowIdSequence>, TargetError> {
        row_ids::read(self, sql).await
    }

    async fn databases(&self, prefix: &str) -> Result<Vec<NamedDatabase>, TargetError> {
        let rows = self.query(&databases(prefix)).await?;
        Ok(rows.into_iter().filter_map(NamedDatabase::read).collect())
    }
}

impl IdleBackend for PostgresIdle {
    async fn close(self) {
        // A server that does not answer notices by itself that nobody is there any more.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.0.close()).await;
    }
}

/// The query for the first column of the first row of another, as a number.
fn first_number(query: &str) -> String {
    format!("SELECT query.first::pg_catalog.float8 FROM (\n{query}\n) AS query(first) LIMIT 1")
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

    #[tokio::test]
    async fn an_answer_that_is_larger_than_any_use_for_it_is_refused() {
        let database = testkit::empty();
        let limits = Limits { timeout: Duration::from_secs(60), lock_timeout: Duration::from_secs(2) };
        for url in database.urls("postgres") {
            let dsn = Dsn::parse(&url).unwrap();
            let open = || PostgresRead::open(&dsn, ReadOptions { limits, deep: false, key: 1 });
            // Many rows, and wide ones.
            for query in [
                "SELECT n FROM generate_series(1, 100000000) AS n",
                "SELECT repeat('x', 10000000) FROM generate_series(1, 100)",
            ] {
                let session = open().await.unwrap();
                let answer = session.query(query).await;
                assert!(matches!(answer, Err(TargetError::AnswerTooLarge(64))), "{query}");
                session.abandon().await;
            }
            // What has its use comes whole.
            let session = open().await.unwrap();
            let rows =
                session.query("SELECT repeat('x', 1000) FROM generate_series(1, 20000)").await.unwrap();
            assert_eq!(rows.len(), 20_000);
            session.close().await;
        }
    }
}
