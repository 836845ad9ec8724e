//! Copies of a store: page by page between SQLite files, or row by row between any two stores.

use rusqlite::{Connection, backup::Backup};

use crate::{StoreError, migrations::migrate_to_latest, transaction::Tx};

/// Every table except those of plans.
const COPIED_TABLES: [&str; 26] = [
    "accounts",
    "alerts",
    "api_tokens",
    "attestations",
    "audit",
    "confirmed_time",
    "drain_entries",
    "drills",
    "events",
    "id_counters",
    "incidents",
    "keyed_requests",
    "latest_reports",
    "layouts",
    "leases",
    "log_events",
    "log_sources",
    "login_networks",
    "login_sessions",
    "outbox",
    "restores",
    "samples",
    "secrets",
    "silences",
    "snapshots",
    "timeline_entries",
];
/// Plans and archived rows. They may be large, and no rows are added while the disk is full.
const PLAN_TABLES: [&str; 3] = ["archive_batches", "plan_chunks", "plans"];

/// Copies one database over another, as one consistent snapshot.
pub(crate) fn copy_database(from: &Connection, to: &mut Connection) -> Result<(), StoreError> {
    let backup = Backup::new(from, to)?;
    loop {
        // All pages in one step: SQLite restarts the copy whenever the source changes between two steps.
        match backup.step(-1)? {
            rusqlite::backup::StepResult::Done => return Ok(()),
            // Another process holds a lock on either side: try again, after the busy timeout.
            _ => std::thread::yield_now(),
        }
    }
}

/// Replaces the rows of every table except those of plans.
pub(crate) fn copy_rows(from: Tx<'_>, to: Tx<'_>) -> Result<(), StoreError> {
    // The copy may be a new file, which has no tables yet.
    migrate_to_latest(to)?;
    copy_tables(&COPIED_TABLES, from, to)
}

/// Replaces plans and archived rows.
pub(crate) fn copy_plan_rows(from: Tx<'_>, to: Tx<'_>) -> Result<(), StoreError> {
    copy_tables(&PLAN_TABLES, from, to)
}

fn copy_tables(names: &[&str], from: Tx<'_>, to: Tx<'_>) -> Result<(), StoreError> {
    for table in names {
        // The columns of the copy: both have the same schema, and only SQLite has this pragma.
        let columns = to.query_rows(&format!("SELECT name FROM pragma_table_info('{table}')"), &[])?;
        let columns: Vec<String> = columns.iter().map(|row| row.read_text(0)).collect::<Result<_, _>>()?;
        let holders: Vec<String> = (1..=columns.len()).map(|number| format!("${number}")).collect();
        let (columns, holders) = (columns.join(", "), holders.join(", "));
        // Replaced, not merged: the fallback may have deleted rows that the file still holds.
        to.execute(&format!("DELETE FROM {table}"), &[])?;
        let insert = format!("INSERT INTO {table} ({columns}) VALUES ({holders})");
        for row in from.query_rows(&format!("SELECT {columns} FROM {table}"), &[])? {
            let values =
                (0..row.column_count()).map(|at| row.read_as_param(at)).collect::<Result<Vec<_>, _>>()?;
            to.execute(&insert, &values)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::open_file_store;

    #[test]
    fn every_table_is_copied() {
        let (_folder, store) = open_file_store();
        let query =
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'migrations' ORDER BY name";
        let rows = store.read(|db| db.query_rows(query, &[])).unwrap();
        let mut copied = [&COPIED_TABLES[..], &PLAN_TABLES].concat();
        copied.sort_unstable();
        assert_eq!(rows.iter().map(|row| row.read_text(0).unwrap()).collect::<Vec<_>>(), copied);
    }
}
