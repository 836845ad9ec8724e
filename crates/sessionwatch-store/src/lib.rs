//! The memory of the watch: one SQLite file that only its owner may read, or a schema on a PostgreSQL server where several
//! watch together.
//!
//! What a look changes is written in one transaction, notices included, before anything is sent. There is deliberately no
//! token in it; fingerprints of the last look are, under a key of this store.

pub mod accounts;
pub mod alerts;
pub mod archived;
pub mod attestations;
pub mod audit;
pub mod censuses;
pub mod confirmed_time;
pub mod db;
pub mod events;
pub mod incidents;
pub mod layouts;
pub mod leases;
pub mod ledgers;
pub mod outbox;
pub mod plans;
pub mod reports;
pub mod row;
pub mod signals;
pub mod silences;
pub mod sources;
pub mod tokens;

mod backup;
mod creation;
#[cfg(test)]
mod decoding_tests;
mod file_identity;
mod health;
mod read_only;
mod readers;
mod remote;

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant as Clock},
};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::watch;

use self::{
    db::Db, file_identity::FileIdentity, health::Health, leases::Fence, readers::Readers, remote::Remote,
};
use pg_link::{ConnectError, Dsn};

/// Every migration, oldest first.
const MIGRATIONS: [&str; 11] = [
    include_str!("../migrations/20261124120000_first.sql"),
    include_str!("../migrations/20261124180000_history.sql"),
    include_str!("../migrations/20261125120000_acting.sql"),
    include_str!("../migrations/20261125130000_incident.sql"),
    include_str!("../migrations/20261125160000_logs.sql"),
    include_str!("../migrations/20261125200000_accounts.sql"),
    include_str!("../migrations/20261126120000_api.sql"),
    include_str!("../migrations/20261128230000_layouts.sql"),
    include_str!("../migrations/20261129040000_networks.sql"),
    include_str!("../migrations/20261129100000_clocks.sql"),
    include_str!("../migrations/20261129103000_gaps.sql"),
];
/// Keeps others from writing.
const KEEP: &str = "BEGIN IMMEDIATE";
/// How long to wait before a disk that was full is tried again.
const DISK_PAUSE: Duration = Duration::from_secs(20);

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
enum Backend {
    File(Box<FileStore>),
    Server(Remote),
}

#[derive(Debug)]
struct FileStore {
    path: PathBuf,
    connection: Connection,
    readers: Arc<Readers>,
    /// The file that is open; `None` where there is none.
    identity: Option<FileIdentity>,
    /// Stands in for the file while the disk is full.
    shelter: Option<Shelter>,
    /// Locked while a daemon works on the file.
    held: Option<File>,
    /// The file may not be written.
    read_only: bool,
}

#[derive(Debug)]
struct Shelter {
    connection: Connection,
    tried: Clock,
}

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
    Unsound {
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
    Forbidden,
    /// The server refused for another reason; the code is the SQLSTATE.
    #[error("the store's server refused a statement (SQLSTATE {0}): its log says why")]
    Refused(String),
    /// Another daemon works on it.
    #[error("another sessionwatch works on the store {0}: stop that one, or give each a store of its own")]
    Held(PathBuf),
    /// The file that is open is at its path no more.
    #[error("the store {0} was deleted: what is written to it now would be lost")]
    Deleted(PathBuf),
    /// Another file is at the path of the one that is open.
    #[error("the store {0} was replaced by another file: what is written to the one before would be lost")]
    Replaced(PathBuf),
    /// There is such a file already.
    #[error("{0} exists, or cannot be made: name a new file in a folder that may be written")]
    Exists(PathBuf),
    /// The file is another program's.
    #[error("{0} is a database of something else: name a file of its own as `store` in [serve]")]
    Foreign(PathBuf),
    /// The file is of a newer program.
    #[error(
        "the store was written by a newer sessionwatch (version {found}; this one knows {known}): use that one"
    )]
    Newer {
        /// Its version.
        found: usize,
        /// The newest that is known.
        known: usize,
    },
    /// The disk is full.
    #[error("the disk that holds the store is full")]
    Full,
    /// There is no room for a backup.
    #[error("no backup was written to {0}: its disk is full")]
    NoRoom(PathBuf),
    /// Somebody else writes, for longer than one waits.
    #[error("another sessionwatch keeps the store from being written, as it does while its disk is full")]
    Busy,
    /// Somebody else has taken over.
    #[error("another sessionwatch has taken over")]
    Fenced,
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
    Unwritable(&'static str),
    /// The file is damaged, or no database.
    #[error("the store is damaged, or is not a SQLite database")]
    Damaged,
    /// Anything else.
    #[error("the store cannot be read or written")]
    Broken(#[source] rusqlite::Error),
}

impl StoreError {
    /// What to do about it, where the message does not say so itself.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Damaged | Self::Broken(_) | Self::Unsound { .. } => Some(
                "stop the daemon, keep the file for later, and restore the last `sessionwatch backup`, as docs/deploy.md says under Restore",
            ),
            _ => None,
        }
    }

    /// Whether a file that may not be written could be why.
    fn may_be_of_permission(&self) -> bool {
        use rusqlite::ErrorCode::{CannotOpen, PermissionDenied, ReadOnly};
        match self {
            Self::Open(_) => true,
            Self::Broken(error) => {
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
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full,
            Some(rusqlite::ErrorCode::DatabaseBusy) => Self::Busy,
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => Self::Damaged,
            // There is no room for the index of the log.
            _ if code == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE) => Self::Full,
            _ => Self::Broken(error),
        }
    }
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
            store.write(|db| migrate(db, MIGRATIONS.len()))?;
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
        store.write(|db| migrate(db, MIGRATIONS.len()))?;
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
        let work = |db: Db<'_>| {
            self.fence.as_deref().map_or(Ok(()), |fence| leases::guard(db, fence))?;
            work(db)
        };
        match &mut *self.lock() {
            Backend::File(file) => file.write(work),
            Backend::Server(remote) => {
                remote.begin(true)?;
                let outcome = work(Db::Server(remote));
                match outcome {
                    Ok(done) => remote.script("COMMIT").map(|()| done),
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
        self.try_read(work).inspect_err(|error| self.health.failed(error))
    }

    fn try_read<T>(&self, work: impl FnOnce(Db<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
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

    fn lock(&self) -> MutexGuard<'_, Backend> {
        self.backend.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FileStore {
    fn open(path: &Path) -> Result<Self, StoreError> {
        let refused = |_| StoreError::Open(path.to_owned());
        let open = || OpenOptions::new().append(true).open(path);
        let file = match open() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                creation::create(path)?;
                open().map_err(refused)?
            }
            opened => opened.map_err(refused)?,
        };
        let found = file.metadata().map_err(refused)?;
        if found.is_file() && found.len() == 0 {
            return Err(StoreError::Empty(path.to_owned()));
        }
        let identity = Some(FileIdentity::of(path, &found));
        drop(file);
        let connection = Connection::open(path).map_err(|_| StoreError::Open(path.to_owned()))?;
        connection.busy_timeout(Duration::from_secs(10))?;
        if is_foreign(&connection)? {
            return Err(StoreError::Foreign(path.to_owned()));
        }
        if is_without_tables(&connection)? {
            return Err(StoreError::Empty(path.to_owned()));
        }
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // What is archived is large: written twice less often.
        connection.pragma_update(None, "wal_autocheckpoint", 8_000)?;
        connection.set_prepared_statement_cache_capacity(64);
        let readers = Arc::new(Readers::of(path));
        let (path, read_only) = (path.to_owned(), false);
        Ok(Self { path, connection, readers, identity, shelter: None, held: None, read_only })
    }

    /// By a connection beside which no other one can read.
    fn alone(path: PathBuf, connection: Connection) -> Self {
        let readers = Arc::new(Readers::of(&path));
        readers.shelter(true);
        Self { path, connection, readers, identity: None, shelter: None, held: None, read_only: false }
    }

    fn hold(&mut self) -> Result<(), StoreError> {
        if self.read_only {
            return Err(StoreError::ReadOnly(self.path.clone()));
        }
        let refused = |_| StoreError::Open(self.path.clone());
        // Not the database itself: closing a second handle of that would end SQLite's own locks. A link to the file leads
        // to the same lock.
        let mut name = std::fs::canonicalize(&self.path).map_err(refused)?.into_os_string();
        name.push(".lock");
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&name).map_err(refused)?;
        file.try_lock().map_err(|_| StoreError::Held(self.path.clone()))?;
        self.held = Some(file);
        Ok(())
    }

    /// What is worked on: the file, or what stands in for it.
    fn active(&mut self) -> &mut Connection {
        self.shelter.as_mut().map_or(&mut self.connection, |shelter| &mut shelter.connection)
    }

    fn write<T>(&mut self, work: impl Fn(Db<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.read_only {
            return Err(StoreError::ReadOnly(self.path.clone()));
        }
        if let Some(identity) = &self.identity {
            identity.check()?;
        }
        if self.shelter.as_ref().is_some_and(|shelter| shelter.tried.elapsed() >= DISK_PAUSE) {
            self.leave_shelter();
        }
        match transact(self.active(), &work) {
            // Whoever does only one thing would take the memory along when it ends.
            Err(StoreError::Full) if self.shelter.is_none() && self.held.is_some() => {
                self.take_shelter()?;
                transact(self.active(), &work)
            }
            outcome => outcome,
        }
    }

    /// Goes on in memory, with all that the file holds.
    fn take_shelter(&mut self) -> Result<(), StoreError> {
        tracing::error!(
            "the disk that holds the store {} is full: watching and telling go on, but what happens from now on is in memory only",
            self.path.display()
        );
        let mut memory = Connection::open_in_memory()?;
        // What others could still write there would be written over later.
        self.connection.execute_batch(KEEP)?;
        if let Err(error) = transact(&mut memory, |db| backup::rows(Db::File(&self.connection), db)) {
            self.connection.execute_batch("ROLLBACK")?;
            return Err(error);
        }
        self.shelter = Some(Shelter { connection: memory, tried: Clock::now() });
        self.readers.shelter(true);
        Ok(())
    }

    /// Writes what happened meanwhile into the file: whether there is room again.
    fn leave_shelter(&mut self) -> bool {
        let Some(shelter) = &mut self.shelter else { return true };
        shelter.tried = Clock::now();
        let written = write_back(&shelter.connection, &self.connection);
        if written.is_err() {
            // What stands in the file is kept as it is, and others from writing; the error may have ended that already.
            let _ = self.connection.execute_batch("ROLLBACK");
            let _ = self.connection.execute_batch(KEEP);
        }
        match written {
            Ok(()) => {
                tracing::warn!("the store {} can be written again", self.path.display());
                self.shelter = None;
                self.readers.shelter(false);
                true
            }
            // That the disk is full has been said.
            Err(StoreError::Full) => false,
            Err(error) => {
                tracing::error!("what happens is in memory only: {error}");
                false
            }
        }
    }
}

/// Ends the transaction of a shelter with all that has been kept in memory.
fn write_back(memory: &Connection, file: &Connection) -> Result<(), StoreError> {
    if file.is_autocommit() {
        file.execute_batch(KEEP)?;
    }
    backup::rows(Db::File(memory), Db::File(file))?;
    Ok(file.execute_batch("COMMIT")?)
}

fn transact<T>(
    connection: &mut Connection,
    work: impl Fn(Db<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    // Taken at once, so that two writers wait for each other instead of failing halfway.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let outcome = work(Db::File(&transaction))?;
    transaction.commit()?;
    Ok(outcome)
}

/// Returns `true` if a file holds tables, and they are not those of a store.
fn is_foreign(connection: &Connection) -> Result<bool, StoreError> {
    let query = "SELECT COUNT(*) > 0 AND COUNT(*) FILTER (WHERE name IN ('migrations', 'audit')) < 2
                 FROM sqlite_schema WHERE type = 'table'";
    Ok(connection.query_row(query, [], |row| row.get(0))?)
}

/// Returns `true` if a file holds no table. A store has tables before its file has a name.
fn is_without_tables(connection: &Connection) -> Result<bool, StoreError> {
    let query = "SELECT COUNT(*) = 0 FROM sqlite_schema WHERE type = 'table'";
    Ok(connection.query_row(query, [], |row| row.get(0))?)
}

/// Whether a file needs no migration.
fn is_current(db: Db<'_>) -> Result<bool, StoreError> {
    let Db::File(_) = db else { return Ok(false) };
    if db.row("SELECT 1 FROM sqlite_schema WHERE name = 'migrations'", &[])?.is_none() {
        return Ok(false);
    }
    Ok(applied(db)? == MIGRATIONS.len())
}

/// The number of the last migration.
fn applied(db: Db<'_>) -> Result<usize, StoreError> {
    let row = db.row("SELECT COALESCE(MAX(version), 0) FROM migrations", &[])?;
    let applied = row.map_or(Ok(0), |row| row.count(0))?;
    Ok(usize::try_from(applied).unwrap_or(usize::MAX))
}

/// Brings a store up to the migration of that number.
fn migrate(db: Db<'_>, up_to: usize) -> Result<(), StoreError> {
    db.script("CREATE TABLE IF NOT EXISTS migrations (version BIGINT PRIMARY KEY)")?;
    let applied = applied(db)?;
    if applied > MIGRATIONS.len() {
        return Err(StoreError::Newer { found: applied, known: MIGRATIONS.len() });
    }
    for (version, migration) in (1..).zip(MIGRATIONS).take(up_to).skip(applied) {
        db.script(migration)?;
        db.run("INSERT INTO migrations (version) VALUES ($1)", &[i64::from(version).into()])?;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use sessionwatch_core::instant::Instant;

    use super::*;

    /// A store for one test, and the folder that it is in.
    pub(crate) struct Own {
        store: Store,
        _folder: Option<tempfile::TempDir>,
    }

    impl std::ops::Deref for Own {
        type Target = Store;

        fn deref(&self) -> &Store {
            &self.store
        }
    }

    /// A store of each kind: one in a file, and one on a server.
    pub(crate) fn both() -> [Own; 2] {
        let (folder, file) = store();
        let database = testbed::shared().database(None).unwrap();
        let dsn = Dsn::parse(&database.url("postgres")).unwrap();
        let server = Store::open(&Place::Server(Box::new(dsn))).unwrap();
        [Own { store: file, _folder: Some(folder) }, Own { store: server, _folder: None }]
    }

    /// A store in a file of its own.
    pub(crate) fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Place::File(folder.path().join("store.db"))).unwrap();
        (folder, store)
    }

    fn count(store: &Store, table: &str) -> u64 {
        store
            .read(|db| db.row(&format!("SELECT COUNT(*) FROM {table}"), &[]))
            .unwrap()
            .unwrap()
            .count(0)
            .unwrap()
    }

    #[test]
    fn only_its_owner_may_read_it_and_it_opens_again() {
        let (folder, store) = store();
        let path = folder.path().join("store.db");
        store.hold().unwrap();
        let second = Store::open(&Place::File(path.clone())).unwrap();
        assert!(matches!(second.hold(), Err(StoreError::Held(_))));
        drop(store);
        second.hold().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let nowhere = Place::File(folder.path().join("no/store.db"));
        assert!(matches!(Store::open(&nowhere), Err(StoreError::Open(_))));
    }

    #[test]
    fn both_kinds_keep_and_give_back_the_same() {
        let at = |second: i64| Instant::from_micros(second * 1_000_000).unwrap();
        for store in both() {
            let silence = silences::Silence {
                id: 1,
                target: None,
                check: Some("blind".into()),
                subject: Some("ada".into()),
                until: at(100),
                owner: "bo".into(),
                note: "why".into(),
            };
            assert_eq!(store.write(|db| silences::begin(db, &silence, at(10))).unwrap(), 1);
            assert_eq!(store.read(|db| silences::list(db, at(99))).unwrap(), [silence]);
            assert!(!store.write(|db| silences::end(db, 1, at(100))).unwrap());
            assert!(store.write(|db| silences::end(db, 1, at(50))).unwrap());
            assert_eq!(store.read(|db| silences::list(db, at(60))).unwrap(), []);
            let attestation = attestations::Attestation {
                at: at(5),
                target: "app".into(),
                item: "user-reports".into(),
                holds: true,
                owner: "ada".into(),
                note: "none".into(),
            };
            store.write(|db| attestations::add(db, &attestation)).unwrap();
            let last = |to| {
                store.read(|db| attestations::last(db, ("app", "user-reports"), (at(0), at(to)))).unwrap()
            };
            assert_eq!((last(5), last(6)), (None, Some(attestation)));
            assert_eq!([7, 8].map(|offered| store.write(|db| ledgers::key(db, offered)).unwrap()), [7, 7]);
            store.write(|db| ledgers::put(db, "app", &[0, 255, 7], at(9))).unwrap();
            store.write(|db| ledgers::put(db, "app", &[1, 0], at(10))).unwrap();
            assert_eq!(store.read(|db| ledgers::get(db, "app")).unwrap(), Some((at(10), vec![1, 0])));
            store.write(|db| reports::put(db, "app", "{}", at(3))).unwrap();
            assert_eq!(store.read(|db| reports::get(db, "app")).unwrap(), Some((at(3), "{}".into())));
            assert!(store.size().unwrap() > 10_000);
        }
    }

    #[test]
    fn one_of_a_newer_program_is_left_alone() {
        let (folder, store) = store();
        store.write(|db| db.run("INSERT INTO migrations (version) VALUES (99)", &[])).unwrap();
        let newer = Store::open(&Place::File(folder.path().join("store.db")));
        assert!(matches!(newer, Err(StoreError::Newer { found: 99, .. })));
    }

    #[test]
    fn what_fails_leaves_nothing_behind() {
        let (_folder, store) = store();
        let failed: Result<(), StoreError> = store.write(|db| {
            db.run("INSERT INTO secrets (name, value) VALUES ('a', 1)", &[])?;
            Err(StoreError::Fenced)
        });
        assert!(failed.is_err());
        assert_eq!(count(&store, "secrets"), 0);
    }

    #[test]
    fn what_an_older_program_wrote_is_read_by_this_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old.db");
        let mut old = Connection::open(&path).unwrap();
        transact(&mut old, |db| {
            migrate(db, 1)?;
            db.script(include_str!("../migrations/samples/20261124120000_first.sql"))
        })
        .unwrap();
        drop(old);
        let store = Store::open(&Place::File(path)).unwrap();
        let kept = store.read(|db| alerts::list(db, true)).unwrap();
        assert_eq!((kept.len(), kept[0].acknowledged_by.as_deref()), (2, Some("ada")));
        let due = store.read(|db| outbox::due(db, "chat", (Instant::MAX, 10))).unwrap();
        assert_eq!((due.len(), due[0].again), (1, false));
        assert_eq!(store.read(|db| silences::list(db, Instant::MIN)).unwrap().len(), 1);
        assert_eq!(store.read(audit::verify).unwrap(), audit::Trail::Whole(1));
    }

    #[test]
    fn a_full_disk_loses_nothing_and_what_happened_is_written_when_there_is_room() {
        let (folder, store) = store();
        store.hold().unwrap();
        let limit = |pages: i64| match &mut *store.lock() {
            Backend::File(file) => {
                file.connection.pragma_update(None, "max_page_count", pages).unwrap();
                if let Some(shelter) = &mut file.shelter {
                    shelter.tried -= DISK_PAUSE;
                }
            }
            Backend::Server(_) => unreachable!("a file"),
        };
        let put = |name: String| {
            let text = "x".repeat(10_000);
            store
                .write(|db| {
                    let values = [name.as_str().into(), text.as_str().into()];
                    db.run("INSERT INTO reports (target, at, report) VALUES ($1, 1, $2)", &values)
                })
                .unwrap()
        };
        let other = Store::open(&Place::File(folder.path().join("store.db"))).unwrap();
        let on_disk = || count(&other, "reports");
        limit(60);
        for number in 0..20 {
            put(number.to_string());
        }
        assert!(store.is_sheltered());
        assert_eq!(count(&store, "reports"), 20);
        assert!(on_disk() < 20);
        if let Backend::File(file) = &*other.lock() {
            file.connection.busy_timeout(Duration::ZERO).unwrap();
        }
        let refused = other.write(|db| db.run("DELETE FROM reports", &[]));
        assert!(matches!(refused, Err(StoreError::Busy)), "what is written there would be lost");
        limit(60);
        put("still full".into());
        assert!(store.is_sheltered());
        limit(10_000);
        put("room".into());
        assert!(!store.is_sheltered());
        assert_eq!((count(&store, "reports"), on_disk()), (22, 22));
    }
}
