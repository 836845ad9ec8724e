//! A store in a SQLite file, and the memory that stands in for it while its disk is full.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant as Clock},
};

use rusqlite::Connection;

use crate::{
    StoreError,
    copies::copy_rows,
    creation,
    db::{Db, Work},
    file_identity::FileIdentity,
    readers::Readers,
    sqlite::{is_foreign, is_without_tables, transact},
};

/// Keeps others from writing.
const KEEP: &str = "BEGIN IMMEDIATE";
/// How long to wait before a disk that was full is tried again.
pub(crate) const DISK_PAUSE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct FileStore {
    pub(crate) path: PathBuf,
    pub(crate) connection: Connection,
    pub(crate) readers: Arc<Readers>,
    /// The file that is open; `None` where there is none.
    pub(crate) identity: Option<FileIdentity>,
    /// Stands in for the file while the disk is full.
    pub(crate) shelter: Option<Shelter>,
    /// Locked while a daemon works on the file.
    pub(crate) held: Option<File>,
    /// The file may not be written.
    pub(crate) read_only: bool,
}

#[derive(Debug)]
pub(crate) struct Shelter {
    pub(crate) connection: Connection,
    pub(crate) tried: Clock,
}

impl FileStore {
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
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
    pub(crate) fn alone(path: PathBuf, connection: Connection) -> Self {
        let readers = Arc::new(Readers::of(&path));
        readers.shelter(true);
        Self { path, connection, readers, identity: None, shelter: None, held: None, read_only: false }
    }

    pub(crate) fn hold(&mut self) -> Result<(), StoreError> {
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
    pub(crate) fn active(&mut self) -> &mut Connection {
        self.shelter.as_mut().map_or(&mut self.connection, |shelter| &mut shelter.connection)
    }

    pub(crate) fn write(&mut self, work: &mut Work<'_>) -> Result<(), StoreError> {
        if self.read_only {
            return Err(StoreError::ReadOnly(self.path.clone()));
        }
        if let Some(identity) = &self.identity {
            identity.check()?;
        }
        if self.shelter.as_ref().is_some_and(|shelter| shelter.tried.elapsed() >= DISK_PAUSE) {
            self.leave_shelter();
        }
        match transact(self.active(), &mut *work) {
            // Whoever does only one thing would take the memory along when it ends.
            Err(StoreError::Full) if self.shelter.is_none() && self.held.is_some() => {
                self.take_shelter()?;
                transact(self.active(), &mut *work)
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
        if let Err(error) = transact(&mut memory, |db| copy_rows(Db::File(&self.connection), db)) {
            self.connection.execute_batch("ROLLBACK")?;
            return Err(error);
        }
        self.shelter = Some(Shelter { connection: memory, tried: Clock::now() });
        self.readers.shelter(true);
        Ok(())
    }

    /// Writes what happened meanwhile into the file: whether there is room again.
    pub(crate) fn leave_shelter(&mut self) -> bool {
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
    copy_rows(Db::File(memory), Db::File(file))?;
    Ok(file.execute_batch("COMMIT")?)
}
