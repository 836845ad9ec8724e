//! Read sessions on SQLite: a file opened read-only, in one transaction.

use std::{convert::Infallible, path::PathBuf};

use rusqlite::{Batch, Connection, OpenFlags, fallible_iterator::FallibleIterator as _, types::ValueRef};
use sessionwatch_core::{
    row_addresses::RowAddressRef,
    snapshot::{SessionRow, SessionSnapshot, SnapshotBuilder, SnapshotOptions, UserIdRef},
    timestamp::UtcTimestamp,
    timestamp_decoder::DecodedTime,
};

use super::{
    SQLITE_CAPABILITIES, classify_query_error, raw_value, read_transaction::SqliteRead, register_functions,
    schema, set_deadline, side_effects,
};
use crate::{
    backend::{BufferedRows, CustomValue, IdleBackend, ReadBackend, ReadOptions, RowKeySupport, ServerInfo},
    capabilities::Capabilities,
    cells::{self, TextRow},
    error::TargetError,
    mapping::TableName,
    scan_progress::{RowCounter, ScanProgress},
    side_effects::SideEffectCatalog,
    sql::{QueryBuilder, RowAddressing, RowKeyKind, database_schema::DatabaseSchema, table_info::TableInfo},
    time_limits::TimeLimits,
};

/// SQLite keeps no connection between two transactions.
impl IdleBackend for Infallible {
    async fn close(self) {
        match self {}
    }
}

impl ReadBackend for SqliteRead {
    type Address = PathBuf;
    type Idle = Infallible;

    async fn open(path: &PathBuf, options: ReadOptions) -> Result<Self, TargetError> {
        let ReadOptions { limits, fingerprint_key, .. } = options;
        if !path.is_file() {
            return Err(TargetError::File("no such file"));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection =
            // Read-only at the file level; `query_only` also covers attached databases.
            Connection::open_with_flags(path, flags).map_err(|error| classify_query_error(&error))?;
        register_functions(&connection, fingerprint_key).map_err(|error| classify_query_error(&error))?;
        connection.busy_timeout(limits.lock_timeout).map_err(|error| classify_query_error(&error))?;
        set_deadline(&mut connection, limits.timeout)?;
        // Reading the schema starts the transaction at once and fails early if the file is no database.
        let opening = "PRAGMA query_only = ON; BEGIN; SELECT COUNT(*) FROM sqlite_schema;";
        connection.execute_batch(opening).map_err(|error| classify_query_error(&error))?;
        Ok(Self { connection, progress: None })
    }

    async fn resume_connection(idle: Infallible, _: &PathBuf, _: TimeLimits) -> Result<Self, TargetError> {
        match idle {}
    }

    async fn release(self) -> Option<Infallible> {
        None
    }

    async fn close(self) {}

    async fn cancel_and_close(self) {}

    fn capabilities(&self) -> &'static Capabilities {
        &SQLITE_CAPABILITIES
    }

    fn set_progress(&mut self, progress: Option<ScanProgress>) {
        self.progress = progress;
    }

    async fn server_time(&self) -> Result<UtcTimestamp, TargetError> {
        // A file has no clock; the application uses the same machine's.
        Ok(sessionwatch_clock::now())
    }

    async fn describe_schema(&self) -> Result<DatabaseSchema, TargetError> {
        schema::read_schema(self)
    }

    async fn fetch_rows(&self, sql: &str) -> Result<Vec<TextRow>, TargetError> {
        self.query_rows(sql)
    }

    async fn try_fetch_number(&self, sql: &str) -> Result<Option<u64>, TargetError> {
        match self.query_rows(sql) {
            Ok(rows) => cells::parse_only_optional_number(&rows, "a number"),
            Err(TargetError::Query(_)) => Ok(None),
            // After a timeout or on a damaged file, every further query would fail as well.
            Err(error) => Err(error),
        }
    }

    async fn open_cursor(&self, sql: &str) -> Result<BufferedRows, TargetError> {
        self.query_rows(sql).map(BufferedRows::from_rows)
    }

    async fn next_page(&self, pages: &mut BufferedRows) -> Result<Vec<TextRow>, TargetError> {
        Ok(pages.take_page())
    }

    async fn scan_sessions(
        &self,
        sql: &QueryBuilder<'_>,
        options: SnapshotOptions,
    ) -> Result<SessionSnapshot, TargetError> {
        let mut builder = SnapshotBuilder::new(options, 0);
        let mut progress = RowCounter::new(self.progress.as_ref(), 0);
        let mut statement =
            self.connection.prepare(&sql.scan_query()).map_err(|error| classify_query_error(&error))?;
        let mut rows = statement.query([]).map_err(|error| classify_query_error(&error))?;
        let created = sql.mapping.created.as_ref().map(|created| created.decoder);
        // Column positions depend on which optional columns the query has.
        let orphan_at = 3 + usize::from(created.is_some());
        let looks_for_orphans = sql.needs_orphan_search();
        let address_at = orphan_at + usize::from(looks_for_orphans);
        let addressing = sql.row_addressing();
        while let Some(row) = rows.next().map_err(|error| classify_query_error(&error))? {
            let created = match created {
                Some(decoder) => decoder.decode(raw_value(read_cell(row, 3, "a creation time")?)),
                None => DecodedTime::Never,
            };
            builder.insert(SessionRow {
                fingerprint: integer_cell(row, 0, "a fingerprint")?.map(i64::cast_unsigned),
                user: text_cell(row, 1, "a user ID")?.map(UserIdRef::Text),
                expiry: sql.mapping.expires.decoder.decode(raw_value(read_cell(row, 2, "an expiry")?)),
                created,
                orphan: looks_for_orphans && integer_cell(row, orphan_at, "an orphan flag")? == Some(1),
                address: match addressing {
                    RowAddressing::Position => integer_cell(row, address_at, "the position of a row")?
                        .map(|position| RowAddressRef::Position(position.cast_unsigned())),
                    RowAddressing::Id => {
                        text_cell(row, address_at, "the ID of a row")?.map(RowAddressRef::Id)
                    }
                    RowAddressing::HeapAndPosition | RowAddressing::Unavailable => None,
                },
            });
            progress.count_row();
        }
        Ok(builder.finish())
    }

    async fn fetch_custom_value(
        &self,
        sql: &str,
        value: CustomValue,
        max_rows: u64,
    ) -> Result<Option<f64>, TargetError> {
        let whole = match value {
            CustomValue::RowCount => {
                format!("SELECT COUNT(*) FROM (SELECT 1 FROM (\n{sql}\n) LIMIT {max_rows})")
            }
            CustomValue::FirstNumber => format!("SELECT * FROM (\n{sql}\n) LIMIT 1"),
        };
        let mut statements = Batch::new(&self.connection, &whole);
        let mut one = || statements.next().map_err(|error| classify_query_error(&error));
        // SQLite would silently ignore any text after the first statement.
        let (Some(mut statement), None) = (one()?, one()?) else {
            return Err(TargetError::NotOneStatement);
        };
        let mut rows = statement.query([]).map_err(|error| classify_query_error(&error))?;
        let row = rows.next().map_err(|error| classify_query_error(&error))?;
        #[expect(clippy::cast_precision_loss, reason = "a count; they stay below 2^53")]
        Ok(row.and_then(|row| match row.get_ref(0) {
            Ok(ValueRef::Integer(number)) => Some(number as f64),
            Ok(ValueRef::Real(number)) => Some(number),
            _ => None,
        }))
    }

    async fn find_row_key(
        &self,
        _: &TableName,
        found: Option<&TableInfo>,
    ) -> Result<RowKeySupport, TargetError> {
        let has_rowid = found.is_some_and(TableInfo::has_rowid);
        Ok(RowKeySupport::Unique(if has_rowid { RowKeyKind::Place } else { RowKeyKind::Id }))
    }

    async fn read_side_effects(&self) -> Result<SideEffectCatalog, TargetError> {
        side_effects::read_catalog(|query| self.query_rows(query))
    }

    async fn fetch_server_info(&self, _: &TableName) -> Result<ServerInfo, TargetError> {
        let first = |sql: &str| {
            let rows = self.query_rows(sql)?;
            Ok::<_, TargetError>(rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()))
        };
        let version =
            first("SELECT sqlite_version()")?.ok_or(TargetError::Undecodable("the version of SQLite"))?;
        let journal_mode = first("PRAGMA journal_mode")?;
        Ok(ServerInfo { server: format!("SQLite {version}"), journal_mode, ..ServerInfo::default() })
    }
}

/// Returns a cell of a row.
fn read_cell<'a>(
    row: &'a rusqlite::Row<'_>,
    at: usize,
    what: &'static str,
) -> Result<ValueRef<'a>, TargetError> {
    row.get_ref(at).map_err(|_| TargetError::Undecodable(what))
}

/// Returns the integer in a cell, or `None` for NULL.
fn integer_cell(row: &rusqlite::Row<'_>, at: usize, what: &'static str) -> Result<Option<i64>, TargetError> {
    match read_cell(row, at, what)? {
        ValueRef::Null => Ok(None),
        ValueRef::Integer(value) => Ok(Some(value)),
        _ => Err(TargetError::Undecodable(what)),
    }
}

/// Returns the text in a cell, or `None` for NULL.
fn text_cell<'a>(
    row: &'a rusqlite::Row<'_>,
    at: usize,
    what: &'static str,
) -> Result<Option<&'a [u8]>, TargetError> {
    match read_cell(row, at, what)? {
        ValueRef::Null => Ok(None),
        ValueRef::Text(text) => Ok(Some(text)),
        _ => Err(TargetError::Undecodable(what)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_of_another_type_is_an_error_and_not_null() {
        let connection = Connection::open_in_memory().unwrap();
        let mut statement = connection.prepare("SELECT 7, 'seven', NULL, x'07'").unwrap();
        let mut rows = statement.query([]).unwrap();
        let row = rows.next().unwrap().unwrap();
        assert_eq!((integer_cell(row, 0, "x").unwrap(), integer_cell(row, 2, "x").unwrap()), (Some(7), None));
        assert_eq!(text_cell(row, 1, "x").unwrap(), Some(&b"seven"[..]));
        assert_eq!(text_cell(row, 2, "x").unwrap(), None);
        for at in [1, 3, 4] {
            assert!(matches!(integer_cell(row, at, "x"), Err(TargetError::Undecodable("x"))), "{at}");
        }
        for at in [0, 3, 4] {
            assert!(matches!(text_cell(row, at, "x"), Err(TargetError::Undecodable("x"))), "{at}");
        }
    }

    #[tokio::test]
    async fn a_number_that_cannot_be_fetched_is_none_only_if_the_query_is_at_fault() {
        let connection = Connection::open_in_memory().unwrap();
        let mut session = SqliteRead { connection, progress: None };
        assert_eq!(session.try_fetch_number("SELECT 7").await.unwrap(), Some(7));
        assert_eq!(session.try_fetch_number("SELECT NULL").await.unwrap(), None);
        assert_eq!(session.try_fetch_number("SELECT n FROM missing").await.unwrap(), None);
        let undecodable = session.try_fetch_number("SELECT 'seven'").await;
        assert!(matches!(undecodable, Err(TargetError::Undecodable(_))), "{undecodable:?}");
        set_deadline(&mut session.connection, std::time::Duration::ZERO).unwrap();
        let endless =
            "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT COUNT(*) FROM r";
        let late = session.try_fetch_number(endless).await;
        assert!(matches!(late, Err(TargetError::StatementTimeout)), "{late:?}");
    }
}
