//! Read sessions on PostgreSQL: opening, pooling and closing connections, and queries inside their
//! transactions.

use std::{sync::atomic::Ordering, time::Duration};

use jiff::SignedDuration;
use pg_link::{Dsn, PgConnection};
use sessionwatch_core::{
    snapshot::{SessionSnapshot, SnapshotOptions},
    timestamp::UtcTimestamp,
};
use tokio_postgres::SimpleQueryMessage;

use super::{
    CopyRowSink, POSTGRES_CAPABILITIES, catalog, classify_query_error, copy_decoder, databases_query,
    read_transaction::{PostgresRead, first_number_query},
    row_id_sequence, server_info, side_effects,
};
use crate::{
    backend::{
        BufferedRows, CustomValue, IdleBackend, NamedDatabase, ROWS_PER_PAGE, ReadBackend, ReadOptions,
        RowIdSequence, RowKeySupport, ServerInfo,
    },
    capabilities::Capabilities,
    cells::{self, TextRow},
    error::TargetError,
    mapping::TableName,
    scan_progress::ScanProgress,
    side_effects::SideEffectCatalog,
    sql::{
        Dialect, QueryBuilder, RowKeyKind,
        database_schema::DatabaseSchema,
        quote_string,
        table_info::{TableInfo, TableKind},
    },
    time_limits::TimeLimits,
};

/// Time limit for notifying the server that a check run is over.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// An open connection without a transaction.
#[derive(Debug)]
pub struct IdlePostgres(Box<PgConnection<CopyRowSink>>);

impl ReadBackend for PostgresRead {
    type Address = Dsn;
    type Idle = IdlePostgres;

    async fn open(dsn: &Dsn, options: ReadOptions) -> Result<Self, TargetError> {
        let connection = super::connect(dsn).await?;
        // PGlite never encrypts, so an encrypted connection saves the round trip of this test.
        if !connection.is_encrypted() {
            refuse_pglite(&connection).await?;
        }
        Self::begin_read(connection, dsn, options.limits, options.ignore_constraints).await
    }

    async fn resume_connection(
        idle: IdlePostgres,
        dsn: &Dsn,
        limits: TimeLimits,
    ) -> Result<Self, TargetError> {
        Self::begin_read(*idle.0, dsn, limits, false).await
    }

    async fn release(self) -> Option<IdlePostgres> {
        let ended =
            tokio::time::timeout(CLOSE_TIMEOUT, self.connection.client().batch_execute("ROLLBACK")).await;
        matches!(ended, Ok(Ok(()))).then(|| IdlePostgres(Box::new(self.connection)))
    }

    async fn close(self) {
        let ending = async {
            // Nothing was written, so a lost rollback has no effect.
            let _ = self.connection.client().batch_execute("ROLLBACK").await;
            self.connection.close().await;
        };
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, ending).await;
    }

    async fn cancel_and_close(mut self) {
        // A server that cannot be reached detects the closed connection later.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.connection.cancel_query()).await;
        // Closing waits for the end of the query, so that a cancel request forwarded late by a pooler still
        // finds it there.
        self.close().await;
    }

    fn capabilities(&self) -> &'static Capabilities {
        &POSTGRES_CAPABILITIES
    }

    fn set_progress(&mut self, progress: Option<ScanProgress>) {
        self.progress = progress;
    }

    fn superuser_role(&self) -> Option<&str> {
        self.role.is_superuser.then_some(self.role.name.as_str())
    }

    fn query_count(&self) -> u32 {
        self.query_count.load(Ordering::Relaxed)
    }

    async fn server_time(&self) -> Result<UtcTimestamp, TargetError> {
        let rows = self.query_rows("SELECT (EXTRACT(EPOCH FROM now()) * 1000000)::bigint").await?;
        let micros = cells::parse_only_number(&rows, "the time")?;
        UtcTimestamp::from_micros(micros).ok_or(TargetError::Undecodable("the time"))
    }

    async fn replication_position(&self) -> Result<Option<u64>, TargetError> {
        let query = "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()\n\
             ELSE pg_current_wal_insert_lsn() END - '0/0'::pg_lsn";
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes, far below 2^53")]
        Ok(self.query_optional_number(query).await?.map(|position| position as u64))
    }

    async fn replica_lag(&self) -> Result<Option<SignedDuration>, TargetError> {
        let query = "SELECT CASE WHEN NOT pg_is_in_recovery() THEN NULL\n\
             WHEN pg_last_wal_receive_lsn() <= pg_last_wal_replay_lsn() AND EXISTS (SELECT 1 \
             FROM pg_stat_wal_receiver) THEN 0\n\
             ELSE EXTRACT(EPOCH FROM clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000000 END";
        #[expect(clippy::cast_possible_truncation, reason = "microseconds, far below 2^53")]
        Ok(self.query_optional_number(query).await?.map(|lag| SignedDuration::from_micros(lag as i64)))
    }

    async fn describe_schema(&self) -> Result<DatabaseSchema, TargetError> {
        catalog::read_schema(self).await
    }

    async fn fetch_rows(&self, sql: &str) -> Result<Vec<TextRow>, TargetError> {
        self.query_rows(sql).await
    }

    async fn try_fetch_number(&self, sql: &str) -> Result<Option<u64>, TargetError> {
        // A failed statement aborts the whole transaction, unless rolled back to a savepoint.
        self.query_rows("SAVEPOINT attempt").await?;
        let rows = self.query_rows(sql).await;
        self.query_rows("ROLLBACK TO SAVEPOINT attempt").await?;
        match rows {
            Err(TargetError::ConnectionLost) => Err(TargetError::ConnectionLost),
            Err(_) => Ok(None),
            Ok(rows) => cells::parse_only_optional_number(&rows, "a number"),
        }
    }

    async fn open_cursor(&self, sql: &str) -> Result<BufferedRows, TargetError> {
        // A cursor keeps the rows on the server, so memory use is bounded by a page.
        self.query_rows(&format!("DECLARE pages NO SCROLL CURSOR FOR {sql}")).await?;
        Ok(BufferedRows::default())
    }

    async fn next_page(&self, _: &mut BufferedRows) -> Result<Vec<TextRow>, TargetError> {
        let rows = self.query_rows(&format!("FETCH {ROWS_PER_PAGE} FROM pages")).await?;
        if rows.is_empty() {
            // The name is reused by the next cursor of this transaction.
            self.query_rows("CLOSE pages").await?;
        }
        Ok(rows)
    }

    async fn scan_sessions(
        &self,
        sql: &QueryBuilder<'_>,
        options: SnapshotOptions,
    ) -> Result<SessionSnapshot, TargetError> {
        self.query_count.fetch_add(1, Ordering::Relaxed);
        let progress = self.progress.as_ref();
        let source = copy_decoder::CopySource {
            client: self.connection.client(),
            sink_slot: self.connection.row_sink_slot(),
            progress,
        };
        copy_decoder::scan_sessions(source, sql, options).await
    }

    async fn fetch_custom_value(
        &self,
        sql: &str,
        value: CustomValue,
        max_rows: u64,
    ) -> Result<Option<f64>, TargetError> {
        let whole = match value {
            CustomValue::RowCount => format!(
                "SELECT pg_catalog.count(*)::pg_catalog.float8 FROM (SELECT 1 FROM (\n{sql}\n\
                 ) AS query LIMIT {max_rows}) AS counted"
            ),
            CustomValue::FirstNumber => first_number_query(sql),
        };
        // Custom queries may use unqualified names, so they run under the role's own search path.
        let path = quote_string(Dialect::POSTGRES, &self.role.search_path);
        self.query_number_guarded(
            &format!("SELECT pg_catalog.set_config('search_path', {path}, true)"),
            &whole,
        )
        .await
    }

    async fn find_row_key(
        &self,
        sessions: &TableName,
        found: Option<&TableInfo>,
    ) -> Result<RowKeySupport, TargetError> {
        // Views have no row addresses; plans for anything but tables are rejected elsewhere.
        match found.map(|table| table.kind) {
            Some(TableKind::Table | TableKind::Partitioned) => self.find_table_row_key(sessions).await,
            Some(TableKind::View | TableKind::MaterializedView | TableKind::Foreign) | None => {
                Ok(RowKeySupport::Unique(RowKeyKind::Id))
            }
        }
    }

    async fn read_side_effects(&self) -> Result<SideEffectCatalog, TargetError> {
        side_effects::read_catalog(async |query| self.query_rows(query).await).await
    }

    async fn fetch_server_info(&self, sessions: &TableName) -> Result<ServerInfo, TargetError> {
        server_info::read_server_info(self, sessions).await
    }

    async fn find_row_id_sequence(
        &self,
        sql: &QueryBuilder<'_>,
    ) -> Result<Option<RowIdSequence>, TargetError> {
        row_id_sequence::read_sequence(self, sql).await
    }

    async fn list_databases(&self, prefix: &str) -> Result<Vec<NamedDatabase>, TargetError> {
        let rows = self.query_rows(&databases_query(prefix)).await?;
        Ok(rows.into_iter().filter_map(NamedDatabase::from_row).collect())
    }
}

impl IdleBackend for IdlePostgres {
    async fn close(self) {
        // A server that does not respond detects the closed connection later.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.0.close()).await;
    }
}

/// Fails on PGlite, where all connections share one transaction: writes of the application would fail during
/// a check run, and `prisma dev` terminates on such failures.
async fn refuse_pglite(connection: &PgConnection<CopyRowSink>) -> Result<(), TargetError> {
    let messages = connection.client().simple_query("SELECT pg_catalog.version()").await;
    let messages = messages.map_err(|error| classify_query_error(&error))?;
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
    fn pglite_is_detected_by_its_version() {
        for version in [
            "PostgreSQL 18.7 (PGlite 0.5.17) on wasm32-unknown-emscripten, compiled by emcc (Emscripten \
             gcc/clang-like replacement + linker emulating GNU ld) 6.0.13, 32-bit",
            "PostgreSQL 17.5 on wasm32-unknown-linux, compiled by clang, 32-bit",
        ] {
            assert!(is_pglite(version), "{version}");
        }
        assert!(!is_pglite(
            "PostgreSQL 18.4 on x86_64-pc-linux-gnu, compiled by gcc (Ubuntu 7.5.0) 7.5.0, 64-bit"
        ));
    }

    #[tokio::test]
    async fn a_number_that_cannot_be_decoded_is_an_error_and_not_none() {
        let database = testkit::empty_database();
        let limits = TimeLimits { timeout: Duration::from_secs(60), lock_timeout: Duration::from_secs(2) };
        for url in database.urls("postgres") {
            let options = ReadOptions { limits, ignore_constraints: false, fingerprint_key: 1 };
            let session = PostgresRead::open(&Dsn::parse(&url).unwrap(), options).await.unwrap();
            assert_eq!(session.try_fetch_number("SELECT 7").await.unwrap(), Some(7));
            for none in ["SELECT NULL", "SELECT 1 WHERE false", "SELECT n FROM missing"] {
                assert_eq!(session.try_fetch_number(none).await.unwrap(), None, "{none}");
            }
            for query in ["SELECT 'seven'", "SELECT -7", "SELECT 7.5"] {
                let undecodable = session.try_fetch_number(query).await;
                assert!(matches!(undecodable, Err(TargetError::Undecodable(_))), "{query}: {undecodable:?}");
            }
            // The transaction stays usable.
            assert_eq!(session.try_fetch_number("SELECT 8").await.unwrap(), Some(8));
            session.close().await;
        }
    }

    #[tokio::test]
    async fn an_oversized_result_is_rejected() {
        let database = testkit::empty_database();
        let limits = TimeLimits { timeout: Duration::from_secs(60), lock_timeout: Duration::from_secs(2) };
        for url in database.urls("postgres") {
            let dsn = Dsn::parse(&url).unwrap();
            let open = || {
                PostgresRead::open(
                    &dsn,
                    ReadOptions { limits, ignore_constraints: false, fingerprint_key: 1 },
                )
            };
            // Many rows, and wide ones.
            for query in [
                "SELECT n FROM generate_series(1, 100000000) AS n",
                "SELECT repeat('x', 10000000) FROM generate_series(1, 100)",
            ] {
                let session = open().await.unwrap();
                let answer = session.query_rows(query).await;
                assert!(matches!(answer, Err(TargetError::AnswerTooLarge(64))), "{query}");
                session.cancel_and_close().await;
            }
            // A large result below the limit arrives complete.
            let session = open().await.unwrap();
            let rows =
                session.query_rows("SELECT repeat('x', 1000) FROM generate_series(1, 20000)").await.unwrap();
            assert_eq!(rows.len(), 20_000);
            session.close().await;
        }
    }
}
