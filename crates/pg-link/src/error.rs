//! Connection errors with texts of our own. Texts of the server are never shown, because they may quote values.

use tokio_postgres::error::SqlState;

use crate::tls::{TlsError, describe_certificate_error};

/// Reasons why a connection cannot be opened. Messages contain no value, no credential and no text of the server.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The process or the machine has no file descriptor left.
    #[error("too many open files: the operating system refused another socket")]
    TooManyOpenFiles,
    /// The server cannot be reached, or refuses the connection.
    #[error("cannot connect: {0}")]
    Failed(ConnectFailure),
    /// TLS could not be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] TlsError),
}

/// Reason why a server cannot be reached, or refuses a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectFailure {
    /// Wrong user or password.
    #[error("authentication failed (wrong user or password)")]
    AuthenticationFailed,
    /// The server requires a password, and the address has none.
    #[error("the server requires a password, but the address has none")]
    PasswordMissing,
    /// The server requires an authentication method that the driver or this connection does not support.
    #[error(
        "the server requires an unsupported authentication method (channel binding needs TLS and a SCRAM password)"
    )]
    UnsupportedAuthentication,
    /// The role does not exist, or may not log in.
    #[error("the server rejected this user")]
    UserRejected,
    /// `pg_hba.conf` allows no such connection.
    #[error("no pg_hba.conf entry allows this user and host, or connections without TLS")]
    HostRejected,
    /// The database does not exist.
    #[error("the database does not exist")]
    UnknownDatabase,
    /// No connection slot is free.
    #[error("too many connections")]
    TooManyConnections,
    /// The server is starting up or shutting down.
    #[error("the server is starting up or shutting down")]
    NotReady,
    /// The server rejected the connection for another reason.
    #[error("the server rejected the connection")]
    Rejected,
    /// The address requires TLS, and the server does not offer it.
    #[error("sslmode requires TLS, but the server does not offer it")]
    TlsUnavailable,
    /// The server's certificate is not trusted; the text is the reason.
    #[error("{0}")]
    Certificate(&'static str),
    /// The TLS handshake failed.
    #[error("TLS handshake failed")]
    TlsHandshake,
    /// No process listens on the port.
    #[error("connection refused")]
    Refused,
    /// The server did not answer in time.
    #[error("connection timed out")]
    TimedOut,
    /// No route to the host.
    #[error("host unreachable")]
    HostUnreachable,
    /// The host name cannot be resolved, or the host cannot be reached.
    #[error("unknown host name, or host unreachable")]
    UnknownHost,
    /// The server closed the connection before answering.
    #[error("the server closed the connection immediately")]
    Closed,
    /// The answer does not follow the PostgreSQL protocol.
    #[error("the server is not PostgreSQL")]
    NotPostgres,
    /// No server listens on the local socket.
    #[error("no server is listening on this local socket")]
    NoSocket,
    /// The parameters of the address contradict each other.
    #[error("the parameters of the address contradict each other")]
    ContradictoryParameters,
    /// Any other failure.
    #[error("the server cannot be reached")]
    Other,
}

/// The server offers no TLS.
#[derive(Debug, thiserror::Error)]
#[error("the server does not support TLS")]
pub(crate) struct NoTlsOffered;

/// Returns whether a system call failed because the process or the machine has no file descriptor left.
#[must_use]
pub fn is_too_many_open_files(error: &std::io::Error) -> bool {
    /// `EMFILE` and `ENFILE`, which have no [`std::io::ErrorKind`].
    const DESCRIPTOR_LIMIT_ERRNOS: [i32; 2] = [24, 23];
    error.raw_os_error().is_some_and(|code| DESCRIPTOR_LIMIT_ERRNOS.contains(&code))
}

/// Classifies a failed connection attempt.
pub(crate) fn classify_connect_error(error: &tokio_postgres::Error) -> ConnectError {
    log_refusal(error);
    if find_cause(error).is_some_and(is_too_many_open_files) {
        return ConnectError::TooManyOpenFiles;
    }
    ConnectError::Failed(match error.code() {
        Some(code) if *code == SqlState::INVALID_PASSWORD => ConnectFailure::AuthenticationFailed,
        Some(code) if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => classify_rejection(error),
        Some(code) if *code == SqlState::INVALID_CATALOG_NAME => ConnectFailure::UnknownDatabase,
        Some(code) if *code == SqlState::TOO_MANY_CONNECTIONS => ConnectFailure::TooManyConnections,
        Some(code) if *code == SqlState::CANNOT_CONNECT_NOW => ConnectFailure::NotReady,
        // PgBouncer reports every rejection with this code.
        Some(code)
            if *code == SqlState::PROTOCOL_VIOLATION && message_contains(error, "authentication failed") =>
        {
            ConnectFailure::AuthenticationFailed
        }
        Some(_) => ConnectFailure::Rejected,
        None => classify_unreachable(error),
    })
}

fn classify_rejection(error: &tokio_postgres::Error) -> ConnectFailure {
    // The server's message is localized, but names the file in every language.
    if message_contains(error, "pg_hba.conf") {
        ConnectFailure::HostRejected
    } else {
        ConnectFailure::UserRejected
    }
}

fn message_contains(error: &tokio_postgres::Error, words: &str) -> bool {
    error.as_db_error().is_some_and(|refusal| refusal.message().contains(words))
}

/// Logs a server or connection error at debug level.
pub fn log_refusal(error: &tokio_postgres::Error) {
    match error.as_db_error() {
        Some(refusal) => {
            let code = refusal.code().code();
            // These classes are about names and resources; messages of other classes may quote values.
            let harmless = ["08", "28", "3D", "42", "53", "57"].iter().any(|class| code.starts_with(class));
            let message =
                if harmless { refusal.message() } else { "(hidden: the message may quote a value)" };
            tracing::debug!("server error: SQLSTATE {code} {message}");
        }
        None => tracing::debug!("connection failed: {error}"),
    }
}

fn classify_unreachable(error: &tokio_postgres::Error) -> ConnectFailure {
    use std::io::ErrorKind;
    if find_cause::<NoTlsOffered>(error).is_some() {
        return ConnectFailure::TlsUnavailable;
    }
    match find_cause::<rustls::Error>(error) {
        Some(rustls::Error::InvalidCertificate(why)) => {
            return ConnectFailure::Certificate(describe_certificate_error(why));
        }
        Some(_) => return ConnectFailure::TlsHandshake,
        None => {}
    }
    match find_cause::<std::io::Error>(error).map(std::io::Error::kind) {
        Some(ErrorKind::ConnectionRefused) => ConnectFailure::Refused,
        Some(ErrorKind::TimedOut) => ConnectFailure::TimedOut,
        Some(ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable) => ConnectFailure::HostUnreachable,
        Some(ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe) => {
            ConnectFailure::Closed
        }
        // An answer of absurd length is no answer of PostgreSQL.
        Some(ErrorKind::InvalidData | ErrorKind::FileTooLarge) => ConnectFailure::NotPostgres,
        Some(_) => ConnectFailure::UnknownHost,
        None if error.is_closed() => ConnectFailure::Closed,
        None if error.to_string().contains("authentication") => ConnectFailure::UnsupportedAuthentication,
        // The driver gives its own errors neither a type nor a code.
        None => match std::error::Error::source(error).map(ToString::to_string).as_deref() {
            Some("password missing") => ConnectFailure::PasswordMissing,
            Some(_) if error.to_string().starts_with("invalid configuration") => {
                ConnectFailure::ContradictoryParameters
            }
            _ => ConnectFailure::Other,
        },
    }
}

/// Returns the first error of a type in the chain of causes.
pub(crate) fn find_cause<T: std::error::Error + 'static>(error: &tokio_postgres::Error) -> Option<&T> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // `source` of an I/O error skips the error it wraps.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests;
