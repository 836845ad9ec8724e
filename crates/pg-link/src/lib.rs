//! Connections to PostgreSQL by libpq's rules: addresses as people and hosting services write them, TLS by `sslmode`,
//! cancel requests, and the rows of a COPY taken off the wire.
//!
//! There is deliberately no SQL here, and nothing about what is read.

mod connection;
mod copy_interceptor;
mod dsn;
mod error;
mod tls;

pub use self::{
    connection::Connection,
    copy_interceptor::{MAX_MESSAGE_BYTES, NoRows, RowSink, RowSinkSlot},
    dsn::{Dsn, DsnError, SslMode},
    error::{ConnectError, log_refusal, too_many_open_files},
    tls::{TlsError, describe_certificate_error},
};
