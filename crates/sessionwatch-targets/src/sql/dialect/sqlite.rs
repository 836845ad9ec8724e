//! SQLite, with the functions that keep tokens inside the file: `sw_fingerprint`, `sw_prefix` and `sw_instant`.

mod remedies;

use std::fmt::Write as _;

use sessionwatch_core::{
    decoder::Decoder,
    instant::{Instant, MICROS_PER_DAY},
    token,
    zone::Zone,
};

use super::{
    DecodedColumn, Dialect, HashedColumns, JoinedDelete, NEVER, ReadCondition, RoleGrants, RowInsertion,
    RowsSetBack, SqlDialect, UNDECODABLE, numbers, other_unit,
};
use crate::{
    mapping::TableName,
    sql::{
        Addressing, PREFIX_LENGTH, identifier, table,
        tables::{Column, ColumnKind, Table, TableKind},
    },
    unsealed_rows::DependentTable,
};

/// No instant is longer as text.
const MAX_INSTANT_LENGTH: usize = 40;
/// How far a query that is pasted elsewhere knows the clocks of a zone, before and after it was written.
const ZONE_KNOWN: i64 = 3 * 365 * MICROS_PER_DAY;

#[derive(Debug)]
struct Sqlite;

impl Dialect {
    /// SQLite's.
    pub const SQLITE: Self = Self(&Sqlite);
}

impl SqlDialect for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn has_dynamic_types(&self) -> bool {
        true
    }

    fn enforces_foreign_keys(&self) -> bool {
        // Only on connections that ask for it.
        false
    }

    fn has_schemas(&self) -> bool {
        false
    }

    fn case_blind_comparison(&self) -> &'static str {
        "without regard to case (COLLATE NOCASE)"
    }

    fn catalog_name(&self, name: &TableName) -> String {
        // Names that differ in their letters only are the same there.
        identifier(&name.name.to_lowercase())
    }

    fn grants(&self, _: RoleGrants<'_>) -> String {
        "-- SQLite has no roles. Let the account that runs sessionwatch read the file and write the folder it is in only\n\
         -- where the write-ahead log is used; sessionwatch opens the file read-only.\n"
            .into()
    }

    fn string(&self, text: &str) -> String {
        format!("'{}'", text.replace('\'', "''").replace('\0', "\u{fffd}"))
    }

    fn client(&self) -> &'static str {
        "sqlite3"
    }

    fn safe_script(&self, queries: &str) -> String {
        queries.to_owned()
    }

    fn casts_literals(&self) -> bool {
        false
    }

    fn compares_any_types(&self) -> bool {
        true
    }

    fn equal_values_differ_as_text(&self) -> bool {
        false
    }

    fn one_of_equal_texts(&self, column: &str) -> String {
        format!("CAST({column} AS text)")
    }

    fn collations_are_of_application(&self) -> bool {
        true
    }

    fn scans_typed_columns(&self) -> bool {
        false
    }

    fn decodes_by_function(&self) -> bool {
        true
    }

    fn sorts_before_grouping(&self) -> bool {
        false
    }

    fn changes_in_bulk(&self) -> bool {
        false
    }

    fn is_read(&self, condition: &ReadCondition<'_>) -> String {
        let places = numbers(condition.rows.iter().map(|row| row.locator.cast_signed()));
        format!("{} IN ({places})", condition.place_or_mark)
    }

    fn inserted_value(&self, at: usize) -> String {
        format!("?{}", at + 1)
    }

    fn set_back_value(&self, at: usize) -> String {
        format!("?{}", at + 1)
    }

    /// One row, whose values are parameters.
    fn insert(&self, rows: &RowInsertion<'_>) -> String {
        let names: Vec<String> = rows.columns.iter().map(|column| identifier(&column.name)).collect();
        let values: Vec<String> = (0..rows.columns.len()).map(|at| self.inserted_value(at)).collect();
        let free: String = rows.obstacles.iter().map(|condition| format!(" AND NOT {condition}")).collect();
        format!(
            "INSERT INTO {sessions} ({names}) SELECT {values} WHERE 1 = 1{free} ON CONFLICT DO NOTHING",
            sessions = table(rows.sessions),
            names = names.join(", "),
            values = values.join(", "),
        )
    }

    /// One row, whose values are parameters.
    fn set_back(&self, rows: &RowsSetBack<'_>) -> String {
        format!("UPDATE {} AS s SET {} WHERE {}", table(rows.sessions), rows.set, rows.condition)
    }

    fn insert_dependents(&self, dependent: &DependentTable) -> String {
        let names: Vec<String> = dependent.columns.iter().map(|column| identifier(&column.name)).collect();
        let values: Vec<String> = (1..=dependent.columns.len()).map(|at| format!("?{at}")).collect();
        format!(
            "INSERT INTO {} ({}) VALUES ({}) ON CONFLICT DO NOTHING",
            table(&dependent.table),
            names.join(", "),
            values.join(", ")
        )
    }

    fn ignoring_indexes(&self) -> &'static str {
        " NOT INDEXED"
    }

    fn not_deleted(&self, column: &str, _: &Column) -> String {
        // Zero and nothing mark no row as deleted, whatever the type is.
        format!("COALESCE({column}, 0) IN (0, '')")
    }

    fn fold_case(&self, expression: &str) -> String {
        format!("lower({expression})")
    }

    fn by_bytes(&self, expression: &str) -> String {
        expression.to_owned()
    }

    fn matches(&self, _: &str, _: &str) -> Option<String> {
        None
    }

    fn length(&self, expression: &str) -> String {
        format!("length({expression})")
    }

    fn dynamic_type(&self, value: &str) -> Option<String> {
        Some(format!("typeof({value})"))
    }

    fn whole_number(&self, value: &str, _: ColumnKind) -> String {
        format!("CAST({value} AS integer)")
    }

    fn literal(&self, kind: ColumnKind, value: &str) -> String {
        let is_number = value.parse::<i64>().is_ok();
        if kind != ColumnKind::Text && is_number { value.to_owned() } else { self.string(value) }
    }

    fn token_text(&self, column: &str, _: ColumnKind) -> String {
        column.to_owned()
    }

    fn fingerprint(&self, token: &str, _: i64) -> String {
        format!("sw_fingerprint({token})")
    }

    fn prefix(&self, token: &str, pasted: bool) -> String {
        let parts = token::PARTS;
        if pasted {
            format!("substr({token}, 1, MIN({PREFIX_LENGTH}, length({token}) / {parts}))")
        } else {
            format!("sw_prefix({token})")
        }
    }

    fn row_hash(&self, columns: &[String], _: i64) -> String {
        let quoted: Vec<String> = columns.iter().map(|column| format!("quote({column})")).collect();
        format!("sw_fingerprint({})", quoted.join(" || ',' || "))
    }

    fn mark(&self, columns: HashedColumns, key: i64) -> String {
        let HashedColumns { id, token, user, expires, .. } = columns;
        self.row_hash(&[id, token, user, expires], key)
    }

    fn scanned_instant(&self, value: &str, _: ColumnKind) -> String {
        value.to_owned()
    }

    fn decode(&self, decoder: Decoder, value: &str, _: ColumnKind, clock: Option<Instant>) -> DecodedColumn {
        let value = match clock {
            Some(now) => sqlite_micros(decoder, value, now),
            None => format!("sw_instant('{}', {value})", decoder.name()),
        };
        DecodedColumn { value, native: None, indexable: false }
    }

    fn clock(&self, _: Option<Decoder>) -> &'static str {
        "CAST(strftime('%s', 'now') AS integer) * 1000000"
    }

    fn readable_seconds(&self, seconds: &str) -> String {
        format!("datetime({seconds}, 'unixepoch')")
    }

    fn is_naive(&self, value: &str, _: ColumnKind) -> String {
        format!(
            "(typeof({value}) = 'text' AND length({value}) >= 19 AND substr({value}, 20) NOT GLOB '*[-+Zz]*')"
        )
    }

    fn cookie(&self, document: &str) -> [String; 2] {
        let of = |path: &str| {
            format!("CASE WHEN json_valid({document}) THEN json_extract({document}, '$.cookie.{path}') END")
        };
        [
            format!("substr({}, 1, {MAX_INSTANT_LENGTH})", of("expires")),
            format!("CAST({} AS integer)", of("originalMaxAge")),
        ]
    }

    fn has_places(&self, table: &Table) -> bool {
        table.kind == TableKind::Table && !table.without_rowid
    }

    fn place_columns(&self, _: bool) -> &'static [&'static str] {
        &["s.rowid"]
    }

    fn at_places(&self, _: &[u32], places: &[u64]) -> String {
        format!("s.rowid IN ({})", numbers(places.iter().copied().map(u64::cast_signed)))
    }

    fn planned_version(&self, addressing: Addressing) -> [&'static str; 2] {
        match addressing {
            Addressing::Place | Addressing::HeapAndPlace => ["s.rowid", "0"],
            Addressing::Id => ["CAST(NULL AS text)", "0"],
        }
    }

    fn read_version(&self, _: bool, place_or_mark: String, row_hash: String) -> [String; 2] {
        [place_or_mark, row_hash]
    }

    fn heap_and_place(&self, _: &str, row_number: Option<&str>, hash: &str) -> String {
        format!("1 AS heap, {}", row_number.unwrap_or(hash))
    }

    fn distinct_places(&self) -> [&'static str; 2] {
        ["", " GROUP BY r.heap, r.place"]
    }

    fn delete_joined(&self, delete: &JoinedDelete<'_>) -> String {
        let JoinedDelete { table, alias, joined, condition, hash, hashes, row_number } = delete;
        let still = format!("{hash} IN ({hashes})");
        match row_number {
            Some(number) => format!(
                "DELETE FROM {table} AS {alias} WHERE {number} IN (SELECT {number} FROM {joined}, {table} AS {alias}\nWHERE {condition}) AND {still}"
            ),
            None => format!(
                "DELETE FROM {table} AS {alias} WHERE EXISTS (SELECT 1 FROM {joined} WHERE {condition}) AND {still}"
            ),
        }
    }

    fn number_among(&self, expression: &str, numbers: &str) -> String {
        format!("{expression} IN ({numbers})")
    }

    fn number_list(&self, numbers: &str) -> String {
        numbers.to_owned()
    }

    fn id_among(&self, column: &str, _: Option<&str>, ids: &str) -> String {
        format!("CAST({column} AS text) IN ({ids})")
    }

    fn found_in(&self, _: &[String], tuple: &str, query: &str) -> String {
        format!("{tuple} IN ({query})")
    }

    fn texts_as_rows(&self, texts: &[String]) -> String {
        format!("WITH v(id) AS (VALUES ({})) SELECT v.id FROM v", texts.join("), ("))
    }

    fn id_rank(&self, column: &str, kind: ColumnKind) -> String {
        match kind {
            ColumnKind::Integer | ColumnKind::Uuid | ColumnKind::Text => column.to_owned(),
            _ => format!("CAST({column} AS text)"),
        }
    }

    fn rank_of_id(&self, id: &str, _: ColumnKind) -> String {
        self.string(id)
    }

    fn user_order(&self, _: &str, _: Option<ColumnKind>) -> String {
        "CAST(u AS text)".into()
    }
}

/// Microseconds from a column on SQLite, for a query that is pasted into another program. Text is read to the second.
fn sqlite_micros(decoder: Decoder, value: &str, now: Instant) -> String {
    let text = match decoder {
        Decoder::TimestampLocal(zone) => sqlite_local(zone, value, now),
        _ => format!("CAST(strftime('%s', {value}) AS integer) * 1000000"),
    };
    let (other, other_scale) = other_unit(decoder);
    let scaled = |scale: i64| {
        let (first, last) = (other.start, other.end - 1);
        let number = format!("CAST({value} AS integer)");
        format!(
            "CASE WHEN {number} BETWEEN {first} AND {last} THEN {number} * {other_scale} ELSE {number} * {scale} END"
        )
    };
    let read = match decoder {
        Decoder::EpochSeconds => scaled(1_000_000),
        Decoder::EpochMillis => scaled(1_000),
        Decoder::EpochMillisOrIso => {
            format!("CASE typeof({value}) WHEN 'integer' THEN {} ELSE {text} END", scaled(1_000))
        }
        _ => text,
    };
    format!("(CASE WHEN {value} IS NULL THEN {NEVER} ELSE COALESCE({read}, {UNDECODABLE}) END)")
}

/// Microseconds from the wall clock of a zone, on SQLite, which has no zones: its clocks are written out, as far as they
/// are known around `now`.
fn sqlite_local(zone: Zone, value: &str, now: Instant) -> String {
    let seconds = format!("CAST(strftime('%s', {value}) AS integer)");
    let shifts = zone.shifts(now.plus_micros(-ZONE_KNOWN), now.plus_micros(ZONE_KNOWN));
    let mut ahead = String::from("CASE");
    for shift in shifts.iter().skip(1).rev() {
        // Writing to a String cannot fail.
        let (from, offset) = (shift.from_wall / 1_000_000, shift.offset / 1_000_000);
        let _ = write!(ahead, " WHEN {seconds} >= {from} THEN {offset}");
    }
    let first = shifts.first().map_or(0, |shift| shift.offset / 1_000_000);
    let ahead = if shifts.len() > 1 { format!("{ahead} ELSE {first} END") } else { first.to_string() };
    let naive = format!("substr({value}, 20) NOT GLOB '*[-+Zz]*'");
    format!("({seconds} - CASE WHEN {naive} THEN {ahead} ELSE 0 END) * 1000000")
}

#[cfg(test)]
mod tests;
