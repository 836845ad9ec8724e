//! Backups of a store.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::{
    Store, StoreError, audit,
    database_copy::{copy_database, copy_plan_rows, copy_rows},
    file_creation::StagedFile,
    sqlite::with_transaction,
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
        let draft = StagedFile::create_for(to).map_err(refused)?;
        self.write_copy(draft.path()).map_err(|error| match error {
            // Reading needs no room, so the full disk is that of the backup.
            StoreError::DiskFull => StoreError::BackupDiskFull(to.to_owned()),
            error => error,
        })?;
        if let Some(why) = find_copy_damage(draft.path())? {
            return Err(StoreError::DamagedBackup { to: to.to_owned(), why });
        }
        draft.publish_as(to).map_err(refused)
    }

    fn write_copy(&self, to: &Path) -> Result<(), StoreError> {
        let mut copied = Connection::open(to)?;
        match &mut *self.lock_backend() {
            StoreBackend::Sqlite(file) => copy_database(file.active_connection(), &mut copied)?,
            StoreBackend::Postgres(remote) => {
                remote.begin_transaction(false)?;
                with_transaction(&mut copied, |db| {
                    copy_rows(Tx::Postgres(remote), db)?;
                    copy_plan_rows(Tx::Postgres(remote), db)
                })?;
                remote.execute_batch("COMMIT")?;
            }
        }
        Ok(())
    }
}

/// Returns a description of the damage, or `None` if the copy is intact.
fn find_copy_damage(copy: &Path) -> Result<Option<String>, StoreError> {
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
