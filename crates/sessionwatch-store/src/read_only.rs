//! Read-only access to a store whose file, directory or file system is not writable, such as a backup on read-only
//! media.

use std::{
    fs::OpenOptions,
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rusqlite::{Connection, OpenFlags};

use crate::{
    StoreError,
    database_copy::copy_database,
    migrations::{is_schema_current, migrate_to_latest},
    sqlite_connection::{has_no_tables, is_foreign_database, with_transaction},
    transaction::Tx,
};

/// Characters percent-encoded in a SQLite file URI.
const URI_PATH_ENCODE_SET: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');

/// The way to read a file that is not writable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadMode {
    /// Through the existing WAL index: another process may be writing.
    SharedIndex,
    /// With a private WAL index in memory. No other process may write meanwhile.
    PrivateWal,
    /// Without a WAL, as there is none.
    Immutable,
}

/// Opens a store for reading, including the contents of its write-ahead log. A store with an older schema is copied
/// into memory and migrated there.
///
/// # Errors
///
/// If the file or its write-ahead log cannot be read.
pub(super) fn open_read_only(path: &Path) -> Result<Connection, StoreError> {
    let mut failed = None;
    for way in list_read_modes(path) {
        // The first error is kept: the first way is the one that should have worked.
        match open_with_mode(path, way).and_then(|connection| with_current_schema(connection, path)) {
            Ok(connection) => return Ok(connection),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    Err(failed.unwrap_or_else(|| StoreError::Open(path.to_owned())))
}

/// Lists the ways to read a file, in the order in which to try them.
fn list_read_modes(path: &Path) -> Vec<ReadMode> {
    // SQLite puts the log next to the file that a link leads to.
    let file = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let beside = |end: &str| {
        let mut name = file.clone().into_os_string();
        name.push(end);
        PathBuf::from(name)
    };
    // An empty log holds no changes.
    let has_log = std::fs::metadata(beside("-wal")).is_ok_and(|log| log.len() > 0);
    let is_indexed = beside("-shm").exists();
    // On a read-only file system no other process can be writing.
    let read_only = OpenOptions::new().append(true).open(&file);
    let is_still = read_only.is_err_and(|error| error.kind() == io::ErrorKind::ReadOnlyFilesystem);
    let mut ways = Vec::new();
    ways.extend(is_indexed.then_some(ReadMode::SharedIndex));
    if is_still || !is_indexed {
        ways.push(if has_log { ReadMode::PrivateWal } else { ReadMode::Immutable });
    }
    ways
}

fn open_with_mode(path: &Path, way: ReadMode) -> Result<Connection, StoreError> {
    let options = match way {
        ReadMode::SharedIndex => "mode=ro",
        ReadMode::PrivateWal => "mode=ro&vfs=unix-none",
        ReadMode::Immutable => "immutable=1",
    };
    let address =
        // A question mark or percent sign in the path would otherwise start the parameters.
        format!("file:{}?{options}", percent_encode(path.as_os_str().as_bytes(), URI_PATH_ENCODE_SET));
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(address, flags)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    if way == ReadMode::PrivateWal {
        // In exclusive mode SQLite keeps the WAL index in heap memory and needs no -shm file.
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    }
    // Opening reads nothing, so that a missing log or index shows only with the first query.
    connection.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |_| Ok(()))?;
    // A second guard, because the private modes rely on this connection never writing.
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn with_current_schema(connection: Connection, path: &Path) -> Result<Connection, StoreError> {
    if has_no_tables(&connection)? {
        return Err(StoreError::Empty(path.to_owned()));
    }
    // A foreign file is returned as it is, and refused with its own message by the caller.
    if is_foreign_database(&connection)? || is_schema_current(Tx::Sqlite(&connection))? {
        return Ok(connection);
    }
    // The file cannot be migrated in place, so an older one is migrated in memory on every start.
    let mut memory = Connection::open_in_memory()?;
    copy_database(&connection, &mut memory)?;
    with_transaction(&mut memory, migrate_to_latest)?;
    Ok(memory)
}
