//! Instants inside SQL: what a stored expiry means, and how it is compared.

use std::{fmt::Write as _, ops::Range};

use sessionwatch_core::{
    decoder::{Decoder, MILLIS, SECONDS},
    instant::{DAY, Instant, SECOND},
    zone::Zone,
};

use super::Sql;
use crate::profile::{
    mapping::InstantColumn,
    schema::{ColumnKind, Dialect},
};

/// A row without an end, where instants are integers.
const NEVER: &str = "9223372036854775807";
/// A row whose end cannot be read, where instants are integers.
const UNDECODABLE: &str = "-9223372036854775807";

/// How far a query that is pasted elsewhere knows the clocks of a zone, before and after it was written.
const ZONE_KNOWN: i64 = 3 * 365 * DAY;

/// An instant as a target stores it, rounded down.
#[must_use]
pub fn stored_timestamp(decoder: Decoder, at: Instant) -> String {
    match decoder {
        Decoder::Timestamptz => format!("{}+00", crate::clock::timestamp(at)),
        Decoder::TimestampUtc => crate::clock::timestamp(at),
        Decoder::TimestampLocal(zone) => crate::clock::timestamp(at.plus(zone.offset_at(at))),
        Decoder::EpochSeconds => at.micros().div_euclid(1_000_000).to_string(),
        Decoder::EpochMillis | Decoder::EpochMillisOrIso => at.micros().div_euclid(1_000).to_string(),
        Decoder::IsoText => crate::clock::rfc3339(at),
    }
}

/// An instant column inside SQL, with the conditions on it.
pub(super) struct InstantSql {
    /// An expression: a native timestamp, or an integer of microseconds with sentinels.
    pub(super) value: String,
    native: Option<Decoder>,
    /// An index on the column has its rows in the order of `value`.
    indexable: bool,
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
        let (value, native, indexable) = match (dialect, decoder, clock) {
            (Dialect::Sqlite, _, Some(now)) => (sqlite_micros(decoder, value, now), None, false),
            (Dialect::Sqlite, ..) => (format!("sw_instant('{}', {value})", decoder.name()), None, false),
            (Dialect::Postgres, Decoder::Timestamptz | Decoder::TimestampUtc, _) => {
                (value.to_owned(), Some(decoder), true)
            }
            (Dialect::Postgres, Decoder::TimestampLocal(zone), _) if kind == ColumnKind::Timestamp => {
                (postgres_local(zone, value), Some(Decoder::Timestamptz), false)
            }
            (Dialect::Postgres, ..) => {
                (postgres_micros(decoder, value, kind == ColumnKind::Text), None, false)
            }
        };
        Self { value, native, indexable, dialect, clock }
    }

    /// Whether the column holds instants as the database knows them.
    pub(super) fn is_native(&self) -> bool {
        self.native.is_some()
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
            format!("({} > {})", self.value, self.literal(now))
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

    /// The instant as a person reads it; NULL if there is none.
    pub(super) fn readable(&self) -> String {
        let value = &self.value;
        let seconds = format!("NULLIF(NULLIF({value}, {NEVER}), {UNDECODABLE}) / 1000000");
        match (self.dialect, self.native) {
            (_, Some(_)) => value.clone(),
            (Dialect::Sqlite, None) => format!("datetime({seconds}, 'unixepoch')"),
            (Dialect::Postgres, None) => format!("to_timestamp({seconds})"),
        }
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
        if !self.indexable {
            return None;
        }
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

impl Sql<'_> {
    /// How many ends are numbers of another unit than the others, seconds among milliseconds or the reverse; nothing where they
    /// are no numbers.
    #[must_use]
    pub fn ends_in_other_unit(&self) -> Option<String> {
        let InstantColumn { column, decoder } = &self.mapping.expires;
        if !matches!(decoder, Decoder::EpochSeconds | Decoder::EpochMillis | Decoder::EpochMillisOrIso) {
            return None;
        }
        let value = self.column(column);
        let number = match (self.dialect(), self.kind(&self.mapping.sessions, column)) {
            (Dialect::Sqlite, _) => format!("CAST({value} AS integer)"),
            (_, ColumnKind::Text) => {
                format!("CASE WHEN {value}::text ~ '^[0-9]{{1,18}}$' THEN {value}::bigint END")
            }
            _ => format!("{value}::bigint"),
        };
        let (other, _) = other_unit(*decoder);
        let (first, last) = (other.start, other.end - 1);
        Some(format!("SELECT COUNT(*) FROM {} WHERE {number} BETWEEN {first} AND {last}", self.sessions()))
    }

    /// Counts the sessions whose user is written in a form that no key of a user has: an integer with leading zeros beside keys
    /// that are integers, a UUID in capitals beside keys that are UUIDs. Returns `None` where there is no such difference.
    #[must_use]
    pub fn users_in_other_form(&self) -> Option<String> {
        /// A kind of keys: how its values may be written, and how keys of it are.
        type Form = (&'static str, &'static str);
        const INTEGER: Form = (r"^\s*[+-]?[0-9]+\s*$", "^(0|-?[1-9][0-9]*)$");
        const UUID: Form = (
            r"^\s*[{]?[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}[}]?\s*$",
            "^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$",
        );
        let (user, users) = (self.mapping.user.as_ref()?, self.mapping.users.as_ref()?);
        let is_text = self.kind(&self.mapping.sessions, user) == ColumnKind::Text;
        if self.dialect() != Dialect::Postgres || !is_text {
            return None;
        }
        let key = self.schema.table(&users.table)?.column(&users.key)?;
        let (written, canonical) = match key.kind {
            ColumnKind::Integer => INTEGER,
            _ if key.declared == "uuid" => UUID,
            _ => return None,
        };
        let (user, sessions) = (self.text(&self.column(user)), self.sessions());
        Some(format!(
            "SELECT COUNT(*) FROM {sessions} WHERE {user} ~ '{written}' AND {user} !~ '{canonical}'"
        ))
    }
}

impl Sql<'_> {
    /// One row: how many sessions have an end, and how many of those end later than the clocks of machines differ.
    #[must_use]
    pub fn ends_ahead(&self) -> String {
        let expiry = self.instant(&self.mapping.expires);
        let ends = format!("NOT {}", expiry.never());
        format!(
            "SELECT COUNT(*), COUNT(*) FILTER (WHERE {})\nFROM {}\nWHERE {ends}",
            expiry.after(self.now.plus(60 * SECOND)),
            self.sessions()
        )
    }
}

/// The numbers that are of the other unit than that of a decoder, and the microseconds of one of them.
fn other_unit(decoder: Decoder) -> (Range<i64>, i64) {
    if decoder == Decoder::EpochSeconds { (MILLIS, 1_000) } else { (SECONDS, 1_000_000) }
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
    let shifts = zone.shifts(now.plus(-ZONE_KNOWN), now.plus(ZONE_KNOWN));
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
