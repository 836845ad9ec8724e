//! Instants inside SQL: what a stored expiry means, and how it is compared.

use sessionwatch_core::{
    decoder::Decoder,
    timestamp::{MICROS_PER_SECOND, UtcTimestamp},
};

use super::{
    QueryBuilder,
    dialect::{DecodedColumn, NEVER_MICROS, SqlDialect, UNDECODABLE_MICROS, other_epoch_unit},
};
use crate::{mapping::TimestampColumn, sql::tables::ColumnKind};

/// An instant as a target stores it, rounded down.
#[must_use]
pub fn encode_timestamp(decoder: Decoder, at: UtcTimestamp) -> String {
    match decoder {
        Decoder::Timestamptz => format!("{}+00", sessionwatch_clock::format_timestamp(at)),
        Decoder::TimestampUtc => sessionwatch_clock::format_timestamp(at),
        Decoder::TimestampLocal(zone) => {
            sessionwatch_clock::format_timestamp(at.saturating_add_micros(zone.offset_us_at(at)))
        }
        Decoder::EpochSeconds => at.micros().div_euclid(1_000_000).to_string(),
        Decoder::EpochMillis | Decoder::EpochMillisOrIso => at.micros().div_euclid(1_000).to_string(),
        Decoder::IsoText => sessionwatch_clock::format_rfc3339(at),
    }
}

/// An instant column inside SQL, with the conditions on it.
pub(super) struct TimestampExpr {
    /// An expression: a native timestamp, or an integer of microseconds with sentinels.
    pub(super) value: String,
    native: Option<Decoder>,
    /// An index on the column has its rows in the order of `value`.
    indexable: bool,
    dialect: &'static dyn SqlDialect,
    /// The instant of the look, where the query is to go by the database's own clock instead.
    clock: Option<UtcTimestamp>,
}

impl TimestampExpr {
    pub(super) fn new(
        dialect: &'static dyn SqlDialect,
        clock: Option<UtcTimestamp>,
        decoder: Decoder,
        value: &str,
        kind: ColumnKind,
    ) -> Self {
        let DecodedColumn { value, native_decoder: native, is_indexable: indexable } =
            dialect.decode_column(decoder, value, kind, clock);
        Self { value, native, indexable, dialect, clock }
    }

    /// Whether the column holds instants as the database knows them.
    pub(super) fn is_native(&self) -> bool {
        self.native.is_some()
    }

    fn timestamp_literal(&self, at: UtcTimestamp) -> String {
        match self.clock {
            Some(now) if at != UtcTimestamp::MIN => self.clock_offset_expr(at.micros_since(now)),
            _ => self.fixed_literal(at),
        }
    }

    fn fixed_literal(&self, at: UtcTimestamp) -> String {
        let text = || sessionwatch_clock::format_timestamp(at);
        match self.native {
            Some(Decoder::Timestamptz) => format!("TIMESTAMPTZ '{}+00'", text()),
            Some(_) => format!("TIMESTAMP '{}'", text()),
            None => at.micros().to_string(),
        }
    }

    /// The database's clock, moved by that many microseconds.
    fn clock_offset_expr(&self, micros: i64) -> String {
        let now = self.dialect.clock_expr(self.native);
        let seconds = micros / 1_000_000;
        match (seconds, self.native) {
            (0, _) => now.to_owned(),
            (_, Some(_)) => format!("({now} + interval '{seconds} seconds')"),
            (_, None) => format!("({now} + {micros})"),
        }
    }

    /// The first instant past the year 9999.
    fn upper_bound_literal(&self) -> &'static str {
        if self.native == Some(Decoder::Timestamptz) {
            "TIMESTAMPTZ '10000-01-01 00:00:00+00'"
        } else {
            "TIMESTAMP '10000-01-01 00:00:00'"
        }
    }

    pub(super) fn never_condition(&self) -> String {
        let value = &self.value;
        if self.native.is_some() {
            format!("({value} IS NULL OR {value} = 'infinity')")
        } else {
            format!("({value} = {NEVER_MICROS})")
        }
    }

    pub(super) fn undecodable_condition(&self) -> String {
        let value = &self.value;
        if self.native.is_some() {
            let (start, end) = (self.timestamp_literal(UtcTimestamp::MIN), self.upper_bound_literal());
            format!("({value} < {start} OR ({value} >= {end} AND {value} < 'infinity'))")
        } else {
            format!("({value} = {UNDECODABLE_MICROS})")
        }
    }

    /// A finite instant later than `limit`.
    pub(super) fn after_condition(&self, limit: UtcTimestamp) -> String {
        let (value, limit) = (&self.value, self.timestamp_literal(limit));
        if self.native.is_some() {
            format!("({value} > {limit} AND {value} < {})", self.upper_bound_literal())
        } else {
            format!("({value} > {limit} AND {value} <> {NEVER_MICROS})")
        }
    }

    pub(super) fn active_condition(&self, now: UtcTimestamp) -> String {
        if self.native.is_some() {
            format!("({} OR {})", self.never_condition(), self.after_condition(now))
        } else {
            format!("({} > {})", self.value, self.timestamp_literal(now))
        }
    }

    pub(super) fn expired_condition(&self, now: UtcTimestamp) -> String {
        let (value, now) = (&self.value, self.timestamp_literal(now));
        if self.native.is_some() {
            format!("({value} <= {now} AND {value} >= {})", self.timestamp_literal(UtcTimestamp::MIN))
        } else {
            format!("({value} <= {now} AND {value} <> {UNDECODABLE_MICROS})")
        }
    }

    pub(super) fn beyond_condition(&self, limit: UtcTimestamp) -> String {
        self.after_condition(limit)
    }

    /// The instant as a person reads it; NULL if there is none.
    pub(super) fn readable_expr(&self) -> String {
        let value = &self.value;
        let seconds = format!("NULLIF(NULLIF({value}, {NEVER_MICROS}), {UNDECODABLE_MICROS}) / 1000000");
        match self.native {
            Some(_) => value.clone(),
            None => self.dialect.readable_timestamp_expr(&seconds),
        }
    }

    /// Hours from `now` to a finite end, for a person.
    pub(super) fn hours_left_expr(&self, now: UtcTimestamp) -> String {
        let (value, now) = (&self.value, self.timestamp_literal(now));
        if self.native.is_some() {
            format!(
                "CASE WHEN isfinite({value}) THEN ROUND(CAST(EXTRACT(EPOCH FROM ({value} - {now})) / 3600 AS numeric), 1) END"
            )
        } else {
            format!("ROUND(({} - {now}) / 3600000000.0, 1)", self.micros_expr(value))
        }
    }

    /// The conditions that a row has an instant, and that it has none, if an index on the column can serve both.
    pub(super) fn null_split_conditions(&self) -> Option<(String, String)> {
        if !self.indexable {
            return None;
        }
        Some((
            self.in_range_condition(&self.value),
            format!("({} OR {})", self.never_condition(), self.undecodable_condition()),
        ))
    }

    /// By what rows are sorted: the instant, and what has none as the largest; as cheap to compute as can be.
    pub(super) fn sort_expr(&self) -> String {
        let value = &self.value;
        if self.native.is_some() {
            format!("CASE WHEN {} THEN {value} ELSE 'infinity' END", self.in_range_condition(value))
        } else {
            format!("COALESCE({}, {})", self.micros_expr(value), i64::MAX)
        }
    }

    /// The place of a row that has this instant, or none.
    pub(super) fn sort_value(&self, at: Option<UtcTimestamp>) -> String {
        match (at, self.native) {
            (Some(at), _) => self.timestamp_literal(at),
            (None, Some(Decoder::Timestamptz)) => "TIMESTAMPTZ 'infinity'".into(),
            (None, Some(_)) => "TIMESTAMP 'infinity'".into(),
            (None, None) => i64::MAX.to_string(),
        }
    }

    /// Microseconds since 1970 of an expression of this column's type; NULL for an infinity or what cannot be read.
    pub(super) fn micros_expr(&self, expression: &str) -> String {
        if self.native.is_some() {
            // Up to PostgreSQL 13, seconds since 1970 come as binary fractions, which do not hold the microseconds of instants
            // far away. Whole seconds, and microseconds within one, are exact in every version.
            format!(
                "CASE WHEN {within} THEN CAST(EXTRACT(EPOCH FROM pg_catalog.date_trunc('second', {expression})) AS bigint) * 1000000 \
                 + CAST(EXTRACT(MICROSECONDS FROM {expression}) AS bigint) % 1000000 END",
                within = self.in_range_condition(expression),
            )
        } else {
            format!("NULLIF(NULLIF({expression}, {NEVER_MICROS}), {UNDECODABLE_MICROS})")
        }
    }

    /// That a native timestamp lies between the years 1 and 9999.
    fn in_range_condition(&self, expression: &str) -> String {
        format!(
            "({expression} >= {} AND {expression} < {})",
            self.timestamp_literal(UtcTimestamp::MIN),
            self.upper_bound_literal()
        )
    }
}

impl QueryBuilder<'_> {
    /// How many ends are numbers of another unit than the others, seconds among milliseconds or the reverse; nothing where they
    /// are no numbers.
    #[must_use]
    pub fn expiries_in_other_unit_query(&self) -> Option<String> {
        let TimestampColumn { column, decoder } = &self.mapping.expires;
        if !matches!(decoder, Decoder::EpochSeconds | Decoder::EpochMillis | Decoder::EpochMillisOrIso) {
            return None;
        }
        let value = self.session_column(column);
        let number = self.dialect().integer_expr(&value, self.column_kind(&self.mapping.sessions, column));
        let (other, _) = other_epoch_unit(*decoder);
        let (first, last) = (other.start, other.end - 1);
        Some(format!(
            "SELECT COUNT(*) FROM {} WHERE {number} BETWEEN {first} AND {last}",
            self.sessions_source()
        ))
    }

    /// Counts the sessions whose user is written in a form that no key of a user has: an integer with leading zeros beside keys
    /// that are integers, a UUID in capitals beside keys that are UUIDs. Returns `None` where there is no such difference.
    #[must_use]
    pub fn users_in_other_form_query(&self) -> Option<String> {
        /// A kind of keys: how its values may be written, and how keys of it are.
        type KeyForm = (&'static str, &'static str);
        const INTEGER_FORM: KeyForm = (r"^\s*[+-]?[0-9]+\s*$", "^(0|-?[1-9][0-9]*)$");
        const UUID_FORM: KeyForm = (
            r"^\s*[{]?[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}[}]?\s*$",
            "^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$",
        );
        let (user, users) = (self.mapping.user.as_ref()?, self.mapping.users.as_ref()?);
        let is_text = self.column_kind(&self.mapping.sessions, user) == ColumnKind::Text;
        if !is_text {
            return None;
        }
        let key = self.schema.table(&users.table)?.column(&users.key)?;
        let (written, canonical) = match key.kind {
            ColumnKind::Integer => INTEGER_FORM,
            _ if key.declared_type == "uuid" => UUID_FORM,
            _ => return None,
        };
        let (user, sessions) = (self.cast_to_text(&self.session_column(user)), self.sessions_source());
        let dialect = self.dialect();
        let (written, canonical) =
            (dialect.regex_condition(&user, written)?, dialect.regex_condition(&user, canonical)?);
        Some(format!("SELECT COUNT(*) FROM {sessions} WHERE {written} AND NOT ({canonical})"))
    }
}

impl QueryBuilder<'_> {
    /// One row: how many sessions have an end, and how many of those end later than the clocks of machines differ.
    #[must_use]
    pub fn future_expiries_query(&self) -> String {
        let expiry = self.timestamp_expr(&self.mapping.expires);
        let ends = format!("NOT {}", expiry.never_condition());
        format!(
            "SELECT COUNT(*), {}\nFROM {}\nWHERE {ends}",
            self.count_where(&expiry.after_condition(self.now.saturating_add_micros(60 * MICROS_PER_SECOND))),
            self.sessions_source()
        )
    }
}
