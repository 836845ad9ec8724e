//! What is done with any SQLite database of a store: transactions, what is in a file, and copies.

use rusqlite::{Connection, TransactionBehavior};

use crate::{StoreError, transaction::Tx};

pub(crate) fn with_transaction<T>(
    connection: &mut Connection,
    work: impl FnOnce(Tx<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    // Taken at once, so that two writers wait for each other instead of failing halfway.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let outcome = work(Tx::Sqlite(&transaction))?;
    transaction.commit()?;
    Ok(outcome)
}

/// Returns `true` if a file holds tables, and they are not those of a store.
pub(crate) fn is_foreign_database(connection: &Connection) -> Result<bool, StoreError> {
    let query = "SELECT COUNT(*) > 0 AND COUNT(*) FILTER (WHERE name IN ('migrations', 'audit')) < 2
                 FROM sqlite_schema WHERE type = 'table'";
    Ok(connection.query_row(query, [], |row| row.get(0))?)
}

/// Returns `true` if a file holds no table. A store has tables before its file has a name.
pub(crate) fn has_no_tables(connection: &Connection) -> Result<bool, StoreError> {
    let query = "SELECT COUNT(*) = 0 FROM sqlite_schema WHERE type = 'table'";
    Ok(connection.query_row(query, [], |row| row.get(0))?)
}
