//! PostgreSQL, and what speaks its language.

mod bulk;
mod grants;
mod remedies;

#[cfg(test)]
mod statement_tests;

use sessionwatch_core::{decoder::Decoder, instant::Instant, token, zone::Zone};

use super::{
    DecodedColumn, Dialect, HashedColumns, JoinedDelete, NEVER, ReadCondition, RoleGrants, RowInsertion,
    RowsSetBack, SqlDialect, UNDECODABLE, numbers, other_unit,
};
use crate::{
    sql::{
        Addressing, PREFIX_LENGTH,
        tables::{Column, ColumnKind, Table},
    },
    unsealed_rows::DependentTable,
};

/// Keeps functions and operators of the application from taking the place of built-in ones.
const SAFE_PATH: &str = "-- Only built-in functions and operators, whatever the search path has.\nSET search_path = pg_catalog, pg_temp;\n";
/// Characters of a stored session in which its cookie is looked for: it comes first.
const COOKIE_WITHIN: usize = 4_096;

/// A condition that always holds. It is evaluated before the first row is changed, so that triggers, rules and domains of
/// the table run under the path of the role, as for any other program. The statement itself was parsed under a safe one.
const TRIGGERS_UNDER_ROLE: &str = "(SELECT pg_catalog.set_config('search_path', \
     pg_catalog.current_setting('sessionwatch.search_path', true), true)) IS NOT NULL";

#[derive(Debug)]
struct Postgres;

impl Dialect {
    /// PostgreSQL's.
    pub const POSTGRES: Self = Self(&Postgres);
}

impl SqlDialect for Postgres {
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

    fn case_blind_comparison(&self) -> &'static str {
        "without regard to case (citext)"
    }

    fn grants(&self, grants: RoleGrants<'_>) -> String {
        grants::statements(grants)
    }

    fn string(&self, text: &str) -> String {
        let quoted = format!("'{}'", text.replace('\'', "''").replace('\0', "\u{fffd}"));
        if text.contains('\\') { format!("E{}", quoted.replace('\\', "\\\\")) } else { quoted }
    }

    fn client(&self) -> &'static str {
        "psql"
    }

    fn safe_script(&self, queries: &str) -> String {
        format!("{SAFE_PATH}{queries}RESET search_path;\n")
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

    fn one_of_equal_texts(&self, column: &str) -> String {
        format!("pg_catalog.min(CAST({column} AS text) COLLATE \"C\") OVER (PARTITION BY {column})")
    }

    fn collations_are_of_application(&self) -> bool {
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

    fn is_read(&self, condition: &ReadCondition<'_>) -> String {
        bulk::is_read(condition)
    }

    fn inserted_value(&self, at: usize) -> String {
        format!("g.c{}", at + 1)
    }

    fn set_back_value(&self, at: usize) -> String {
        format!("v.c{}", at + 1)
    }

    fn insert(&self, rows: &RowInsertion<'_>) -> String {
        bulk::insert(rows)
    }

    fn set_back(&self, rows: &RowsSetBack<'_>) -> String {
        bulk::set_back(rows)
    }

    fn insert_dependents(&self, dependent: &DependentTable) -> String {
        bulk::insert_dependents(dependent)
    }

    fn ignoring_indexes(&self) -> &'static str {
        // The session has switched them off.
        ""
    }

    fn not_deleted(&self, column: &str, declared: &Column) -> String {
        match declared.kind {
            _ if declared.is_boolean() => format!("{column} IS NOT TRUE"),
            ColumnKind::Integer => format!("COALESCE({column}, 0) = 0"),
            ColumnKind::Text => format!("COALESCE({column}, '') = ''"),
            _ => format!("{column} IS NULL"),
        }
    }

    fn fold_case(&self, expression: &str) -> String {
        format!("pg_catalog.lower(CAST({expression} AS text) COLLATE pg_catalog.\"default\")")
    }

    fn by_bytes(&self, expression: &str) -> String {
        format!("{expression} COLLATE \"C\"")
    }

    fn matches(&self, expression: &str, pattern: &str) -> Option<String> {
        Some(format!("{expression} ~ '{pattern}'"))
    }

    fn length(&self, expression: &str) -> String {
        format!("pg_catalog.length({expression})")
    }

    fn dynamic_type(&self, _: &str) -> Option<String> {
        None
    }

    fn whole_number(&self, value: &str, kind: ColumnKind) -> String {
        match kind {
            ColumnKind::Text => {
                format!("CASE WHEN {value}::text ~ '^[0-9]{{1,18}}$' THEN {value}::bigint END")
            }
            _ => format!("{value}::bigint"),
        }
    }

    fn literal(&self, _: ColumnKind, value: &str) -> String {
        self.string(value)
    }

    fn token_text(&self, column: &str, kind: ColumnKind) -> String {
        match kind {
            ColumnKind::Bytes => format!("pg_catalog.encode({column}, 'hex')"),
            _ => format!("{column}::text"),
        }
    }

    fn fingerprint(&self, token: &str, key: i64) -> String {
        format!("pg_catalog.hashtextextended({token}, {key})")
    }

    fn prefix(&self, token: &str, _: bool) -> String {
        let parts = token::PARTS;
        format!(
            "pg_catalog.left({token}, LEAST({PREFIX_LENGTH}, pg_catalog.int4div(pg_catalog.length({token}), {parts})))"
        )
    }

    fn row_hash(&self, columns: &[String], key: i64) -> String {
        format!("pg_catalog.hashtextextended(ROW({})::text, {key})", columns.join(", "))
    }

    fn mark(&self, columns: HashedColumns, key: i64) -> String {
        let HashedColumns { id, token, user, expires, expires_in_zone } = columns;
        let expires = if expires_in_zone {
            // As text, an instant depends on the zone of the session.
            format!("({expires} AT TIME ZONE 'UTC')")
        } else {
            expires
        };
        let parts = [(0, id), (1, token), (2, user), (3, expires)].map(|(turn, part)| {
            format!("pg_catalog.hashtextextended(COALESCE(({part})::text, '~'), {})", key.wrapping_add(turn))
        });
        format!("({})", parts.join(" # "))
    }

    fn scanned_instant(&self, value: &str, kind: ColumnKind) -> String {
        match kind {
            ColumnKind::Timestamptz | ColumnKind::Timestamp | ColumnKind::Integer => value.to_owned(),
            _ => format!("{value}::text"),
        }
    }

    fn decode(&self, decoder: Decoder, value: &str, kind: ColumnKind, _: Option<Instant>) -> DecodedColumn {
        let (value, native, indexable) = match decoder {
            Decoder::Timestamptz | Decoder::TimestampUtc => (value.to_owned(), Some(decoder), true),
            Decoder::TimestampLocal(zone) if kind == ColumnKind::Timestamp => {
                (postgres_local(zone, value), Some(Decoder::Timestamptz), false)
            }
            _ => (postgres_micros(decoder, value, kind == ColumnKind::Text), None, false),
        };
        DecodedColumn { value, native, indexable }
    }

    fn clock(&self, native: Option<Decoder>) -> &'static str {
        match native {
            Some(Decoder::Timestamptz) => "now()",
            Some(_) => "(now() AT TIME ZONE 'UTC')",
            None => "CAST(EXTRACT(EPOCH FROM now()) * 1000000 AS bigint)",
        }
    }

    fn readable_seconds(&self, seconds: &str) -> String {
        format!("to_timestamp({seconds})")
    }

    fn is_naive(&self, value: &str, kind: ColumnKind) -> String {
        match kind {
            ColumnKind::Text => format!("CAST({value} AS text) ~ '^.{{19}}([.][0-9]+)?$'"),
            _ => "1 = 0".into(),
        }
    }

    fn cookie(&self, document: &str) -> [String; 2] {
        let within = format!("left(CAST({document} AS text), {COOKIE_WITHIN})");
        let of = |key: &str, pattern: &str| {
            format!(
                "substring({within} from '\"cookie\"[[:space:]]*:[[:space:]]*[{{][^{{}}]*\"{key}\"[[:space:]]*:[[:space:]]*{pattern}')"
            )
        };
        [of("expires", "\"([0-9][0-9T:.+Z-]{18,35})\""), of("originalMaxAge", "([0-9]{1,15})")]
    }

    fn has_places(&self, table: &Table) -> bool {
        table.places_readable
    }

    fn place_columns(&self, several_heaps: bool) -> &'static [&'static str] {
        if several_heaps { &["s.tableoid", "s.ctid"] } else { &["s.ctid"] }
    }

    fn at_places(&self, heaps: &[u32], places: &[u64]) -> String {
        let places = bulk::tids(places.iter().copied());
        let found = format!("s.ctid = ANY({places})");
        if heaps.is_empty() {
            return found;
        }
        let heaps = numbers(heaps.iter().copied().map(i64::from));
        format!(
            "{found} AND (s.tableoid, s.ctid) IN (SELECT * FROM ROWS FROM (pg_catalog.unnest('{{{heaps}}}'::oid[]), pg_catalog.unnest({places})))"
        )
    }

    fn planned_version(&self, addressing: Addressing) -> [&'static str; 2] {
        match addressing {
            Addressing::Place => ["s.ctid::text", "s.xmin::text"],
            Addressing::HeapAndPlace => ["s.tableoid::text", "0"],
            Addressing::Id => ["CAST(NULL AS text)", "0"],
        }
    }

    fn read_version(&self, by_place: bool, _: String, row_hash: String) -> [String; 2] {
        if by_place { ["s.ctid".into(), "s.xmin".into()] } else { ["s.tableoid".into(), row_hash] }
    }

    fn heap_and_place(&self, alias: &str, _: Option<&str>, _: &str) -> String {
        format!("{alias}.tableoid AS heap, {alias}.ctid")
    }

    fn distinct_places(&self) -> [&'static str; 2] {
        ["DISTINCT ON (r.heap, r.place) ", ""]
    }

    fn delete_joined(&self, delete: &JoinedDelete<'_>) -> String {
        let JoinedDelete { table, alias, joined, condition, hash, hashes, .. } = delete;
        format!(
            "DELETE FROM {table} AS {alias} USING {joined}\nWHERE {TRIGGERS_UNDER_ROLE} AND {condition} \
             AND {hash} = ANY('{{{hashes}}}'::bigint[])"
        )
    }

    fn number_among(&self, expression: &str, numbers: &str) -> String {
        format!("{expression} = ANY('{{{numbers}}}'::bigint[])")
    }

    fn number_list(&self, numbers: &str) -> String {
        format!("SELECT pg_catalog.unnest('{{{numbers}}}'::bigint[])")
    }

    fn id_among(&self, column: &str, declared: Option<&str>, ids: &str) -> String {
        match declared {
            // Compared as what it is, the id is looked up in its index.
            Some(declared) => format!("{column} = ANY(CAST(ARRAY[{ids}]::text[] AS {declared}[]))"),
            None => format!("CAST({column} AS text) IN ({ids})"),
        }
    }

    fn found_in(&self, columns: &[String], tuple: &str, query: &str) -> String {
        match columns {
            // Found by their places at once, which a semi-join does not do.
            [one] => format!("{one} = ANY(ARRAY({query}))"),
            _ => format!("{tuple} IN ({query})"),
        }
    }

    fn texts_as_rows(&self, texts: &[String]) -> String {
        format!("SELECT v.id FROM pg_catalog.unnest(ARRAY[{}]::text[]) AS v(id)", texts.join(", "))
    }

    fn id_rank(&self, column: &str, kind: ColumnKind) -> String {
        match kind {
            ColumnKind::Integer | ColumnKind::Uuid => column.to_owned(),
            _ => format!("CAST({column} AS text)"),
        }
    }

    fn rank_of_id(&self, id: &str, kind: ColumnKind) -> String {
        match kind {
            ColumnKind::Integer => id.parse::<i64>().map_or("NULL".into(), |id| id.to_string()),
            ColumnKind::Uuid if !is_uuid(id) => "NULL".into(),
            _ => self.string(id),
        }
    }

    fn user_order(&self, table: &str, kind: Option<ColumnKind>) -> String {
        match kind {
            // Qualified, for `u` alone would be the text of the first column of the result.
            Some(ColumnKind::Integer) => format!("{table}.u"),
            _ => "CAST(u AS text) COLLATE \"C\"".into(),
        }
    }
}

/// Whether PostgreSQL writes UUIDs so.
fn is_uuid(text: &str) -> bool {
    let fits = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    text.len() == 36 && text.bytes().enumerate().all(fits)
}

/// An instant from the wall clock of a zone, on Postgres. Wall clocks near the first and the last instants there are stand
/// for themselves, as in `sessionwatch_core::zone`: they could not be moved.
fn postgres_local(zone: Zone, value: &str) -> String {
    format!(
        "(CASE WHEN {value} >= TIMESTAMP '0001-01-03' AND {value} < TIMESTAMP '9999-12-29' \
         THEN {value} AT TIME ZONE '{}' ELSE {value} AT TIME ZONE 'UTC' END)",
        zone.name()
    )
}

/// An integer of microseconds from a column that is not a native timestamp, on Postgres; never raises an error.
fn postgres_micros(decoder: Decoder, value: &str, text: bool) -> String {
    let scale = if decoder == Decoder::EpochSeconds { 1_000_000 } else { 1_000 };
    let (low, high) = (Instant::MIN.micros() / scale, Instant::MAX.micros() / scale);
    let (other, other_scale) = other_unit(decoder);
    let scaled = format!(
        "CASE WHEN {value}::bigint BETWEEN {} AND {} THEN {value}::bigint * {other_scale} \
         WHEN {value}::bigint BETWEEN {low} AND {high} THEN {value}::bigint * {scale} ELSE {UNDECODABLE} END",
        other.start,
        other.end - 1,
    );
    match (decoder, text) {
        (Decoder::EpochSeconds | Decoder::EpochMillis, true) => format!(
            "(CASE WHEN {value} IS NULL THEN {NEVER} WHEN {value}::text ~ '^-?[0-9]{{1,18}}$' THEN {scaled} ELSE {UNDECODABLE} END)"
        ),
        (_, false) => format!("(CASE WHEN {value} IS NULL THEN {NEVER} ELSE {scaled} END)"),
        _ => {
            let zone = if let Decoder::TimestampLocal(zone) = decoder { Some(zone) } else { None };
            format!(
                "(CASE WHEN {value} IS NULL THEN {NEVER} ELSE COALESCE({}, {UNDECODABLE}) END)",
                postgres_iso(&format!("{value}::text"), zone)
            )
        }
    }
}

/// The ISO reader of `sessionwatch_core::decoder`, in SQL: NULL where the text is not an instant.
fn postgres_iso(value: &str, local: Option<Zone>) -> String {
    let part = |from: u8, length: u8| format!("substr({value}, {from}, {length})::int");
    let (year, month, day) = (part(1, 4), part(6, 2), part(9, 2));
    let shape = "^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?( ?Z| ?[+-][0-9]{2}(:?[0-9]{2})?)?$";
    let month_days = format!(
        "(CASE {month} WHEN 2 THEN CASE WHEN {year} % 4 = 0 AND ({year} % 100 <> 0 OR {year} % 400 = 0) THEN 29 ELSE 28 END \
         WHEN 4 THEN 30 WHEN 6 THEN 30 WHEN 9 THEN 30 WHEN 11 THEN 30 ELSE 31 END)"
    );
    let fraction = format!("rpad(coalesce(left(substring({value} from '[.]([0-9]+)'), 6), ''), 6, '0')::int");
    let zone = |pattern: &str| format!("coalesce(substring({value} from '{pattern}'), '0')::int");
    let hours = zone("^.{19}[^+-]*[+-]([0-9]{2})");
    let minutes = zone("^.{19}[^+-]*[+-][0-9]{2}:?([0-9]{2})$");
    let sign = format!("(CASE WHEN {value} ~ '^.{{19}}[^+-]*-' THEN -1 ELSE 1 END)");
    // Text that names no offset is the wall clock of the zone: whole seconds are moved.
    let read = local.map_or("m".to_owned(), |zone| {
        let wall = postgres_local(zone, "(TIMESTAMP '1970-01-01' + (m / 1000000) * interval '1 second')");
        format!(
            "CASE WHEN {value} ~ '^.{{19}}([.][0-9]+)?$' THEN m + (CAST(EXTRACT(EPOCH FROM {wall}) AS bigint) - m / 1000000) * 1000000 ELSE m END"
        )
    });
    format!(
        "CASE WHEN {value} ~ '{shape}' THEN CASE WHEN {year} >= 1 AND {month} BETWEEN 1 AND 12 AND {day} BETWEEN 1 AND 31 THEN \
         CASE WHEN {day} <= {month_days} AND {hour} <= 23 AND {minute} <= 59 AND {second} <= 59 AND {hours} <= 15 AND {minutes} <= 59 THEN \
         (SELECT CASE WHEN m BETWEEN {low} AND {high} THEN {read} END FROM (SELECT ((make_date({year}, {month}, {day}) - DATE '1970-01-01')::bigint * 86400 \
         + {hour} * 3600 + {minute} * 60 + {second} - {sign} * ({hours} * 3600 + {minutes} * 60)) * 1000000 + {fraction} AS m) AS i) END END END",
        hour = part(12, 2),
        minute = part(15, 2),
        second = part(18, 2),
        low = Instant::MIN.micros(),
        high = Instant::MAX.micros(),
    )
}
