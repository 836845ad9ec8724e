//! Instants inside SQL: what a stored expiry means, and how it is compared.

use sessionwatch_core::{
    decoder::Decoder,
    instant::{Instant, MICROS_PER_SECOND},
};

use super::{
    Sql,
    dialect::{DecodedColumn, NEVER, SqlDialect, UNDECODABLE, other_unit},
};
use crate::{mapping::InstantColumn, sql::tables::ColumnKind};

/// An instant as a target stores it, rounded down.
#[must_use]
pub fn stored_timestamp(decoder: Decoder, at: Instant) -> String {
    match decoder {
        Decoder::Timestamptz => format!("{}+00", sessionwatch_clock::timestamp(at)),
        Decoder::TimestampUtc => sessionwatch_clock::timestamp(at),
        Decoder::TimestampLocal(zone) => sessionwatch_clock::timestamp(at.plus_micros(zone.offset_at(at))),
        Decoder::EpochSeconds => at.micros().div_euclid(1_000_000).to_string(),
        Decoder::EpochMillis | Decoder::EpochMillisOrIso => at.micros().div_euclid(1_000).to_string(),
        Decoder::IsoText => sessionwatch_clock::rfc3339(at),
    }
}

/// An instant column inside SQL, with the conditions on it.
pub(super) struct InstantSql {
    /// An expression: a native timestamp, or an integer of microseconds with sentinels.
    pub(super) value: String,
    native: Option<Decoder>,
    /// An index on the column has its rows in the order of `value`.
    indexable: bool,
    dialect: &'static dyn SqlDialect,
    /// The instant of the look, where the query is to go by the database's own clock instead.
    clock: Option<Instant>,
}

impl InstantSql {
    pub(super) fn new(
        dialect: &'static dyn SqlDialect,
        clock: Option<Instant>,
        decoder: Decoder,
        value: &str,
        kind: ColumnKind,
    ) -> Self {
        let DecodedColumn { value, native, indexable } = dialect.decode(decoder, value, kind, clock);
        Self { value, native, indexable, dialect, clock }
    }

    /// Whether the column holds instants as the database knows them.
    pub(super) fn is_native(&self) -> bool {
        self.native.is_some()
    }

    fn literal(&self, at: Instant) -> String {
        match self.clock {
            Some(now) if at != Instant::MIN => self.clock_moved_by(at.micros_since(now)),
            _ => self.fixed(at),
        }
    }

    fn fixed(&self, at: Instant) -> String {
        let text = || sessionwatch_clock::timestamp(at);
        match self.native {
            Some(Decoder::Timestamptz) => format!("TIMESTAMPTZ '{}+00'", text()),
            Some(_) => format!("TIMESTAMP '{}'", text()),
            None => at.micros().to_string(),
        }
    }

    /// The database's clock, moved by that many microseconds.
    fn clock_moved_by(&self, micros: i64) -> String {
        let now = self.dialect.clock(self.native);
        let seconds = micros / 1_000_000;
        match (seconds, self.native) {
            (0, _) => now.to_owned(),
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
        match self.native {
            Some(_) => value.clone(),
            None => self.dialect.readable_seconds(&seconds),
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
        let number = self.dialect().whole_number(&value, self.kind(&self.mapping.sessions, column));
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
        if !is_text {
            return None;
        }
        let key = self.schema.table(&users.table)?.column(&users.key)?;
        let (written, canonical) = match key.kind {
            ColumnKind::Integer => INTEGER,
            _ if key.declared == "uuid" => UUID,
            _ => return None,
        };
        let (user, sessions) = (self.text(&self.column(user)), self.sessions());
        let dialect = self.dialect();
        let (written, canonical) = (dialect.matches(&user, written)?, dialect.matches(&user, canonical)?);
        Some(format!("SELECT COUNT(*) FROM {sessions} WHERE {written} AND NOT ({canonical})"))
    }
}

impl Sql<'_> {
    /// One row: how many sessions have an end, and how many of those end later than the clocks of machines differ.
    #[must_use]
    pub fn ends_ahead(&self) -> String {
        let expiry = self.instant(&self.mapping.expires);
        let ends = format!("NOT {}", expiry.never());
        format!(
            "SELECT COUNT(*), {}\nFROM {}\nWHERE {ends}",
            self.count_where(&expiry.after(self.now.plus_micros(60 * MICROS_PER_SECOND))),
            self.sessions()
        )
    }
}
