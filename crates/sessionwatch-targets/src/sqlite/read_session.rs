//! Reading SQLite: a file opened read-only, in one transaction.

use std::{convert::Infallible, path::PathBuf};

use rusqlite::{Batch, Connection, OpenFlags, fallible_iterator::FallibleIterator as _, types::ValueRef};
use sessionwatch_core::{
    addresses::AddressRef,
    decoder::Decoded,
    instant::Instant,
    snapshot::{SessionRow, SessionSnapshot, SnapshotBuilder, SnapshotOptions, User},
};

use super::{
    CAPABILITIES, limit, query_error, raw, read_transaction::SqliteRead, register, schema, side_effects,
};
use crate::{
    backend::{CustomValue, IdleBackend, Pages, ReadBackend, ReadOptions, RowNames, ServerInfo},
    capabilities::Capabilities,
    cells::TextRow,
    error::TargetError,
    limits::Limits,
    mapping::TableName,
    scan_progress::{RowCount, ScanProgress},
    side_effects::Catalog,
    sql::{Addressing, RowAddressing, Sql, schema::Schema, tables::Table},
};

/// A file needs no connection between two transactions.
impl IdleBackend for Infallible {
    async fn close(self) {
        match self {}
    }
}

impl ReadBackend for SqliteRead {
    type Address = PathBuf;
    type Idle = Infallible;

    async fn open(path: &PathBuf, options: ReadOptions) -> Result<Self, TargetError> {
        let ReadOptions { limits, key, .. } = options;
        if !path.is_file() {
            return Err(TargetError::File("there is no such file"));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(|error| query_error(&error))?;
        register(&connection, key).map_err(|error| query_error(&error))?;
        connection.busy_timeout(limits.lock_timeout).map_err(|error| query_error(&error))?;
        limit(&mut connection, limits.timeout)?;
        let opening = "PRAGMA query_only = ON; BEGIN; SELECT COUNT(*) FROM sqlite_schema;";
        connection.execute_batch(opening).map_err(|error| query_error(&error))?;
        Ok(Self { connection, progress: None })
    }

    async fn resume(idle: Infallible, _: &PathBuf, _: Limits) -> Result<Self, TargetError> {
        match idle {}
    }

    async fn rest(self) -> Option<Infallible> {
        None
    }

    async fn close(self) {}

    async fn abandon(self) {}

    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn report_to(&mut self, progress: Option<ScanProgress>) {
        self.progress = progress;
    }

    async fn now(&self) -> Result<Instant, TargetError> {
        // A file has no clock: this machine's is the application's too.
        Ok(sessionwatch_clock::now())
    }

    async fn describe(&self) -> Result<Schema, TargetError> {
        schema::read(self)
    }

    async fn fetch(&self, sql: &str) -> Result<Vec<TextRow>, TargetError> {
        self.query(sql)
    }

    async fn attempt(&self, sql: &str) -> Result<Option<u64>, TargetError> {
        let rows = self.query(sql).unwrap_or_default();
        Ok(rows.first().and_then(|row| row.first()?.as_deref()?.parse().ok()))
    }

    async fn pages(&self, sql: &str) -> Result<Pages, TargetError> {
        self.query(sql).map(Pages::of)
    }

    async fn next_page(&self, pages: &mut Pages) -> Result<Vec<TextRow>, TargetError> {
        Ok(pages.take())
    }

    async fn scan(&self, sql: &Sql<'_>, options: SnapshotOptions) -> Result<SessionSnapshot, TargetError> {
        let mut intake = SnapshotBuilder::new(options, 0);
        let mut progress = RowCount::new(self.progress.as_ref(), 0);
        let mut statement = self.connection.prepare(&sql.scan()).map_err(|error| query_error(&error))?;
        let mut rows = statement.query([]).map_err(|error| query_error(&error))?;
        let created = sql.mapping.created.as_ref().map(|created| created.decoder);
        let orphan_at = 3 + usize::from(created.is_some());
        let looks_for_orphans = sql.looks_for_orphans();
        let address_at = orphan_at + usize::from(looks_for_orphans);
        let addressing = sql.row_addressing();
        while let Some(row) = rows.next().map_err(|error| query_error(&error))? {
            let value = |at: usize| row.get_ref(at).unwrap_or(ValueRef::Null);
            let integer =
                |at: usize| if let ValueRef::Integer(value) = value(at) { Some(value) } else { None };
            intake.insert(SessionRow {
                fingerprint: integer(0).map(i64::cast_unsigned),
                user: if let ValueRef::Text(user) = value(1) { Some(User::Text(user)) } else { None },
                expiry: sql.mapping.expires.decoder.decode(raw(value(2))),
                created: created.map_or(Decoded::Never, |decoder| decoder.decode(raw(value(3)))),
                orphan: looks_for_orphans && integer(orphan_at) == Some(1),
                address: match (addressing, value(address_at)) {
                    (RowAddressing::Place, ValueRef::Integer(row)) => {
                        Some(AddressRef::Place(row.cast_unsigned()))
                    }
                    (RowAddressing::Id, ValueRef::Text(id)) => Some(AddressRef::Id(id)),
                    _ => None,
                },
            });
            progress.advance();
        }
        Ok(intake.finish())
    }

    async fn custom_value(
        &self,
        sql: &str,
        value: CustomValue,
        max_rows: u64,
    ) -> Result<Option<f64>, TargetError> {
        let whole = match value {
            CustomValue::Rows => format!("SELECT COUNT(*) FROM (SELECT 1 FROM (\n{sql}\n) LIMIT {max_rows})"),
            CustomValue::First => format!("SELECT * FROM (\n{sql}\n) LIMIT 1"),
        };
        let mut statements = Batch::new(&self.connection, &whole);
        let mut one = || statements.next().map_err(|error| query_error(&error));
        // What stands behind a first statement would be left out silently.
        let (Some(mut statement), None) = (one()?, one()?) else {
            return Err(TargetError::Query("more than one statement".into()));
        };
        let mut rows = statement.query([]).map_err(|error| query_error(&error))?;
        let row = rows.next().map_err(|error| query_error(&error))?;
        #[expect(clippy::cast_precision_loss, reason = "a count; they stay below 2^53")]
        Ok(row.and_then(|row| match row.get_ref(0) {
            Ok(ValueRef::Integer(number)) => Some(number as f64),
            Ok(ValueRef::Real(number)) => Some(number),
            _ => None,
        }))
    }

    async fn row_names(&self, _: &TableName, found: Option<&Table>) -> Result<RowNames, TargetError> {
        let has_rowid = found.is_some_and(|table| !table.without_rowid);
        Ok(RowNames::By(if has_rowid { Addressing::Place } else { Addressing::Id }))
    }

    async fn side_effects(&self) -> Result<Catalog, TargetError> {
        side_effects::read(|query| self.query(query))
    }

    async fn server_info(&self, _: &TableName) -> Result<ServerInfo, TargetError> {
        let first = |sql: &str| {
            let rows = self.query(sql)?;
            Ok::<_, TargetError>(rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()))
        };
        let version = first("SELECT sqlite_version()")?.unwrap_or_default();
        let journal = first("PRAGMA journal_mode")?;
        Ok(ServerInfo { server: format!("SQLite {version}"), journal, ..ServerInfo::default() })
    }
}
