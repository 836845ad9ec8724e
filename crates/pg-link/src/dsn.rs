//! PostgreSQL addresses as people and hosting services write them.
//!
//! The driver parses the URL. Parts that it does not support are removed first: certificate checks, and parameters
//! added by hosting services and object-relational mappers.

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

use percent_encoding::percent_decode_str;
use tokio_postgres::config::Host;

use credentials::PERCENT_ENCODING_HINT;

/// TLS mode, with libpq's names and meanings.
// From the weakest to the strictest, which decides their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// No encryption.
    Disable,
    /// Encryption only if the server requires it.
    Allow,
    /// Encryption if the server offers it.
    Prefer,
    /// Encryption without certificate checks.
    Require,
    /// Encryption with a check of the certificate chain.
    VerifyCa,
    /// Encryption with a check of the certificate chain and the host name.
    VerifyFull,
}

/// Parsed PostgreSQL address.
#[derive(Clone, PartialEq, Eq)]
pub struct Dsn {
    /// Driver configuration, including the password.
    pub config: tokio_postgres::Config,
    /// TLS mode: the strictest of all parameters, in any order.
    pub ssl_mode: SslMode,
    /// Strictest mode that a parameter other than `sslmode` asks for.
    min_ssl_mode: SslMode,
    /// File of trusted certificates; `None` for those of the system.
    pub root_cert: Option<PathBuf>,
    /// Value of the `schema` parameter of object-relational mappers.
    pub schema: Option<String>,
    /// Search path from `schema`, `currentSchema` or `options`; empty if not set.
    pub search_path: Vec<String>,
    /// The address looks like a connection pooler.
    pub pooled: bool,
}

/// Reasons why a PostgreSQL address is invalid.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DsnError {
    /// The driver cannot parse the address.
    #[error("expected postgres://USER:PASSWORD@HOST:PORT/DATABASE; {PERCENT_ENCODING_HINT}")]
    Unreadable,
    /// The end of the password is ambiguous.
    #[error("cannot tell where the password ends: {PERCENT_ENCODING_HINT}")]
    Ambiguous,
    /// The address has no user.
    #[error("no user name: expected postgres://USER:PASSWORD@HOST:PORT/DATABASE")]
    NoUser,
    /// Unknown parameter.
    #[error("unknown parameter `{0}`")]
    UnknownParameter(String),
    /// Schema parameter without a value.
    #[error("parameter `{0}` is empty: set a schema name or remove the parameter")]
    NoSchema(String),
    /// Invalid value of a parameter.
    #[error("invalid value of parameter `{0}`: expected one of {1}")]
    InvalidValue(&'static str, &'static str),
}

/// Parameters of other programs, ignored here.
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

/// Tuning parameters of other drivers and their pools, ignored here: connection counts, timeouts and statement
/// caches.
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
    // libpq; the driver leaves this one to the operating system
    "keepalives_count",
];

/// Parameters passed to the driver.
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
    /// Returns whether the address is a local socket, which is never encrypted.
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

    /// Parses a URL.
    ///
    /// # Errors
    ///
    /// If it is malformed, has no user, or has an unknown parameter or an invalid value.
    pub fn parse(url: &str) -> Result<Self, DsnError> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        // The rest of a password after an `@` or `?` would be parsed as a host or parameter, and could be printed.
        if base.matches('@').count() > 1 || query.contains('@') {
            return Err(DsnError::Ambiguous);
        }
        let mut dsn = Self {
            config: tokio_postgres::Config::new(),
            ssl_mode: SslMode::Prefer,
            min_ssl_mode: SslMode::Disable,
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

    /// Returns whether every host is this machine.
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
            ("sslrootcert", "system") => self.raise_ssl_mode(SslMode::VerifyFull),
            ("sslrootcert", path) => self.root_cert = Some(path.into()),
            ("schema" | "currentSchema", "") => return Err(DsnError::NoSchema(name.to_owned())),
            ("schema", _) => {
                self.schema = Some(value.to_owned());
                self.search_path = vec![value.to_owned()];
            }
            ("currentSchema", _) => self.search_path = parse_name_list(value),
            ("pgbouncer", "true") => self.pooled = true,
            ("sslaccept", "strict") => self.raise_ssl_mode(SslMode::VerifyFull),
            ("sslaccept", "accept_invalid_certs") | ("ssl", "true" | "1") => {
                self.raise_ssl_mode(SslMode::Require);
            }
            _ if IGNORED_PARAMETERS.contains(&name) => {}
            _ if is_parameter_name(name) => return Err(DsnError::UnknownParameter(name.to_owned())),
            _ => return Err(DsnError::Unreadable),
        }
        Ok(())
    }

    fn raise_ssl_mode(&mut self, mode: SslMode) {
        self.min_ssl_mode = self.min_ssl_mode.max(mode);
    }

    fn apply_defaults(mut self) -> Result<Self, DsnError> {
        if self.config.get_user().is_none() {
            return Err(DsnError::NoUser);
        }
        // A parameter that is written later must not turn off what an earlier one protects.
        self.ssl_mode = self.ssl_mode.max(self.min_ssl_mode);
        // As in libpq: `require` with a root certificate behaves like `verify-ca`.
        if self.root_cert.is_some() && self.ssl_mode == SslMode::Require {
            self.ssl_mode = SslMode::VerifyCa;
        }
        if self.config.get_hosts().is_empty() {
            self.config.host("localhost");
        }
        // The usual ports of PgBouncer and of Supabase's pooler, and host names such as Neon's.
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

/// Returns the search path set in `options`, as `-c search_path=…` or `--search_path=…`.
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

/// Splits `options` into words; a backslash escapes the next character.
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

/// Parses a list of names such as `app, "Other"`. Unquoted names are folded to lower case.
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

/// Returns whether a text looks like a parameter name rather than the rest of a password.
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
mod tests;
