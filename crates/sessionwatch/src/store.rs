//! The memory of the watch: one SQLite file that only its owner may read.
//!
//! What a look changes is written in one transaction, notices included, before anything is sent. There is deliberately no
//! token in it, and no fingerprint.

pub mod alerts;
pub mod audit;
pub mod looks;
pub mod outbox;
pub mod silences;

use std::{
    fs::OpenOptions,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, Transaction};

/// Every migration, oldest first; the number of those applied is SQLite's `user_version`.
const MIGRATIONS: [&str; 1] = [include_str!("../migrations/20261124120000_first.sql")];

/// The store.
#[derive(Debug)]
pub struct Store {
    connection: Mutex<Connection>,
}

/// Why the store cannot be used. Messages hold no value from it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened or made.
    #[error("cannot open the store {0}: is the folder there, and may it be written?")]
    Open(PathBuf),
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
    /// Anything else.
    #[error("the store cannot be read or written")]
    Broken(#[source] rusqlite::Error),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full,
            _ => Self::Broken(error),
        }
    }
}

impl Store {
    /// Opens the file, makes it where there is none, and brings it up to date.
    ///
    /// # Errors
    ///
    /// If it cannot be opened, or was written by a newer program.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let refused = |_| StoreError::Open(path.to_owned());
        // Made here, so that nobody else may read it for even a moment.
        let mut options = OpenOptions::new();
        options.create(true).append(true).mode(0o600).open(path).map_err(refused)?;
        let mut connection = Connection::open(path).map_err(|_| StoreError::Open(path.to_owned()))?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        migrate(&mut connection)?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    /// Does something in one transaction: all of it is kept, or nothing.
    ///
    /// # Errors
    ///
    /// If it fails, or cannot be written.
    pub fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut connection = self.lock();
        // Taken at once, so that two writers wait for each other instead of failing halfway.
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let outcome = work(&transaction)?;
        transaction.commit()?;
        Ok(outcome)
    }

    /// Reads something.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        work(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let applied: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let applied = usize::try_from(applied).unwrap_or(usize::MAX);
    if applied > MIGRATIONS.len() {
        return Err(StoreError::Newer { found: applied, known: MIGRATIONS.len() });
    }
    for migration in &MIGRATIONS[applied..] {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX))?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A store of its own.
    pub(crate) fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store.db")).unwrap();
        (folder, store)
    }

    #[test]
    fn only_its_owner_may_read_it_and_it_opens_again() {
        let (folder, store) = store();
        drop(store);
        let path = folder.path().join("store.db");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        Store::open(&path).unwrap();
        assert!(matches!(Store::open(&folder.path().join("no/store.db")), Err(StoreError::Open(_))));
    }

    #[test]
    fn one_of_a_newer_program_is_left_alone() {
        let (folder, store) = store();
        store.write(|transaction| Ok(transaction.pragma_update(None, "user_version", 99)?)).unwrap();
        let newer = Store::open(&folder.path().join("store.db"));
        assert!(matches!(newer, Err(StoreError::Newer { found: 99, .. })));
    }

    #[test]
    fn what_fails_leaves_nothing_behind() {
        let (_folder, store) = store();
        let failed: Result<(), StoreError> = store.write(|transaction| {
            transaction.execute("INSERT INTO silences (until, owner, note) VALUES (1, 'a', 'b')", [])?;
            Err(StoreError::Full)
        });
        assert!(failed.is_err());
        let left: i64 = store
            .read(|connection| {
                Ok(connection.query_row("SELECT COUNT(*) FROM silences", [], |row| row.get(0))?)
            })
            .unwrap();
        assert_eq!(left, 0);
    }
}
