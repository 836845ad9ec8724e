//! Why the store cannot be used, in words for a person.

use std::path::PathBuf;

use pg_link::ConnectError;

/// Why the store cannot be used. Messages hold no value from it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened or made.
    #[error("cannot open the store {0}: is the folder there, and may it be written?")]
    Open(PathBuf),
    /// The file has nothing in it.
    #[error(
        "there is nothing in the store {0}: if there was something, restore its backup; otherwise remove the file"
    )]
    Empty(PathBuf),
    /// The file may be read, and not written.
    #[error("the store {0} can only be read: its file, its folder or its file system may not be written")]
    ReadOnly(PathBuf),
    /// A copy that was made is not whole.
    #[error("no backup was written to {to}: {why}")]
    DamagedBackup {
        /// Where it was to be.
        to: PathBuf,
        /// What is wrong with the store.
        why: String,
    },
    /// The server cannot be reached.
    #[error("the store: {0}")]
    Connect(#[source] ConnectError),
    /// The server does not do its part.
    #[error("the store's server cannot be used: {0}")]
    Server(&'static str),
    /// The role may not do it.
    #[error(
        "the role that uses the store may not do this: it must own the schema, or be allowed to create it"
    )]
    InsufficientPrivilege,
    /// The server refused for another reason; the code is the SQLSTATE.
    #[error("the store's server refused a statement (SQLSTATE {0}): its log says why")]
    StatementRefused(String),
    /// Another daemon works on it.
    #[error("another sessionwatch works on the store {0}: stop that one, or give each a store of its own")]
    AlreadyLocked(PathBuf),
    /// The file that is open is at its path no more.
    #[error("the store {0} was deleted: what is written to it now would be lost")]
    FileDeleted(PathBuf),
    /// Another file is at the path of the one that is open.
    #[error("the store {0} was replaced by another file: what is written to the one before would be lost")]
    FileReplaced(PathBuf),
    /// There is such a file already.
    #[error("{0} exists, or cannot be made: name a new file in a folder that may be written")]
    AlreadyExists(PathBuf),
    /// The file is another program's.
    #[error("{0} is a database of something else: name a file of its own as `store` in [serve]")]
    NotAStore(PathBuf),
    /// The file is of a newer program.
    #[error(
        "the store was written by a newer sessionwatch (version {found}; this one knows {known}): use that one"
    )]
    NewerVersion {
        /// Its version.
        found: usize,
        /// The newest that is known.
        known: usize,
    },
    /// The disk is full.
    #[error("the disk that holds the store is full")]
    DiskFull,
    /// There is no room for a backup.
    #[error("no backup was written to {0}: its disk is full")]
    BackupDiskFull(PathBuf),
    /// Somebody else writes, for longer than one waits.
    #[error("another sessionwatch keeps the store from being written, as it does while its disk is full")]
    Busy,
    /// Somebody else has taken over.
    #[error("another sessionwatch has taken over")]
    LeaseLost,
    /// Something in it cannot be read.
    #[error(
        "column `{column}` of table `{table}` in the store holds what this version cannot read: \
         if a newer sessionwatch wrote it, run that one; otherwise restore the backup"
    )]
    Undecodable {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// Something cannot be written as JSON.
    #[error("{0} cannot be written as JSON")]
    NotSerializable(&'static str),
    /// The file is damaged, or no database.
    #[error("the store is damaged, or is not a SQLite database")]
    Damaged,
    /// Anything else.
    #[error("the store cannot be read or written")]
    Sqlite(#[source] rusqlite::Error),
}

impl StoreError {
    /// What to do about it, where the message does not say so itself.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Damaged | Self::Sqlite(_) | Self::DamagedBackup { .. } => Some(
                "stop the daemon, keep the file for later, and restore the last `sessionwatch backup`, as docs/deploy.md says under Restore",
            ),
            _ => None,
        }
    }

    /// Whether a file that may not be written could be why.
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
        let code = error.sqlite_error().map(|error| error.extended_code);
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::DiskFull,
            Some(rusqlite::ErrorCode::DatabaseBusy) => Self::Busy,
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => Self::Damaged,
            // There is no room for the index of the log.
            _ if code == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE) => Self::DiskFull,
            _ => Self::Sqlite(error),
        }
    }
}
