//! Write sessions on SQLite. Each batch is a transaction that takes the write lock at its start.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rusqlite::{Connection, OpenFlags, hooks::Action, types::ValueRef};
use serde_json::{Value, json};

use super::{
    SQLITE_CAPABILITIES, classify_query_error, query_rows, register_functions, set_deadline, side_effects,
};
use crate::{
    backend::{ChangeOutcome, RowsToRestore, WriteBackend},
    capabilities::Capabilities,
    cells::{self, TextRow},
    decrypted_rows::{ColumnDecl, UnsealedDependents},
    error::TargetError,
    full_rows::{DeletedDependents, DependentRows, FullRows},
    mapping::{RevokeMethod, TableName},
    side_effects::{CascadingTable, SideEffectCatalog},
    sql::{self, Dialect, Mutation, QueryBuilder, ReadRows, RestoreObstacle, RowChange},
    time_limits::TimeLimits,
};

/// A connection that changes rows.
#[derive(Debug)]
pub struct SqliteWrite {
    connection: Connection,
    limits: TimeLimits,
    /// Number of rows changed, by table name in lower case. Tables WITHOUT ROWID are not counted.
    changed_rows: Arc<Mutex<BTreeMap<String, i64>>>,
}

impl SqliteWrite {
    /// Begins a transaction with the write lock.
    fn begin_immediate(&mut self) -> Result<(), TargetError> {
        set_deadline(&mut self.connection, self.limits.timeout)?;
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(|error| classify_query_error(&error))
    }

    fn begin_if_needed(&mut self) -> Result<(), TargetError> {
        if self.connection.is_autocommit() { self.begin_immediate() } else { Ok(()) }
    }

    fn query_rows(&mut self, statement: &str) -> Result<Vec<TextRow>, TargetError> {
        set_deadline(&mut self.connection, self.limits.timeout)?;
        query_rows(&self.connection, statement)
    }

    fn rollback_if_open(&mut self) {
        if !self.connection.is_autocommit() {
            // Closing the connection ends a transaction that cannot be rolled back.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }
}

impl WriteBackend for SqliteWrite {
    type Address = PathBuf;

    async fn open(path: &PathBuf, limits: TimeLimits, key: i64) -> Result<Self, TargetError> {
        if !path.is_file() {
            return Err(TargetError::File("no such file"));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection =
            Connection::open_with_flags(path, flags).map_err(|error| classify_query_error(&error))?;
        register_functions(&connection, key).map_err(|error| classify_query_error(&error))?;
        // SQLite has one write lock per file, which the application holds while writing.
        connection.busy_timeout(limits.lock_timeout).map_err(|error| classify_query_error(&error))?;
        // Without this setting, SQLite ignores ON DELETE actions.
        connection.pragma_update(None, "foreign_keys", true).map_err(|error| classify_query_error(&error))?;
        let changed_rows = Arc::new(Mutex::new(BTreeMap::new()));
        let counter = Arc::clone(&changed_rows);
        let count = move |action: Action, _: &str, table: &str, _: i64| {
            if action != Action::SQLITE_INSERT {
                *lock_mutex(&counter).entry(table.to_lowercase()).or_default() += 1;
            }
        };
        connection.update_hook(Some(count)).map_err(|error| classify_query_error(&error))?;
        Ok(Self { connection, limits, changed_rows })
    }

    fn capabilities(&self) -> &'static Capabilities {
        &SQLITE_CAPABILITIES
    }

    async fn missing_privileges(
        &mut self,
        _: &QueryBuilder<'_>,
        _: RowChange<'_>,
        _: &[CascadingTable],
    ) -> Result<Vec<String>, TargetError> {
        // Taking the write lock proves that the file is writable.
        self.begin_immediate()?;
        self.rollback_if_open();
        Ok(vec![])
    }

    async fn restorable_columns(&mut self, table: &TableName) -> Result<Vec<ColumnDecl>, TargetError> {
        let table = sql::quote_string(Dialect::SQLITE, &table.name);
        // pragma_table_info omits generated and hidden columns.
        let rows = self.query_rows(&format!("SELECT name, type FROM pragma_table_info({table})"))?;
        let column = |row: TextRow| {
            let text = |at: usize| cells::required_text(&row, at, "a column");
            Ok(ColumnDecl { name: text(0)?.to_owned(), kind: text(1)?.to_owned() })
        };
        rows.into_iter().map(column).collect()
    }

    async fn read_side_effects(&mut self) -> Result<SideEffectCatalog, TargetError> {
        side_effects::read_catalog(|query| self.query_rows(query))
    }

    async fn has_side_effects(
        &mut self,
        _: &QueryBuilder<'_>,
        _: RowChange<'_>,
    ) -> Result<bool, TargetError> {
        // Rows are counted by the update hook at no cost, so no catalog query is needed.
        Ok(true)
    }

    async fn begin_transaction(&mut self) -> Result<Option<i64>, TargetError> {
        // The transaction begins with the first statement that changes rows.
        Ok(None)
    }

    async fn fetch_rows(&mut self, statement: &str) -> Result<Vec<TextRow>, TargetError> {
        self.query_rows(statement)
    }

    async fn read_full_rows(&mut self, query: &str) -> Result<FullRows, TargetError> {
        tracing::debug!("query: {}", sql::redact_literals(query));
        set_deadline(&mut self.connection, self.limits.timeout)?;
        let mut statement = self.connection.prepare(query).map_err(|error| classify_query_error(&error))?;
        let width = statement.column_count();
        let mut rows = statement.query([]).map_err(|error| classify_query_error(&error))?;
        let mut whole = FullRows::default();
        while let Some(row) = rows.next().map_err(|error| classify_query_error(&error))? {
            let number = |at: usize| row.get::<_, i64>(at).map_err(|error| classify_query_error(&error));
            let mut head = String::new();
            for at in 0..3 {
                // Writing to a String cannot fail.
                let _ = write!(head, "{}\t", number(at)?);
            }
            whole.push(head.as_bytes());
            let cells =
                (3..width).map(|at| row.get_ref(at).map(cell_json)).collect::<Result<Vec<Value>, _>>();
            let mut line = zeroize::Zeroizing::new(
                serde_json::to_vec(&cells.map_err(|error| classify_query_error(&error))?)
                    .map_err(|_| TargetError::Query("unexpected value".into()))?,
            );
            line.push(b'\n');
            whole.push(&line);
        }
        Ok(whole)
    }

    async fn change_rows(
        &mut self,
        sql: &QueryBuilder<'_>,
        mutation: Mutation<'_>,
        read: ReadRows<'_>,
        _: bool,
    ) -> Result<ChangeOutcome, TargetError> {
        self.begin_if_needed()?;
        let statement = sql.change_one_statement(mutation, read.columns);
        let mut statement =
            self.connection.prepare_cached(&statement).map_err(|error| classify_query_error(&error))?;
        let mut changed = Vec::with_capacity(read.rows.len());
        for row in read.rows {
            let count = statement.execute([row.locator.cast_signed(), row.version]);
            match count.map_err(|error| classify_query_error(&error))? {
                0 => changed.push(false),
                1 => changed.push(true),
                // More than one row can match only if rows are located by hash.
                _ => return Ok(ChangeOutcome::MoreThanRead),
            }
        }
        Ok(ChangeOutcome::Rows(changed))
    }

    async fn changed_row_count(&mut self, sql: &QueryBuilder<'_>) -> Result<i64, TargetError> {
        self.begin_if_needed()?;
        let name = &sql.mapping.sessions.name;
        if sql.has_rowid() {
            return Ok(lock_mutex(&self.changed_rows).get(&name.to_lowercase()).copied().unwrap_or(0));
        }
        // The update hook does not fire for WITHOUT ROWID tables, so the rows are counted.
        let rows =
            self.query_rows(&format!("SELECT -COUNT(*) FROM {}", sql::quote_table(&sql.mapping.sessions)))?;
        cells::parse_only_number(&rows, "a row count")
    }

    async fn delete_dependents(
        &mut self,
        sql: &QueryBuilder<'_>,
        dependent: &CascadingTable,
        rows: &DependentRows,
        read: ReadRows<'_>,
    ) -> Result<DeletedDependents, TargetError> {
        self.begin_if_needed()?;
        let mut deleted = DeletedDependents::default();
        for statement in sql.delete_dependents_statements(dependent, &rows.row_hashes(), read) {
            deleted.count +=
                self.connection.execute(&statement, []).map_err(|error| classify_query_error(&error))? as u64;
        }
        // This transaction holds the write lock, so no other connection can add rows.
        for query in sql.count_dependents_queries(dependent, read) {
            let left: i64 = self
                .connection
                .query_row(&query, [], |row| row.get(0))
                .map_err(|error| classify_query_error(&error))?;
            deleted.has_others |= left > 0;
        }
        Ok(deleted)
    }

    async fn restore_rows(
        &mut self,
        sql: &QueryBuilder<'_>,
        rows: RowsToRestore<'_>,
    ) -> Result<Vec<Option<RestoreObstacle>>, TargetError> {
        self.begin_if_needed()?;
        let RowsToRestore { batch, requested, .. } = rows;
        let (columns, change) = (&batch.header.columns, &batch.header.change);
        let statement = rows.restore_statement(sql);
        let asked = (*change == RevokeMethod::Delete).then(|| sql.obstacle_query(columns));
        let prepare = |sql: &str| self.connection.prepare(sql).map_err(|error| classify_query_error(&error));
        let (mut statement, mut asked) = (prepare(&statement)?, asked.as_deref().map(prepare).transpose()?);
        let parameters = statement.parameter_count();
        // The second statement finds the obstacle for a row that was not restored.
        let one = |(at, _): &(usize, i64)| {
            let values = batch.row(*at).iter().take(parameters);
            let back = statement.execute(rusqlite::params_from_iter(values));
            if back.map_err(|error| classify_query_error(&error))? > 0 {
                return Ok(None);
            }
            let Some(asked) = &mut asked else { return Ok(Some(RestoreObstacle::Refused)) };
            let values = batch.row(*at).iter().take(asked.parameter_count());
            let found =
                asked.query_row(rusqlite::params_from_iter(values), |row| row.get::<_, Option<String>>(0));
            let found = found.map_err(|error| classify_query_error(&error))?;
            let Some(found) = found else { return Ok(Some(RestoreObstacle::Refused)) };
            RestoreObstacle::parse(&found).map(Some).ok_or(TargetError::Undecodable("a restored row"))
        };
        requested.iter().map(one).collect()
    }

    async fn restore_dependents(
        &mut self,
        sql: &QueryBuilder<'_>,
        rows: &UnsealedDependents,
        row_indexes: &[usize],
    ) -> Result<Vec<usize>, TargetError> {
        use rusqlite::{Error::SqliteFailure, ErrorCode::ConstraintViolation};
        self.begin_if_needed()?;
        let mut statement = self
            .connection
            .prepare(&sql.restore_dependents_statement(&rows.table))
            .map_err(|error| classify_query_error(&error))?;
        let mut refused = Vec::new();
        for at in row_indexes {
            match statement.execute(rusqlite::params_from_iter(rows.row(*at).iter())) {
                Ok(1) => {}
                Ok(_) => refused.push(*at),
                // A violated constraint concerns this row only; the transaction goes on.
                Err(SqliteFailure(failure, _)) if failure.code == ConstraintViolation => refused.push(*at),
                Err(error) => return Err(classify_query_error(&error)),
            }
        }
        Ok(refused)
    }

    async fn commit(&mut self) -> Result<(), TargetError> {
        if self.connection.is_autocommit() {
            return Ok(());
        }
        self.connection.execute_batch("COMMIT").map_err(|error| classify_query_error(&error))
    }

    async fn rollback(&mut self) {
        self.rollback_if_open();
    }
}

fn lock_mutex<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Encodes a value as JSON with its type, since each value in SQLite has its own.
fn cell_json(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => json!(number),
        // Bits are exact: JSON numbers may lose precision and cannot express infinity.
        ValueRef::Real(number) => json!({ "real": number.to_bits() }),
        ValueRef::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => json!(text),
            Err(_) => json!({ "text": text }),
        },
        ValueRef::Blob(bytes) => json!({ "blob": bytes }),
    }
}

#[cfg(test)]
mod tests;
