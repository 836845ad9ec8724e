//! The read-only transaction on PostgreSQL, and the two ways to query in it.

use std::sync::atomic::{AtomicU32, Ordering};

use pg_link::{Dsn, PgConnection};

use super::{
    CopyRowSink, classify_query_error, explain_overflow, fetch_rows,
    search_path::{self, RoleSettings},
};
use crate::{
    cells::TextRow, error::TargetError, scan_progress::ScanProgress, sql::redact_literals,
    time_limits::TimeLimits,
};

/// A connection inside its read-only transaction.
#[derive(Debug)]
pub struct PostgresRead {
    pub(super) connection: PgConnection<CopyRowSink>,
    pub(super) role: Box<RoleSettings>,
    /// `true` if the address names schemas.
    pub(super) has_named_search_path: bool,
    /// Number of round trips so far.
    pub(super) query_count: AtomicU32,
    pub(super) progress: Option<ScanProgress>,
}

impl PostgresRead {
    /// Begins the transaction and sets its limits and the search path of the address.
    pub(super) async fn begin_read(
        connection: PgConnection<CopyRowSink>,
        dsn: &Dsn,
        limits: TimeLimits,
        ignore_constraints: bool,
    ) -> Result<Self, TargetError> {
        // While the server waits for the client to read a result, only tcp_user_timeout applies.
        let mut opening = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\nSET LOCAL statement_timeout = {0};\n\
             SET LOCAL lock_timeout = {lock};\n\
             SET LOCAL idle_in_transaction_session_timeout = {0};\n\
             SET LOCAL standard_conforming_strings = on;\nSET LOCAL DateStyle = 'ISO';\n\
             {1};\nSET LOCAL constraint_exclusion = off;\n\
             SELECT CASE WHEN current_setting('server_version_num')::int >= 140000\n\
             THEN set_config('client_connection_check_interval', '1000', true) END,\n\
             CASE WHEN current_setting('tcp_user_timeout', true) IS NOT NULL\n\
             THEN set_config('tcp_user_timeout', '{0}', true) END",
            limits.timeout.as_millis(),
            search_path::read_role_settings_statements(&dsn.search_path),
            lock = limits.lock_timeout.as_millis(),
        );
        // Index scans would trust an index that may be corrupt.
        if ignore_constraints {
            opening.push_str(
                ";\nSET LOCAL enable_indexscan = off;\nSET LOCAL enable_indexonlyscan = off;\n\
                 SET LOCAL enable_bitmapscan = off",
            );
        }
        let rows = fetch_rows(connection.client(), &opening).await?;
        let role = rows.first().and_then(|row| RoleSettings::from_row(row));
        let role = role.ok_or(TargetError::Undecodable("the role settings"))?;
        role.require_schemas(&dsn.search_path)?;
        Ok(Self {
            connection,
            role: Box::new(role),
            has_named_search_path: !dsn.search_path.is_empty(),
            query_count: AtomicU32::new(0),
            progress: None,
        })
    }

    /// Returns the role of the connection, with its search path.
    #[must_use]
    pub(super) fn role(&self) -> &RoleSettings {
        &self.role
    }

    /// Returns a number that some servers do not provide, or `None` if the query fails.
    pub(super) async fn query_optional_number(&self, query: &str) -> Result<Option<f64>, TargetError> {
        match self.query_number_guarded("", &first_number_query(query)).await {
            Err(error @ (TargetError::ConnectionLost | TargetError::Undecodable(_))) => Err(error),
            Err(_) => Ok(None),
            Ok(number) => Ok(number),
        }
    }

    /// Returns the rows of a query as text.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub(super) async fn query_rows(&self, sql: &str) -> Result<Vec<TextRow>, TargetError> {
        tracing::debug!("query: {}", redact_literals(sql));
        self.query_count.fetch_add(1, Ordering::Relaxed);
        fetch_rows(self.connection.client(), sql)
            .await
            .map_err(|error| explain_overflow(self.connection.row_sink_slot(), error))
    }

    /// Returns the number that a query yields, after running another statement.
    ///
    /// The extended protocol accepts one statement only, so the query cannot end the read-only transaction. A
    /// savepoint keeps the transaction usable if the query fails, and undoes the first statement.
    pub(super) async fn query_number_guarded(
        &self,
        before: &str,
        query: &str,
    ) -> Result<Option<f64>, TargetError> {
        let client = self.connection.client();
        tracing::debug!("query: {}", redact_literals(query));
        let guarded = async {
            client.batch_execute(&format!("SAVEPOINT custom;\n{before}")).await?;
            let rows = client.query_typed(query, &[]).await;
            // Also after success, which resets the search path.
            client.batch_execute("ROLLBACK TO SAVEPOINT custom").await?;
            rows
        };
        let rows = guarded.await.map_err(|error| {
            explain_overflow(self.connection.row_sink_slot(), classify_query_error(&error))
        })?;
        let number = rows.first().map(|row| row.try_get::<_, Option<f64>>(0)).transpose();
        Ok(number.map_err(|_| TargetError::Undecodable("a number"))?.flatten())
    }

    /// Returns `true` unless the connection uses a local socket.
    #[must_use]
    pub(super) fn is_remote(&self) -> bool {
        self.connection.is_remote()
    }

    /// Returns `true` if the connection is encrypted.
    #[must_use]
    pub(super) fn is_encrypted(&self) -> bool {
        self.connection.is_encrypted()
    }
}

/// Wraps a query to return the first column of its first row as a number.
pub(super) fn first_number_query(query: &str) -> String {
    format!("SELECT query.first::pg_catalog.float8 FROM (\n{query}\n) AS query(first) LIMIT 1")
}
