//! The dialect of PostgreSQL and compatible servers.

mod bulk_statements;
mod fix_statements;
mod grants;

#[cfg(test)]
mod statement_tests;

use sessionwatch_core::{time_zone::Zone, timestamp::UtcTimestamp, timestamp_decoder::Decoder, token_prefix};

use super::{
    DecodedColumn, Dialect, EndedRowsRestore, JoinedDelete, NEVER_MICROS, ReadCondition, RoleGrants,
    RowHashColumns, RowInsertion, SqlDialect, UNDECODABLE_MICROS, join_numbers, other_epoch_unit,
};
use crate::{
    decrypted_rows::DependentTable,
    sql::{
        MAX_TOKEN_PREFIX_CHARS, RowKeyKind,
        table_info::{ColumnInfo, ColumnKind, TableInfo},
    },
};

/// Keeps functions and operators of the application from shadowing built-in ones.
const SET_SAFE_SEARCH_PATH: &str =
    "-- Resolve names to built-in functions and operators only.\nSET search_path = pg_catalog, pg_temp;\n";
/// Number of characters of a stored session in which its cookie is searched for. The cookie comes first.
const COOKIE_SEARCH_CHARS: usize = 4_096;

/// A condition that is always true. The database evaluates it before changing the first row, so that
/// triggers, rules and domains of the table run under the role's search path, as in any other program. The
/// statement itself was parsed under the safe path.
const ROLE_SEARCH_PATH_CONDITION: &str = "(SELECT pg_catalog.set_config('search_path', \
     pg_catalog.current_setting('sessionwatch.search_path', true), true)) IS NOT NULL";

#[derive(Debug)]
struct PostgresDialect;

impl Dialect {
    /// Dialect of PostgreSQL.
    pub const POSTGRES: Self = Self(&PostgresDialect);
}

impl SqlDialect for PostgresDialect {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn has_dynamic_types(&self) -> bool {
        false
    }

    fn enforces_foreign_keys(&self) -> bool {
        true
    }

    fn has_schemas(&self) -> bool {
        true
    }

    fn case_insensitive_comparison(&self) -> &'static str {
        "ignoring case (citext)"
    }

    fn grant_statements(&self, grants: RoleGrants<'_>) -> String {
        grants::role_statements(grants)
    }

    fn quote_string(&self, text: &str) -> String {
        let quoted = format!("'{}'", text.replace('\'', "''").replace('\0', "\u{fffd}"));
        // E'…' has one meaning under every setting of standard_conforming_strings.
        if text.contains('\\') { format!("E{}", quoted.replace('\\', "\\\\")) } else { quoted }
    }

    fn client_name(&self) -> &'static str {
        "psql"
    }

    fn safe_script(&self, queries: &str) -> String {
        format!("{SET_SAFE_SEARCH_PATH}{queries}RESET search_path;\n")
    }

    fn casts_literals(&self) -> bool {
        true
    }

    fn compares_any_types(&self) -> bool {
        false
    }

    fn equal_values_differ_as_text(&self) -> bool {
        true
    }

    fn canonical_text_expr(&self, column: &str) -> String {
        format!("pg_catalog.min(CAST({column} AS text) COLLATE \"C\") OVER (PARTITION BY {column})")
    }

    fn has_application_collations(&self) -> bool {
        false
    }

    fn scans_typed_columns(&self) -> bool {
        true
    }

    fn decodes_by_function(&self) -> bool {
        false
    }

    fn sorts_before_grouping(&self) -> bool {
        true
    }

    fn changes_in_bulk(&self) -> bool {
        true
    }

    fn read_rows_condition(&self, condition: &ReadCondition<'_>) -> String {
        bulk_statements::read_rows_condition(condition)
    }

    fn inserted_value_expr(&self, at: usize) -> String {
        format!("g.c{}", at + 1)
    }

    fn restored_value_expr(&self, at: usize) -> String {
        format!("v.c{}", at + 1)
    }

    fn insert_rows_statement(&self, rows: &RowInsertion<'_>) -> String {
        bulk_statements::insert_rows_statement(rows)
    }

    fn restore_ended_statement(&self, rows: &EndedRowsRestore<'_>) -> String {
        bulk_statements::restore_ended_statement(rows)
    }

    fn insert_dependents_statement(&self, dependent: &DependentTable) -> String {
        bulk_statements::insert_dependents_statement(dependent)
    }

    fn ignore_indexes_clause(&self) -> &'static str {
        // The connection has disabled index scans already.
        ""
    }

    fn not_deleted_condition(&self, column: &str, declared: &ColumnInfo) -> String {
        match declared.kind {
            _ if declared.is_boolean() => format!("{column} IS NOT TRUE"),
            ColumnKind::Integer => format!("COALESCE({column}, 0) = 0"),
            ColumnKind::Text => format!("COALESCE({column}, '') = ''"),
            _ => format!("{column} IS NULL"),
        }
    }

    fn fold_case_expr(&self, expression: &str) -> String {
        format!("pg_catalog.lower(CAST({expression} AS text) COLLATE pg_catalog.\"default\")")
    }

    fn byte_order_expr(&self, expression: &str) -> String {
        format!("{expression} COLLATE \"C\"")
    }

    fn regex_condition(&self, expression: &str, pattern: &str) -> Option<String> {
        Some(format!("{expression} ~ '{pattern}'"))
    }

    fn length_expr(&self, expression: &str) -> String {
        format!("pg_catalog.length({expression})")
    }

    fn type_of_expr(&self, _: &str) -> Option<String> {
        None
    }

    fn integer_expr(&self, value: &str, kind: ColumnKind) -> String {
        match kind {
            ColumnKind::Text => {
                format!("CASE WHEN {value}::text ~ '^[0-9]{{1,18}}$' THEN {value}::bigint END")
            }
            _ => format!("{value}::bigint"),
        }
    }

    fn typed_literal(&self, _: ColumnKind, value: &str) -> String {
        self.quote_string(value)
    }

    fn token_text_expr(&self, column: &str, kind: ColumnKind) -> String {
        match kind {
            ColumnKind::Bytes => format!("pg_catalog.encode({column}, 'hex')"),
            _ => format!("{column}::text"),
        }
    }

    fn fingerprint_expr(&self, token: &str, key: i64) -> String {
        format!("pg_catalog.hashtextextended({token}, {key})")
    }

    fn token_prefix_expr(&self, token: &str, _: bool) -> String {
        let parts = token_prefix::PREFIX_DIVISOR;
        format!(
            "pg_catalog.left({token}, LEAST({MAX_TOKEN_PREFIX_CHARS}, \
             pg_catalog.int4div(pg_catalog.length({token}), {parts})))"
        )
    }

    fn hash_columns_expr(&self, columns: &[String], key: i64) -> String {
        format!("pg_catalog.hashtextextended(ROW({})::text, {key})", columns.join(", "))
    }

    fn row_hash_expr(&self, columns: RowHashColumns, key: i64) -> String {
        let RowHashColumns { id, token, user, expires, expires_in_zone } = columns;
        let expires = if expires_in_zone {
            // The text of a timestamptz depends on the time zone of the connection.
            format!("({expires} AT TIME ZONE 'UTC')")
        } else {
            expires
        };
        let parts = [(0, id), (1, token), (2, user), (3, expires)].map(|(turn, part)| {
            format!("pg_catalog.hashtextextended(COALESCE(({part})::text, '~'), {})", key.wrapping_add(turn))
        });
        format!("({})", parts.join(" # "))
    }

    fn scanned_timestamp_expr(&self, value: &str, kind: ColumnKind) -> String {
        match kind {
            ColumnKind::Timestamptz | ColumnKind::Timestamp | ColumnKind::Integer => value.to_owned(),
            _ => format!("{value}::text"),
        }
    }

    fn decode_column(
        &self,
        decoder: Decoder,
        value: &str,
        kind: ColumnKind,
        _: Option<UtcTimestamp>,
    ) -> DecodedColumn {
        let (value, native_decoder, is_indexable) = match decoder {
            Decoder::Timestamptz | Decoder::TimestampUtc => (value.to_owned(), Some(decoder), true),
            Decoder::TimestampLocal(zone) if kind == ColumnKind::Timestamp => {
                (local_timestamp_expr(zone, value), Some(Decoder::Timestamptz), false)
            }
            _ => (micros_expr(decoder, value, kind == ColumnKind::Text), None, false),
        };
        DecodedColumn { value, native_decoder, is_indexable }
    }

    fn clock_expr(&self, native: Option<Decoder>) -> &'static str {
        match native {
            Some(Decoder::Timestamptz) => "now()",
            Some(_) => "(now() AT TIME ZONE 'UTC')",
            None => "CAST(EXTRACT(EPOCH FROM now()) * 1000000 AS bigint)",
        }
    }

    fn readable_timestamp_expr(&self, seconds: &str) -> String {
        format!("to_timestamp({seconds})")
    }

    fn naive_text_condition(&self, value: &str, kind: ColumnKind) -> String {
        match kind {
            ColumnKind::Text => format!("CAST({value} AS text) ~ '^.{{19}}([.][0-9]+)?$'"),
            _ => "1 = 0".into(),
        }
    }

    fn cookie_exprs(&self, document: &str) -> [String; 2] {
        let within = format!("left(CAST({document} AS text), {COOKIE_SEARCH_CHARS})");
        let of = |key: &str, pattern: &str| {
            format!(
                "substring({within} from \
                 '\"cookie\"[[:space:]]*:[[:space:]]*[{{][^{{}}]*\"{key}\"[[:space:]]*:[[:space:]]*{pattern}')"
            )
        };
        [of("expires", "\"([0-9][0-9T:.+Z-]{18,35})\""), of("originalMaxAge", "([0-9]{1,15})")]
    }

    fn has_row_positions(&self, table: &TableInfo) -> bool {
        table.has_readable_positions
    }

    fn position_columns(&self, several_heaps: bool) -> &'static [&'static str] {
        if several_heaps { &["s.tableoid", "s.ctid"] } else { &["s.ctid"] }
    }

    fn at_positions_condition(&self, heaps: &[u32], places: &[u64]) -> String {
        let places = bulk_statements::tid_array(places.iter().copied());
        let found = format!("s.ctid = ANY({places})");
        if heaps.is_empty() {
            return found;
        }
        let heaps = join_numbers(heaps.iter().copied().map(i64::from));
        format!(
            "{found} AND (s.tableoid, s.ctid) IN (SELECT * FROM ROWS \
             FROM (pg_catalog.unnest('{{{heaps}}}'::oid[]), pg_catalog.unnest({places})))"
        )
    }

    fn planned_version_exprs(&self, addressing: RowKeyKind) -> [&'static str; 2] {
        match addressing {
            RowKeyKind::Place => ["s.ctid::text", "s.xmin::text"],
            RowKeyKind::HeapAndPlace => ["s.tableoid::text", "0"],
            RowKeyKind::Id => ["CAST(NULL AS text)", "0"],
        }
    }

    fn read_version_exprs(&self, by_position: bool, _: String, full_row_hash: String) -> [String; 2] {
        if by_position { ["s.ctid".into(), "s.xmin".into()] } else { ["s.tableoid".into(), full_row_hash] }
    }

    fn heap_and_position_exprs(&self, alias: &str, _: Option<&str>, _: &str) -> String {
        format!("{alias}.tableoid AS heap, {alias}.ctid")
    }

    fn distinct_position_clauses(&self) -> [&'static str; 2] {
        ["DISTINCT ON (r.heap, r.place) ", ""]
    }

    fn delete_joined_statement(&self, delete: &JoinedDelete<'_>) -> String {
        let JoinedDelete { table, alias, joined, condition, hash, hashes, .. } = delete;
        format!(
            "DELETE FROM {table} AS {alias} USING {joined}\nWHERE {ROLE_SEARCH_PATH_CONDITION} AND {condition} \
             AND {hash} = ANY('{{{hashes}}}'::bigint[])"
        )
    }

    fn number_in_condition(&self, expression: &str, numbers: &str) -> String {
        format!("{expression} = ANY('{{{numbers}}}'::bigint[])")
    }

    fn number_list_expr(&self, numbers: &str) -> String {
        format!("SELECT pg_catalog.unnest('{{{numbers}}}'::bigint[])")
    }

    fn id_in_condition(&self, column: &str, declared: Option<&str>, ids: &str) -> String {
        match declared {
            // Compared in its own type, the id can be looked up in its index.
            Some(declared) => format!("{column} = ANY(CAST(ARRAY[{ids}]::text[] AS {declared}[]))"),
            None => format!("CAST({column} AS text) IN ({ids})"),
        }
    }

    fn in_query_condition(&self, columns: &[String], tuple: &str, query: &str) -> String {
        match columns {
            // ANY(ARRAY(…)) allows a TID scan; a semi-join does not.
            [one] => format!("{one} = ANY(ARRAY({query}))"),
            _ => format!("{tuple} IN ({query})"),
        }
    }

    fn texts_as_rows_query(&self, texts: &[String]) -> String {
        format!("SELECT v.id FROM pg_catalog.unnest(ARRAY[{}]::text[]) AS v(id)", texts.join(", "))
    }

    fn id_sort_expr(&self, column: &str, kind: ColumnKind) -> String {
        match kind {
            ColumnKind::Integer | ColumnKind::Uuid => column.to_owned(),
            _ => format!("CAST({column} AS text)"),
        }
    }

    fn id_sort_value(&self, id: &str, kind: ColumnKind) -> String {
        match kind {
            ColumnKind::Integer => id.parse::<i64>().map_or("NULL".into(), |id| id.to_string()),
            ColumnKind::Uuid if !is_uuid(id) => "NULL".into(),
            _ => self.quote_string(id),
        }
    }

    fn user_order_expr(&self, table: &str, kind: Option<ColumnKind>) -> String {
        match kind {
            // An unqualified `u` would refer to the first column of the result, which is text.
            Some(ColumnKind::Integer) => format!("{table}.u"),
            _ => "CAST(u AS text) COLLATE \"C\"".into(),
        }
    }
}

/// Returns `true` for the canonical form of a UUID.
fn is_uuid(text: &str) -> bool {
    let fits = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    text.len() == 36 && text.bytes().enumerate().all(fits)
}

/// Returns a timestamp from wall-clock time in a zone. Times near the limits of the range are taken as UTC,
/// as in `sessionwatch_core::time_zone`, since shifting could exceed the range.
fn local_timestamp_expr(zone: Zone, value: &str) -> String {
    format!(
        "(CASE WHEN {value} >= TIMESTAMP '0001-01-03' AND {value} < TIMESTAMP '9999-12-29' \
         THEN {value} AT TIME ZONE '{}' ELSE {value} AT TIME ZONE 'UTC' END)",
        zone.name()
    )
}

/// Returns an integer of microseconds from a column without a native timestamp type. Never raises an error.
fn micros_expr(decoder: Decoder, value: &str, text: bool) -> String {
    let scale = if decoder == Decoder::EpochSeconds { 1_000_000 } else { 1_000 };
    let (low, high) = (UtcTimestamp::MIN.micros() / scale, UtcTimestamp::MAX.micros() / scale);
    let (other, other_scale) = other_epoch_unit(decoder);
    let scaled = format!(
        "CASE WHEN {value}::bigint BETWEEN {} AND {} THEN {value}::bigint * {other_scale} \
         WHEN {value}::bigint BETWEEN {low} AND {high} THEN {value}::bigint * {scale} ELSE {UNDECODABLE_MICROS} END",
        other.start,
        other.end - 1,
    );
    match (decoder, text) {
        (Decoder::EpochSeconds | Decoder::EpochMillis, true) => format!(
            "(CASE WHEN {value} IS NULL THEN {NEVER_MICROS} WHEN {value}::text ~ '^-?[0-9]{{1,18}}$' \
             THEN {scaled} ELSE {UNDECODABLE_MICROS} END)"
        ),
        (_, false) => format!("(CASE WHEN {value} IS NULL THEN {NEVER_MICROS} ELSE {scaled} END)"),
        _ => {
            let zone = if let Decoder::TimestampLocal(zone) = decoder { Some(zone) } else { None };
            format!(
                "(CASE WHEN {value} IS NULL THEN {NEVER_MICROS} ELSE COALESCE({}, {UNDECODABLE_MICROS}) END)",
                iso_micros_expr(&format!("{value}::text"), zone)
            )
        }
    }
}

/// Returns the SQL equivalent of the ISO parser in `sessionwatch_core::timestamp_decoder`: NULL for invalid text.
fn iso_micros_expr(value: &str, local: Option<Zone>) -> String {
    let part = |from: u8, length: u8| format!("substr({value}, {from}, {length})::int");
    let (year, month, day) = (part(1, 4), part(6, 2), part(9, 2));
    let shape = "^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?( ?Z| \
                 ?[+-][0-9]{2}(:?[0-9]{2})?)?$";
    let month_days = format!(
        "(CASE {month} WHEN 2 THEN CASE WHEN {year} % 4 = 0 AND ({year} % 100 <> 0 OR {year} % 400 = 0) \
         THEN 29 ELSE 28 END \
         WHEN 4 THEN 30 WHEN 6 THEN 30 WHEN 9 THEN 30 WHEN 11 THEN 30 ELSE 31 END)"
    );
    let fraction = format!("rpad(coalesce(left(substring({value} from '[.]([0-9]+)'), 6), ''), 6, '0')::int");
    let zone = |pattern: &str| format!("coalesce(substring({value} from '{pattern}'), '0')::int");
    let hours = zone("^.{19}[^+-]*[+-]([0-9]{2})");
    let minutes = zone("^.{19}[^+-]*[+-][0-9]{2}:?([0-9]{2})$");
    let sign = format!("(CASE WHEN {value} ~ '^.{{19}}[^+-]*-' THEN -1 ELSE 1 END)");
    // Text without an offset is wall-clock time of the zone; the offset is a whole number of seconds.
    let read = local.map_or("m".to_owned(), |zone| {
        let wall =
            local_timestamp_expr(zone, "(TIMESTAMP '1970-01-01' + (m / 1000000) * interval '1 second')");
        format!(
            "CASE WHEN {value} ~ '^.{{19}}([.][0-9]+)?$' THEN m + (CAST(EXTRACT(EPOCH \
             FROM {wall}) AS bigint) - m / 1000000) * 1000000 ELSE m END"
        )
    });
    format!(
        "CASE WHEN {value} ~ '{shape}' THEN CASE WHEN {year} >= 1 AND {month} BETWEEN 1 AND 12 \
         AND {day} BETWEEN 1 AND 31 THEN \
         CASE WHEN {day} <= {month_days} AND {hour} <= 23 AND {minute} <= 59 AND {second} <= 59 \
         AND {hours} <= 15 AND {minutes} <= 59 THEN \
         (SELECT CASE WHEN m BETWEEN {low} AND {high} THEN {read} END FROM (SELECT ((make_date({year}, \
         {month}, {day}) - DATE '1970-01-01')::bigint * 86400 \
         + {hour} * 3600 + {minute} * 60 + {second} - {sign} * ({hours} * 3600 + {minutes} * 60)) * 1000000 \
         + {fraction} AS m) AS i) END END END",
        hour = part(12, 2),
        minute = part(15, 2),
        second = part(18, 2),
        low = UtcTimestamp::MIN.micros(),
        high = UtcTimestamp::MAX.micros(),
    )
}
