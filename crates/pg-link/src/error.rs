//! Why no connection was made, in words for a person: never the server's, which may quote values.

use tokio_postgres::error::SqlState;

use crate::tls::{TlsError, describe_certificate_error};

/// Why a connection could not be opened. Messages hold no value, no credential and no text of the server.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// This process or this machine has no file descriptor left.
    #[error("the operating system refused another file or socket: too many are open")]
    TooManyOpenFiles,
    /// The server cannot be reached, or refuses.
    #[error("cannot connect: {0}")]
    Failed(&'static str),
    /// TLS could not be set up.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
}

/// The server offers no TLS.
#[derive(Debug, thiserror::Error)]
#[error("the server offers no TLS")]
pub(crate) struct NoTlsOffered;

/// Whether a system call failed because this process or this machine has no file descriptor left.
#[must_use]
pub fn is_too_many_open_files(error: &std::io::Error) -> bool {
    /// `EMFILE` and `ENFILE`, which have no kind of their own.
    const DESCRIPTOR_LIMIT_ERRNOS: [i32; 2] = [24, 23];
    error.raw_os_error().is_some_and(|code| DESCRIPTOR_LIMIT_ERRNOS.contains(&code))
}

/// What a failed attempt to connect means.
pub(crate) fn classify_connect_error(error: &tokio_postgres::Error) -> ConnectError {
    log_refusal(error);
    if find_cause(error).is_some_and(is_too_many_open_files) {
        return ConnectError::TooManyOpenFiles;
    }
    ConnectError::Failed(match error.code() {
        Some(code) if *code == SqlState::INVALID_PASSWORD => "the password was refused",
        Some(code) if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => describe_refusal(error),
        Some(code) if *code == SqlState::INVALID_CATALOG_NAME => "there is no database of that name",
        Some(code) if *code == SqlState::TOO_MANY_CONNECTIONS => "the server has no connection free",
        Some(code) if *code == SqlState::CANNOT_CONNECT_NOW => "the server is starting or stopping",
        // PgBouncer has this one code for whatever it refuses.
        Some(code)
            if *code == SqlState::PROTOCOL_VIOLATION && message_contains(error, "authentication failed") =>
        {
            "the password was refused"
        }
        Some(_) => "the server refused the connection",
        None => describe_unreachable(error),
    })
}

/// Why a server does not let a user in. It names the file in every language.
fn describe_refusal(error: &tokio_postgres::Error) -> &'static str {
    if message_contains(error, "pg_hba.conf") {
        "the server refuses this user from here, or without TLS: no line of its pg_hba.conf fits"
    } else {
        "the server refuses this user"
    }
}

/// Whether the server's message has these words.
fn message_contains(error: &tokio_postgres::Error, words: &str) -> bool {
    error.as_db_error().is_some_and(|refusal| refusal.message().contains(words))
}

/// Logs what failed, for whoever debugs. The server's words only where they are about names and resources: others may
/// quote values.
pub fn log_refusal(error: &tokio_postgres::Error) {
    match error.as_db_error() {
        Some(refusal) => {
            let code = refusal.code().code();
            let harmless = ["08", "28", "3D", "42", "53", "57"].iter().any(|class| code.starts_with(class));
            let message = if harmless { refusal.message() } else { "(not shown: it may quote a value)" };
            tracing::debug!("the server refused: SQLSTATE {code} {message}");
        }
        None => tracing::debug!("the connection failed: {error}"),
    }
}

/// Why no server answered, without the system's text.
fn describe_unreachable(error: &tokio_postgres::Error) -> &'static str {
    use std::io::ErrorKind;
    if find_cause::<NoTlsOffered>(error).is_some() {
        return "the server offers no TLS, and sslmode asks for it";
    }
    match find_cause::<rustls::Error>(error) {
        Some(rustls::Error::InvalidCertificate(why)) => return describe_certificate_error(why),
        Some(_) => return "TLS could not be agreed on with the server",
        None => {}
    }
    match find_cause::<std::io::Error>(error).map(std::io::Error::kind) {
        Some(ErrorKind::ConnectionRefused) => "nothing listens at that host and port",
        Some(ErrorKind::TimedOut) => "the server did not answer in time",
        Some(ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable) => "the host cannot be reached",
        Some(ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe) => {
            "the server closed the connection at once"
        }
        Some(ErrorKind::InvalidData) => "what answers at that host and port is not PostgreSQL",
        Some(_) => "the host name is not known, or the host cannot be reached",
        None if error.is_closed() => "the server closed the connection at once",
        None if error.to_string().contains("authentication") => {
            "the server asks for a way to log in that is not possible here (channel binding needs TLS and a SCRAM password)"
        }
        // The driver gives its own objections no type and no code.
        None => match std::error::Error::source(error).map(ToString::to_string).as_deref() {
            Some("password missing") => "the server asks for a password, and the address has none",
            Some(_) if error.to_string().starts_with("invalid configuration") => {
                "the parameters of the address contradict each other"
            }
            _ => "the server could not be reached",
        },
    }
}

/// The first error of that type among the causes.
pub(crate) fn find_cause<T: std::error::Error + 'static>(error: &tokio_postgres::Error) -> Option<&T> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // An I/O error hides the error that it was made from.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}
