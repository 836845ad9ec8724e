//! Backups of a store.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::{
    Store, StoreError, audit,
    database_copy::{copy_database, copy_plan_rows, copy_rows},
    file_creation::StagedFile,
    sqlite_connection::with_transaction,
    store::StoreBackend,
    transaction::Tx,
};

impl Store {
    /// Writes a consistent copy of the store to a new SQLite file (mode 0600). The file gets its name only after its
    /// pages, its indexes and the hash chain of its audit log have been verified.
    ///
    /// # Errors
    ///
    /// If the file exists, cannot be written, or the copy is damaged.
    pub fn backup(&self, to: &Path) -> Result<(), StoreError> {
        // Checked before the copy is made, which may take long; publishing checks again, atomically.
        let refused = |_| StoreError::AlreadyExists(to.to_owned());
        if std::fs::symlink_metadata(to).is_ok() {
            return Err(StoreError::AlreadyExists(to.to_owned()));
        }
        // Beside the final path, since a rename or hard link works only within one file system.
        let draft = StagedFile::create_for(to).map_err(refused)?;
        self.write_copy(draft.path()).map_err(|error| match error {
            // Reading needs no room, so the full disk is that of the backup.
            StoreError::DiskFull => StoreError::BackupDiskFull(to.to_owned()),
            error => error,
        })?;
        // A backup that cannot be restored is worse than none, because people rely on it.
        if let Some(why) = find_copy_damage(draft.path())? {
            return Err(StoreError::DamagedBackup { to: to.to_owned(), why });
        }
        draft.publish_as(to).map_err(refused)
    }

    fn write_copy(&self, to: &Path) -> Result<(), StoreError> {
        // An empty file, so the copy inherits nothing from an earlier attempt.
        let mut copied = Connection::open(to)?;
        match &mut *self.lock_backend() {
            StoreBackend::Sqlite(file) => copy_database(file.active_connection(), &mut copied)?,
            StoreBackend::Postgres(remote) => {
                // A repeatable read, so that the copied tables belong to the same moment.
                remote.begin_transaction(false)?;
                with_transaction(&mut copied, |db| {
                    copy_rows(Tx::Postgres(remote), db)?;
                    copy_plan_rows(Tx::Postgres(remote), db)
                })?;
                // Ends the read transaction, which would otherwise be idle until the server's timeout.
                remote.execute_batch("COMMIT")?;
            }
        }
        Ok(())
    }
}

/// Returns a description of the damage, or `None` if the copy is intact.
fn find_copy_damage(copy: &Path) -> Result<Option<String>, StoreError> {
    // Opened read-write: even to read a file in WAL mode, SQLite creates its index.
    let copy = Connection::open_with_flags(copy, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let found = copy.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0));
    match found.map_err(StoreError::from) {
        Ok(found) if found == "ok" => {}
        Ok(_) | Err(StoreError::Damaged) => {
            return Ok(Some("the store is damaged: the copy fails SQLite's integrity check".into()));
        }
        Err(error) => return Err(error),
    }
    Ok(match audit::verify_chain(Tx::Sqlite(&copy))? {
        audit::ChainStatus::Intact(_) => None,
        audit::ChainStatus::Broken(id) => Some(format!(
            "audit log entry {id} was changed, or entries before it were removed (see `sessionwatch audit verify`)"
        )),
    })
}
