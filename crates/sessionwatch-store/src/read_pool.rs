//! Read-only connections to a SQLite file. In WAL mode, readers and the writer do not wait for each other.

use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

/// Most idle connections kept open.
const MAX_IDLE_CONNECTIONS: usize = 4;

/// A pool of read-only connections to a file.
#[derive(Debug)]
pub(super) struct ReadPool {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    /// The store runs in its memory fallback: the file is out of date.
    in_memory_fallback: AtomicBool,
}

impl ReadPool {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), idle: Mutex::default(), in_memory_fallback: AtomicBool::new(false) }
    }

    pub(super) fn set_memory_fallback(&self, active: bool) {
        // Sequentially consistent: a reader that starts after the switch must not use the file.
        self.in_memory_fallback.store(active, Ordering::SeqCst);
    }

    /// Takes a working connection from the pool, or `None` if the file cannot be read directly now.
    pub(super) fn checkout(&self) -> Option<Connection> {
        if self.in_memory_fallback.load(Ordering::SeqCst) {
            return None;
        }
        // The last one used, whose page cache is the warmest.
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = idle.or_else(|| self.open_connection().ok())?;
        // The first read creates the WAL index, for which a full disk may have no room.
        let read = connection.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |_| Ok(()));
        read.is_ok().then_some(connection)
    }

    /// Returns a connection to the pool.
    pub(super) fn release(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // Beyond that, connections are closed: each holds a file descriptor and a cache.
        if idle.len() < MAX_IDLE_CONNECTIONS {
            idle.push(connection);
        }
    }

    fn open_connection(&self) -> rusqlite::Result<Connection> {
        // Read-write, because even a reader writes to the WAL index; `query_only` below rejects writes to the data.
        let connection = Connection::open_with_flags(
            &self.path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        // Waits in the rare cases in which WAL readers are blocked, such as recovery after a crash.
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.pragma_update(None, "query_only", true)?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(connection)
    }
}
