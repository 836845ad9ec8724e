//! What databases say of themselves and of what was done, whatever their kind.

use std::path::PathBuf;

use crate::{cells::TextRow, error::TargetError, sql::RowKeyKind};

/// Why an address cannot be used. No message repeats the address: it may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// A product that is known and not supported, or an address that leads to something else than the database.
    #[error("{0}")]
    NotSupported(&'static str),
    /// Neither a known scheme nor a file; with the forms that are accepted.
    #[error("not the address of a database; accepted are {0}")]
    Unknown(String),
    /// The scheme is known, and the rest is faulty.
    #[error("faulty {product} address: {problem}")]
    Faulty {
        /// The database product.
        product: &'static str,
        /// What is wrong.
        problem: String,
    },
}

/// How much of a server's certificate an address asks to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateCheck {
    /// Nothing.
    None,
    /// Who signed it.
    Authority,
    /// Who signed it, and the host name.
    AuthorityAndName,
}

/// How what is sent to a server is protected on its way, as the address asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportSecurity {
    /// The connection stays on this machine.
    pub is_loopback: bool,
    /// The address looks like that of a pooler.
    pub is_pooled: bool,
    /// What is checked of the certificate.
    pub certificate: CertificateCheck,
}

/// What number a custom query gives. Nothing else of its result leaves the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CustomValue {
    /// How many rows there are.
    RowCount,
    /// The first column of the first row.
    FirstNumber,
}

/// Whether, and by what, rows of the sessions can be told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowKeySupport {
    /// By this.
    Unique(RowKeyKind),
    /// A table that inherits from the sessions has columns of its own, which would not be archived.
    ExtraChildColumns(String),
    /// By nothing.
    Unsupported,
}

/// Facts about where and as whom a target is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerInfo {
    /// Product and version.
    pub server: String,
    /// As whom; nothing where there are no roles.
    pub role: Option<DatabaseRole>,
    /// The time zone of the server's sessions; nothing where there is none.
    pub time_zone: Option<String>,
    /// A read-only replica.
    pub is_replica: bool,
    /// Whether the connection is encrypted; nothing for a file or a local socket.
    pub is_encrypted: Option<bool>,
    /// How a SQLite file keeps its journal.
    pub journal_mode: Option<String>,
    /// Who may create functions that a search path finds, without owning the schema or the sessions.
    pub schema_creators: Vec<SchemaCreator>,
}

/// A role that may create objects in a schema on the search path of the role that checks run as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaCreator {
    /// The role, or `PUBLIC`.
    pub role: String,
    /// The schema.
    pub schema: String,
}

/// A role, and what it may do besides reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseRole {
    /// Its name.
    pub name: String,
    /// May do everything.
    pub is_superuser: bool,
    /// May change or remove sessions.
    pub can_write: bool,
    /// May create objects beside the sessions, or in a schema on its search path.
    pub can_create: bool,
}

/// The numbers that are given to rows as ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowIdSequence {
    /// The sequence.
    pub name: String,
    /// The greatest number that it and the column can hold.
    pub max_value: i64,
    /// The greatest that was given.
    pub last_value: i64,
    /// Sessions that users created in the last hour; nothing where that is not stored.
    pub created_last_hour: Option<i64>,
}

/// A database on the server of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedDatabase {
    /// Its name.
    pub name: String,
    /// The comment on it.
    pub comment: Option<String>,
}

impl NamedDatabase {
    /// Reads a name and a comment.
    pub(crate) fn from_row(row: TextRow) -> Option<Self> {
        let mut cells = row.into_iter();
        Some(Self { name: cells.next()??, comment: cells.next().flatten() })
    }
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// It was committed.
    Committed,
    /// It was not, and never will be.
    RolledBack,
    /// It has not ended yet.
    Running,
    /// The database does not know.
    Unknown,
}

/// What came of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeOutcome {
    /// Whether each of the rows that were read was changed.
    Rows(Vec<bool>),
    /// Fewer than were read; it was not asked which.
    FewerThanRead,
    /// Other rows besides those that were read.
    MoreThanRead,
    /// Rows of other tables that go with them are not, or not only, those that were read.
    OtherDependents,
}

/// Which tables row-level security hides rows of, or may, from a role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HiddenRows {
    /// That of the sessions.
    pub sessions: bool,
    /// That of the users.
    pub users: bool,
    /// Tables whose rows go with sessions.
    pub dependents: Vec<String>,
}

/// The role that writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteRole {
    /// Its name.
    pub name: String,
    /// May do everything.
    pub is_superuser: bool,
}

/// Why there is no scratch database.
#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    /// The file cannot be written.
    #[error("cannot write {0}")]
    Unwritable(PathBuf),
    /// The server lets no database be made.
    #[error("the server lets no database be made")]
    Refused,
    /// The server cannot be used.
    #[error(transparent)]
    Target(#[from] TargetError),
}
