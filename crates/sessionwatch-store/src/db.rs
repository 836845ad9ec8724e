//! What the tables speak to: the same SQL text for SQLite and PostgreSQL. Parameters are `$1` and so on, types are
//! `BIGINT`, `TEXT` and `BYTEA`, and numbers of rows are given here, since the databases count each in their own way.

use rusqlite::types::ValueRef;

use crate::{
    StoreError,
    remote::Remote,
    row::{Cell, Query, Row, Value},
};

/// What is done in a transaction.
pub(crate) type Work<'a> = dyn FnMut(Db<'_>) -> Result<(), StoreError> + 'a;

/// A store inside a transaction.
#[derive(Clone, Copy, Debug)]
pub enum Db<'a> {
    /// A file.
    File(&'a rusqlite::Connection),
    /// A server.
    Server(&'a Remote),
}

impl Db<'_> {
    /// Returns `true` if what is written is in memory only, because the disk is full.
    #[must_use]
    pub fn is_in_memory(self) -> bool {
        matches!(self, Self::File(connection) if connection.path().is_none_or(str::is_empty))
    }

    /// Runs a statement: how many rows it changed.
    ///
    /// # Errors
    ///
    /// If the database refuses it.
    pub fn run(self, sql: &str, values: &[Value<'_>]) -> Result<u64, StoreError> {
        match self {
            Self::File(connection) => {
                let mut statement = connection.prepare_cached(sql)?;
                bind(&mut statement, values)?;
                Ok(statement.raw_execute()? as u64)
            }
            Self::Server(remote) => remote.run(sql, values),
        }
    }

    /// The rows of a query.
    ///
    /// # Errors
    ///
    /// If the database refuses it.
    pub fn rows(self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        let connection = match self {
            Self::File(connection) => connection,
            Self::Server(remote) => return remote.rows(sql, values),
        };
        let mut statement = connection.prepare_cached(sql)?;
        bind(&mut statement, values)?;
        let query = Query::new(sql, statement.column_names().map(str::to_owned).collect());
        let width = statement.column_count();
        let (mut found, mut rows) = (Vec::new(), statement.raw_query());
        while let Some(row) = rows.next()? {
            let cells = (0..width).map(|at| Ok::<_, StoreError>(cell(row.get_ref(at)?)));
            found.push(Row::new(cells.collect::<Result<_, _>>()?, &query));
        }
        Ok(found)
    }

    /// The first row of a query.
    ///
    /// # Errors
    ///
    /// If the database refuses it.
    pub fn row(self, sql: &str, values: &[Value<'_>]) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(sql, values)?.into_iter().next())
    }

    /// Runs statements that follow each other, without parameters.
    ///
    /// # Errors
    ///
    /// If the database refuses one.
    pub(super) fn script(self, sql: &str) -> Result<(), StoreError> {
        match self {
            Self::File(connection) => Ok(connection.execute_batch(sql)?),
            Self::Server(remote) => remote.script(sql),
        }
    }

    /// The number for the next row of a table. Writers wait for each other, so no two get the same.
    pub(super) fn next_id(self, table: &str) -> Result<i64, StoreError> {
        let last = self.row(&format!("SELECT MAX(id) FROM {table}"), &[])?;
        Ok(last.map_or(Ok(None), |row| row.maybe_int(0))?.unwrap_or(0) + 1)
    }
}

fn bind(statement: &mut rusqlite::Statement<'_>, values: &[Value<'_>]) -> Result<(), StoreError> {
    for (number, value) in (1..).zip(values) {
        // Not every statement has every parameter where both databases share a list of them.
        if let Some(at) = statement.parameter_index(&format!("${number}"))? {
            statement.raw_bind_parameter(at, value)?;
        }
    }
    Ok(())
}

fn cell(value: ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) => Cell::Int(number),
        ValueRef::Real(_) => Cell::Other,
        ValueRef::Text(text) => String::from_utf8(text.to_vec()).map_or(Cell::Other, Cell::Text),
        ValueRef::Blob(bytes) => Cell::Bytes(bytes.to_vec()),
    }
}
