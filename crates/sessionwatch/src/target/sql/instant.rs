//! Instants inside SQL: what a stored expiry means, and how it is compared.

use sessionwatch_rules::{decoder::Decoder, instant::Instant};

use crate::profile::schema::{ColumnKind, Dialect};

/// A row without an end, where instants are integers.
const NEVER: &str = "9223372036854775807";
/// A row whose end cannot be read, where instants are integers.
const UNDECODABLE: &str = "-9223372036854775807";

/// An instant column inside SQL, with the conditions on it.
pub(super) struct InstantSql {
    /// An expression: a native timestamp, or an integer of microseconds with sentinels.
    pub(super) value: String,
    native: Option<Decoder>,
    dialect: Dialect,
    /// The instant of the look, where the query is to go by the database's own clock instead.
    clock: Option<Instant>,
}

impl InstantSql {
    pub(super) fn new(
        (dialect, clock): (Dialect, Option<Instant>),
        decoder: Decoder,
        (value, kind): (&str, ColumnKind),
    ) -> Self {
        let (value, native) = match (dialect, decoder) {
            (Dialect::Sqlite, _) if clock.is_some() => (sqlite_micros(decoder, value), None),
            (Dialect::Sqlite, _) => (format!("sw_instant('{}', {value})", decoder.name()), None),
            (Dialect::Postgres, Decoder::Timestamptz | Decoder::TimestampUtc) => {
                (value.to_owned(), Some(decoder))
            }
            (Dialect::Postgres, _) => (postgres_micros(decoder, value, kind == ColumnKind::Text), None),
        };
        Self { value, native, dialect, clock }
    }

    fn literal(&self, at: Instant) -> String {
        match self.clock {
            Some(now) if at != Instant::MIN => self.clock_moved_by(at.since(now)),
            _ => self.fixed(at),
        }
    }

    fn fixed(&self, at: Instant) -> String {
        let text = || crate::clock::timestamp(at);
        match self.native {
            Some(Decoder::Timestamptz) => format!("TIMESTAMPTZ '{}+00'", text()),
            Some(_) => format!("TIMESTAMP '{}'", text()),
            None => at.micros().to_string(),
        }
    }

    /// The database's clock, moved by that many microseconds.
    fn clock_moved_by(&self, micros: i64) -> String {
        let now = match (self.dialect, self.native) {
            (Dialect::Sqlite, _) => "CAST(strftime('%s', 'now') AS integer) * 1000000".to_owned(),
            (_, Some(Decoder::Timestamptz)) => "now()".to_owned(),
            (_, Some(_)) => "(now() AT TIME ZONE 'UTC')".to_owned(),
            (_, None) => "CAST(EXTRACT(EPOCH FROM now()) * 1000000 AS bigint)".to_owned(),
        };
        let seconds = micros / 1_000_000;
        match (seconds, self.native) {
            (0, _) => now,
            (_, Some(_)) => format!("({now} + interval '{seconds} seconds')"),
            (_, None) => format!("({now} + {micros})"),
        }
    }

    /// The first instant past the year 9999.
    fn end(&self) -> &'static str {
        if self.native == Some(Decoder::Timestamptz) {
            "TIMESTAMPTZ '10000-01-01 00:00:00+00'"
        } else {
            "TIMESTAMP '10000-01-01 00:00:00'"
        }
    }

    pub(super) fn never(&self) -> String {
        let value = &self.value;
        if self.native.is_some() {
            format!("({value} IS NULL OR {value} = 'infinity')")
        } else {
            format!("({value} = {NEVER})")
        }
    }

    pub(super) fn undecodable(&self) -> String {
        let value = &self.value;
        if self.native.is_some() {
            let (start, end) = (self.literal(Instant::MIN), self.end());
            format!("({value} < {start} OR ({value} >= {end} AND {value} < 'infinity'))")
        } else {
            format!("({value} = {UNDECODABLE})")
        }
    }

    /// A finite instant later than `limit`.
    pub(super) fn after(&self, limit: Instant) -> String {
        let (value, limit) = (&self.value, self.literal(limit));
        if self.native.is_some() {
            format!("({value} > {limit} AND {value} < {})", self.end())
        } else {
            format!("({value} > {limit} AND {value} <> {NEVER})")
        }
    }

    pub(super) fn active(&self, now: Instant) -> String {
        if self.native.is_some() {
            format!("({} OR {})", self.never(), self.after(now))
        } else {
            format!("({} > {})", self.value, now.micros())
        }
    }

    pub(super) fn expired(&self, now: Instant) -> String {
        let (value, now) = (&self.value, self.literal(now));
        if self.native.is_some() {
            format!("({value} <= {now} AND {value} >= {})", self.literal(Instant::MIN))
        } else {
            format!("({value} <= {now} AND {value} <> {UNDECODABLE})")
        }
    }

    pub(super) fn beyond(&self, limit: Instant) -> String {
        self.after(limit)
    }

    /// Hours from `now` to a finite end, for a person.
    pub(super) fn hours_left(&self, now: Instant) -> String {
        let (value, now) = (&self.value, self.literal(now));
        if self.native.is_some() {
            format!(
                "CASE WHEN isfinite({value}) THEN ROUND(CAST(EXTRACT(EPOCH FROM ({value} - {now})) / 3600 AS numeric), 1) END"
            )
        } else {
            format!("ROUND(({} - {now}) / 3600000000.0, 1)", self.micros(value))
        }
    }

    /// The conditions that a row has an instant, and that it has none, if an index on the column can serve both.
    pub(super) fn split(&self) -> Option<(String, String)> {
        self.native?;
        Some((self.within(&self.value), format!("({} OR {})", self.never(), self.undecodable())))
    }

    /// By what rows are sorted: the instant, and what has none as the largest; as cheap to compute as can be.
    pub(super) fn place(&self) -> String {
        let value = &self.value;
        if self.native.is_some() {
            format!("CASE WHEN {} THEN {value} ELSE 'infinity' END", self.within(value))
        } else {
            format!("COALESCE({}, {})", self.micros(value), i64::MAX)
        }
    }

    /// The place of a row that has this instant, or none.
    pub(super) fn place_of(&self, at: Option<Instant>) -> String {
        match (at, self.native) {
            (Some(at), _) => self.literal(at),
            (None, Some(Decoder::Timestamptz)) => "TIMESTAMPTZ 'infinity'".into(),
            (None, Some(_)) => "TIMESTAMP 'infinity'".into(),
            (None, None) => i64::MAX.to_string(),
        }
    }

    /// Microseconds since 1970 of an expression of this column's type; NULL for an infinity or what cannot be read.
    pub(super) fn micros(&self, expression: &str) -> String {
        if self.native.is_some() {
            // Up to PostgreSQL 13, seconds since 1970 come as binary fractions, which do not hold the microseconds of instants
            // far away. Whole seconds, and microseconds within one, are exact in every version.
            format!(
                "CASE WHEN {within} THEN CAST(EXTRACT(EPOCH FROM pg_catalog.date_trunc('second', {expression})) AS bigint) * 1000000 \
                 + CAST(EXTRACT(MICROSECONDS FROM {expression}) AS bigint) % 1000000 END",
                within = self.within(expression),
            )
        } else {
            format!("NULLIF(NULLIF({expression}, {NEVER}), {UNDECODABLE})")
        }
    }

    /// That a native timestamp lies between the years 1 and 9999.
    fn within(&self, expression: &str) -> String {
        format!("({expression} >= {} AND {expression} < {})", self.literal(Instant::MIN), self.end())
    }
}

/// An integer of microseconds from a column that is not a native timestamp, on Postgres; never raises an error.
fn postgres_micros(decoder: Decoder, value: &str, text: bool) -> String {
    let scale = if decoder == Decoder::EpochSeconds { 1_000_000 } else { 1_000 };
    let (low, high) = (Instant::MIN.micros() / scale, Instant::MAX.micros() / scale);
    let scaled = format!(
        "CASE WHEN {value}::bigint BETWEEN {low} AND {high} THEN {value}::bigint * {scale} ELSE {UNDECODABLE} END"
    );
    match (decoder, text) {
        (Decoder::EpochSeconds | Decoder::EpochMillis, true) => format!(
            "(CASE WHEN {value} IS NULL THEN {NEVER} WHEN {value}::text ~ '^-?[0-9]{{1,18}}$' THEN {scaled} ELSE {UNDECODABLE} END)"
        ),
        (_, false) => format!("(CASE WHEN {value} IS NULL THEN {NEVER} ELSE {scaled} END)"),
        _ => format!(
            "(CASE WHEN {value} IS NULL THEN {NEVER} ELSE COALESCE({}, {UNDECODABLE}) END)",
            postgres_iso(&format!("{value}::text"))
        ),
    }
}

/// The ISO reader of `sessionwatch_rules::decoder`, in SQL: NULL where the text is not an instant.
fn postgres_iso(value: &str) -> String {
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
    format!(
        "CASE WHEN {value} ~ '{shape}' THEN CASE WHEN {year} >= 1 AND {month} BETWEEN 1 AND 12 AND {day} BETWEEN 1 AND 31 THEN \
         CASE WHEN {day} <= {month_days} AND {hour} <= 23 AND {minute} <= 59 AND {second} <= 59 AND {hours} <= 15 AND {minutes} <= 59 THEN \
         (SELECT CASE WHEN m BETWEEN {low} AND {high} THEN m END FROM (SELECT ((make_date({year}, {month}, {day}) - DATE '1970-01-01')::bigint * 86400 \
         + {hour} * 3600 + {minute} * 60 + {second} - {sign} * ({hours} * 3600 + {minutes} * 60)) * 1000000 + {fraction} AS m) AS i) END END END",
        hour = part(12, 2),
        minute = part(15, 2),
        second = part(18, 2),
        low = Instant::MIN.micros(),
        high = Instant::MAX.micros(),
    )
}

/// Microseconds from a column on SQLite, for a query that is pasted into another program. Text is read to the second.
fn sqlite_micros(decoder: Decoder, value: &str) -> String {
    let text = format!("CAST(strftime('%s', {value}) AS integer) * 1000000");
    let read = match decoder {
        Decoder::EpochSeconds => format!("CAST({value} AS integer) * 1000000"),
        Decoder::EpochMillis => format!("CAST({value} AS integer) * 1000"),
        Decoder::EpochMillisOrIso => {
            format!("CASE typeof({value}) WHEN 'integer' THEN {value} * 1000 ELSE {text} END")
        }
        _ => text,
    };
    format!("(CASE WHEN {value} IS NULL THEN {NEVER} ELSE COALESCE({read}, {UNDECODABLE}) END)")
}
