//! Errors of the store, with messages and hints.

use std::path::PathBuf;

use pg_link::ConnectError;

/// An error of the store. Messages never contain values from it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened or created.
    #[error("cannot open the store {0}")]
    Open(PathBuf),
    /// The file is empty.
    #[error("the store {0} is empty")]
    Empty(PathBuf),
    /// The file is not writable.
    #[error("the store {0} is read-only: its file, directory or file system is not writable")]
    ReadOnly(PathBuf),
    /// The copy made for a backup is damaged or incomplete.
    #[error("cannot back up to {to}: {why}")]
    DamagedBackup {
        /// Path of the backup.
        to: PathBuf,
        /// Damage found in the copy.
        why: String,
    },
    /// The server cannot be reached.
    #[error("store: {0}")]
    Connect(#[source] ConnectError),
    /// The server is unavailable or refuses to work, for the given reason.
    #[error("cannot use the store's server: {0}")]
    Server(&'static str),
    /// The store's role lacks a privilege.
    #[error("permission denied in the store: its role must own the schema, or be allowed to create it")]
    InsufficientPrivilege,
    /// The server rejected a statement for another reason, with this SQLSTATE.
    #[error("the store's server rejected a statement (SQLSTATE {0}): see the server's log")]
    StatementRefused(String),
    /// Another daemon uses the file.
    #[error("the store {0} is in use by another sessionwatch daemon")]
    AlreadyLocked(PathBuf),
    /// The open file was removed from its path.
    #[error("the store {0} was deleted while in use: anything written now would be lost")]
    FileDeleted(PathBuf),
    /// Another file is at the path of the open file.
    #[error("the store {0} was replaced by another file while in use: anything written now would be lost")]
    FileReplaced(PathBuf),
    /// The file to create exists, or its directory is not writable.
    #[error("cannot create {0}: the file exists, or its directory is not writable")]
    AlreadyExists(PathBuf),
    /// The file holds another program's tables.
    #[error("{0} is not a sessionwatch store: it holds the tables of another program")]
    NotAStore(PathBuf),
    /// The store was written by a newer version.
    #[error(
        "the store was written by a newer sessionwatch (schema version {found}; this program supports up to {known})"
    )]
    NewerVersion {
        /// The store's schema version.
        found: usize,
        /// The newest supported schema version.
        known: usize,
    },
    /// The disk is full.
    #[error("the disk that holds the store is full")]
    DiskFull,
    /// The disk has no room for a backup.
    #[error("cannot back up to {0}: the disk is full")]
    BackupDiskFull(PathBuf),
    /// Another process held the write lock for longer than the busy timeout.
    #[error("the store is locked by another sessionwatch, which may be waiting for room on a full disk")]
    Busy,
    /// Another daemon holds the lease now.
    #[error("another sessionwatch daemon has taken over")]
    LeaseLost,
    /// A stored value is not one that this version can decode.
    #[error(
        "cannot decode column `{column}` of table `{table}` in the store: \
         if a newer sessionwatch wrote the store, run that version; otherwise restore a backup"
    )]
    Undecodable {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A value cannot be serialized.
    #[error("cannot serialize {0} as JSON")]
    NotSerializable(&'static str),
    /// The file is damaged, or is not a database.
    #[error("the store is damaged or is not a SQLite database")]
    Damaged,
    /// Any other SQLite error.
    #[error("the store cannot be read or written")]
    Sqlite(#[source] rusqlite::Error),
}

impl StoreError {
    /// Returns advice for the user, or `None` if the message says it all.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            // Only what a person can act on; other messages already say what happens next.
            Self::Open(_) => "check that the directory exists and is writable",
            Self::Empty(_) => "restore a backup, or delete the file to start with a new store",
            Self::AlreadyLocked(_) => "stop the other daemon, or give each daemon its own store",
            Self::AlreadyExists(_) => "choose a new file name in a writable directory",
            Self::NotAStore(_) => "set `store` in [serve] to a file that only sessionwatch uses",
            Self::NewerVersion { .. } => "run the newer sessionwatch",
            Self::Damaged | Self::Sqlite(_) | Self::DamagedBackup { .. } => {
                "stop the daemon, keep the damaged file, and restore the last `sessionwatch backup` (see \
                 Restore in docs/deploy.md)"
            }
            _ => return None,
        })
    }

    /// Returns `true` if a file that is not writable could be the cause.
    pub(crate) fn may_be_permission_error(&self) -> bool {
        use rusqlite::ErrorCode::{CannotOpen, PermissionDenied, ReadOnly};
        match self {
            Self::Open(_) => true,
            Self::Sqlite(error) => {
                matches!(error.sqlite_error_code(), Some(CannotOpen | PermissionDenied | ReadOnly))
            }
            _ => false,
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        // The extended code, because the primary one is the same for a full disk and a broken one.
        let code = error.sqlite_error().map(|error| error.extended_code);
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::DiskFull,
            Some(rusqlite::ErrorCode::DatabaseBusy) => Self::Busy,
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => Self::Damaged,
            // SQLite reports a disk with no room for the WAL index (-shm) as an I/O error.
            _ if code == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE) => Self::DiskFull,
            _ => Self::Sqlite(error),
        }
    }
}
