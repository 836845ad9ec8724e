//! What the tables speak to: the same SQL text for SQLite and PostgreSQL. Parameters are `$1` and so on, types are
//! `BIGINT`, `TEXT` and `BYTEA`, and numbers of rows are given here, since the databases count each in their own way.

use rusqlite::types::ValueRef;

use crate::{
    StoreError,
    postgres::PgStore,
    row::{Param, QueryOrigin, StoreRow, StoreValue},
};

/// What is done in a transaction.
pub(crate) type TransactionBody<'a> = dyn FnMut(Tx<'_>) -> Result<(), StoreError> + 'a;

/// A store inside a transaction.
#[derive(Clone, Copy, Debug)]
pub enum Tx<'a> {
    /// A file.
    Sqlite(&'a rusqlite::Connection),
    /// A server.
    Postgres(&'a PgStore),
}

impl Tx<'_> {
    /// Returns `true` if what is written is in memory only, because the disk is full.
    #[must_use]
    pub fn is_in_memory(self) -> bool {
        matches!(self, Self::Sqlite(connection) if connection.path().is_none_or(str::is_empty))
    }

    /// Runs a statement: how many rows it changed.
    ///
    /// # Errors
    ///
    /// If the database refuses it.
    pub fn execute(self, sql: &str, values: &[Param<'_>]) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(sql)?;
                bind_params(&mut statement, values)?;
                Ok(statement.raw_execute()? as u64)
            }
            Self::Postgres(remote) => remote.execute(sql, values),
        }
    }

    /// The rows of a query.
    ///
    /// # Errors
    ///
    /// If the database refuses it.
    pub fn query_rows(self, sql: &str, values: &[Param<'_>]) -> Result<Vec<StoreRow>, StoreError> {
        let connection = match self {
            Self::Sqlite(connection) => connection,
            Self::Postgres(remote) => return remote.query_rows(sql, values),
        };
        let mut statement = connection.prepare_cached(sql)?;
        bind_params(&mut statement, values)?;
        let query = QueryOrigin::new(sql, statement.column_names().map(str::to_owned).collect());
        let width = statement.column_count();
        let (mut found, mut rows) = (Vec::new(), statement.raw_query());
        while let Some(row) = rows.next()? {
            let cells = (0..width).map(|at| Ok::<_, StoreError>(value_from_sqlite(row.get_ref(at)?)));
            found.push(StoreRow::new(cells.collect::<Result<_, _>>()?, &query));
        }
        Ok(found)
    }

    /// The first row of a query.
    ///
    /// # Errors
    ///
    /// If the database refuses it.
    pub fn query_row(self, sql: &str, values: &[Param<'_>]) -> Result<Option<StoreRow>, StoreError> {
        Ok(self.query_rows(sql, values)?.into_iter().next())
    }

    /// Runs statements that follow each other, without parameters.
    ///
    /// # Errors
    ///
    /// If the database refuses one.
    pub(super) fn execute_batch(self, sql: &str) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(connection) => Ok(connection.execute_batch(sql)?),
            Self::Postgres(remote) => remote.execute_batch(sql),
        }
    }

    /// The number for the next row of a table. Writers wait for each other, so no two get the same.
    pub(super) fn next_id(self, table: &str) -> Result<i64, StoreError> {
        let last = self.query_row(&format!("SELECT MAX(id) FROM {table}"), &[])?;
        Ok(last.map_or(Ok(None), |row| row.read_optional_i64(0))?.unwrap_or(0) + 1)
    }
}

fn bind_params(statement: &mut rusqlite::Statement<'_>, values: &[Param<'_>]) -> Result<(), StoreError> {
    for (number, value) in (1..).zip(values) {
        // Not every statement has every parameter where both databases share a list of them.
        if let Some(at) = statement.parameter_index(&format!("${number}"))? {
            statement.raw_bind_parameter(at, value)?;
        }
    }
    Ok(())
}

fn value_from_sqlite(value: ValueRef<'_>) -> StoreValue {
    match value {
        ValueRef::Null => StoreValue::Null,
        ValueRef::Integer(number) => StoreValue::Int(number),
        ValueRef::Real(_) => StoreValue::Other,
        ValueRef::Text(text) => String::from_utf8(text.to_vec()).map_or(StoreValue::Other, StoreValue::Text),
        ValueRef::Blob(bytes) => StoreValue::Bytes(bytes.to_vec()),
    }
}
