//! Copies of a store.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::{
    Store, StoreError, audit,
    copies::{copy_acting_rows, copy_database, copy_rows},
    creation::Draft,
    db::Db,
    sqlite::transact,
    store::Backend,
};

impl Store {
    /// Writes a copy of the store, as it stands at one instant, into a new SQLite file that only its owner may read. The file
    /// gets its name once the copy was found to be whole: its pages, its indexes, and the chain of its audit trail.
    ///
    /// # Errors
    ///
    /// If there is such a file, it cannot be written, or the copy is not whole.
    pub fn backup(&self, to: &Path) -> Result<(), StoreError> {
        let refused = |_| StoreError::Exists(to.to_owned());
        if std::fs::symlink_metadata(to).is_ok() {
            return Err(StoreError::Exists(to.to_owned()));
        }
        let draft = Draft::of(to).map_err(refused)?;
        self.copy_to(draft.path()).map_err(|error| match error {
            // What is read needs no room.
            StoreError::Full => StoreError::NoRoom(to.to_owned()),
            error => error,
        })?;
        if let Some(why) = fault(draft.path())? {
            return Err(StoreError::Unsound { to: to.to_owned(), why });
        }
        draft.publish(to).map_err(refused)
    }

    fn copy_to(&self, to: &Path) -> Result<(), StoreError> {
        let mut copied = Connection::open(to)?;
        match &mut *self.lock() {
            Backend::File(file) => copy_database(file.active(), &mut copied)?,
            Backend::Server(remote) => {
                remote.begin(false)?;
                transact(&mut copied, |db| {
                    copy_rows(Db::Server(remote), db)?;
                    copy_acting_rows(Db::Server(remote), db)
                })?;
                remote.script("COMMIT")?;
            }
        }
        Ok(())
    }
}

/// What is wrong with a copy, in words; `None` if it is whole.
fn fault(copy: &Path) -> Result<Option<String>, StoreError> {
    let copy = Connection::open_with_flags(copy, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let found = copy.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0));
    match found.map_err(StoreError::from) {
        Ok(found) if found == "ok" => {}
        Ok(_) | Err(StoreError::Damaged) => {
            return Ok(Some("the store is damaged: a copy of it fails the integrity check of SQLite".into()));
        }
        Err(error) => return Err(error),
    }
    Ok(match audit::verify(Db::File(&copy))? {
        audit::Trail::Whole(_) => None,
        audit::Trail::Broken(id) => Some(format!(
            "entry {id} of the audit trail is not what was written, or does not follow from the one before: `sessionwatch audit verify`"
        )),
    })
}
