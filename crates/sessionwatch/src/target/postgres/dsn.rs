//! PostgreSQL addresses as people and hosting services write them.
//!
//! The driver reads the URL; what it does not know is taken off first: certificate checks, and the parameters that
//! hosting services and object mappers add.

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

use percent_encoding::percent_decode_str;
use tokio_postgres::config::Host;

/// How far the connection is protected. Names and meanings are those of libpq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// No encryption.
    Disable,
    /// Encryption if the server insists.
    Allow,
    /// Encryption if the server offers it.
    Prefer,
    /// Encryption, the certificate unchecked.
    Require,
    /// Encryption, the certificate's chain checked.
    VerifyCa,
    /// Encryption, chain and host name checked.
    VerifyFull,
}

/// A PostgreSQL address.
#[derive(Clone, PartialEq, Eq)]
pub struct Dsn {
    /// What the driver needs, the password among it.
    pub config: tokio_postgres::Config,
    /// How far the connection is protected.
    pub ssl_mode: SslMode,
    /// A file of trusted certificates; nothing for those of the system.
    pub root_cert: Option<PathBuf>,
    /// The schema that object mappers put into the address.
    pub schema: Option<String>,
    /// The address looks like that of a pooler.
    pub pooled: bool,
}

/// Why a PostgreSQL address cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DsnError {
    /// The driver could not read it.
    #[error(
        "it does not read as postgres://USER:PASSWORD@HOST:PORT/DATABASE (special characters in a password are written as %XX)"
    )]
    Unreadable,
    /// No user.
    #[error("it names no user")]
    NoUser,
    /// A parameter that is not known.
    #[error("parameter `{0}` is not known")]
    UnknownParameter(String),
    /// A value that the parameter cannot have.
    #[error("parameter `{0}` has a value that it cannot have; possible are {1}")]
    Value(&'static str, &'static str),
}

/// Parameters for other programs, which change nothing here.
const IGNORED: [&str; 22] = [
    "application_name",
    "fallback_application_name",
    "connection_limit",
    "pool_timeout",
    "pool_mode",
    "statement_cache_size",
    "prepareThreshold",
    "socket_timeout",
    "single_use_connections",
    "uselibpqcompat",
    "supa",
    "workaround",
    "sslidentity",
    "sslpassword",
    "client_encoding",
    "gssencmode",
    "sslsni",
    "sslcompression",
    "sslaccept",
    "pgbouncer",
    "schema",
    "ssl",
];

/// Parameters that the driver reads itself.
const DRIVER: [&str; 14] = [
    "user",
    "password",
    "dbname",
    "options",
    "sslnegotiation",
    "host",
    "hostaddr",
    "port",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "target_session_attrs",
    "channel_binding",
];

impl Dsn {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// If it is not one, names no user, or has a parameter or a value that is not known.
    pub fn parse(url: &str) -> Result<Self, DsnError> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut dsn = Self {
            config: tokio_postgres::Config::new(),
            ssl_mode: SslMode::Prefer,
            root_cert: None,
            schema: None,
            pooled: false,
        };
        let mut kept = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8().map_err(|_| DsnError::Unreadable)?;
            if DRIVER.contains(&name) {
                kept.push(pair);
            } else {
                dsn.parameter(name, &value)?;
            }
        }
        let rest = if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) };
        dsn.config = rest.parse().map_err(|_| DsnError::Unreadable)?;
        dsn.finish()
    }

    /// Whether every host is this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.config.get_hosts().iter().all(|host| match host {
            Host::Tcp(name) => {
                name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
            #[cfg(unix)]
            Host::Unix(_) => true,
        })
    }

    fn parameter(&mut self, name: &str, value: &str) -> Result<(), DsnError> {
        match (name, value) {
            ("sslmode", _) => self.ssl_mode = ssl_mode(value)?,
            ("sslrootcert", "system") => self.ssl_mode = SslMode::VerifyFull,
            ("sslrootcert", path) => self.root_cert = Some(path.into()),
            ("schema", _) => self.schema = Some(value.to_owned()),
            ("pgbouncer", "true") => self.pooled = true,
            ("sslaccept", "strict") => self.ssl_mode = SslMode::VerifyFull,
            ("sslaccept", "accept_invalid_certs") | ("ssl", "true" | "1") => self.ssl_mode = SslMode::Require,
            _ if IGNORED.contains(&name) => {}
            _ => return Err(DsnError::UnknownParameter(name.to_owned())),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Self, DsnError> {
        if self.config.get_user().is_none() {
            return Err(DsnError::NoUser);
        }
        if self.root_cert.is_some() && self.ssl_mode == SslMode::Require {
            self.ssl_mode = SslMode::VerifyCa;
        }
        if self.config.get_hosts().is_empty() {
            self.config.host("localhost");
        }
        self.pooled |= self.config.get_ports().iter().any(|port| [6432, 6543].contains(port))
            || self
                .config
                .get_hosts()
                .iter()
                .any(|host| matches!(host, Host::Tcp(name) if name.contains("pooler")));
        self.config.application_name("sessionwatch");
        if self.config.get_connect_timeout().is_none() {
            self.config.connect_timeout(Duration::from_secs(10));
        }
        Ok(self)
    }
}

fn ssl_mode(value: &str) -> Result<SslMode, DsnError> {
    match value {
        "disable" => Ok(SslMode::Disable),
        "allow" => Ok(SslMode::Allow),
        "prefer" => Ok(SslMode::Prefer),
        "require" => Ok(SslMode::Require),
        "verify-ca" => Ok(SslMode::VerifyCa),
        "verify-full" => Ok(SslMode::VerifyFull),
        _ => Err(DsnError::Value("sslmode", "disable, allow, prefer, require, verify-ca, verify-full")),
    }
}

impl fmt::Display for Dsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(name)) => name.clone(),
            #[cfg(unix)]
            Some(Host::Unix(path)) => path.display().to_string(),
            None => "localhost".into(),
        };
        let user = self.config.get_user().unwrap_or_default();
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        write!(f, "postgres://{user}:***@{host}:{port}/{}", self.config.get_dbname().unwrap_or(user))
    }
}

impl fmt::Debug for Dsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_hosting_services_write() {
        for (url, mode, pooled) in [
            (
                "postgresql://u:p%40ss@ep-x-123-pooler.eu-central-1.aws.neon.tech/db?sslmode=require&channel_binding=require",
                SslMode::Require,
                true,
            ),
            (
                "postgres://postgres.ref:pw@aws-0-eu.pooler.supabase.com:6543/postgres?pgbouncer=true",
                SslMode::Prefer,
                true,
            ),
            ("postgres://u:pw@h:5432/db?schema=public&connection_limit=5", SslMode::Prefer, false),
            ("postgres://u:pw@h/db?sslmode=verify-full&sslrootcert=/ca.pem", SslMode::VerifyFull, false),
            ("postgres://u:pw@h/db?sslmode=require&sslrootcert=/ca.pem", SslMode::VerifyCa, false),
            ("postgres://u:pw@%2Fvar%2Frun%2Fpostgresql/db?sslmode=disable", SslMode::Disable, false),
            ("postgres://u@[::1]:5433/db?options=endpoint%3Dep-1", SslMode::Prefer, false),
        ] {
            let dsn = Dsn::parse(url).unwrap();
            assert_eq!((dsn.ssl_mode, dsn.pooled), (mode, pooled), "{url}");
        }
        let neon = Dsn::parse("postgres://u:p%40ss@h/db").unwrap();
        assert_eq!(neon.config.get_password(), Some(&b"p@ss"[..]));
    }

    #[test]
    fn refuses_without_repeating_values() {
        assert_eq!(
            Dsn::parse("postgres://u:hunter2@h/d?sslmod=require").unwrap_err(),
            DsnError::UnknownParameter("sslmod".into())
        );
        assert!(matches!(
            Dsn::parse("postgres://u:hunter2@h/d?sslmode=hunter2").unwrap_err(),
            DsnError::Value("sslmode", _)
        ));
        assert_eq!(Dsn::parse("postgres://h/d").unwrap_err(), DsnError::NoUser);
        let shown = format!("{0} {0:?}", Dsn::parse("postgres://u:hunter2@h/d").unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
