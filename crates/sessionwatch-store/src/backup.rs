//! Copies of a store.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, backup::Backup};

use crate::{Backend, MIGRATIONS, Store, StoreError, audit, creation::Draft, db::Db, migrate, transact};

/// Every table, in an order in which they can be filled.
const TABLES: [&str; 24] = [
    "accounts",
    "alerts",
    "answers",
    "attestations",
    "audit",
    "censuses",
    "confirmed_time",
    "drills",
    "events",
    "incident_entries",
    "incidents",
    "layouts",
    "leases",
    "ledgers",
    "log_entries",
    "log_sources",
    "login_networks",
    "logins",
    "outbox",
    "reports",
    "secrets",
    "signals",
    "silences",
    "tokens",
];
/// Plans and what they removed. They may be large, and nothing is added to them while the disk is full.
const ACTING: [&str; 3] = ["archived", "planned", "plans"];

/// Copies one database over another, at one instant.
pub(super) fn copy(from: &Connection, to: &mut Connection) -> Result<(), StoreError> {
    let backup = Backup::new(from, to)?;
    loop {
        match backup.step(-1)? {
            rusqlite::backup::StepResult::Done => return Ok(()),
            // Somebody else reads or writes the other side: it is tried again, after the busy timeout.
            _ => std::thread::yield_now(),
        }
    }
}

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
            Backend::File(file) => copy(file.active(), &mut copied)?,
            Backend::Server(remote) => {
                remote.begin(false)?;
                transact(&mut copied, |db| {
                    rows(Db::Server(remote), db)?;
                    tables(&ACTING, Db::Server(remote), db)
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

/// Copies every row over what is there, of every table but those of acting.
pub(super) fn rows(from: Db<'_>, to: Db<'_>) -> Result<(), StoreError> {
    migrate(to, MIGRATIONS.len())?;
    tables(&TABLES, from, to)
}

fn tables(names: &[&str], from: Db<'_>, to: Db<'_>) -> Result<(), StoreError> {
    for table in names {
        let columns = to.rows(&format!("SELECT name FROM pragma_table_info('{table}')"), &[])?;
        let columns: Vec<String> = columns.iter().map(|row| row.text(0)).collect::<Result<_, _>>()?;
        let holders: Vec<String> = (1..=columns.len()).map(|number| format!("${number}")).collect();
        let (columns, holders) = (columns.join(", "), holders.join(", "));
        to.run(&format!("DELETE FROM {table}"), &[])?;
        let insert = format!("INSERT INTO {table} ({columns}) VALUES ({holders})");
        for row in from.rows(&format!("SELECT {columns} FROM {table}"), &[])? {
            let values = (0..row.width()).map(|at| row.value(at)).collect::<Result<Vec<_>, _>>()?;
            to.run(&insert, &values)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::store;

    #[test]
    fn no_table_is_left_out() {
        let (_folder, store) = store();
        let query =
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'migrations' ORDER BY name";
        let rows = store.read(|db| db.rows(query, &[])).unwrap();
        let mut copied = [&TABLES[..], &ACTING].concat();
        copied.sort_unstable();
        assert_eq!(rows.iter().map(|row| row.text(0).unwrap()).collect::<Vec<_>>(), copied);
    }
}
