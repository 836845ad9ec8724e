//! Facts that databases report about themselves and about changes, independent of their kind.

use std::path::PathBuf;

use crate::{cells::TextRow, error::TargetError, sql::RowKeyKind};

/// Reason why an address cannot be used. No message repeats the address, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// The scheme is known but not supported, or leads to something other than a database.
    #[error("{problem}; {advice}")]
    NotSupported {
        /// What is not supported.
        problem: &'static str,
        /// What to use instead.
        advice: &'static str,
    },
    /// Neither a known scheme nor a file; the text lists the accepted forms.
    #[error("not a database address; expected {0}")]
    Unknown(String),
    /// The scheme is supported, but the rest of the address is invalid.
    #[error("invalid {product} address: {problem}")]
    Faulty {
        /// Name of the database product.
        product: &'static str,
        /// Reason.
        problem: String,
    },
}

/// Extent of the certificate verification that an address asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateCheck {
    /// No verification.
    None,
    /// The chain up to a trusted authority.
    Authority,
    /// The chain, and the host name.
    AuthorityAndName,
}

/// Protection of the connection, as the address asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportSecurity {
    /// The connection stays on this machine.
    pub is_loopback: bool,
    /// The address looks like that of a connection pooler.
    pub is_pooled: bool,
    /// Verification of the certificate.
    pub certificate: CertificateCheck,
}

/// The number taken from a custom query. Nothing else of its result leaves the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CustomValue {
    /// The number of rows.
    RowCount,
    /// The first column of the first row.
    FirstNumber,
}

/// The key that identifies rows of the sessions, if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowKeySupport {
    /// This unique key.
    Unique(RowKeyKind),
    /// Unusable: a table that inherits from the session table has columns of its own, which would not be
    /// archived.
    ExtraChildColumns(String),
    /// No key.
    Unsupported,
}

/// Facts about the server and the role of a check run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerInfo {
    /// Product and version.
    pub server: String,
    /// Role of the connection, or `None` if the database has no roles.
    pub role: Option<DatabaseRole>,
    /// Time zone of the connection, or `None` if the database has none.
    pub time_zone: Option<String>,
    /// `true` on a read-only replica.
    pub is_replica: bool,
    /// `true` if the connection is encrypted; `None` for a file or a local socket.
    pub is_encrypted: Option<bool>,
    /// Journal mode of a SQLite file.
    pub journal_mode: Option<String>,
    /// Roles that may create functions on the search path without owning the schema or the sessions.
    pub schema_creators: Vec<SchemaCreator>,
}

/// A role that may create objects in a schema on the search path of the watch role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaCreator {
    /// Name of the role, or `PUBLIC`.
    pub role: String,
    /// The schema.
    pub schema: String,
}

/// A role and its privileges beyond reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseRole {
    /// Name of the role.
    pub name: String,
    /// The role is a superuser.
    pub is_superuser: bool,
    /// The role may change or delete sessions.
    pub can_write: bool,
    /// The role may create objects in the schema of the sessions, or in one on its search path.
    pub can_create: bool,
}

/// State of the sequence that numbers the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowIdSequence {
    /// Name of the sequence.
    pub name: String,
    /// Greatest number that fits both the sequence and the column.
    pub max_value: i64,
    /// Greatest number used so far.
    pub last_value: i64,
    /// Sessions created in the last hour; `None` if the creation time is not stored.
    pub created_last_hour: Option<i64>,
}

/// A database on the server of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedDatabase {
    /// Name of the database.
    pub name: String,
    /// Comment on the database.
    pub comment: Option<String>,
}

impl NamedDatabase {
    /// Reads a row of a name and a comment.
    pub(crate) fn from_row(row: TextRow) -> Option<Self> {
        let mut cells = row.into_iter();
        Some(Self { name: cells.next()??, comment: cells.next().flatten() })
    }
}

/// Outcome of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// Committed.
    Committed,
    /// Rolled back, for good.
    RolledBack,
    /// Still running.
    Running,
    /// Unknown to the database.
    Unknown,
}

/// Outcome of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeOutcome {
    /// For each row that was read: `true` if it was changed.
    Rows(Vec<bool>),
    /// Fewer rows than were read; which ones was not requested.
    FewerThanRead,
    /// More rows than were read.
    MoreThanRead,
    /// The dependent rows deleted are not exactly those that were read.
    OtherDependents,
}

/// Tables in which row-level security hides rows from a role, or may hide them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HiddenRows {
    /// The session table.
    pub sessions: bool,
    /// The user table.
    pub users: bool,
    /// Dependent tables.
    pub dependents: Vec<String>,
}

/// Role of a write session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteRole {
    /// Name of the role.
    pub name: String,
    /// The role is a superuser.
    pub is_superuser: bool,
}

/// Reason why no scratch database was created.
#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    /// The file cannot be written.
    #[error("cannot write {0}")]
    Unwritable(PathBuf),
    /// The server does not allow creating databases.
    #[error("the role may not create databases on the server")]
    Refused,
    /// The server cannot be reached or used.
    #[error(transparent)]
    Target(#[from] TargetError),
}
