//! Connections by which a file is read while somebody else writes it: in WAL mode neither waits for the other.

use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

/// Connections that are kept.
const MAX_IDLE_CONNECTIONS: usize = 4;

/// Connections to a file that only read it.
#[derive(Debug)]
pub(super) struct ReadPool {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    /// What happens is in memory only, and the file says nothing of it.
    in_memory_fallback: AtomicBool,
}

impl ReadPool {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), idle: Mutex::default(), in_memory_fallback: AtomicBool::new(false) }
    }

    pub(super) fn set_memory_fallback(&self, sheltered: bool) {
        self.in_memory_fallback.store(sheltered, Ordering::SeqCst);
    }

    /// A connection that can read; nothing where the file cannot be read so now.
    pub(super) fn checkout(&self) -> Option<Connection> {
        if self.in_memory_fallback.load(Ordering::SeqCst) {
            return None;
        }
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = idle.or_else(|| self.open_connection().ok())?;
        // The first read needs the index of the log, for which a full disk may have no room.
        let read = connection.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |_| Ok(()));
        read.is_ok().then_some(connection)
    }

    /// Takes a connection back.
    pub(super) fn release(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE_CONNECTIONS {
            idle.push(connection);
        }
    }

    fn open_connection(&self) -> rusqlite::Result<Connection> {
        // WAL needs to write its index, also where only reads are meant.
        let connection = Connection::open_with_flags(
            &self.path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.pragma_update(None, "query_only", true)?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(connection)
    }
}
