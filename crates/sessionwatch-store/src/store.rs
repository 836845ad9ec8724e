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
    db::{Db, Work},
    file_identity::FileIdentity,
    health::Health,
    leases::{self, Fence},
    migrations::{is_current, migrate_fully},
    read_only,
    readers::Readers,
    remote::Remote,
    sqlite::is_foreign,
    sqlite_file::FileStore,
};

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a SQLite file.
    File(PathBuf),
    /// On a PostgreSQL server.
    Server(Box<Dsn>),
}

/// The store. A clone is the same store.
#[derive(Clone, Debug)]
pub struct Store {
    backend: Arc<Mutex<Backend>>,
    /// By which a file is read meanwhile.
    readers: Option<Arc<Readers>>,
    /// Until when a server is waited for; nothing for a file.
    end: Option<watch::Sender<Option<Clock>>>,
    /// The file that is open; `None` for a server.
    identity: Option<FileIdentity>,
    health: Arc<Health>,
    /// The term that every transaction that writes makes sure of; `None` for whoever writes without leading.
    fence: Option<Arc<Fence>>,
}

#[derive(Debug)]
pub(crate) enum Backend {
    File(Box<FileStore>),
    Server(Remote),
}

impl Store {
    /// Opens the store, creates it where there is none, and brings it up to date. Nothing is written into a file that is
    /// no store.
    ///
    /// # Errors
    ///
    /// If it cannot be opened, or was written by a newer program.
    pub fn open(place: &Place) -> Result<Self, StoreError> {
        let backend = match place {
            Place::File(path) => Backend::File(Box::new(FileStore::open(path)?)),
            Place::Server(dsn) => {
                let remote = Remote::start(dsn.as_ref().clone())?;
                let schema = dsn.schema.as_deref().unwrap_or("sessionwatch");
                let schema = pg_link::quote_identifier(schema);
                remote.begin(true)?;
                remote.script(&format!("CREATE SCHEMA IF NOT EXISTS {schema}; COMMIT"))?;
                Backend::Server(remote)
            }
        };
        let store = Self::of(backend);
        // Whoever only reads need not wait for those who write.
        if !store.read(is_current)? {
            store.write(migrate_fully)?;
        }
        Ok(store)
    }

    fn of(backend: Backend) -> Self {
        let (readers, end, identity) = match &backend {
            Backend::File(file) => (Some(Arc::clone(&file.readers)), None, file.identity.clone()),
            Backend::Server(remote) => (None, Some(remote.end()), None),
        };
        let (backend, health) = (Arc::new(Mutex::new(backend)), Arc::default());
        Self { backend, readers, end, identity, health, fence: None }
    }

    /// A store that is empty, and ends with this value.
    ///
    /// # Errors
    ///
    /// If SQLite refuses it.
    pub fn in_memory() -> Result<Self, StoreError> {
        let file = FileStore::alone(PathBuf::from(":memory:"), Connection::open_in_memory()?);
        let store = Self::of(Backend::File(Box::new(file)));
        store.write(migrate_fully)?;
        Ok(store)
    }

    /// Opens a store that somebody has made; `None` where nobody has. One that may not be written is opened for reading: writes
    /// are refused.
    ///
    /// # Errors
    ///
    /// If that cannot be found out, it cannot be opened, or its file is empty.
    pub fn find(place: &Place) -> Result<Option<Self>, StoreError> {
        let made = match place {
            Place::File(path) => match std::fs::metadata(path) {
                Ok(file) if file.is_file() => return Self::find_file(place, path).map(Some),
                Ok(_) => false,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
                Err(_) => return Err(StoreError::Open(path.to_owned())),
            },
            Place::Server(dsn) => {
                let remote = Remote::start(dsn.as_ref().clone())?;
                remote.begin(false)?;
                let found = remote.rows("SELECT 1 WHERE to_regclass('migrations') IS NOT NULL", &[])?;
                remote.script("COMMIT")?;
                !found.is_empty()
            }
        };
        made.then(|| Self::open(place)).transpose()
    }

    fn find_file(place: &Place, path: &Path) -> Result<Self, StoreError> {
        match Self::open(place) {
            Err(error) if error.may_be_of_permission() => {
                if std::fs::metadata(path).is_ok_and(|file| file.len() == 0) {
                    return Err(StoreError::Empty(path.to_owned()));
                }
                // Where it cannot be read either, the first error says more.
                let connection = match read_only::open(path) {
                    Err(empty @ StoreError::Empty(_)) => return Err(empty),
                    opened => opened.map_err(|_| error)?,
                };
                if is_foreign(&connection)? {
                    return Err(StoreError::Foreign(path.to_owned()));
                }
                let file = FileStore { read_only: true, ..FileStore::alone(path.to_owned(), connection) };
                Ok(Self::of(Backend::File(Box::new(file))))
            }
            opened => opened,
        }
    }

    /// Makes sure that the file that is open is still the one at its path. On a server there is nothing to make sure of.
    ///
    /// # Errors
    ///
    /// If it was deleted, or another file is there.
    pub fn check_file(&self) -> Result<(), StoreError> {
        self.identity.as_ref().map_or(Ok(()), FileIdentity::check)
    }

    /// Returns `true` if every read of the last minute succeeded, and the file is the one at its path.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.health.is_sound() && self.check_file().is_ok()
    }

    /// Keeps other daemons from working on the same file. On a server they take turns instead. From then on, reads that
    /// fail are logged.
    ///
    /// # Errors
    ///
    /// If another one works on it.
    pub fn hold(&self) -> Result<(), StoreError> {
        self.health.watch();
        match &mut *self.lock() {
            Backend::File(file) => file.hold(),
            Backend::Server(_) => Ok(()),
        }
    }

    /// Does not wait for a server from that instant on: whoever uses the store is to end.
    pub fn end_by(&self, at: Clock) {
        if let Some(end) = &self.end {
            end.send_replace(Some(at));
        }
    }

    /// Writes into the file what is in memory only, before that is gone.
    pub fn settle(&self) {
        if self.end.is_none()
            && let Backend::File(file) = &mut *self.lock()
            && !file.leave_shelter()
        {
            tracing::error!("the disk is still full: what happened since it became so is lost");
        }
    }

    /// Whether daemons on several machines can share it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(&*self.lock(), Backend::Server(_))
    }

    /// The same store, for what is done under a term of a lease: once somebody else has taken the lease over, nothing is
    /// written through it any more.
    #[must_use]
    pub fn fenced(&self, fence: Fence) -> Self {
        Self { fence: Some(Arc::new(fence)), ..self.clone() }
    }

    /// Does something in one transaction: all of it is kept, or nothing. Where the disk is full, a daemon does it once
    /// more, in memory.
    ///
    /// # Errors
    ///
    /// If it fails, cannot be written, or the term is over under which this store is used.
    pub fn write<T>(&self, work: impl Fn(Db<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut done = None;
        // Only this closure is compiled for each work; the transaction around it is compiled once.
        self.transact(&mut |db| {
            done = Some(work(db)?);
            Ok(())
        })?;
        Ok(done.expect("a transaction that was committed did its work"))
    }

    fn transact(&self, work: &mut Work<'_>) -> Result<(), StoreError> {
        let mut work = |db: Db<'_>| {
            self.fence.as_deref().map_or(Ok(()), |fence| leases::guard(db, fence))?;
            work(db)
        };
        match &mut *self.lock() {
            Backend::File(file) => file.write(&mut work),
            Backend::Server(remote) => {
                remote.begin(true)?;
                match work(Db::Server(remote)) {
                    Ok(()) => remote.script("COMMIT"),
                    Err(error) => {
                        // Where even that fails the connection is given up, and the transaction with it.
                        let _ = remote.script("ROLLBACK");
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
    pub fn read<T>(&self, work: impl FnOnce(Db<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let (mut work, mut done) = (Some(work), None);
        let read = self.try_read(&mut |db| {
            done = work.take().map(|work| work(db)).transpose()?;
            Ok(())
        });
        read.inspect_err(|error| self.health.failed(error))?;
        Ok(done.expect("a read that ended well did its work"))
    }

    fn try_read(&self, work: &mut Work<'_>) -> Result<(), StoreError> {
        if let Some((readers, mut connection)) =
            self.readers.as_ref().and_then(|readers| Some((readers, readers.take()?)))
        {
            let outcome =
                connection.transaction().map_err(StoreError::from).and_then(|begun| work(Db::File(&begun)));
            readers.put(connection);
            return outcome;
        }
        match &mut *self.lock() {
            Backend::File(file) => {
                let transaction = file.active().transaction()?;
                work(Db::File(&transaction))
            }
            Backend::Server(remote) => {
                remote.begin(false)?;
                let outcome = work(Db::Server(remote));
                remote.script("COMMIT")?;
                outcome
            }
        }
    }

    /// Whether the disk is full, so that what happens is in memory only.
    #[must_use]
    pub fn is_sheltered(&self) -> bool {
        matches!(&*self.lock(), Backend::File(file) if file.shelter.is_some())
    }

    /// Returns the clock that those who share the store share: that of its server, or `machine` where it is a file.
    ///
    /// # Errors
    ///
    /// If the server does not say what time it is.
    pub fn clock(&self, machine: sessionwatch_clock::Clock) -> Result<sessionwatch_clock::Clock, StoreError> {
        if !self.is_shared() {
            return Ok(machine);
        }
        let read = self.server_time(&machine)?;
        Ok(sessionwatch_clock::Clock::of_server(machine, read))
    }

    /// Reads the time of the server that the store is on; for a file, this machine's.
    ///
    /// # Errors
    ///
    /// If the server does not say what time it is.
    pub fn server_time(
        &self,
        clock: &sessionwatch_clock::Clock,
    ) -> Result<sessionwatch_clock::ServerReading, StoreError> {
        self.read(|db| {
            let before = clock.elapsed();
            let at = leases::now(db)?;
            Ok(sessionwatch_clock::ServerReading { at, before, after: clock.elapsed() })
        })
    }

    /// Returns the present instant by the clock that those who share the store share.
    ///
    /// # Errors
    ///
    /// If its server does not say what time it is.
    pub fn now(&self) -> Result<sessionwatch_core::instant::Instant, StoreError> {
        self.clock(sessionwatch_clock::Clock::System).map(|clock| clock.now())
    }

    /// Bytes that it takes.
    ///
    /// # Errors
    ///
    /// If it does not say.
    pub fn size(&self) -> Result<u64, StoreError> {
        let query = match &*self.lock() {
            Backend::File(_) => "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
            Backend::Server(_) => {
                "SELECT CAST(SUM(pg_total_relation_size(oid)) AS BIGINT) FROM pg_class
                 WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
            }
        };
        self.read(|db| db.row(query, &[]))?.map_or(Ok(0), |row| row.count(0))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Backend> {
        self.backend.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
