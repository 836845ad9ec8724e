//! SQLite: a file opened read-only, in one transaction, with the functions that keep tokens inside the database.

mod write_session;

pub use self::write_session::SqliteWrite;

use std::{hash::Hasher, path::Path, time::Duration};

use rusqlite::{
    Batch, Connection, ErrorCode, OpenFlags, fallible_iterator::FallibleIterator as _,
    functions::FunctionFlags, types::ValueRef,
};
use sessionwatch_core::{
    addresses::AddressRef,
    decoder::{Decoded, Decoder, Raw},
    snapshot::{SessionRow, SessionSnapshot, SnapshotBuilder, SnapshotOptions, User},
    token,
};
use siphasher::sip::SipHasher13;

use super::{
    error::TargetError,
    limits::Limits,
    read_session::CustomValue,
    scan_progress::{RowCount, ScanProgress},
    sql::{RowAddressing, Sql, without_values},
};
use crate::profile::schema::{
    Column, ColumnKind, Dialect, Equality, ForeignKey, Index, Schema, Table, TableKind,
};

/// Foreign keys, a line a column: (no schema and) name of the table that refers, its column, the same of the other, name,
/// action. Without a column, the other's primary key is meant.
pub(super) const REFERENCES: &str = "
SELECT '', m.name, f.\"from\", '', f.\"table\",
  COALESCE(f.\"to\", (SELECT p.name FROM pragma_table_info(f.\"table\") AS p WHERE p.pk = f.seq + 1)),
  (SELECT group_concat(g.\"from\") FROM pragma_foreign_key_list(m.name) AS g WHERE g.id = f.id), f.on_delete, 't', '='
FROM sqlite_schema AS m, pragma_foreign_key_list(m.name) AS f
WHERE m.type = 'table'
ORDER BY m.name, f.id, f.seq";
/// Triggers: table, name, statement.
pub(super) const TRIGGERS: &str =
    "SELECT tbl_name, name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY tbl_name, name";

/// A file inside its read transaction.
#[derive(Debug)]
pub struct SqliteRead {
    connection: Connection,
    progress: Option<ScanProgress>,
}

impl SqliteRead {
    pub(super) fn reporting(self, progress: Option<ScanProgress>) -> Self {
        Self { progress, ..self }
    }

    /// Opens the file and the transaction.
    ///
    /// # Errors
    ///
    /// If the file is missing, not a database, or locked.
    pub fn open(path: &Path, limits: Limits, key: i64) -> Result<Self, TargetError> {
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

    /// The tables and views of the file.
    ///
    /// # Errors
    ///
    /// If the schema cannot be read.
    pub fn schema(&self) -> Result<Schema, TargetError> {
        let names = self.fetch("SELECT name, type, sql FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name")?;
        let mut tables = Vec::new();
        for row in names {
            if let [Some(name), Some(kind), ..] = row.as_slice() {
                tables.push(self.table(name, kind == "view")?);
                if let (Some(Some(definition)), Some(view), "view") =
                    (row.get(2), tables.last_mut(), kind.as_str())
                {
                    describe_view(definition, view);
                }
            }
        }
        Ok(Schema { dialect: Dialect::Sqlite, path_named: false, tables })
    }

    fn table(&self, name: &str, view: bool) -> Result<Table, TargetError> {
        let quoted = super::sql::string(Dialect::Sqlite, name);
        let described = self
            .fetch(&format!("SELECT name, lower(type), \"notnull\", pk FROM pragma_table_info({quoted})"))?;
        let columns: Vec<Column> = described
            .iter()
            .zip(self.equalities(name, &described)?)
            .filter_map(|(row, equality)| Some(Column { equality, ..column(row)? }))
            .collect();
        let mut indexes = Vec::new();
        for row in
            self.fetch(&format!("SELECT name, \"unique\", origin, partial FROM pragma_index_list({quoted})"))?
        {
            let Some(Some(index)) = row.first() else { continue };
            let parts = self.fetch(&format!(
                "SELECT name, coll FROM pragma_index_xinfo({}) WHERE key ORDER BY seqno",
                super::sql::string(Dialect::Sqlite, index)
            ))?;
            indexes.push(Index {
                name: index.clone(),
                complete: parts.iter().all(|part| part.first().is_some_and(Option::is_some))
                    && is(&row, 3, "0"),
                exact: parts.first().is_some_and(|part| is_exact(&columns, part)),
                columns: parts.into_iter().filter_map(|part| part.into_iter().next().flatten()).collect(),
                unique: is(&row, 1, "1"),
                primary: is(&row, 2, "pk"),
            });
        }
        let keyed: Vec<&Vec<Option<String>>> = described.iter().filter(|row| !is(row, 3, "0")).collect();
        // A table keyed by its row id has no index of its own.
        if let ([key], false) = (keyed.as_slice(), indexes.iter().any(|index| index.primary))
            && let Some(Some(column)) = key.first()
        {
            indexes.push(Index {
                name: "primary key".into(),
                columns: vec![column.clone()],
                unique: true,
                primary: true,
                complete: true,
                exact: true,
            });
        }
        let keys = self.fetch(&format!("SELECT \"from\", \"table\", COALESCE(\"to\", 'id'), on_delete FROM pragma_foreign_key_list({quoted})"))?;
        Ok(Table {
            name: name.to_owned(),
            kind: if view { TableKind::View } else { TableKind::Table },
            search_path: Some(0),
            without_rowid: self.without_rowid(&quoted)?,
            columns,
            indexes,
            foreign_keys: keys.iter().filter_map(|row| foreign_key(row)).collect(),
            ..Table::default()
        })
    }

    /// How a table or view compares the values of its columns, where anything in the file names a collation: by how it tells
    /// the letters `A` and `a` apart, and `a` and `a ` with a space.
    fn equalities(&self, name: &str, columns: &[Vec<Option<String>>]) -> Result<Vec<Equality>, TargetError> {
        let collates = "SELECT 1 FROM sqlite_schema WHERE sql LIKE '%collate%' LIMIT 1";
        if self.fetch(collates)?.is_empty() {
            return Ok(vec![Equality::Exact; columns.len()]);
        }
        let told_apart = |column: &str, one: &str, other: &str| {
            format!(
                "(SELECT COUNT(*) FROM (SELECT {} FROM {} WHERE 0 UNION SELECT '{one}' UNION SELECT '{other}'))",
                super::sql::identifier(column),
                super::sql::identifier(name)
            )
        };
        let equality = |row: &Vec<Option<String>>| {
            let column = row.first().and_then(Option::as_deref).unwrap_or_default();
            let probe = format!("SELECT {}, {}", told_apart(column, "A", "a"), told_apart(column, "a", "a "));
            Ok(match self.fetch(&probe) {
                Ok(rows) => match rows.as_slice() {
                    [row] if is(row, 0, "1") => Equality::CaseBlind,
                    [row] if is(row, 1, "1") => Equality::SpaceBlind,
                    _ => Equality::Exact,
                },
                // A collation that the application makes for its own connections.
                Err(TargetError::Query(_)) => Equality::Collation,
                Err(error) => return Err(error),
            })
        };
        columns.iter().map(equality).collect()
    }

    /// Whether that table was made without row numbers.
    fn without_rowid(&self, quoted: &str) -> Result<bool, TargetError> {
        let rows = self.fetch(&format!("SELECT wr FROM pragma_table_list WHERE name = {quoted}"))?;
        Ok(rows.first().is_some_and(|row| is(row, 0, "1")))
    }

    /// The rows of a query, as text.
    ///
    /// # Errors
    ///
    /// If the query fails or passes the time limit.
    pub fn fetch(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, TargetError> {
        tracing::debug!("query: {}", without_values(sql));
        rows(&self.connection, sql)
    }

    /// The number that a query of the operator's gives; nothing if it gives none.
    ///
    /// # Errors
    ///
    /// If the query fails, or is more than one statement. The file is open for reading only.
    pub fn number(&self, sql: &str, value: CustomValue, max_rows: u64) -> Result<Option<f64>, TargetError> {
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

    /// Pulls the sessions into a ledger.
    ///
    /// # Errors
    ///
    /// If the query fails or passes the time limit.
    pub fn scan(&self, sql: &Sql<'_>, frame: SnapshotOptions) -> Result<SessionSnapshot, TargetError> {
        let mut intake = SnapshotBuilder::new(frame, 0);
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
}

/// The rows of a query, as text.
fn rows(connection: &Connection, sql: &str) -> Result<Vec<Vec<Option<String>>>, TargetError> {
    let mut statement = connection.prepare(sql).map_err(|error| query_error(&error))?;
    let width = statement.column_count();
    let mut rows = statement.query([]).map_err(|error| query_error(&error))?;
    let mut fetched = Vec::new();
    while let Some(row) = rows.next().map_err(|error| query_error(&error))? {
        let value = |at| row.get_ref(at).map(text).map_err(|error| query_error(&error));
        fetched.push((0..width).map(value).collect::<Result<_, _>>()?);
    }
    Ok(fetched)
}

/// `sw_fingerprint`, `sw_prefix` and `sw_instant`: what Postgres has built in.
fn register(connection: &Connection, key: i64) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("sw_fingerprint", 1, flags, move |call| {
        Ok(bytes(call.get_raw(0)).map(|token| {
            let mut hasher = SipHasher13::new_with_keys(key.cast_unsigned(), 0);
            hasher.write(&token);
            hasher.finish().cast_signed()
        }))
    })?;
    connection.create_scalar_function("sw_prefix", 1, flags, |call| {
        let prefix = |value: Vec<u8>| token::prefix(&String::from_utf8_lossy(&value)).to_owned();
        Ok(bytes(call.get_raw(0)).map(prefix))
    })?;
    connection.create_scalar_function("sw_instant", 2, flags, |call| {
        let name: String = call.get(0)?;
        let decoded = Decoder::parse(&name)
            .map_or(Decoded::Undecodable, |decoder| decoder.decode(raw(call.get_raw(1))));
        Ok(match decoded {
            Decoded::At(at) => at.micros(),
            Decoded::Never => i64::MAX,
            Decoded::Undecodable => -i64::MAX,
        })
    })
}

/// Interrupts whatever runs when the time is up.
fn limit(connection: &mut Connection, timeout: Duration) -> Result<(), TargetError> {
    let deadline = std::time::Instant::now() + timeout;
    let late = move || std::time::Instant::now() >= deadline;
    connection.progress_handler(10_000, Some(late)).map_err(|error| query_error(&error))
}

fn bytes(value: ValueRef<'_>) -> Option<Vec<u8>> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(value) => Some(value.to_string().into_bytes()),
        ValueRef::Real(value) => Some(value.to_string().into_bytes()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(bytes.to_vec()),
    }
}

fn raw(value: ValueRef<'_>) -> Raw<'_> {
    match value {
        ValueRef::Null => Raw::Null,
        ValueRef::Integer(value) => Raw::Integer(value),
        ValueRef::Real(value) => Raw::Real(value),
        ValueRef::Text(text) => Raw::Text(text),
        ValueRef::Blob(_) => Raw::Other,
    }
}

fn text(value: ValueRef<'_>) -> Option<String> {
    bytes(value).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn is(row: &[Option<String>], at: usize, expected: &str) -> bool {
    row.get(at).is_some_and(|value| value.as_deref() == Some(expected))
}

fn column(row: &[Option<String>]) -> Option<Column> {
    let declared = row.get(1)?.clone().unwrap_or_default();
    let kind = if declared.contains("int") {
        ColumnKind::Integer
    } else if ["char", "clob", "text"].iter().any(|word| declared.contains(word)) {
        ColumnKind::Text
    } else {
        ColumnKind::Other
    };
    let (name, nullable) = (row.first()?.clone()?, is(row, 2, "0"));
    Some(Column { name, declared, kind, nullable, readable: true, ..Column::default() })
}

/// Whether an index whose first column is that one, with that collation, tells its values apart at most as finely as the
/// column itself does. Any collation but `BINARY` makes more values equal.
fn is_exact(columns: &[Column], part: &[Option<String>]) -> bool {
    let column = part.first().and_then(Option::as_deref);
    let equality =
        columns.iter().find(|other| Some(other.name.as_str()) == column).map(|column| column.equality);
    let collation = part.get(1).and_then(Option::as_deref).unwrap_or_default();
    match equality {
        Some(Equality::CaseBlind) => collation.eq_ignore_ascii_case("NOCASE"),
        Some(Equality::SpaceBlind) => collation.eq_ignore_ascii_case("RTRIM"),
        Some(Equality::Collation) => false,
        _ => true,
    }
}

/// Says of a view whether it may drop or join rows, by the words of its definition.
fn describe_view(definition: &str, view: &mut Table) {
    let upper = definition.to_uppercase();
    let words: Vec<&str> = upper
        .split(|character: char| !character.is_alphanumeric() && character != '_')
        .filter(|word| !word.is_empty())
        .collect();
    let reducing =
        ["DISTINCT", "GROUP", "HAVING", "LIMIT", "JOIN", "UNION", "INTERSECT", "EXCEPT", "MIN", "MAX"];
    let selects = words.iter().filter(|word| **word == "SELECT").count();
    let listed = upper.split_once(" FROM ").is_some_and(|(_, from)| from.contains(','));
    if selects > 1 || listed || reducing.iter().any(|word| words.contains(word)) {
        view.doubt = Some(format!("`{}` is a view that groups, limits or joins rows", view.name));
    }
    view.filtered = words.contains(&"WHERE");
    if let (Some(at), true) = (words.iter().position(|word| *word == "FROM"), selects == 1) {
        view.bases.extend(words.get(at + 1).map(|name| name.to_lowercase()));
    }
}

fn foreign_key(row: &[Option<String>]) -> Option<ForeignKey> {
    Some(ForeignKey {
        name: format!("foreign key on {}", row.first()?.as_deref()?),
        columns: vec![row.first()?.clone()?],
        target_table: row.get(1)?.clone()?,
        target_columns: vec![row.get(2)?.clone()?],
        on_delete: row.get(3)?.clone()?,
        ..ForeignKey::default()
    })
}

fn query_error(error: &rusqlite::Error) -> TargetError {
    match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => TargetError::StatementTimeout,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => TargetError::Locked,
        Some(ErrorCode::ReadOnly) => TargetError::ReadOnly,
        Some(ErrorCode::NotADatabase) => TargetError::File("it is not a SQLite database"),
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => TargetError::File("it may not be read"),
        Some(ErrorCode::DatabaseCorrupt) => TargetError::File("the database is damaged"),
        Some(code) => TargetError::Query(format!("{code:?}")),
        None => TargetError::Query("unexpected value".into()),
    }
}
