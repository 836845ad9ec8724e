//! PostgreSQL backend.
//!
//! Works through transaction poolers: limits are set inside each transaction, since poolers discard what is
//! set outside, and only the simple protocol, COPY and unnamed statements are used, since poolers do not
//! preserve named ones.

mod address;
mod catalog;
mod copy_decoder;
mod privileges;
mod read_session;
mod read_transaction;
mod row_id_sequence;
mod row_keys;
mod row_security;
mod search_path;
mod server_info;
mod side_effects;
mod write_session;

use futures_util::TryStreamExt as _;
use pg_link::{Dsn, MAX_MESSAGE_BYTES, PgConnection, RowSink, RowSinkSlot, log_refusal};
use tokio_postgres::{SimpleQueryMessage, config::Host, error::SqlState};

pub use self::address::is_prisma_proxy_url;
pub(crate) use self::address::parse_address;
pub(crate) use self::{
    read_session::IdlePostgres, read_transaction::PostgresRead, write_session::PostgresWrite,
};
use crate::{
    capabilities::{Capabilities, Capability},
    cells::TextRow,
    error::TargetError,
    full_rows::FullRows,
    sql::{Dialect, quote_string},
};

/// Capabilities of PostgreSQL and compatible servers.
const POSTGRES_CAPABILITIES: Capabilities = Capabilities {
    product: "PostgreSQL",
    supported: &[
        Capability::CustomQueries,
        Capability::Pushdown,
        Capability::ConstraintProofs,
        Capability::RowLocks,
        Capability::TransactionStatus,
        Capability::Roles,
        Capability::ServerClock,
        Capability::Replication,
    ],
};

/// Receiver of the rows of a COPY.
#[derive(Debug)]
enum CopyRowSink {
    /// A scan into a session snapshot.
    Scan(Box<copy_decoder::CopyRowDecoder>),
    /// Full rows, for the archive.
    FullRows(FullRows),
}

impl RowSink for CopyRowSink {
    #[inline]
    fn push_row(&mut self, row: &[u8]) {
        match self {
            Self::Scan(collector) => collector.push_row(row),
            Self::FullRows(rows) => rows.push(row),
        }
    }
}

/// Maximum memory for the rows of one query; a page of 5,000 sessions takes a few MiB.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Opens a connection.
async fn connect<K: RowSink>(dsn: &Dsn) -> Result<PgConnection<K>, TargetError> {
    PgConnection::open(dsn).await.map_err(|error| TargetError::from_connect_error(error, server_name(dsn)))
}

/// Returns host and port of a server, or the path of its local socket, for messages.
fn server_name(dsn: &Dsn) -> String {
    let port = dsn.config.get_ports().first().copied().unwrap_or(5432);
    match dsn.config.get_hosts().first() {
        Some(Host::Tcp(name)) if name.contains(':') => format!("[{name}]:{port}"),
        Some(Host::Tcp(name)) => format!("{name}:{port}"),
        #[cfg(unix)]
        Some(Host::Unix(folder)) => folder.join(format!(".s.PGSQL.{port}")).display().to_string(),
        None => format!("localhost:{port}"),
    }
}

/// Returns the query for the databases whose names start with the prefix, and their comments.
fn databases_query(prefix: &str) -> String {
    let pattern = quote_string(Dialect::POSTGRES, &format!("{}%", prefix.replace('_', "!_")));
    format!(
        "SELECT datname, pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database\n\
         WHERE datname LIKE {pattern} ESCAPE '!' ORDER BY datname"
    )
}

/// Returns the rows of a query as text. Fails if they exceed [`MAX_ANSWER_BYTES`].
async fn fetch_rows(client: &tokio_postgres::Client, sql: &str) -> Result<Vec<TextRow>, TargetError> {
    let messages = client.simple_query_raw(sql).await.map_err(|error| classify_query_error(&error))?;
    let mut messages = std::pin::pin!(messages);
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(message) = messages.try_next().await.map_err(|error| classify_query_error(&error))? {
        let SimpleQueryMessage::Row(row) = message else { continue };
        let cells: TextRow = (0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect();
        let text: usize = cells.iter().flatten().map(String::len).sum();
        bytes += text + size_of_val(cells.as_slice());
        if bytes > MAX_ANSWER_BYTES {
            return Err(TargetError::AnswerTooLarge(MAX_ANSWER_BYTES >> 20));
        }
        rows.push(cells);
    }
    Ok(rows)
}

/// Returns `true` if a function of the target, such as a trigger, failed to resolve a name.
fn is_unresolved_in_function(error: &tokio_postgres::Error) -> bool {
    let unresolved =
        [SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_FUNCTION, SqlState::UNDEFINED_OBJECT].iter();
    let inside = error.as_db_error().is_some_and(|refusal| refusal.where_().is_some());
    inside && unresolved.into_iter().any(|code| error.code() == Some(code))
}

/// Corrects the error of a query whose connection ended because a row was too long.
fn explain_overflow(rows: &RowSinkSlot<CopyRowSink>, error: TargetError) -> TargetError {
    match error {
        TargetError::ConnectionLost if rows.has_overflowed() => {
            TargetError::AnswerTooLarge(MAX_MESSAGE_BYTES >> 20)
        }
        error => error,
    }
}

/// Classifies a failed query, without the server's text.
fn classify_query_error(error: &tokio_postgres::Error) -> TargetError {
    log_refusal(error);
    match error.code() {
        Some(code) if is_unresolved_in_function(error) => TargetError::FunctionFailed(code.code().to_owned()),
        Some(code) if *code == SqlState::QUERY_CANCELED => TargetError::StatementTimeout,
        Some(code) if *code == SqlState::LOCK_NOT_AVAILABLE => TargetError::Locked,
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => TargetError::Permission,
        Some(code) if *code == SqlState::ADMIN_SHUTDOWN || *code == SqlState::CRASH_SHUTDOWN => {
            TargetError::ConnectionLost
        }
        // PgBouncer sends a connection exception (class 08) when it has lost its server.
        Some(code) if code.code().starts_with("08") => TargetError::ConnectionLost,
        // temp_file_limit is the only configured limit that a query can exceed.
        Some(code) if *code == SqlState::CONFIGURATION_LIMIT_EXCEEDED => TargetError::NoTemporarySpace,
        Some(code) if *code == SqlState::READ_ONLY_SQL_TRANSACTION => TargetError::ReadOnly,
        Some(code) if *code == SqlState::UNDEFINED_FUNCTION => TargetError::Unsupported,
        Some(code) => TargetError::Query(code.code().to_owned()),
        None => TargetError::ConnectionLost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_host_and_port_or_the_socket() {
        for (url, name) in [
            ("postgres://u:hunter2@db.example.com/app", "db.example.com:5432"),
            ("postgres://u@[::1]:5433/app", "[::1]:5433"),
            ("postgres://u@%2Fvar%2Frun%2Fpostgresql/app", "/var/run/postgresql/.s.PGSQL.5432"),
        ] {
            assert_eq!(server_name(&Dsn::parse(url).unwrap()), name);
        }
    }
}
