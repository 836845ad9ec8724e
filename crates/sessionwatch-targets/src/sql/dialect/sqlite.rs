//! The dialect of SQLite, with the functions that keep tokens inside the file: `sw_fingerprint`, `sw_prefix`
//! and `sw_instant`.

mod fix_statements;

use std::fmt::Write as _;

use sessionwatch_core::{
    time_zone::Zone,
    timestamp::{MICROS_PER_DAY, UtcTimestamp},
    timestamp_decoder::Decoder,
    token_prefix,
};

use super::{
    DecodedColumn, Dialect, EndedRowsRestore, JoinedDelete, NEVER_MICROS, ReadCondition, RoleGrants,
    RowHashColumns, RowInsertion, SqlDialect, UNDECODABLE_MICROS, join_numbers, other_epoch_unit,
};
use crate::{
    decrypted_rows::DependentTable,
    mapping::TableName,
    sql::{
        MAX_TOKEN_PREFIX_CHARS, RowKeyKind, quote_identifier, quote_table,
        table_info::{ColumnInfo, ColumnKind, TableInfo, TableKind},
    },
};

/// Maximum length of a timestamp as text.
const MAX_TIMESTAMP_CHARS: usize = 40;
/// Period before and after its creation for which a standalone query knows the offsets of a zone.
const ZONE_SHIFT_WINDOW_US: i64 = 3 * 365 * MICROS_PER_DAY;

#[derive(Debug)]
struct SqliteDialect;

impl Dialect {
    /// Dialect of SQLite.
    pub const SQLITE: Self = Self(&SqliteDialect);
}

impl SqlDialect for SqliteDialect {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn has_dynamic_types(&self) -> bool {
        true
    }

    fn enforces_foreign_keys(&self) -> bool {
        // Each connection has to enable enforcement.
        false
    }

    fn has_schemas(&self) -> bool {
        false
    }

    fn case_insensitive_comparison(&self) -> &'static str {
        "ignoring case (COLLATE NOCASE)"
    }

    fn catalog_name(&self, name: &TableName) -> String {
        // SQLite names are case-insensitive.
        quote_identifier(&name.name.to_lowercase())
    }

    fn grant_statements(&self, _: RoleGrants<'_>) -> String {
        "-- SQLite has no roles. Give the account that runs sessionwatch read access to the file. \
         With a write-ahead log,\n\
         -- the account also needs write access to the directory; sessionwatch opens the file read-only.\n"
            .into()
    }

    fn quote_string(&self, text: &str) -> String {
        format!("'{}'", text.replace('\'', "''").replace('\0', "\u{fffd}"))
    }

    fn client_name(&self) -> &'static str {
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

    fn canonical_text_expr(&self, column: &str) -> String {
        format!("CAST({column} AS text)")
    }

    fn has_application_collations(&self) -> bool {
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

    fn read_rows_condition(&self, condition: &ReadCondition<'_>) -> String {
        let places = join_numbers(condition.rows.iter().map(|row| row.locator.cast_signed()));
        format!("{} IN ({places})", condition.position_or_row_hash)
    }

    fn inserted_value_expr(&self, at: usize) -> String {
        format!("?{}", at + 1)
    }

    fn restored_value_expr(&self, at: usize) -> String {
        format!("?{}", at + 1)
    }

    /// Inserts one row, whose values are parameters.
    fn insert_rows_statement(&self, rows: &RowInsertion<'_>) -> String {
        let names: Vec<String> = rows.columns.iter().map(|column| quote_identifier(&column.name)).collect();
        let values: Vec<String> = (0..rows.columns.len()).map(|at| self.inserted_value_expr(at)).collect();
        let free: String = rows.obstacles.iter().map(|condition| format!(" AND NOT {condition}")).collect();
        format!(
            "INSERT INTO {sessions} ({names}) SELECT {values} WHERE 1 = 1{free} ON CONFLICT DO NOTHING",
            sessions = quote_table(rows.sessions),
            names = names.join(", "),
            values = values.join(", "),
        )
    }

    /// Restores one row, whose values are parameters.
    fn restore_ended_statement(&self, rows: &EndedRowsRestore<'_>) -> String {
        format!("UPDATE {} AS s SET {} WHERE {}", quote_table(rows.sessions), rows.assignment, rows.condition)
    }

    fn insert_dependents_statement(&self, dependent: &DependentTable) -> String {
        let names: Vec<String> =
            dependent.columns.iter().map(|column| quote_identifier(&column.name)).collect();
        let values: Vec<String> = (1..=dependent.columns.len()).map(|at| format!("?{at}")).collect();
        format!(
            "INSERT INTO {} ({}) VALUES ({}) ON CONFLICT DO NOTHING",
            quote_table(&dependent.table),
            names.join(", "),
            values.join(", ")
        )
    }

    fn ignore_indexes_clause(&self) -> &'static str {
        " NOT INDEXED"
    }

    fn not_deleted_condition(&self, column: &str, _: &ColumnInfo) -> String {
        // Zero, NULL and the empty string mean not deleted, whatever the type.
        format!("COALESCE({column}, 0) IN (0, '')")
    }

    fn fold_case_expr(&self, expression: &str) -> String {
        format!("lower({expression})")
    }

    fn byte_order_expr(&self, expression: &str) -> String {
        expression.to_owned()
    }

    fn regex_condition(&self, _: &str, _: &str) -> Option<String> {
        None
    }

    fn length_expr(&self, expression: &str) -> String {
        format!("length({expression})")
    }

    fn type_of_expr(&self, value: &str) -> Option<String> {
        Some(format!("typeof({value})"))
    }

    fn integer_expr(&self, value: &str, _: ColumnKind) -> String {
        format!("CAST({value} AS integer)")
    }

    fn typed_literal(&self, kind: ColumnKind, value: &str) -> String {
        // A quoted number would be stored as text in a column without affinity.
        let is_number = value.parse::<i64>().is_ok();
        if kind != ColumnKind::Text && is_number { value.to_owned() } else { self.quote_string(value) }
    }

    fn token_text_expr(&self, column: &str, _: ColumnKind) -> String {
        column.to_owned()
    }

    fn fingerprint_expr(&self, token: &str, _: i64) -> String {
        format!("sw_fingerprint({token})")
    }

    fn token_prefix_expr(&self, token: &str, standalone: bool) -> String {
        let parts = token_prefix::PREFIX_DIVISOR;
        if standalone {
            format!("substr({token}, 1, MIN({MAX_TOKEN_PREFIX_CHARS}, length({token}) / {parts}))")
        } else {
            format!("sw_prefix({token})")
        }
    }

    fn hash_columns_expr(&self, columns: &[String], _: i64) -> String {
        // `quote` ends a text at its first NUL, and a change behind it would go unnoticed.
        let quote = |column: &String| {
            format!("CASE typeof({column}) WHEN 'text' THEN 't' || hex({column}) ELSE quote({column}) END")
        };
        let quoted: Vec<String> = columns.iter().map(quote).collect();
        format!("sw_fingerprint({})", quoted.join(" || ',' || "))
    }

    fn row_hash_expr(&self, columns: RowHashColumns, key: i64) -> String {
        let RowHashColumns { id, token, user, expires, .. } = columns;
        self.hash_columns_expr(&[id, token, user, expires], key)
    }

    fn scanned_timestamp_expr(&self, value: &str, _: ColumnKind) -> String {
        value.to_owned()
    }

    fn decode_column(
        &self,
        decoder: Decoder,
        value: &str,
        _: ColumnKind,
        clock: Option<UtcTimestamp>,
    ) -> DecodedColumn {
        let value = match clock {
            Some(now) => micros_expr(decoder, value, now),
            None => format!("sw_instant('{}', {value})", decoder.name()),
        };
        DecodedColumn { value, native_decoder: None, is_indexable: false }
    }

    fn clock_expr(&self, _: Option<Decoder>) -> &'static str {
        "CAST(strftime('%s', 'now') AS integer) * 1000000"
    }

    fn readable_timestamp_expr(&self, seconds: &str) -> String {
        format!("datetime({seconds}, 'unixepoch')")
    }

    fn naive_text_condition(&self, value: &str, _: ColumnKind) -> String {
        format!(
            "(typeof({value}) = 'text' AND length({value}) >= 19 AND substr({value}, 20) NOT GLOB '*[-+Zz]*')"
        )
    }

    fn cookie_exprs(&self, document: &str) -> [String; 2] {
        let of = |path: &str| {
            format!("CASE WHEN json_valid({document}) THEN json_extract({document}, '$.cookie.{path}') END")
        };
        [
            format!("substr({}, 1, {MAX_TIMESTAMP_CHARS})", of("expires")),
            format!("CAST({} AS integer)", of("originalMaxAge")),
        ]
    }

    fn has_row_positions(&self, table: &TableInfo) -> bool {
        table.kind == TableKind::Table && table.has_rowid()
    }

    fn position_columns(&self, _: bool) -> &'static [&'static str] {
        &["s.rowid"]
    }

    fn at_positions_condition(&self, _: &[u32], places: &[u64]) -> String {
        format!("s.rowid IN ({})", join_numbers(places.iter().copied().map(u64::cast_signed)))
    }

    fn planned_version_exprs(&self, addressing: RowKeyKind) -> [&'static str; 2] {
        match addressing {
            RowKeyKind::Place | RowKeyKind::HeapAndPlace => ["s.rowid", "0"],
            RowKeyKind::Id => ["CAST(NULL AS text)", "0"],
        }
    }

    fn read_version_exprs(
        &self,
        _: bool,
        position_or_row_hash: String,
        full_row_hash: String,
    ) -> [String; 2] {
        [position_or_row_hash, full_row_hash]
    }

    fn heap_and_position_exprs(&self, _: &str, row_number: Option<&str>, hash: &str) -> String {
        format!("1 AS heap, {}", row_number.unwrap_or(hash))
    }

    fn distinct_position_clauses(&self) -> [&'static str; 2] {
        ["", " GROUP BY r.heap, r.place"]
    }

    fn delete_joined_statement(&self, delete: &JoinedDelete<'_>) -> String {
        let JoinedDelete { table, alias, joined, condition, hash, hashes, row_number } = delete;
        let still = format!("{hash} IN ({hashes})");
        match row_number {
            Some(number) => format!(
                "DELETE FROM {table} AS {alias} WHERE {number} IN (SELECT {number} FROM {joined}, {table} AS \
                 {alias}\nWHERE {condition}) AND {still}"
            ),
            None => format!(
                "DELETE FROM {table} AS {alias} WHERE EXISTS (SELECT 1 FROM {joined} WHERE {condition}) AND {still}"
            ),
        }
    }

    fn number_in_condition(&self, expression: &str, numbers: &str) -> String {
        format!("{expression} IN ({numbers})")
    }

    fn number_list_expr(&self, numbers: &str) -> String {
        numbers.to_owned()
    }

    fn id_in_condition(&self, column: &str, _: Option<&str>, ids: &str) -> String {
        format!("CAST({column} AS text) IN ({ids})")
    }

    fn in_query_condition(&self, _: &[String], tuple: &str, query: &str) -> String {
        format!("{tuple} IN ({query})")
    }

    fn texts_as_rows_query(&self, texts: &[String]) -> String {
        format!("WITH v(id) AS (VALUES ({})) SELECT v.id FROM v", texts.join("), ("))
    }

    fn id_sort_expr(&self, column: &str, kind: ColumnKind) -> String {
        match kind {
            ColumnKind::Integer | ColumnKind::Uuid | ColumnKind::Text => column.to_owned(),
            _ => format!("CAST({column} AS text)"),
        }
    }

    fn id_sort_value(&self, id: &str, _: ColumnKind) -> String {
        self.quote_string(id)
    }

    fn user_order_expr(&self, _: &str, _: Option<ColumnKind>) -> String {
        "CAST(u AS text)".into()
    }
}

/// Returns microseconds from a column, for standalone queries. Text is read to the second.
fn micros_expr(decoder: Decoder, value: &str, now: UtcTimestamp) -> String {
    let text = match decoder {
        Decoder::TimestampLocal(zone) => local_micros_expr(zone, value, now),
        _ => format!("CAST(strftime('%s', {value}) AS integer) * 1000000"),
    };
    let (other, other_scale) = other_epoch_unit(decoder);
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
    format!("(CASE WHEN {value} IS NULL THEN {NEVER_MICROS} ELSE COALESCE({read}, {UNDECODABLE_MICROS}) END)")
}

/// Returns microseconds from wall-clock time in a zone. SQLite knows no zones, so the offsets around `now`
/// are written out.
fn local_micros_expr(zone: Zone, value: &str, now: UtcTimestamp) -> String {
    let seconds = format!("CAST(strftime('%s', {value}) AS integer)");
    let shifts = zone.offset_shifts(
        now.saturating_add_micros(-ZONE_SHIFT_WINDOW_US),
        now.saturating_add_micros(ZONE_SHIFT_WINDOW_US),
    );
    let mut ahead = String::from("CASE");
    // Latest first, since the first true WHEN wins.
    for shift in shifts.iter().skip(1).rev() {
        // Writing to a String cannot fail.
        let (from, offset) = (shift.from_wall_us / 1_000_000, shift.offset_us / 1_000_000);
        let _ = write!(ahead, " WHEN {seconds} >= {from} THEN {offset}");
    }
    let first = shifts.first().map_or(0, |shift| shift.offset_us / 1_000_000);
    let ahead = if shifts.len() > 1 { format!("{ahead} ELSE {first} END") } else { first.to_string() };
    let naive = format!("substr({value}, 20) NOT GLOB '*[-+Zz]*'");
    format!("({seconds} - CASE WHEN {naive} THEN {ahead} ELSE 0 END) * 1000000")
}

#[cfg(test)]
mod tests;
