//! SQL for timestamps: decoding and comparing stored expiry times.

use sessionwatch_core::{
    timestamp::{MICROS_PER_SECOND, UtcTimestamp},
    timestamp_decoder::Decoder,
};

use super::{
    QueryBuilder,
    dialect::{DecodedColumn, NEVER_MICROS, SqlDialect, UNDECODABLE_MICROS, other_epoch_unit},
};
use crate::{mapping::TimestampColumn, sql::table_info::ColumnKind};

/// Formats a time as a target stores it, rounded down.
#[must_use]
pub fn encode_timestamp(decoder: Decoder, at: UtcTimestamp) -> String {
    match decoder {
        Decoder::Timestamptz => format!("{}+00", sessionwatch_clock::format_timestamp(at)),
        Decoder::TimestampUtc => sessionwatch_clock::format_timestamp(at),
        Decoder::TimestampLocal(zone) => {
            let wall = at.saturating_add_micros(zone.offset_us_at(at));
            // The hour that the clocks repeat in autumn is read back as its second occurrence, which is later. An
            // earlier wall time ends the session in time.
            let lateness = (zone.wall_to_utc_us(wall.micros()) - at.micros()).max(0);
            sessionwatch_clock::format_timestamp(wall.saturating_add_micros(-lateness))
        }
        Decoder::EpochSeconds => at.micros().div_euclid(1_000_000).to_string(),
        Decoder::EpochMillis | Decoder::EpochMillisOrIso => at.micros().div_euclid(1_000).to_string(),
        Decoder::IsoText => sessionwatch_clock::format_rfc3339(at),
    }
}

/// A decoded timestamp column, with the conditions on it.
pub(super) struct TimestampExpr {
    /// Expression: a native timestamp, or an integer of microseconds with sentinels.
    pub(super) value: String,
    native: Option<Decoder>,
    /// `true` if an index on the column has the order of `value`.
    indexable: bool,
    dialect: &'static dyn SqlDialect,
    /// Time of the check run, for queries that use the database's own clock instead.
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
        let DecodedColumn { value, native_decoder, is_indexable } =
            dialect.decode_column(decoder, value, kind, clock);
        Self { value, native: native_decoder, indexable: is_indexable, dialect, clock }
    }

    /// Returns `true` if the column has a native timestamp type.
    pub(super) fn is_native(&self) -> bool {
        self.native.is_some()
    }

    fn timestamp_literal(&self, at: UtcTimestamp) -> String {
        match self.clock {
            // MIN is a bound of the range, not a time relative to now.
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

    /// Returns the database's clock, shifted by microseconds.
    fn clock_offset_expr(&self, micros: i64) -> String {
        let now = self.dialect.clock_expr(self.native);
        let seconds = micros / 1_000_000;
        match (seconds, self.native) {
            // Offsets are whole seconds for readability.
            (0, _) => now.to_owned(),
            (_, Some(_)) => format!("({now} + interval '{seconds} seconds')"),
            (_, None) => format!("({now} + {micros})"),
        }
    }

    /// Returns the first timestamp after the year 9999.
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

    /// Returns the condition for a finite time later than `limit`.
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

    /// Returns the condition for a time earlier than `limit`.
    pub(super) fn before_condition(&self, limit: UtcTimestamp) -> String {
        let (value, limit) = (&self.value, self.timestamp_literal(limit));
        if self.native.is_some() {
            format!("({value} < {limit} AND {value} >= {})", self.timestamp_literal(UtcTimestamp::MIN))
        } else {
            format!("({value} < {limit} AND {value} <> {UNDECODABLE_MICROS})")
        }
    }

    pub(super) fn beyond_condition(&self, limit: UtcTimestamp) -> String {
        self.after_condition(limit)
    }

    /// Returns a readable time, or NULL if there is none.
    pub(super) fn readable_expr(&self) -> String {
        let value = &self.value;
        let seconds = format!("NULLIF(NULLIF({value}, {NEVER_MICROS}), {UNDECODABLE_MICROS}) / 1000000");
        match self.native {
            Some(_) => value.clone(),
            None => self.dialect.readable_timestamp_expr(&seconds),
        }
    }

    /// Returns the hours from `now` to a finite expiry, for display.
    pub(super) fn hours_left_expr(&self, now: UtcTimestamp) -> String {
        let (value, now) = (&self.value, self.timestamp_literal(now));
        if self.native.is_some() {
            format!(
                "CASE WHEN isfinite({value}) THEN ROUND(CAST(EXTRACT(EPOCH FROM ({value} - {now})) / 3600 AS \
                 numeric), 1) END"
            )
        } else {
            format!("ROUND(({} - {now}) / 3600000000.0, 1)", self.micros_expr(value))
        }
    }

    /// Returns the conditions that a row has a timestamp, and that it has none, if an index on the column can
    /// serve both.
    pub(super) fn null_split_conditions(&self) -> Option<(String, String)> {
        if !self.indexable {
            return None;
        }
        Some((
            self.in_range_condition(&self.value),
            format!("({} OR {})", self.never_condition(), self.undecodable_condition()),
        ))
    }

    /// Returns the sort key: the timestamp, with rows that have none last. Chosen to be cheap to compute.
    pub(super) fn sort_expr(&self) -> String {
        let value = &self.value;
        if self.native.is_some() {
            format!("CASE WHEN {} THEN {value} ELSE 'infinity' END", self.in_range_condition(value))
        } else {
            format!("COALESCE({}, {})", self.micros_expr(value), i64::MAX)
        }
    }

    /// Returns the sort key of a row with this timestamp, or with none.
    pub(super) fn sort_value(&self, at: Option<UtcTimestamp>) -> String {
        match (at, self.native) {
            (Some(at), _) => self.timestamp_literal(at),
            (None, Some(Decoder::Timestamptz)) => "TIMESTAMPTZ 'infinity'".into(),
            (None, Some(_)) => "TIMESTAMP 'infinity'".into(),
            (None, None) => i64::MAX.to_string(),
        }
    }

    /// Returns microseconds since 1970 of an expression of this column's type, or NULL for infinity and
    /// undecodable values.
    pub(super) fn micros_expr(&self, expression: &str) -> String {
        if self.native.is_some() {
            // Up to PostgreSQL 13, EXTRACT(EPOCH) returns binary floating-point numbers, which lose the
            // microseconds of distant times. Whole seconds, and microseconds within a second, are exact in
            // every version.
            format!(
                "CASE WHEN {within} THEN CAST(EXTRACT(EPOCH FROM pg_catalog.date_trunc('second', \
                 {expression})) AS bigint) * 1000000 \
                 + CAST(EXTRACT(MICROSECONDS FROM {expression}) AS bigint) % 1000000 END",
                within = self.in_range_condition(expression),
            )
        } else {
            format!("NULLIF(NULLIF({expression}, {NEVER_MICROS}), {UNDECODABLE_MICROS})")
        }
    }

    /// Returns the condition that a native timestamp lies between the years 1 and 9999.
    fn in_range_condition(&self, expression: &str) -> String {
        format!(
            "({expression} >= {} AND {expression} < {})",
            self.timestamp_literal(UtcTimestamp::MIN),
            self.upper_bound_literal()
        )
    }
}

impl QueryBuilder<'_> {
    /// Returns the query that counts expiry times in a different unit than the rest: seconds among milliseconds,
    /// or the reverse. `None` if they are not numbers.
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

    /// Returns the query that counts sessions whose user id has a different format from all keys of users: an
    /// integer with leading zeros, or a UUID in upper case. `None` if the column types rule that out.
    #[must_use]
    pub fn users_in_other_form_query(&self) -> Option<String> {
        /// Accepted notations of a key type, and its canonical one.
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
    /// Returns the query for one row: sessions with an expiry, and those of them that expire in the future,
    /// beyond any clock offset.
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

#[cfg(test)]
mod tests;
