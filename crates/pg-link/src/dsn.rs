//! PostgreSQL addresses as people and hosting services write them.
//!
//! The driver reads the URL; what it does not know is taken off first: certificate checks, and the parameters that
//! hosting services and object mappers add.

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

use percent_encoding::percent_decode_str;
use tokio_postgres::config::Host;

use credentials::PERCENT_ENCODING_HINT;

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
    /// The search path that the address names, by `schema`, `currentSchema` or `options`; empty if it names none.
    pub search_path: Vec<String>,
    /// The address looks like that of a pooler.
    pub pooled: bool,
}

/// Why a PostgreSQL address cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DsnError {
    /// The driver could not read it.
    #[error("expected postgres://USER:PASSWORD@HOST:PORT/DATABASE; {PERCENT_ENCODING_HINT}")]
    Unreadable,
    /// It is not clear where the password ends.
    #[error("cannot tell where the password ends: {PERCENT_ENCODING_HINT}")]
    Ambiguous,
    /// No user.
    #[error("it names no user")]
    NoUser,
    /// A parameter that is not known.
    #[error("unknown parameter `{0}`")]
    UnknownParameter(String),
    /// A parameter that names a schema, without a name.
    #[error("parameter `{0}` names no schema: give it a name, or leave the parameter out")]
    NoSchema(String),
    /// A value that the parameter cannot have.
    #[error("parameter `{0}` has a value that it cannot have; possible are {1}")]
    InvalidValue(&'static str, &'static str),
}

/// Parameters for other programs, which change nothing here.
const IGNORED_PARAMETERS: [&str; 21] = [
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
    "ssl",
];

/// Parameters by which other drivers and their pools are tuned, which change nothing here either: how many connections they
/// keep, how long those may live or be waited for, and what they prepare.
const POOL_TUNING_PARAMETERS: [&str; 38] = [
    // Prisma
    "max_idle_connection_lifetime",
    "max_connection_lifetime",
    // pgx
    "pool_max_conns",
    "pool_min_conns",
    "pool_max_conn_lifetime",
    "pool_max_conn_lifetime_jitter",
    "pool_max_conn_idle_time",
    "pool_health_check_period",
    "default_query_exec_mode",
    "statement_cache_capacity",
    "description_cache_capacity",
    // node-postgres and its relatives
    "max",
    "min",
    "connectionTimeoutMillis",
    "idleTimeoutMillis",
    "query_timeout",
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "keepAlive",
    "prepare",
    // JDBC
    "ApplicationName",
    "connectTimeout",
    "loginTimeout",
    "socketTimeout",
    "tcpKeepAlive",
    "reWriteBatchedInserts",
    // asyncpg and SQLAlchemy
    "command_timeout",
    "prepared_statement_cache_size",
    // Django, Ecto and Rails
    "conn_max_age",
    "conn_health_checks",
    "pool",
    "pool_size",
    "checkout_timeout",
    "idle_timeout",
    "reaping_frequency",
    "prepared_statements",
    // libpq, for what the driver leaves to the system
    "keepalives_count",
];

/// Parameters that the driver reads itself.
const DRIVER_PARAMETERS: [&str; 17] = [
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
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "target_session_attrs",
    "channel_binding",
];

impl Dsn {
    /// Returns `true` if the server is reached over a local socket, which is never encrypted.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self.config.get_hosts().first(), Some(tokio_postgres::config::Host::Unix(_)))
    }

    /// Returns host, port, database and user, by which a password file names a password; `None` if the address has one.
    #[must_use]
    pub fn password_key(&self) -> Option<[String; 4]> {
        if self.config.get_password().is_some() {
            return None;
        }
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(name)) => name.clone(),
            // Sockets stand under this name in password files.
            _ => "localhost".to_owned(),
        };
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        let user = self.config.get_user().unwrap_or_default();
        let database = self.config.get_dbname().unwrap_or(user);
        Some([host, port.to_string(), database.to_owned(), user.to_owned()])
    }

    /// Sets the password.
    pub fn set_password(&mut self, password: &str) {
        self.config.password(password);
    }

    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// If it is not one, names no user, or has a parameter or a value that is not known.
    pub fn parse(url: &str) -> Result<Self, DsnError> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        // The part of a password behind an `@` or a `?` would be taken for a host or a parameter, and shown.
        if base.matches('@').count() > 1 || query.contains('@') {
            return Err(DsnError::Ambiguous);
        }
        let mut dsn = Self {
            config: tokio_postgres::Config::new(),
            ssl_mode: SslMode::Prefer,
            root_cert: None,
            schema: None,
            search_path: Vec::new(),
            pooled: false,
        };
        let mut driver_pairs = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8().map_err(|_| DsnError::Unreadable)?;
            if DRIVER_PARAMETERS.contains(&name) {
                driver_pairs.push(pair);
                if name == "options" {
                    dsn.search_path = search_path_in_options(&value).unwrap_or(dsn.search_path);
                }
            } else {
                dsn.apply_parameter(name, &value)?;
            }
        }
        let rest = if driver_pairs.is_empty() {
            base.to_owned()
        } else {
            format!("{base}?{}", driver_pairs.join("&"))
        };
        dsn.config = rest.parse().map_err(|_| DsnError::Unreadable)?;
        dsn.apply_defaults()
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

    fn apply_parameter(&mut self, name: &str, value: &str) -> Result<(), DsnError> {
        match (name, value) {
            _ if POOL_TUNING_PARAMETERS.contains(&name) => {}
            ("sslmode", _) => self.ssl_mode = parse_ssl_mode(value)?,
            ("sslrootcert", "system") => self.ssl_mode = SslMode::VerifyFull,
            ("sslrootcert", path) => self.root_cert = Some(path.into()),
            ("schema" | "currentSchema", "") => return Err(DsnError::NoSchema(name.to_owned())),
            ("schema", _) => {
                self.schema = Some(value.to_owned());
                self.search_path = vec![value.to_owned()];
            }
            ("currentSchema", _) => self.search_path = parse_name_list(value),
            ("pgbouncer", "true") => self.pooled = true,
            ("sslaccept", "strict") => self.ssl_mode = SslMode::VerifyFull,
            ("sslaccept", "accept_invalid_certs") | ("ssl", "true" | "1") => self.ssl_mode = SslMode::Require,
            _ if IGNORED_PARAMETERS.contains(&name) => {}
            _ if is_parameter_name(name) => return Err(DsnError::UnknownParameter(name.to_owned())),
            _ => return Err(DsnError::Unreadable),
        }
        Ok(())
    }

    fn apply_defaults(mut self) -> Result<Self, DsnError> {
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

/// The search path in what `options` passes to the server, as `-c search_path=…` or `--search_path=…`.
fn search_path_in_options(options: &str) -> Option<Vec<String>> {
    let mut words = split_options(options).into_iter();
    let mut found = None;
    while let Some(word) = words.next() {
        let setting = match (word.strip_prefix("--"), word.strip_prefix("-c")) {
            (Some(setting), _) => setting.to_owned(),
            (None, Some("")) => words.next().unwrap_or_default(),
            (None, Some(setting)) => setting.to_owned(),
            (None, None) => continue,
        };
        let Some((name, value)) = setting.split_once('=') else { continue };
        if name.trim().replace('-', "_").eq_ignore_ascii_case("search_path") {
            found = Some(parse_name_list(value));
        }
    }
    found
}

/// The words of `options`: a backslash keeps the character that follows.
fn split_options(options: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), String::new());
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => word.extend(characters.next()),
            _ if character.is_whitespace() => words.push(std::mem::take(&mut word)),
            _ => word.push(character),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// The names in a list such as `app, "Other"`; without quotes, upper case becomes lower case.
fn parse_name_list(list: &str) -> Vec<String> {
    let (mut names, mut name, mut quoted, mut was_quoted) = (Vec::new(), String::new(), false, false);
    for character in list.chars().chain([',']) {
        match character {
            '"' => {
                // A doubled quote stands for one.
                if !quoted && was_quoted && !name.is_empty() {
                    name.push('"');
                }
                quoted = !quoted;
                was_quoted = true;
            }
            ',' if !quoted => {
                let whole = if was_quoted { name.as_str() } else { name.trim() };
                if !whole.is_empty() {
                    names.push(if was_quoted { whole.to_owned() } else { whole.to_lowercase() });
                }
                (name, was_quoted) = (String::new(), false);
            }
            _ if quoted || !was_quoted => name.push(character),
            _ => {}
        }
        if !quoted && !was_quoted && name.trim().is_empty() {
            name.clear();
        }
    }
    names
}

/// Whether a text reads as the name of a parameter, and not as the rest of a password.
fn is_parameter_name(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn parse_ssl_mode(value: &str) -> Result<SslMode, DsnError> {
    match value {
        "disable" => Ok(SslMode::Disable),
        "allow" => Ok(SslMode::Allow),
        "prefer" => Ok(SslMode::Prefer),
        "require" => Ok(SslMode::Require),
        "verify-ca" => Ok(SslMode::VerifyCa),
        "verify-full" => Ok(SslMode::VerifyFull),
        _ => {
            Err(DsnError::InvalidValue("sslmode", "disable, allow, prefer, require, verify-ca, verify-full"))
        }
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
    fn reads_the_schemas_that_an_address_names() {
        for (query, path) in [
            ("schema=Staging", &["Staging"][..]),
            ("schema=a,b", &["a,b"]),
            ("currentSchema=app,%22Other%22", &["app", "Other"]),
            ("options=-csearch_path%3Dapp", &["app"]),
            ("options=-c%20search_path%3Dapp%2Cpublic", &["app", "public"]),
            ("options=-c%20geqo%3Doff%20--search-path%3DApp", &["app"]),
            ("options=-csearch_path%3D%22%24user%22%2C%5C%20public", &["$user", "public"]),
            ("options=-csearch_path%3D%22a%22%22b%22", &["a\"b"]),
            ("options=endpoint%3Dep-1", &[]),
            ("connection_limit=5", &[]),
        ] {
            let dsn = Dsn::parse(&format!("postgres://u@h/d?{query}")).unwrap();
            assert_eq!(dsn.search_path, path, "{query}");
        }
        for name in ["schema", "currentSchema"] {
            let refused = Dsn::parse(&format!("postgres://u@h/d?{name}=")).unwrap_err();
            assert_eq!(refused, DsnError::NoSchema(name.into()));
        }
    }

    #[test]
    fn takes_what_tunes_other_programs() {
        for query in [
            // As `prisma dev` prints it.
            "sslmode=disable&connection_limit=10&connect_timeout=0&max_idle_connection_lifetime=0&pool_timeout=0&socket_timeout=0",
            "pool_max_conns=10&pool_max_conn_idle_time=5m&default_query_exec_mode=exec&keepalives_interval=5",
            "ApplicationName=app&reWriteBatchedInserts=true&socketTimeout=10&pool=5&reaping_frequency=10",
        ] {
            let dsn = Dsn::parse(&format!("postgres://u:pw@127.0.0.1:51214/template1?{query}")).unwrap();
            assert!(dsn.is_loopback(), "{query}");
            assert_eq!(dsn.config.get_connect_timeout(), Some(&Duration::from_secs(10)), "{query}");
        }
    }

    #[test]
    fn refuses_a_password_whose_end_is_not_clear() {
        for url in [
            "postgres://u:p@ss/w:rd@127.0.0.1:5432/app",
            "postgres://u:a@b@h/d",
            "postgres://u:se?cret@h/d",
            "postgres://u:1?user=cret@h/d",
            "postgres://u:p@h/d?application_name=x@y",
        ] {
            assert_eq!(Dsn::parse(url).unwrap_err(), DsnError::Ambiguous, "{url}");
        }
        for url in ["postgres://u:se/cr#et@h/d", "postgres://u:se%40cr%3Fet@h/d?user=a%40b"] {
            let shown = Dsn::parse(url).map_or_else(|error| error.to_string(), |dsn| dsn.to_string());
            assert!(!shown.contains("cr"), "{shown}");
        }
    }

    #[test]
    fn refuses_without_repeating_values() {
        assert_eq!(
            Dsn::parse("postgres://u:hunter2@h/d?sslmod=require").unwrap_err(),
            DsnError::UnknownParameter("sslmod".into())
        );
        assert!(matches!(
            Dsn::parse("postgres://u:hunter2@h/d?sslmode=hunter2").unwrap_err(),
            DsnError::InvalidValue("sslmode", _)
        ));
        assert_eq!(Dsn::parse("postgres://h/d").unwrap_err(), DsnError::NoUser);
        let shown = format!("{0} {0:?}", Dsn::parse("postgres://u:hunter2@h/d").unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
