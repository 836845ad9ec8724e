//! PostgreSQL connections by libpq's rules: addresses as people and hosting services write them, TLS by `sslmode`,
//! cancel requests, and COPY rows read directly from the wire.
//!
//! By design this crate contains no SQL statements and knows nothing about the data.

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

/// Quotes an identifier like libpq's `PQescapeIdentifier`.
#[must_use]
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
