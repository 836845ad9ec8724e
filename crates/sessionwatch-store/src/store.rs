//! The store handle: opens a SQLite file or a PostgreSQL schema, and runs read and write transactions on it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant as Monotonic,
};

use pg_link::Dsn;
use rusqlite::Connection;
use tokio::sync::watch;

use crate::{
    StoreError,
    file_identity::FileIdentity,
    health::ReadHealth,
    leases::{self, LeaseFence},
    migrations::{is_schema_current, migrate_to_latest},
    postgres_store::PgStore,
    read_only,
    read_pool::ReadPool,
    sqlite_connection::is_foreign_database,
    sqlite_store::SqliteStore,
    transaction::{TransactionBody, Tx},
};

/// The location of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreLocation {
    /// A SQLite file.
    File(PathBuf),
    /// A PostgreSQL server.
    Server(Box<Dsn>),
}

/// A handle to a store. Clones share the same connections.
#[derive(Clone, Debug)]
pub struct Store {
    backend: Arc<Mutex<StoreBackend>>,
    /// Read-only connections beside the writer; `None` for a server.
    read_pool: Option<Arc<ReadPool>>,
    /// Deadline for requests to a server; `None` for a file.
    server_deadline: Option<watch::Sender<Option<Monotonic>>>,
    /// Identity of the open file; `None` for a server.
    identity: Option<FileIdentity>,
    health: Arc<ReadHealth>,
    /// Lease epoch that every write transaction verifies; `None` for writers that hold no lease.
    fence: Option<Arc<LeaseFence>>,
}

#[derive(Debug)]
pub(crate) enum StoreBackend {
    Sqlite(Box<SqliteStore>),
    Postgres(PgStore),
}

impl Store {
    /// Opens the store, creating it if missing, and applies pending migrations. A file that is not a store is left
    /// untouched.
    ///
    /// # Errors
    ///
    /// If the store cannot be opened, or was written by a newer version.
    pub fn open(location: &StoreLocation) -> Result<Self, StoreError> {
        let backend = match location {
            StoreLocation::File(path) => StoreBackend::Sqlite(Box::new(SqliteStore::open(path)?)),
            StoreLocation::Server(dsn) => {
                let remote = PgStore::start(dsn.as_ref().clone())?;
                // The default schema is the product's name, so that a shared database needs no setting.
                let schema = dsn.schema.as_deref().unwrap_or("sessionwatch");
                let schema = pg_link::quote_identifier(schema);
                // Under the writers' lock: concurrent CREATE SCHEMA IF NOT EXISTS statements can fail on a unique
                // index.
                remote.begin_transaction(true)?;
                remote.execute_batch(&format!("CREATE SCHEMA IF NOT EXISTS {schema}; COMMIT"))?;
                StoreBackend::Postgres(remote)
            }
        };
        let store = Self::from_backend(backend);
        // A write transaction waits for other writers: skip it if there is nothing to migrate.
        if !store.read(is_schema_current)? {
            store.write(migrate_to_latest)?;
        }
        Ok(store)
    }

    fn from_backend(backend: StoreBackend) -> Self {
        let (read_pool, server_deadline, identity) = match &backend {
            StoreBackend::Sqlite(file) => (Some(Arc::clone(&file.read_pool)), None, file.identity.clone()),
            StoreBackend::Postgres(remote) => (None, Some(remote.deadline_sender()), None),
        };
        let (backend, health) = (Arc::new(Mutex::new(backend)), Arc::default());
        Self { backend, read_pool, server_deadline, identity, health, fence: None }
    }

    /// Opens an empty in-memory store, which is dropped with the last handle.
    ///
    /// # Errors
    ///
    /// If SQLite cannot open an in-memory database.
    pub fn open_in_memory() -> Result<Self, StoreError> {
        let file =
            SqliteStore::with_sole_connection(PathBuf::from(":memory:"), Connection::open_in_memory()?);
        let store = Self::from_backend(StoreBackend::Sqlite(Box::new(file)));
        store.write(migrate_to_latest)?;
        Ok(store)
    }

    /// Opens an existing store, or returns `None` if there is none. A store that is not writable is opened read-only,
    /// and writes fail with [`StoreError::ReadOnly`].
    ///
    /// # Errors
    ///
    /// If the store cannot be inspected or opened, or its file is empty.
    pub fn open_existing(location: &StoreLocation) -> Result<Option<Self>, StoreError> {
        let made = match location {
            // Inspected before opening, which would create the file.
            StoreLocation::File(path) => match std::fs::metadata(path) {
                Ok(file) if file.is_file() => return Self::open_existing_file(location, path).map(Some),
                // A directory or a device is not a store; opening it would give a misleading error.
                Ok(_) => false,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
                Err(_) => return Err(StoreError::Open(path.to_owned())),
            },
            StoreLocation::Server(dsn) => {
                let remote = PgStore::start(dsn.as_ref().clone())?;
                remote.begin_transaction(false)?;
                // Found by `to_regclass`, which returns NULL where a query of the table would fail.
                let found = remote.query_rows("SELECT 1 WHERE to_regclass('migrations') IS NOT NULL", &[])?;
                remote.execute_batch("COMMIT")?;
                !found.is_empty()
            }
        };
        made.then(|| Self::open(location)).transpose()
    }

    fn open_existing_file(location: &StoreLocation, path: &Path) -> Result<Self, StoreError> {
        match Self::open(location) {
            Err(error) if error.may_be_permission_error() => {
                // An unwritable empty file is reported as empty: asking for write access would not help.
                if std::fs::metadata(path).is_ok_and(|file| file.len() == 0) {
                    return Err(StoreError::Empty(path.to_owned()));
                }
                // If reading fails as well, the error of the first attempt is more specific.
                let connection = match read_only::open_read_only(path) {
                    Err(empty @ StoreError::Empty(_)) => return Err(empty),
                    opened => opened.map_err(|_| error)?,
                };
                // A read-only open skips the checks of a normal one.
                if is_foreign_database(&connection)? {
                    return Err(StoreError::NotAStore(path.to_owned()));
                }
                let file = SqliteStore {
                    read_only: true,
                    ..SqliteStore::with_sole_connection(path.to_owned(), connection)
                };
                Ok(Self::from_backend(StoreBackend::Sqlite(Box::new(file))))
            }
            opened => opened,
        }
    }

    /// Verifies that the open file is still the one at its path. Always succeeds for a server.
    ///
    /// # Errors
    ///
    /// If the file was deleted or replaced.
    pub fn verify_file_identity(&self) -> Result<(), StoreError> {
        self.identity.as_ref().map_or(Ok(()), FileIdentity::verify_unchanged)
    }

    /// Returns `true` if no read failed in the last minute and the open file is still the one at its path.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.health.is_healthy() && self.verify_file_identity().is_ok()
    }

    /// Locks the file against other daemons, and starts logging failed reads. On a server, daemons use leases instead.
    ///
    /// # Errors
    ///
    /// If another daemon holds the lock.
    pub fn lock_exclusive(&self) -> Result<(), StoreError> {
        // Only daemons lock, so this is where tracking starts.
        self.health.start_tracking();
        match &mut *self.lock_backend() {
            StoreBackend::Sqlite(file) => file.lock_exclusive(),
            StoreBackend::Postgres(_) => Ok(()),
        }
    }

    /// Sets the instant after which requests to a server fail instead of waiting, for a bounded shutdown.
    pub fn set_deadline(&self, at: Monotonic) {
        if let Some(end) = &self.server_deadline {
            end.send_replace(Some(at));
        }
    }

    /// Writes data held in the memory fallback to the file, before the process exits.
    pub fn flush_memory_fallback(&self) {
        // Asked first, as locking the backend could wait for a server request at shutdown.
        if self.server_deadline.is_none()
            && let StoreBackend::Sqlite(file) = &mut *self.lock_backend()
            && !file.leave_memory_fallback()
        {
            tracing::error!("the disk is still full: data kept only in memory is lost");
        }
    }

    /// Returns `true` for a store on a server, which several daemons can share.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(&*self.lock_backend(), StoreBackend::Postgres(_))
    }

    /// Returns a handle whose writes fail with [`StoreError::LeaseLost`] once another daemon has taken over the lease.
    #[must_use]
    pub fn with_fence(&self, fence: LeaseFence) -> Self {
        // A clone with a fence: the connections are shared, and only this handle is restricted.
        Self { fence: Some(Arc::new(fence)), ..self.clone() }
    }

    /// Runs `work` in one write transaction. If the disk is full, a daemon runs `work` again on the memory fallback.
    ///
    /// # Errors
    ///
    /// If `work` fails, the store cannot be written, or the lease of this handle was lost.
    pub fn write<T>(&self, work: impl Fn(Tx<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut done = None;
        // Only this closure is monomorphized for each caller; the transaction around it is compiled once.
        self.write_transaction(&mut |db| {
            done = Some(work(db)?);
            Ok(())
        })?;
        // The transaction commits only if the closure returned `Ok`, which sets the value first.
        Ok(done.expect("a transaction that was committed did its work"))
    }

    fn write_transaction(&self, work: &mut TransactionBody<'_>) -> Result<(), StoreError> {
        let mut work = |db: Tx<'_>| {
            // Within the transaction, whose writers' lock keeps the lease from changing until the commit.
            self.fence.as_deref().map_or(Ok(()), |fence| leases::verify_epoch(db, fence))?;
            work(db)
        };
        match &mut *self.lock_backend() {
            StoreBackend::Sqlite(file) => file.write_transaction(&mut work),
            StoreBackend::Postgres(remote) => {
                remote.begin_transaction(true)?;
                match work(Tx::Postgres(remote)) {
                    Ok(()) => remote.execute_batch("COMMIT"),
                    Err(error) => {
                        // If the rollback fails too, the connection is dropped, which ends the transaction.
                        let _ = remote.execute_batch("ROLLBACK");
                        Err(error)
                    }
                }
            }
        }
    }

    /// Runs `work` in one read transaction, on a consistent snapshot.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn read<T>(&self, work: impl FnOnce(Tx<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        // Taken out of an option, because the transaction's closure may formally be called more than once.
        let (mut work, mut done) = (Some(work), None);
        let read = self.read_transaction(&mut |db| {
            done = work.take().map(|work| work(db)).transpose()?;
            Ok(())
        });
        read.inspect_err(|error| self.health.record_failure(error))?;
        Ok(done.expect("a read that ended well did its work"))
    }

    fn read_transaction(&self, work: &mut TransactionBody<'_>) -> Result<(), StoreError> {
        if let Some((readers, mut connection)) =
            self.read_pool.as_ref().and_then(|readers| Some((readers, readers.checkout()?)))
        {
            let outcome =
                connection.transaction().map_err(StoreError::from).and_then(|begun| work(Tx::Sqlite(&begun)));
            // Returned after an error as well: the dropped transaction has been rolled back.
            readers.release(connection);
            return outcome;
        }
        match &mut *self.lock_backend() {
            StoreBackend::Sqlite(file) => {
                let transaction = file.active_connection().transaction()?;
                work(Tx::Sqlite(&transaction))
            }
            StoreBackend::Postgres(remote) => {
                remote.begin_transaction(false)?;
                let outcome = work(Tx::Postgres(remote));
                // Even after an error, so that the connection is not left within a transaction.
                remote.execute_batch("COMMIT")?;
                outcome
            }
        }
    }

    /// Returns `true` while the disk is full and new data is kept in memory only.
    #[must_use]
    pub fn is_memory_fallback(&self) -> bool {
        matches!(&*self.lock_backend(), StoreBackend::Sqlite(file) if file.fallback.is_some())
    }

    /// Returns the clock shared by all users of the store: the server's, or `machine` for a file.
    ///
    /// # Errors
    ///
    /// If the time of the server cannot be read.
    pub fn shared_clock(
        &self,
        machine: sessionwatch_clock::Clock,
    ) -> Result<sessionwatch_clock::Clock, StoreError> {
        if !self.is_shared() {
            return Ok(machine);
        }
        let read = self.read_server_time(&machine)?;
        Ok(sessionwatch_clock::Clock::from_server(machine, read))
    }

    /// Reads the time of the store's server; for a file, the time of this machine.
    ///
    /// # Errors
    ///
    /// If the time of the server cannot be read.
    pub fn read_server_time(
        &self,
        clock: &sessionwatch_clock::Clock,
    ) -> Result<sessionwatch_clock::ServerReading, StoreError> {
        self.read(|db| {
            // Measured around the query: the server read its clock somewhere between the two.
            let before = clock.elapsed();
            let server_time = leases::current_timestamp(db)?;
            Ok(sessionwatch_clock::ServerReading { server_time, before, after: clock.elapsed() })
        })
    }

    /// Returns the current time by the clock shared by all users of the store.
    ///
    /// # Errors
    ///
    /// If the time of the server cannot be read.
    pub fn now(&self) -> Result<sessionwatch_core::timestamp::UtcTimestamp, StoreError> {
        self.shared_clock(sessionwatch_clock::Clock::System).map(|clock| clock.now())
    }

    /// Returns the size of the store in bytes.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn size_bytes(&self) -> Result<u64, StoreError> {
        let query = match &*self.lock_backend() {
            StoreBackend::Sqlite(_) => {
                // Of pages in use and free ones, which is the size of the file apart from the log.
                "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
            }
            StoreBackend::Postgres(_) => {
                "SELECT CAST(SUM(pg_total_relation_size(oid)) AS BIGINT) FROM pg_class
                 WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
            }
        };
        self.read(|db| db.query_row(query, &[]))?.map_or(Ok(0), |row| row.read_u64(0))
    }

    pub(crate) fn lock_backend(&self) -> MutexGuard<'_, StoreBackend> {
        // A panic while holding the lock leaves no half-done transaction: SQLite rolls back on drop.
        self.backend.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
