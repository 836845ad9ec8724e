//! PostgreSQL: one connection, one read-only transaction, and the two ways to read in it.
//!
//! Limits are set inside the transaction, since transaction poolers strip what is set outside it, and only the simple
//! protocol and one COPY are used, since poolers do not carry named statements over.

pub mod dsn;
pub mod tls;

mod catalog;
mod scan;

use std::time::Duration;

use sessionwatch_rules::{instant::Instant, ledger::Frame, ledger::Ledger};
use tokio_postgres::{Client, SimpleQueryMessage, error::SqlState};

use self::dsn::Dsn;
use super::{error::TargetError, sql::Sql};
use crate::profile::schema::Schema;

/// A connection inside its read-only transaction.
#[derive(Debug)]
pub struct Session {
    client: Client,
    driver: tokio::task::JoinHandle<()>,
}

/// Limits of a look.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The whole look, and each statement in it.
    pub timeout: Duration,
    /// Waiting for a lock.
    pub lock_timeout: Duration,
}

impl Session {
    /// Connects and opens the transaction.
    ///
    /// # Errors
    ///
    /// If the server cannot be reached or refuses.
    pub async fn open(dsn: &Dsn, limits: Limits, deep: bool) -> Result<Self, TargetError> {
        let (client, connection) =
            dsn.config.connect(tls::connector(dsn)?).await.map_err(|error| connect_error(&error))?;
        let driver = tokio::spawn(async move {
            // A broken connection is reported by the query that met it.
            let _ = connection.await;
        });
        let session = Self { client, driver };
        let mut opening = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\nSET LOCAL statement_timeout = {0};\nSET LOCAL lock_timeout = {1};\n\
             SET LOCAL idle_in_transaction_session_timeout = {0};\nSET LOCAL standard_conforming_strings = on;\nSET LOCAL DateStyle = 'ISO';\n\
             SELECT CASE WHEN current_setting('server_version_num')::int >= 140000\n\
             THEN set_config('client_connection_check_interval', '1000', true) END",
            limits.timeout.as_millis(),
            limits.lock_timeout.as_millis(),
        );
        if let Some(schema) = &dsn.schema {
            opening.push_str(&format!(";\nSET LOCAL search_path = {}", super::sql::identifier(schema)));
        }
        if deep {
            opening.push_str(
                ";\nSET LOCAL enable_indexscan = off;\nSET LOCAL enable_indexonlyscan = off;\nSET LOCAL enable_bitmapscan = off",
            );
        }
        session.client.batch_execute(&opening).await.map_err(|error| query_error(&error))?;
        Ok(session)
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
        let messages = self.client.simple_query(sql).await.map_err(|error| query_error(&error))?;
        let row = |message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect())
            }
            _ => None,
        };
        Ok(messages.into_iter().filter_map(row).collect())
    }

    /// Pulls the sessions into a ledger.
    ///
    /// # Errors
    ///
    /// If the copy fails or breaks off.
    pub async fn scan(&self, sql: &Sql<'_>, frame: Frame) -> Result<Ledger, TargetError> {
        scan::run(&self.client, sql, frame).await
    }

    /// Ends the transaction and the connection.
    pub async fn close(self) {
        // Nothing was written: whether the rollback arrives changes nothing.
        let _ = self.client.batch_execute("ROLLBACK").await;
        drop(self.client);
        let _ = self.driver.await;
    }

    /// A handle that can end the running query from outside.
    #[must_use]
    pub fn cancel_token(&self) -> tokio_postgres::CancelToken {
        self.client.cancel_token()
    }
}

fn connect_error(error: &tokio_postgres::Error) -> TargetError {
    TargetError::Connect(match error.code() {
        Some(code) if *code == SqlState::INVALID_PASSWORD => "the password was refused",
        Some(code) if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            "the server refuses this user"
        }
        Some(code) if *code == SqlState::INVALID_CATALOG_NAME => "there is no database of that name",
        Some(code) if *code == SqlState::TOO_MANY_CONNECTIONS => "the server has no connection free",
        Some(code) if *code == SqlState::CANNOT_CONNECT_NOW => "the server is starting or stopping",
        Some(_) => "the server refused the connection",
        None => match std::error::Error::source(error).map(ToString::to_string) {
            Some(source) if source.contains("certificate") => "the server's certificate is not trusted",
            Some(source) if source.contains("refused") => "nothing listens at that host and port",
            Some(source) if source.contains("lookup") => "the host name is not known",
            Some(source) if source.contains("timed out") => "the server did not answer in time",
            _ => "the server could not be reached, or refused TLS",
        },
    })
}

/// What a failed query means, without the server's text.
fn query_error(error: &tokio_postgres::Error) -> TargetError {
    match error.code() {
        Some(code) if *code == SqlState::QUERY_CANCELED => TargetError::StatementTimeout,
        Some(code) if *code == SqlState::LOCK_NOT_AVAILABLE => TargetError::Locked,
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => TargetError::Permission,
        Some(code) if *code == SqlState::ADMIN_SHUTDOWN || *code == SqlState::CRASH_SHUTDOWN => {
            TargetError::Lost
        }
        Some(code) => TargetError::Query(code.code().to_owned()),
        None => TargetError::Lost,
    }
}
