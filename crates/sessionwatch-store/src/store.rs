//! The store, wherever it is: everything is read and written through it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant as Clock,
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
    postgres::PgStore,
    read_only,
    read_pool::ReadPool,
    sqlite::is_foreign_database,
    sqlite_store::SqliteStore,
    transaction::{TransactionBody, Tx},
};

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreLocation {
    /// In a SQLite file.
    File(PathBuf),
    /// On a PostgreSQL server.
    Server(Box<Dsn>),
}

/// The store. A clone is the same store.
#[derive(Clone, Debug)]
pub struct Store {
    backend: Arc<Mutex<StoreBackend>>,
    /// By which a file is read meanwhile.
    read_pool: Option<Arc<ReadPool>>,
    /// Until when a server is waited for; nothing for a file.
    server_deadline: Option<watch::Sender<Option<Clock>>>,
    /// The file that is open; `None` for a server.
    identity: Option<FileIdentity>,
    health: Arc<ReadHealth>,
    /// The term that every transaction that writes makes sure of; `None` for whoever writes without leading.
    fence: Option<Arc<LeaseFence>>,
}

#[derive(Debug)]
pub(crate) enum StoreBackend {
    Sqlite(Box<SqliteStore>),
    Postgres(PgStore),
}

impl Store {
    /// Opens the store, creates it where there is none, and brings it up to date. Nothing is written into a file that is
    /// no store.
    ///
    /// # Errors
    ///
    /// If it cannot be opened, or was written by a newer program.
    pub fn open(location: &StoreLocation) -> Result<Self, StoreError> {
        let backend = match location {
            StoreLocation::File(path) => StoreBackend::Sqlite(Box::new(SqliteStore::open(path)?)),
            StoreLocation::Server(dsn) => {
                let remote = PgStore::start(dsn.as_ref().clone())?;
                let schema = dsn.schema.as_deref().unwrap_or("sessionwatch");
                let schema = pg_link::quote_identifier(schema);
                remote.begin_transaction(true)?;
                remote.execute_batch(&format!("CREATE SCHEMA IF NOT EXISTS {schema}; COMMIT"))?;
                StoreBackend::Postgres(remote)
            }
        };
        let store = Self::from_backend(backend);
        // Whoever only reads need not wait for those who write.
        if !store.read(is_schema_current)? {
            store.write(migrate_to_latest)?;
        }
        Ok(store)
    }

    fn from_backend(backend: StoreBackend) -> Self {
        let (readers, end, identity) = match &backend {
            StoreBackend::Sqlite(file) => (Some(Arc::clone(&file.read_pool)), None, file.identity.clone()),
            StoreBackend::Postgres(remote) => (None, Some(remote.deadline_sender()), None),
        };
        let (backend, health) = (Arc::new(Mutex::new(backend)), Arc::default());
        Self { backend, read_pool: readers, server_deadline: end, identity, health, fence: None }
    }

    /// A store that is empty, and ends with this value.
    ///
    /// # Errors
    ///
    /// If SQLite refuses it.
    pub fn open_in_memory() -> Result<Self, StoreError> {
        let file =
            SqliteStore::with_sole_connection(PathBuf::from(":memory:"), Connection::open_in_memory()?);
        let store = Self::from_backend(StoreBackend::Sqlite(Box::new(file)));
        store.write(migrate_to_latest)?;
        Ok(store)
    }

    /// Opens a store that somebody has made; `None` where nobody has. One that may not be written is opened for reading: writes
    /// are refused.
    ///
    /// # Errors
    ///
    /// If that cannot be found out, it cannot be opened, or its file is empty.
    pub fn open_existing(location: &StoreLocation) -> Result<Option<Self>, StoreError> {
        let made = match location {
            StoreLocation::File(path) => match std::fs::metadata(path) {
                Ok(file) if file.is_file() => return Self::open_existing_file(location, path).map(Some),
                Ok(_) => false,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
                Err(_) => return Err(StoreError::Open(path.to_owned())),
            },
            StoreLocation::Server(dsn) => {
                let remote = PgStore::start(dsn.as_ref().clone())?;
                remote.begin_transaction(false)?;
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
                if std::fs::metadata(path).is_ok_and(|file| file.len() == 0) {
                    return Err(StoreError::Empty(path.to_owned()));
                }
                // Where it cannot be read either, the first error says more.
                let connection = match read_only::open_read_only(path) {
                    Err(empty @ StoreError::Empty(_)) => return Err(empty),
                    opened => opened.map_err(|_| error)?,
                };
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

    /// Makes sure that the file that is open is still the one at its path. On a server there is nothing to make sure of.
    ///
    /// # Errors
    ///
    /// If it was deleted, or another file is there.
    pub fn verify_file_identity(&self) -> Result<(), StoreError> {
        self.identity.as_ref().map_or(Ok(()), FileIdentity::verify_unchanged)
    }

    /// Returns `true` if every read of the last minute succeeded, and the file is the one at its path.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.health.is_healthy() && self.verify_file_identity().is_ok()
    }

    /// Keeps other daemons from working on the same file. On a server they take turns instead. From then on, reads that
    /// fail are logged.
    ///
    /// # Errors
    ///
    /// If another one works on it.
    pub fn lock_exclusive(&self) -> Result<(), StoreError> {
        self.health.start_tracking();
        match &mut *self.lock_backend() {
            StoreBackend::Sqlite(file) => file.lock_exclusive(),
            StoreBackend::Postgres(_) => Ok(()),
        }
    }

    /// Does not wait for a server from that instant on: whoever uses the store is to end.
    pub fn set_deadline(&self, at: Clock) {
        if let Some(end) = &self.server_deadline {
            end.send_replace(Some(at));
        }
    }

    /// Writes into the file what is in memory only, before that is gone.
    pub fn flush_memory_fallback(&self) {
        if self.server_deadline.is_none()
            && let StoreBackend::Sqlite(file) = &mut *self.lock_backend()
            && !file.leave_memory_fallback()
        {
            tracing::error!("the disk is still full: what happened since it became so is lost");
        }
    }

    /// Whether daemons on several machines can share it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(&*self.lock_backend(), StoreBackend::Postgres(_))
    }

    /// The same store, for what is done under a term of a lease: once somebody else has taken the lease over, nothing is
    /// written through it any more.
    #[must_use]
    pub fn with_fence(&self, fence: LeaseFence) -> Self {
        Self { fence: Some(Arc::new(fence)), ..self.clone() }
    }

    /// Does something in one transaction: all of it is kept, or nothing. Where the disk is full, a daemon does it once
    /// more, in memory.
    ///
    /// # Errors
    ///
    /// If it fails, cannot be written, or the term is over under which this store is used.
    pub fn write<T>(&self, work: impl Fn(Tx<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut done = None;
        // Only this closure is compiled for each work; the transaction around it is compiled once.
        self.write_transaction(&mut |db| {
            done = Some(work(db)?);
            Ok(())
        })?;
        Ok(done.expect("a transaction that was committed did its work"))
    }

    fn write_transaction(&self, work: &mut TransactionBody<'_>) -> Result<(), StoreError> {
        let mut work = |db: Tx<'_>| {
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
                        // Where even that fails the connection is given up, and the transaction with it.
                        let _ = remote.execute_batch("ROLLBACK");
                        Err(error)
                    }
                }
            }
        }
    }

    /// Reads something, as it stands at one instant.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn read<T>(&self, work: impl FnOnce(Tx<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
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
                remote.execute_batch("COMMIT")?;
                outcome
            }
        }
    }

    /// Whether the disk is full, so that what happens is in memory only.
    #[must_use]
    pub fn is_memory_fallback(&self) -> bool {
        matches!(&*self.lock_backend(), StoreBackend::Sqlite(file) if file.fallback.is_some())
    }

    /// Returns the clock that those who share the store share: that of its server, or `machine` where it is a file.
    ///
    /// # Errors
    ///
    /// If the server does not say what time it is.
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

    /// Reads the time of the server that the store is on; for a file, this machine's.
    ///
    /// # Errors
    ///
    /// If the server does not say what time it is.
    pub fn read_server_time(
        &self,
        clock: &sessionwatch_clock::Clock,
    ) -> Result<sessionwatch_clock::ServerReading, StoreError> {
        self.read(|db| {
            let before = clock.elapsed();
            let at = leases::current_timestamp(db)?;
            Ok(sessionwatch_clock::ServerReading { server_time: at, before, after: clock.elapsed() })
        })
    }

    /// Returns the present instant by the clock that those who share the store share.
    ///
    /// # Errors
    ///
    /// If its server does not say what time it is.
    pub fn now(&self) -> Result<sessionwatch_core::timestamp::UtcTimestamp, StoreError> {
        self.shared_clock(sessionwatch_clock::Clock::System).map(|clock| clock.now())
    }

    /// Bytes that it takes.
    ///
    /// # Errors
    ///
    /// If it does not say.
    pub fn size_bytes(&self) -> Result<u64, StoreError> {
        let query = match &*self.lock_backend() {
            StoreBackend::Sqlite(_) => {
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
        self.backend.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
