//! Copies of a store.

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
    /// Writes a copy of the store, as it stands at one instant, into a new SQLite file that only its owner may read. The file
    /// gets its name once the copy was found to be whole: its pages, its indexes, and the chain of its audit trail.
    ///
    /// # Errors
    ///
    /// If there is such a file, it cannot be written, or the copy is not whole.
    pub fn backup(&self, to: &Path) -> Result<(), StoreError> {
        let refused = |_| StoreError::AlreadyExists(to.to_owned());
        if std::fs::symlink_metadata(to).is_ok() {
            return Err(StoreError::AlreadyExists(to.to_owned()));
        }
        let draft = StagedFile::create_for(to).map_err(refused)?;
        self.write_copy(draft.path()).map_err(|error| match error {
            // What is read needs no room.
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

/// What is wrong with a copy, in words; `None` if it is whole.
fn find_copy_damage(copy: &Path) -> Result<Option<String>, StoreError> {
    let copy = Connection::open_with_flags(copy, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let found = copy.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0));
    match found.map_err(StoreError::from) {
        Ok(found) if found == "ok" => {}
        Ok(_) | Err(StoreError::Damaged) => {
            return Ok(Some("the store is damaged: a copy of it fails the integrity check of SQLite".into()));
        }
        Err(error) => return Err(error),
    }
    Ok(match audit::verify_chain(Tx::Sqlite(&copy))? {
        audit::ChainStatus::Intact(_) => None,
        audit::ChainStatus::Broken(id) => Some(format!(
            "entry {id} of the audit trail is not what was written, or does not follow from the one before: `sessionwatch audit verify`"
        )),
    })
}
