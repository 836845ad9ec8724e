//! Acting on SQLite: the file is open for writing, and each batch is a transaction that takes the writers' lock at once.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rusqlite::{Connection, OpenFlags, hooks::Action, types::ValueRef};
use serde_json::{Value, json};

use super::{limit, query_error, register, rows};
use crate::{
    profile::{mapping::TableName, schema::Dialect},
    target::{
        error::TargetError,
        full_rows::FullRows,
        limits::Limits,
        sql::{self, Obstacle, RowVersion, Sql},
        unsealed_rows::{ColumnDecl, UnsealedDependents, UnsealedRows},
        write_session::Changed,
    },
};

/// A connection for acting.
#[derive(Debug)]
pub struct SqliteWrite {
    connection: Connection,
    limits: Limits,
    /// Rows that were changed, by the name of their table in lower case; tables without `rowid` are not counted.
    changed: Arc<Mutex<BTreeMap<String, i64>>>,
}

impl SqliteWrite {
    /// Opens the file.
    ///
    /// # Errors
    ///
    /// If the file is missing or not a database.
    pub(in crate::target) fn open(path: &Path, limits: Limits, key: i64) -> Result<Self, TargetError> {
        if !path.is_file() {
            return Err(TargetError::File("there is no such file"));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(|error| query_error(&error))?;
        register(&connection, key).map_err(|error| query_error(&error))?;
        connection.busy_timeout(limits.lock_timeout).map_err(|error| query_error(&error))?;
        // What refers to a session goes with it, as the schema says.
        connection.pragma_update(None, "foreign_keys", true).map_err(|error| query_error(&error))?;
        let changed = Arc::new(Mutex::new(BTreeMap::new()));
        let counter = Arc::clone(&changed);
        let count = move |action: Action, _: &str, table: &str, _: i64| {
            if action != Action::SQLITE_INSERT {
                *lock(&counter).entry(table.to_lowercase()).or_default() += 1;
            }
        };
        connection.update_hook(Some(count)).map_err(|error| query_error(&error))?;
        Ok(Self { connection, limits, changed })
    }

    pub(in crate::target) fn writable(&mut self) -> Result<(), TargetError> {
        self.start()?;
        self.rollback();
        Ok(())
    }

    /// Takes the writers' lock.
    fn start(&mut self) -> Result<(), TargetError> {
        limit(&mut self.connection, self.limits.timeout)?;
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(|error| query_error(&error))
    }

    pub(in crate::target) fn whole(&mut self, query: &str) -> Result<FullRows, TargetError> {
        tracing::debug!("query: {}", crate::target::sql::without_values(query));
        limit(&mut self.connection, self.limits.timeout)?;
        let mut statement = self.connection.prepare(query).map_err(|error| query_error(&error))?;
        let width = statement.column_count();
        let mut rows = statement.query([]).map_err(|error| query_error(&error))?;
        let mut whole = FullRows::default();
        while let Some(row) = rows.next().map_err(|error| query_error(&error))? {
            let number = |at: usize| row.get::<_, i64>(at).map_err(|error| query_error(&error));
            let mut head = String::new();
            for at in 0..3 {
                // Writing to a String cannot fail.
                let _ = write!(head, "{}\t", number(at)?);
            }
            whole.push(head.as_bytes());
            let cells = (3..width).map(|at| row.get_ref(at).map(cell)).collect::<Result<Vec<Value>, _>>();
            let mut line = zeroize::Zeroizing::new(
                serde_json::to_vec(&cells.map_err(|error| query_error(&error))?)
                    .map_err(|_| TargetError::Query("unexpected value".into()))?,
            );
            line.push(b'\n');
            whole.push(&line);
        }
        Ok(whole)
    }

    pub(in crate::target) fn change(
        &mut self,
        statement: &str,
        read: &[RowVersion],
    ) -> Result<Changed, TargetError> {
        self.start_if_needed()?;
        let mut statement = self.connection.prepare_cached(statement).map_err(|error| query_error(&error))?;
        let mut changed = Vec::with_capacity(read.len());
        for row in read {
            let count = statement.execute([row.locator.cast_signed(), row.version]);
            match count.map_err(|error| query_error(&error))? {
                0 => changed.push(false),
                1 => changed.push(true),
                _ => return Ok(Changed::MoreThanRead),
            }
        }
        Ok(Changed::Rows(changed))
    }

    /// Rows of the sessions that were changed so far, by statements, triggers and foreign keys.
    pub(in crate::target) fn changed_so_far(&mut self, sql: &Sql<'_>) -> Result<i64, TargetError> {
        self.start_if_needed()?;
        let name = &sql.mapping.sessions.name;
        if sql.has_rowid() {
            return Ok(lock(&self.changed).get(&name.to_lowercase()).copied().unwrap_or(0));
        }
        let rows = self.fetch(&format!("SELECT -COUNT(*) FROM {}", sql::table(&sql.mapping.sessions)))?;
        let count = rows.first().and_then(|row| row.first()?.as_deref()?.parse().ok());
        count.ok_or_else(|| TargetError::Query("count".into()))
    }

    /// Deletes rows: how many, or one more if any are left that the other statements count.
    pub(in crate::target) fn delete(
        &mut self,
        statements: &[String],
        left: &[String],
    ) -> Result<u64, TargetError> {
        self.start_if_needed()?;
        let mut deleted = 0;
        for statement in statements {
            deleted += self.connection.execute(statement, []).map_err(|error| query_error(&error))? as u64;
        }
        for query in left {
            let rows: i64 = self
                .connection
                .query_row(query, [], |row| row.get(0))
                .map_err(|error| query_error(&error))?;
            deleted += u64::from(rows > 0);
        }
        Ok(deleted)
    }

    /// Restores rows of a dependent table one by one.
    pub(in crate::target) fn restore_dependents(
        &mut self,
        statement: &str,
        rows: &UnsealedDependents,
        wanted: &[usize],
    ) -> Result<Vec<usize>, TargetError> {
        use rusqlite::{Error::SqliteFailure, ErrorCode::ConstraintViolation};
        self.start_if_needed()?;
        let mut statement = self.connection.prepare(statement).map_err(|error| query_error(&error))?;
        let mut refused = Vec::new();
        for at in wanted {
            match statement.execute(rusqlite::params_from_iter(rows.row(*at).iter())) {
                Ok(1) => {}
                Ok(_) => refused.push(*at),
                Err(SqliteFailure(failure, _)) if failure.code == ConstraintViolation => refused.push(*at),
                Err(error) => return Err(query_error(&error)),
            }
        }
        Ok(refused)
    }

    fn start_if_needed(&mut self) -> Result<(), TargetError> {
        if self.connection.is_autocommit() { self.start() } else { Ok(()) }
    }

    /// Puts rows back one by one. The second statement says what is in the way of one that is not back.
    pub(in crate::target) fn put_back(
        &mut self,
        statement: &str,
        asked: Option<&str>,
        rows: &UnsealedRows,
        wanted: &[(usize, i64)],
    ) -> Result<Vec<Option<Obstacle>>, TargetError> {
        self.start_if_needed()?;
        let prepare = |sql: &str| self.connection.prepare(sql).map_err(|error| query_error(&error));
        let (mut statement, mut asked) = (prepare(statement)?, asked.map(prepare).transpose()?);
        let holders = statement.parameter_count();
        let one = |(at, _): &(usize, i64)| {
            let values = rows.row(*at).iter().take(holders);
            let back = statement.execute(rusqlite::params_from_iter(values));
            if back.map_err(|error| query_error(&error))? > 0 {
                return Ok(None);
            }
            let Some(asked) = &mut asked else { return Ok(Some(Obstacle::Refused)) };
            let values = rows.row(*at).iter().take(asked.parameter_count());
            let found =
                asked.query_row(rusqlite::params_from_iter(values), |row| row.get::<_, Option<String>>(0));
            let found = found.map_err(|error| query_error(&error))?;
            Ok(Some(found.as_deref().and_then(Obstacle::parse).unwrap_or(Obstacle::Refused)))
        };
        wanted.iter().map(one).collect()
    }

    pub(in crate::target) fn fetch(
        &mut self,
        statement: &str,
    ) -> Result<Vec<Vec<Option<String>>>, TargetError> {
        limit(&mut self.connection, self.limits.timeout)?;
        rows(&self.connection, statement)
    }

    pub(in crate::target) fn commit(&mut self) -> Result<(), TargetError> {
        if self.connection.is_autocommit() {
            return Ok(());
        }
        self.connection.execute_batch("COMMIT").map_err(|error| query_error(&error))
    }

    pub(in crate::target) fn rollback(&mut self) {
        if !self.connection.is_autocommit() {
            // A transaction that cannot even be undone ends with the connection.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }

    pub(in crate::target) fn columns(&mut self, table: &TableName) -> Result<Vec<ColumnDecl>, TargetError> {
        let table = sql::string(Dialect::Sqlite, &table.name);
        // Generated and hidden columns are not in that list.
        let rows = self.fetch(&format!("SELECT name, type FROM pragma_table_info({table})"))?;
        let column = |row: Vec<Option<String>>| {
            let mut cells = row.into_iter();
            Some(ColumnDecl { name: cells.next()??, kind: cells.next().flatten().unwrap_or_default() })
        };
        Ok(rows.into_iter().filter_map(column).collect())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A value with its type, which in SQLite each has for itself.
fn cell(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => json!(number),
        // Its bits, since not every number can be written exactly, and some not at all.
        ValueRef::Real(number) => json!({ "real": number.to_bits() }),
        ValueRef::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => json!(text),
            Err(_) => json!({ "text": text }),
        },
        ValueRef::Blob(bytes) => json!({ "blob": bytes }),
    }
}
