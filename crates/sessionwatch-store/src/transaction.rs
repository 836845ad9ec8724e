//! Transactions: the same SQL text for SQLite and PostgreSQL. Parameters are `$1`, `$2` and so on; types are `BIGINT`,
//! `TEXT` and `BYTEA`. Row ids are assigned here, because the databases generate them differently.

use rusqlite::types::ValueRef;

use crate::{
    StoreError,
    postgres_store::PgStore,
    row::{Param, QueryOrigin, StoreRow, StoreValue},
};

/// The body of a transaction.
pub(crate) type TransactionBody<'a> = dyn FnMut(Tx<'_>) -> Result<(), StoreError> + 'a;

/// An open transaction.
#[derive(Clone, Copy, Debug)]
pub enum Tx<'a> {
    /// On a SQLite file.
    Sqlite(&'a rusqlite::Connection),
    /// On a PostgreSQL server.
    Postgres(&'a PgStore),
}

impl Tx<'_> {
    /// Returns `true` for a database in memory, such as the fallback while the disk is full.
    #[must_use]
    pub fn is_in_memory(self) -> bool {
        // A database in memory has an empty path in SQLite.
        matches!(self, Self::Sqlite(connection) if connection.path().is_none_or(str::is_empty))
    }

    /// Runs a statement. Returns the number of rows changed.
    ///
    /// # Errors
    ///
    /// If the database rejects the statement.
    pub fn execute(self, sql: &str, values: &[Param<'_>]) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(connection) => {
                // Cached, since the same few statements run with every check run.
                let mut statement = connection.prepare_cached(sql)?;
                bind_params(&mut statement, values)?;
                Ok(statement.raw_execute()? as u64)
            }
            Self::Postgres(remote) => remote.execute(sql, values),
        }
    }

    /// Returns the rows of a query.
    ///
    /// # Errors
    ///
    /// If the database rejects the statement.
    pub fn query_rows(self, sql: &str, values: &[Param<'_>]) -> Result<Vec<StoreRow>, StoreError> {
        let connection = match self {
            Self::Sqlite(connection) => connection,
            Self::Postgres(remote) => return remote.query_rows(sql, values),
        };
        let mut statement = connection.prepare_cached(sql)?;
        bind_params(&mut statement, values)?;
        let query = QueryOrigin::new(sql, statement.column_names().map(str::to_owned).collect());
        let width = statement.column_count();
        // Rows are copied out, because they borrow from the statement that is stepped.
        let (mut found, mut rows) = (Vec::new(), statement.raw_query());
        while let Some(row) = rows.next()? {
            let cells = (0..width).map(|at| Ok::<_, StoreError>(value_from_sqlite(row.get_ref(at)?)));
            found.push(StoreRow::new(cells.collect::<Result<_, _>>()?, &query));
        }
        Ok(found)
    }

    /// Returns the first row of a query, or `None` if there are no rows.
    ///
    /// # Errors
    ///
    /// If the database rejects the statement.
    pub fn query_row(self, sql: &str, values: &[Param<'_>]) -> Result<Option<StoreRow>, StoreError> {
        Ok(self.query_rows(sql, values)?.into_iter().next())
    }

    /// Returns the number in the first column of the first row.
    pub(super) fn query_count(self, sql: &str, values: &[Param<'_>]) -> Result<u64, StoreError> {
        self.query_row(sql, values)?.map_or(Ok(0), |row| row.read_u64(0))
    }

    /// Runs several statements without parameters.
    ///
    /// # Errors
    ///
    /// If the database rejects one of them.
    pub(super) fn execute_batch(self, sql: &str) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(connection) => Ok(connection.execute_batch(sql)?),
            Self::Postgres(remote) => remote.execute_batch(sql),
        }
    }

    /// Returns the id for the next row of a table. An id is never given again, even if its row is deleted: people saw
    /// it, and the audit log names it.
    pub(super) fn next_id(self, table: &str) -> Result<i64, StoreError> {
        // Writers are serialized, so no two transactions get the same id.
        let query = format!(
            "INSERT INTO id_counters (name, last_id) VALUES ($1, (SELECT COALESCE(MAX(id), 0) + 1 FROM {table}))
             ON CONFLICT (name) DO UPDATE SET last_id = CASE WHEN excluded.last_id > id_counters.last_id
               THEN excluded.last_id ELSE id_counters.last_id + 1 END
             RETURNING last_id"
        );
        let row = self.query_row(&query, &[table.into()])?;
        let missing = || StoreError::Undecodable { table: "id_counters".into(), column: "last_id".into() };
        row.ok_or_else(missing)?.read_i64(0)
    }
}

fn bind_params(statement: &mut rusqlite::Statement<'_>, values: &[Param<'_>]) -> Result<(), StoreError> {
    for (number, value) in (1..).zip(values) {
        // A statement may not use every parameter of a list that both databases share.
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
        // The schema has no column of this type, so it is undecodable and not rounded.
        ValueRef::Real(_) => StoreValue::Other,
        // SQLite does not validate the encoding of texts.
        ValueRef::Text(text) => String::from_utf8(text.to_vec()).map_or(StoreValue::Other, StoreValue::Text),
        ValueRef::Blob(bytes) => StoreValue::Bytes(bytes.to_vec()),
    }
}
