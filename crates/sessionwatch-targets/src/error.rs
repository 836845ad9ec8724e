//! What can keep a target from being looked at, in words for a person.

use pg_link::{ConnectError, TlsError};

use crate::{mapping::MappingError, quoting::quote_identifier};

/// Why no table was recognised, and what would help.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DetectionFailure {
    /// Which profile was looked for, if one was named.
    pub searched_profile: String,
    /// Tables that were seen, and why each is none.
    pub near_misses: Vec<String>,
    /// Lines for the configuration, where a store is known by its columns.
    pub config_lines: Vec<String>,
}

/// Why a look did not succeed. Messages hold no value, no credential and no database text.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The operating system refused what a check run needs.
    #[error("the operating system refused {0}")]
    System(&'static str),
    /// A panic.
    #[error("a bug in sessionwatch ended the check run")]
    Bug,
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(&'static str),
    /// The connection broke.
    #[error("the connection was lost")]
    ConnectionLost,
    /// The look passed its time limit.
    #[error("the look passed its limit of {0} s")]
    TimedOut(u64),
    /// The server ended a statement.
    #[error("a query was ended by the statement timeout, or by an administrator")]
    StatementTimeout,
    /// A lock was not granted in time.
    #[error("the session table is locked by somebody else")]
    Locked,
    /// No permission.
    #[error("the role may not read what is needed")]
    Permission,
    /// Nothing can be changed there.
    #[error("the database may only be read")]
    ReadOnly,
    /// The database refused a query; the code is the SQLSTATE or SQLite's.
    #[error("the database refused a query (code {0})")]
    Query(String),
    /// The answer to a query is not what was asked for.
    #[error("the database answered with {0} that cannot be read")]
    Undecodable(&'static str),
    /// The rows of a query take more memory than any query has a use for; in MiB.
    #[error("the database sent more than {0} MiB in answer to one query")]
    AnswerTooLarge(usize),
    /// Sorting or grouping took more temporary files than the server allows.
    #[error("a query needs more temporary files than the database allows")]
    NoTemporarySpace,
    /// A function of the target, such as that of a trigger, failed; the code is the SQLSTATE.
    #[error("a trigger or another function of the table failed (code {0})")]
    FunctionFailed(String),
    /// A rule of the table keeps it from being known which rows a statement changes.
    #[error("a rule of the table hides which rows were changed")]
    HiddenByRule,
    /// A function that a look needs is missing.
    #[error("the server lacks a function that a look needs")]
    Unsupported,
    /// PostgreSQL as a library, behind one connection for all.
    #[error(
        "this is PGlite, which runs everybody's statements in one session: reading from it would fail what the application writes meanwhile"
    )]
    PgLite,
    /// Not a database file, or none.
    #[error("cannot open the SQLite file: {0}")]
    File(&'static str),
    /// No session table was recognised.
    #[error("no session table was recognised{}{}", .0.searched_profile, join_near_misses(&.0.near_misses))]
    LayoutNotDetected(Box<DetectionFailure>),
    /// Another table than before was recognised.
    #[error("the session table changed from {from} to {to}")]
    TableChanged {
        /// The table and columns that are known.
        from: String,
        /// Those that were recognised now.
        to: String,
        /// The target.
        target: String,
    },
    /// Reading would execute functions of the target.
    #[error("reading the sessions would execute code of the database: {0}")]
    RunsCode(String),
    /// The store cannot say in which table the sessions were.
    #[error("it is not known in which table the sessions were: {0}")]
    KnownLayoutUnavailable(String),
    /// The table of sessions may not be read.
    #[error("the role may not read table `{table}` in column `{columns}`")]
    Unreadable {
        /// The table.
        table: String,
        /// The columns.
        columns: String,
    },
    /// A schema that the address names does not exist.
    #[error("{0}")]
    NoSchema(String),
    /// A schema that the address names may not be used.
    #[error("the role may not use schema `{0}`")]
    SchemaRefused(String),
    /// The mapping of the configuration does not fit the database.
    #[error("the mapping does not fit: {0}")]
    Mapping(String),
    /// Stored expiries make no sense under the decoder.
    #[error("the stored expiries make no sense as `{decoder}`")]
    ImplausibleExpiries {
        /// The decoder that was to be used.
        decoder: &'static str,
        /// One under which they would make sense.
        better_decoder: Option<&'static str>,
    },
    /// What was named as the end is when sessions were last used.
    #[error("`{0}` says when a session was last used, and not when it ends: no session ends in the future")]
    LastUseColumn(String),
    /// TLS could not be set up.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
}

/// What is said where no file descriptor is left.
const TOO_MANY_OPEN_FILES: TargetError = TargetError::System("another file or socket: too many are open");

impl From<ConnectError> for TargetError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::TooManyOpenFiles => TOO_MANY_OPEN_FILES,
            ConnectError::Failed(why) => Self::Connect(why),
            ConnectError::Tls(error) => Self::Tls(error),
        }
    }
}

impl From<MappingError> for TargetError {
    fn from(error: MappingError) -> Self {
        match error {
            MappingError::Misfit(problems) => Self::Mapping(problems),
            MappingError::RunsCode(code) => Self::RunsCode(code),
        }
    }
}

/// Near misses, after a colon.
fn join_near_misses(seen: &[String]) -> String {
    if seen.is_empty() { String::new() } else { format!(": {}", seen.join("; ")) }
}

impl TargetError {
    /// The error of a check run for which the operating system refused something.
    #[must_use]
    pub fn from_io_error(error: &std::io::Error) -> Self {
        Self::from_descriptor_error(error).unwrap_or(Self::System(match error.kind() {
            std::io::ErrorKind::WouldBlock => "another thread: too many are running",
            std::io::ErrorKind::OutOfMemory => "more memory",
            _ => "a thread, a file or a socket",
        }))
    }

    /// The error of a connection for which this process or this machine has no file descriptor left. Returns `None` for
    /// every other error.
    #[must_use]
    pub fn from_descriptor_error(error: &std::io::Error) -> Option<Self> {
        pg_link::is_too_many_open_files(error).then_some(TOO_MANY_OPEN_FILES)
    }

    /// Whether the rows of one statement may be at fault, so that others may fare better.
    #[must_use]
    pub const fn is_row_error(&self) -> bool {
        matches!(self, Self::Query(_) | Self::FunctionFailed(_) | Self::Permission | Self::Unsupported)
    }

    /// Whether something is named, in an address or a configuration, that the database does not have.
    #[must_use]
    pub const fn is_usage_error(&self) -> bool {
        matches!(self, Self::NoSchema(_) | Self::Mapping(_))
    }

    /// How to mend it, where that depends on what was found.
    fn specific_hint(&self) -> Option<String> {
        Some(match self {
            Self::ImplausibleExpiries { better_decoder: Some(better), .. } => {
                format!("they make sense as `{better}`: write that decoder under [target.mapping]")
            }
            Self::LayoutNotDetected(missed) if !missed.config_lines.is_empty() => format!(
                "if those are the sessions, write below the target in sessionwatch.toml:\n  {}",
                missed.config_lines.join("\n  ")
            ),
            Self::TableChanged { target, .. } => format!(
                "if that is right, `sessionwatch targets confirm {target}`; otherwise name the table with `sessions` in the configuration"
            ),
            Self::SchemaRefused(schema) => {
                format!("as its owner: GRANT USAGE ON SCHEMA {} TO …", quote_identifier(schema))
            }
            _ => return None,
        })
    }

    /// How to mend it.
    #[must_use]
    pub fn hint(&self) -> String {
        self.specific_hint().unwrap_or_else(|| self.general_hint().to_owned())
    }

    fn general_hint(&self) -> &'static str {
        match self {
            Self::System(_) => {
                "raise the limits of open files, threads and memory for this process: LimitNOFILE=, TasksMax= and MemoryMax= of a systemd unit, or `ulimit`"
            }
            Self::Bug => "report it with the line of the log that names its place",
            Self::Connect(_) | Self::ConnectionLost => {
                "check host, port, user, password, database and sslmode of the address"
            }
            Self::TimedOut(_) | Self::StatementTimeout => {
                "give it more time with --timeout, or try the other engine (--engine scan or pushdown)"
            }
            Self::Locked => "try again when the migration or maintenance that holds the lock is over",
            Self::Permission | Self::Unreadable { .. } => {
                "grant SELECT on the columns that are needed: as their owner, `sessionwatch grants` prints the statements"
            }
            Self::ReadOnly => "act on the primary, not on a replica; a file must be one that may be written",
            Self::Undecodable(_) | Self::HiddenByRule => "please report it, with the version of the database",
            Self::Query(_) => {
                "look the code up in the documentation of the database; if the table is an ordinary one, please report it"
            }
            Self::RunsCode(_) => {
                "checks execute no code of the database: name the table behind a view under [target.mapping], let the role bypass row security, or remove the function from the expression"
            }
            Self::FunctionFailed(_) => {
                "it looks for tables and functions along the search path of the acting role: set that for the role, or ALTER FUNCTION … SET search_path"
            }
            Self::NoTemporarySpace => {
                "use --engine scan, which sorts nothing there, or raise temp_file_limit or work_mem for this role"
            }
            Self::AnswerTooLarge(_) => {
                "see whether that is the database you mean; if it is, look for a column with very long values"
            }
            Self::PgLite => {
                "check a PostgreSQL server, such as the one that the application is deployed with"
            }
            Self::Unsupported => "PostgreSQL 11 or later is needed, or what speaks its language as fully",
            Self::File(_) => "check the path and its permissions",
            Self::TableChanged { .. } => "confirm the new table, or name the right one in the configuration",
            Self::KnownLayoutUnavailable(_) => {
                "see to the store, or confirm the table: `sessionwatch targets confirm`"
            }
            Self::LayoutNotDetected(_) => {
                "name the table and columns under [target.mapping] in sessionwatch.toml"
            }
            Self::NoSchema(_) | Self::SchemaRefused(_) => {
                "correct the schema in the address (schema, currentSchema or options)"
            }
            Self::Mapping(_) => "mend [target.mapping] in the configuration, or grant what is missing",
            Self::ImplausibleExpiries { .. } => {
                "name the column of the expiry and its decoder under [target.mapping] in sessionwatch.toml"
            }
            Self::LastUseColumn(_) => {
                "make a view that adds the lifetime, such as `SELECT *, last_activity + 7200 AS ends FROM sessions`, and name it and its column under [target.mapping]"
            }
            Self::Tls(_) => {
                "set sslrootcert to a PEM file with the server's certificate authority, or sslmode=require to encrypt without checking"
            }
        }
    }
}
