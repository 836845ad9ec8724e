//! Work on a SQLite connection: write transactions, and checks of which tables a file holds.

use rusqlite::{Connection, TransactionBehavior};

use crate::{StoreError, transaction::Tx};

pub(crate) fn with_transaction<T>(
    connection: &mut Connection,
    work: impl FnOnce(Tx<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    // Takes the write lock at once: a deferred transaction could fail with SQLITE_BUSY when its first write comes.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let outcome = work(Tx::Sqlite(&transaction))?;
    transaction.commit()?;
    Ok(outcome)
}

/// Returns `true` if a database holds tables, but not those of a store.
pub(crate) fn is_foreign_database(connection: &Connection) -> Result<bool, StoreError> {
    // Two of our tables, because a foreign database may have one of these common names.
    let query = "SELECT COUNT(*) > 0 AND COUNT(*) FILTER (WHERE name IN ('migrations', 'audit')) < 2
                 FROM sqlite_schema WHERE type = 'table'";
    Ok(connection.query_row(query, [], |row| row.get(0))?)
}

/// Returns `true` if a database holds no table. A store never does: its tables are created before the file gets its
/// name.
pub(crate) fn has_no_tables(connection: &Connection) -> Result<bool, StoreError> {
    let query = "SELECT COUNT(*) = 0 FROM sqlite_schema WHERE type = 'table'";
    Ok(connection.query_row(query, [], |row| row.get(0))?)
}
