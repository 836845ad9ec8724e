//! Connections to PostgreSQL by libpq's rules: addresses as people and hosting services write them, TLS by `sslmode`,
//! cancel requests, and the rows of a COPY taken off the wire.
//!
//! There is deliberately no statement here, and nothing about what is read.

mod connection;
mod copy_interceptor;
mod dsn;
mod error;
mod tls;

pub use self::{
    connection::PgConnection,
    copy_interceptor::{MAX_MESSAGE_BYTES, NoRows, RowSink, RowSinkSlot},
    dsn::{Dsn, DsnError, SslMode},
    error::{ConnectError, ConnectFailure, is_too_many_open_files, log_refusal},
    tls::{TlsError, describe_certificate_error},
};

/// Quotes a name for use in a statement, as libpq's `PQescapeIdentifier` does.
#[must_use]
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
