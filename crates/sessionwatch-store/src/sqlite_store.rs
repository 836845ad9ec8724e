//! A store in a SQLite file, with an in-memory fallback while the disk is full.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant as Monotonic},
};

use rusqlite::Connection;

use crate::{
    StoreError,
    database_copy::copy_rows,
    file_creation,
    file_identity::FileIdentity,
    read_pool::ReadPool,
    sqlite_connection::{has_no_tables, is_foreign_database, with_transaction},
    transaction::{TransactionBody, Tx},
};

/// Takes the write lock without writing.
const HOLD_WRITE_LOCK_SQL: &str = "BEGIN IMMEDIATE";
/// Interval between attempts to write to a disk that was full.
pub(crate) const DISK_RETRY_INTERVAL: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct SqliteStore {
    pub(crate) path: PathBuf,
    pub(crate) connection: Connection,
    pub(crate) read_pool: Arc<ReadPool>,
    /// Identity of the open file; `None` for a database in memory.
    pub(crate) identity: Option<FileIdentity>,
    /// Replaces the file while the disk is full.
    pub(crate) fallback: Option<MemoryFallback>,
    /// The lock file, locked for as long as a daemon uses the store.
    pub(crate) lock_file: Option<File>,
    /// The file is not writable.
    pub(crate) read_only: bool,
}

#[derive(Debug)]
pub(crate) struct MemoryFallback {
    pub(crate) connection: Connection,
    pub(crate) last_attempt_at: Monotonic,
}

impl SqliteStore {
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let refused = |_| StoreError::Open(path.to_owned());
        // Opened for appending: this proves that the file is writable without changing it.
        let open = || OpenOptions::new().append(true).open(path);
        let file = match open() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // Another process may create the file at the same time, which is not an error.
                file_creation::create_store_file(path)?;
                open().map_err(refused)?
            }
            opened => opened.map_err(refused)?,
        };
        // An empty file is never created here, so it is a lost or truncated store, not a new one.
        let found = file.metadata().map_err(refused)?;
        if found.is_file() && found.len() == 0 {
            return Err(StoreError::Empty(path.to_owned()));
        }
        // Taken from the handle before SQLite opens the path: if the file is replaced in between, the first write
        // notices.
        let identity = Some(FileIdentity::from_metadata(path, &found));
        drop(file);
        let connection = Connection::open(path).map_err(|_| StoreError::Open(path.to_owned()))?;
        // Commands and the daemon share the file; each write takes milliseconds.
        connection.busy_timeout(Duration::from_secs(10))?;
        // Checked before any pragma, because switching to WAL would already change a foreign file.
        if is_foreign_database(&connection)? {
            return Err(StoreError::NotAStore(path.to_owned()));
        }
        if has_no_tables(&connection)? {
            return Err(StoreError::Empty(path.to_owned()));
        }
        // WAL lets readers and the writer work at the same time; FULL makes each commit survive a power failure.
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // Archived rows are large: a long WAL (8,000 pages) checkpoints them less often.
        connection.pragma_update(None, "wal_autocheckpoint", 8_000)?;
        connection.set_prepared_statement_cache_capacity(64);
        let read_pool = Arc::new(ReadPool::new(path));
        let (path, read_only) = (path.to_owned(), false);
        Ok(Self { path, connection, read_pool, identity, fallback: None, lock_file: None, read_only })
    }

    /// Wraps a connection that is the only way to read the database, such as one in memory.
    pub(crate) fn with_sole_connection(path: PathBuf, connection: Connection) -> Self {
        // The pool is switched off: there is no file that could be read beside this connection.
        let read_pool = Arc::new(ReadPool::new(&path));
        read_pool.set_memory_fallback(true);
        Self {
            path,
            connection,
            read_pool,
            identity: None,
            fallback: None,
            lock_file: None,
            read_only: false,
        }
    }

    pub(crate) fn lock_exclusive(&mut self) -> Result<(), StoreError> {
        if self.read_only {
            return Err(StoreError::ReadOnly(self.path.clone()));
        }
        let refused = |_| StoreError::Open(self.path.clone());
        // A separate lock file: closing a second handle to the database would release SQLite's own POSIX locks. The
        // path is canonical, so that a symbolic link leads to the same lock.
        let mut name = std::fs::canonicalize(&self.path).map_err(refused)?.into_os_string();
        name.push(".lock");
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&name).map_err(refused)?;
        // The kernel releases the lock when the process ends, however it ends.
        file.try_lock().map_err(|_| StoreError::AlreadyLocked(self.path.clone()))?;
        self.lock_file = Some(file);
        Ok(())
    }

    /// Returns the connection in use: the memory fallback's if there is one, otherwise the file's.
    pub(crate) fn active_connection(&mut self) -> &mut Connection {
        self.fallback.as_mut().map_or(&mut self.connection, |fallback| &mut fallback.connection)
    }

    pub(crate) fn write_transaction(&mut self, work: &mut TransactionBody<'_>) -> Result<(), StoreError> {
        if self.read_only {
            return Err(StoreError::ReadOnly(self.path.clone()));
        }
        // On each write: data written to a deleted file would be lost without an error.
        if let Some(identity) = &self.identity {
            identity.verify_unchanged()?;
        }
        if self
            .fallback
            .as_ref()
            .is_some_and(|fallback| fallback.last_attempt_at.elapsed() >= DISK_RETRY_INTERVAL)
        {
            // Before the write, which then goes to the file if there is room again.
            self.leave_memory_fallback();
        }
        match with_transaction(self.active_connection(), &mut *work) {
            // Only for a daemon, which holds the lock: a command would exit and lose what it kept in memory.
            Err(StoreError::DiskFull) if self.fallback.is_none() && self.lock_file.is_some() => {
                // The failed transaction was rolled back, so running it again does not do anything twice.
                self.enter_memory_fallback()?;
                with_transaction(self.active_connection(), &mut *work)
            }
            outcome => outcome,
        }
    }

    /// Copies the file's rows into memory, and continues there.
    fn enter_memory_fallback(&mut self) -> Result<(), StoreError> {
        tracing::error!(
            "the disk that holds the store {} is full: checks and notifications continue, but new data is \
             kept in memory only",
            self.path.display()
        );
        let mut memory = Connection::open_in_memory()?;
        // Holds the write lock: rows that others write to the file now would be overwritten when the fallback ends.
        self.connection.execute_batch(HOLD_WRITE_LOCK_SQL)?;
        // Only what monitoring needs: plans and archived rows may not fit into memory.
        if let Err(error) = with_transaction(&mut memory, |db| copy_rows(Tx::Sqlite(&self.connection), db)) {
            self.connection.execute_batch("ROLLBACK")?;
            return Err(error);
        }
        self.fallback = Some(MemoryFallback { connection: memory, last_attempt_at: Monotonic::now() });
        // Last, because readers may use the file until the copy in memory is complete.
        self.read_pool.set_memory_fallback(true);
        Ok(())
    }

    /// Writes the data kept in memory to the file. Returns `true` if it fit.
    pub(crate) fn leave_memory_fallback(&mut self) -> bool {
        let Some(fallback) = &mut self.fallback else { return true };
        // Noted before the attempt, so that a failing one is not repeated with each write.
        fallback.last_attempt_at = Monotonic::now();
        let written = persist_fallback(&fallback.connection, &self.connection);
        if written.is_err() {
            // Restores the file and takes the write lock again. Errors are ignored: the failure may have ended the
            // transaction already.
            let _ = self.connection.execute_batch("ROLLBACK");
            let _ = self.connection.execute_batch(HOLD_WRITE_LOCK_SQL);
        }
        match written {
            Ok(()) => {
                tracing::warn!("the store {} is writable again", self.path.display());
                // Only after the commit: until then, memory holds the only complete copy.
                self.fallback = None;
                self.read_pool.set_memory_fallback(false);
                true
            }
            // Already logged when the fallback began.
            Err(StoreError::DiskFull) => false,
            Err(error) => {
                tracing::error!("cannot write to the store, so new data is kept in memory only: {error}");
                false
            }
        }
    }
}

/// Replaces the file's rows with those kept in memory, and commits.
fn persist_fallback(memory: &Connection, file: &Connection) -> Result<(), StoreError> {
    // The earlier rollback may have failed to take the lock again.
    if file.is_autocommit() {
        file.execute_batch(HOLD_WRITE_LOCK_SQL)?;
    }
    copy_rows(Tx::Sqlite(memory), Tx::Sqlite(file))?;
    Ok(file.execute_batch("COMMIT")?)
}
