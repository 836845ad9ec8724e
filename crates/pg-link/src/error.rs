//! Connection errors with texts of our own. Texts of the server are never shown, because they may quote values.

use tokio_postgres::error::SqlState;

use crate::tls::{TlsError, describe_certificate_error};

const AUTHENTICATION_FAILED: &str = "authentication failed (wrong user or password)";

/// Reasons why a connection cannot be opened. Messages contain no value, no credential and no text of the server.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The process or the machine has no file descriptor left.
    #[error("too many open files: the operating system refused another socket")]
    TooManyOpenFiles,
    /// The server cannot be reached, or rejects the connection.
    #[error("cannot connect: {0}")]
    Failed(&'static str),
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
}

/// The server does not support TLS.
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
        Some(code) if *code == SqlState::INVALID_PASSWORD => AUTHENTICATION_FAILED,
        Some(code) if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => describe_refusal(error),
        Some(code) if *code == SqlState::INVALID_CATALOG_NAME => "the database does not exist",
        Some(code) if *code == SqlState::TOO_MANY_CONNECTIONS => "the server has no free connection slots",
        Some(code) if *code == SqlState::CANNOT_CONNECT_NOW => "the server is starting up or shutting down",
        // PgBouncer uses this code for every rejection.
        Some(code)
            if *code == SqlState::PROTOCOL_VIOLATION && message_contains(error, "authentication failed") =>
        {
            AUTHENTICATION_FAILED
        }
        Some(_) => "the server rejected the connection",
        None => describe_unreachable(error),
    })
}

fn describe_refusal(error: &tokio_postgres::Error) -> &'static str {
    // Servers translate the message, but not the file name.
    if message_contains(error, "pg_hba.conf") {
        "no pg_hba.conf entry allows this user from this host, or without TLS"
    } else {
        "the server rejected this user"
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

/// Describes a failure without a server error, in our own words.
fn describe_unreachable(error: &tokio_postgres::Error) -> &'static str {
    use std::io::ErrorKind;
    if find_cause::<NoTlsOffered>(error).is_some() {
        return "the server does not support TLS, but sslmode requires it";
    }
    match find_cause::<rustls::Error>(error) {
        Some(rustls::Error::InvalidCertificate(why)) => return describe_certificate_error(why),
        Some(_) => return "the TLS handshake with the server failed",
        None => {}
    }
    match find_cause::<std::io::Error>(error).map(std::io::Error::kind) {
        Some(ErrorKind::ConnectionRefused) => {
            "connection refused (is the server running at this host and port?)"
        }
        Some(ErrorKind::TimedOut) => "connection timed out",
        Some(ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable) => "the host is unreachable",
        Some(ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe) => {
            "the server closed the connection immediately"
        }
        Some(ErrorKind::InvalidData) => "the service at this host and port is not PostgreSQL",
        Some(_) => "the host name is unknown, or the host is unreachable",
        None if error.is_closed() => "the server closed the connection immediately",
        None if error.to_string().contains("authentication") => {
            "the server requires an unsupported authentication method (channel binding needs TLS and a SCRAM password)"
        }
        // The driver's own errors have neither a type nor a code.
        None => match std::error::Error::source(error).map(ToString::to_string).as_deref() {
            Some("password missing") => "the server requires a password, but the address has none",
            Some(_) if error.to_string().starts_with("invalid configuration") => {
                "parameters of the address contradict each other"
            }
            _ => "cannot reach the server",
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
