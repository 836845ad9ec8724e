//! Errors of reading and changing a target, with a hint for each.

use pg_link::{ConnectError, ConnectFailure, TlsError};

use crate::{mapping::MappingError, quoting::quote_identifier};

/// Reasons why no session table was found, and what would help.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DetectionFailure {
    /// Profile that was searched for, if one was named; ready to append to a message.
    pub searched_profile: String,
    /// Tables that look similar, each with the reason why it was rejected.
    pub near_misses: Vec<String>,
    /// Lines for the configuration, where the columns match a known store.
    pub config_lines: Vec<String>,
}

/// Reason why a target could not be read or changed. No message contains a stored value, a credential or text
/// of the database.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The operating system refused a resource; the text is the whole message.
    #[error("{0}")]
    System(&'static str),
    /// The check run panicked.
    #[error("the check run crashed: a bug in sessionwatch")]
    Bug,
    /// The server cannot be reached, or refuses the connection.
    #[error("cannot connect to {server}: {failure}")]
    Connect {
        /// Host and port, or the path of the local socket.
        server: String,
        /// Reason.
        failure: ConnectFailure,
    },
    /// The connection broke after it was established.
    #[error("the connection to the database was lost")]
    ConnectionLost,
    /// The check run exceeded its time limit, in seconds.
    #[error("check timed out after {0} s")]
    TimedOut(u64),
    /// The server canceled a statement.
    #[error("the server canceled a query (statement timeout, or an administrator)")]
    StatementTimeout,
    /// A lock was not granted within the lock timeout.
    #[error("the session table is locked by another transaction")]
    Locked,
    /// The role lacks a privilege.
    #[error("permission denied: the role lacks a required privilege")]
    Permission,
    /// The database accepts no writes.
    #[error("the database is read-only")]
    ReadOnly,
    /// The database rejected a query; the code is the SQLSTATE, or SQLite's result code.
    #[error("the database rejected a query (code {0})")]
    Query(String),
    /// A custom query has several statements.
    #[error("a custom query must be a single statement")]
    NotOneStatement,
    /// A result has an unexpected shape or value; the text names the value.
    #[error("cannot decode {0} returned by the database")]
    Undecodable(&'static str),
    /// The rows of one query exceed the memory limit, in MiB.
    #[error("one query returned more than {0} MiB")]
    AnswerTooLarge(usize),
    /// Sorting or grouping exceeded the server's limit for temporary files.
    #[error("a query exceeds the server's limit for temporary files")]
    NoTemporarySpace,
    /// A function of the target, such as a trigger function, failed; the code is the SQLSTATE.
    #[error("a trigger or another function of the table failed (code {0})")]
    FunctionFailed(String),
    /// A rewrite rule of the table hides which rows a statement changes.
    #[error("a rewrite rule of the table hides which rows were changed")]
    HiddenByRule,
    /// The server lacks a function that a check run needs.
    #[error("the server lacks a function that sessionwatch needs")]
    Unsupported,
    /// The server is PGlite: PostgreSQL as a library, with one session shared by all connections.
    #[error(
        "this is PGlite, which runs all statements in one session: reading here would break concurrent \
         writes of the application"
    )]
    PgLite,
    /// The SQLite file is missing, unreadable or not a database.
    #[error("cannot open the SQLite file: {0}")]
    File(&'static str),
    /// No session table was found.
    #[error("no session table found{}{}", .0.searched_profile, join_near_misses(&.0.near_misses))]
    LayoutNotDetected(Box<DetectionFailure>),
    /// Detection found a different table than before.
    #[error("the session table changed from {from} to {to}")]
    TableChanged {
        /// Table and columns of the known layout.
        from: String,
        /// Table and columns found now.
        to: String,
        /// Name of the target.
        target: String,
    },
    /// Reading the sessions would execute functions of the target.
    #[error("reading the sessions would execute code in the database: {0}")]
    RunsCode(String),
    /// The state store cannot be asked which table held the sessions before.
    #[error("cannot read the known session table from the state store: {0}")]
    KnownLayoutUnavailable(String),
    /// The role may not read the session table.
    #[error("permission denied: the role cannot read column `{columns}` of table `{table}`")]
    Unreadable {
        /// Name of the table.
        table: String,
        /// Names of the columns.
        columns: String,
    },
    /// The schema named in the address does not exist.
    #[error("{0}")]
    NoSchema(String),
    /// The role lacks USAGE on the schema named in the address.
    #[error("permission denied for schema `{0}`")]
    SchemaRefused(String),
    /// The configured mapping does not match the database.
    #[error("[target.mapping] does not match the database: {0}")]
    Mapping(String),
    /// Stored expiry times are implausible under the decoder.
    #[error("the stored expiry times are implausible as `{decoder}`")]
    ImplausibleExpiries {
        /// Decoder in use.
        decoder: &'static str,
        /// Decoder under which they would be plausible.
        better_decoder: Option<&'static str>,
    },
    /// The column configured as the expiry stores the last use instead.
    #[error(
        "`{0}` stores when a session was last used, not when it expires: no session expires in the future"
    )]
    LastUseColumn(String),
    /// TLS could not be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] TlsError),
}

/// The error where no file descriptor is left.
const TOO_MANY_OPEN_FILES: TargetError =
    TargetError::System("cannot open another file or socket: too many open files");

impl From<MappingError> for TargetError {
    fn from(error: MappingError) -> Self {
        match error {
            MappingError::Misfit(problems) => Self::Mapping(problems),
            MappingError::RunsCode(code) => Self::RunsCode(code),
        }
    }
}

fn join_near_misses(seen: &[String]) -> String {
    if seen.is_empty() { String::new() } else { format!(": {}", seen.join("; ")) }
}

impl TargetError {
    /// Converts the error of a connection. `server` is host and port, or the path of a local socket.
    #[must_use]
    pub fn from_connect_error(error: ConnectError, server: String) -> Self {
        match error {
            ConnectError::TooManyOpenFiles => TOO_MANY_OPEN_FILES,
            ConnectError::Failed(failure) => Self::Connect { server, failure },
            ConnectError::Tls(error) => Self::Tls(error),
        }
    }

    /// Converts an I/O error of a check run.
    #[must_use]
    pub fn from_io_error(error: &std::io::Error) -> Self {
        Self::from_descriptor_error(error).unwrap_or(Self::System(match error.kind() {
            std::io::ErrorKind::WouldBlock => "cannot start another thread: thread limit reached",
            std::io::ErrorKind::OutOfMemory => "cannot allocate memory: out of memory",
            _ => "the operating system refused a thread, file or socket",
        }))
    }

    /// Converts an error caused by a lack of file descriptors in this process or on this machine. Returns
    /// `None` for every other error.
    #[must_use]
    pub fn from_descriptor_error(error: &std::io::Error) -> Option<Self> {
        pg_link::is_too_many_open_files(error).then_some(TOO_MANY_OPEN_FILES)
    }

    /// Returns `true` if single rows of a statement may have caused the error, so that others may succeed.
    #[must_use]
    pub const fn is_row_error(&self) -> bool {
        matches!(self, Self::Query(_) | Self::FunctionFailed(_) | Self::Permission | Self::Unsupported)
    }

    /// Returns `true` if an address or the configuration names an object that the database lacks.
    #[must_use]
    pub const fn is_usage_error(&self) -> bool {
        matches!(self, Self::NoSchema(_) | Self::Mapping(_))
    }

    fn specific_hint(&self) -> Option<String> {
        Some(match self {
            Self::ImplausibleExpiries { better_decoder: Some(better), .. } => {
                format!("they are plausible as `{better}`: set that decoder under [target.mapping]")
            }
            Self::LayoutNotDetected(missed) if !missed.config_lines.is_empty() => format!(
                "if that table holds the sessions, add below the target in sessionwatch.toml:\n  {}",
                missed.config_lines.join("\n  ")
            ),
            Self::TableChanged { target, .. } => format!(
                "if the change is intended, run `sessionwatch targets confirm {target}`; otherwise name the \
                 table with `sessions` in the configuration"
            ),
            Self::SchemaRefused(schema) => {
                format!(
                    "run as the owner of the schema: GRANT USAGE ON SCHEMA {} TO …",
                    quote_identifier(schema)
                )
            }
            _ => return None,
        })
    }

    /// Returns advice on how to fix the error.
    #[must_use]
    pub fn hint(&self) -> String {
        self.specific_hint().unwrap_or_else(|| self.general_hint().to_owned())
    }

    fn general_hint(&self) -> &'static str {
        match self {
            Self::System(_) => {
                "raise this process's limits for open files, threads and memory: LimitNOFILE=, TasksMax= and \
                 MemoryMax= in a systemd unit, or `ulimit`"
            }
            Self::Bug => "report the bug with the log line that shows its location",
            Self::Connect { failure, .. } => connect_hint(*failure),
            Self::ConnectionLost => {
                "retry; if this repeats, check the network, the server log, and the timeouts of poolers and firewalls"
            }
            Self::TimedOut(_) | Self::StatementTimeout => {
                "raise the limit with --timeout, or try the other engine (--engine scan or --engine pushdown)"
            }
            Self::Locked => "retry when the migration or maintenance job that holds the lock has finished",
            Self::Permission | Self::Unreadable { .. } => {
                "grant SELECT on the required columns: `sessionwatch grants` prints the statements, \
                 to be run by the owner of the tables"
            }
            Self::ReadOnly => {
                "connect to the primary instead of a replica; for SQLite, make the file writable"
            }
            Self::NotOneStatement => "remove everything after the first statement",
            Self::Undecodable(_) | Self::HiddenByRule => "report a bug, with the version of the database",
            Self::Query(_) => {
                "look up the code in the manual of the database; if the table is an ordinary one, report a bug"
            }
            Self::RunsCode(_) => {
                "checks never execute code of the database: name the table behind the view under \
                 [target.mapping], let the role bypass row-level security, or remove the function from the expression"
            }
            Self::FunctionFailed(_) => {
                "the function may rely on a search path: set search_path for the write role, or run ALTER \
                 FUNCTION … SET search_path"
            }
            Self::NoTemporarySpace => {
                "use --engine scan, which sorts nothing on the server, or raise temp_file_limit or \
                 work_mem for this role"
            }
            Self::AnswerTooLarge(_) => {
                "check that the address points to the right database; if so, look for a column with very long values"
            }
            Self::PgLite => "check a PostgreSQL server instead, such as the one of the deployed application",
            Self::Unsupported => "use PostgreSQL 13 or later, or a fully compatible server",
            Self::File(_) => "check the path and the permissions of the file",
            Self::Tls(_) => {
                "set sslrootcert to a PEM file with the server's certificate authority, or sslmode=require \
                 to encrypt without verification"
            }
            _ => self.configuration_hint(),
        }
    }

    /// Advice on errors about what the address or the configuration names.
    fn configuration_hint(&self) -> &'static str {
        match self {
            Self::TableChanged { .. } => "confirm the new table, or name the right one in the configuration",
            Self::KnownLayoutUnavailable(_) => {
                "repair the state store, or confirm the table with `sessionwatch targets confirm`"
            }
            Self::LayoutNotDetected(_) => {
                "name the table and columns under [target.mapping] in sessionwatch.toml"
            }
            Self::NoSchema(_) | Self::SchemaRefused(_) => {
                "correct the schema in the address (schema, currentSchema or options)"
            }
            Self::Mapping(_) => {
                "correct [target.mapping] in the configuration, or grant the missing privileges"
            }
            Self::ImplausibleExpiries { .. } => {
                "name the expiry column and its decoder under [target.mapping] in sessionwatch.toml"
            }
            Self::LastUseColumn(_) => {
                "create a view that adds the lifetime, such as `SELECT *, last_activity + 7200 AS ends \
                 FROM sessions`, and name the view and the column under [target.mapping]"
            }
            _ => "check the address and the configuration of the target",
        }
    }
}

fn connect_hint(failure: ConnectFailure) -> &'static str {
    match failure {
        ConnectFailure::AuthenticationFailed => "check the user and password in the address",
        ConnectFailure::PasswordMissing => "add the password to the address",
        ConnectFailure::UnsupportedAuthentication => {
            "set a SCRAM password for the role, and connect with TLS (sslmode=require)"
        }
        ConnectFailure::UserRejected => "check that the role exists and may log in (ALTER ROLE … LOGIN)",
        ConnectFailure::HostRejected => {
            "set sslmode=require in the address, or add an entry for this user and host to pg_hba.conf"
        }
        ConnectFailure::UnknownDatabase => "check the database name at the end of the address",
        ConnectFailure::TooManyConnections => {
            "close idle connections, connect through a pooler, or raise max_connections or the role's CONNECTION LIMIT"
        }
        ConnectFailure::NotReady => "retry in a few seconds",
        ConnectFailure::Rejected => "look for the reason in the server log",
        ConnectFailure::TlsUnavailable => "enable TLS on the server, or set sslmode=prefer in the address",
        ConnectFailure::Certificate(_) => {
            "replace the server's certificate, set sslrootcert to a PEM file with its authority, or set \
             sslmode=require to encrypt without verification"
        }
        ConnectFailure::TlsHandshake => "check the TLS versions that the server and any proxy support",
        ConnectFailure::Refused => {
            "check the host and port in the address, and that the server is running and listens there"
        }
        ConnectFailure::TimedOut | ConnectFailure::HostUnreachable => {
            "check the host and port in the address, the network and the firewalls in between"
        }
        ConnectFailure::UnknownHost => "check the host name in the address, and DNS",
        ConnectFailure::Closed => {
            "check that the host and port belong to PostgreSQL, and look for the reason in the server log"
        }
        ConnectFailure::NotPostgres => "check the host and port in the address",
        ConnectFailure::NoSocket => {
            "check the socket directory in the address, and that the server is running"
        }
        ConnectFailure::ContradictoryParameters => {
            "check the parameters of the address, such as sslmode and channel_binding"
        }
        ConnectFailure::Other => "check the host, port, user and sslmode in the address",
    }
}
