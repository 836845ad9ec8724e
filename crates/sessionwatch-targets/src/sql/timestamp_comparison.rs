//! SQL that compares timestamps within a row: expiry and creation with other columns, and with the expiry
//! inside a session stored as JSON.

use sessionwatch_core::{
    time_zone::{MAX_UTC_OFFSET_US, Zone},
    timestamp::UtcTimestamp,
    timestamp_decoder::Decoder,
};

use super::{QueryBuilder, timestamps::TimestampExpr};
use crate::sql::table_info::ColumnKind;

/// Maximum length of a timestamp as text.
const MAX_TIMESTAMP_CHARS: usize = 40;

/// The columns of a row to compare.
#[derive(Clone, Copy, Debug)]
pub struct ComparedColumns<'a> {
    /// Columns with times close to the creation, use or change of a session.
    pub timestamp_columns: &'a [String],
    /// Columns that store a session with its cookie as JSON.
    pub json_columns: &'a [String],
    /// Zone of wall-clock times; `None` for UTC.
    pub zone: Option<Zone>,
}

impl QueryBuilder<'_> {
    /// Returns the query for sample rows: expiry and creation in microseconds; for each JSON column the
    /// expiry and the lifetime in milliseconds of its cookie; and for each other column its type (`micros`,
    /// `integer`, `text`) and value.
    ///
    /// Of a JSON column, nothing leaves the database but digits and the separators of a timestamp.
    #[must_use]
    pub fn comparison_query(&self, compared: ComparedColumns<'_>, limit: usize) -> String {
        let expiry = self.timestamp_expr(&self.mapping.expires);
        let created = self.mapping.created.as_ref().map(|created| self.timestamp_expr(created));
        let mut columns = vec![
            expiry.micros_expr(&expiry.value),
            created
                .map_or_else(|| "CAST(NULL AS bigint)".into(), |created| created.micros_expr(&created.value)),
        ];
        columns.extend(
            compared
                .json_columns
                .iter()
                .flat_map(|document| self.dialect().cookie_exprs(&self.session_column(document))),
        );
        columns.extend(
            compared
                .timestamp_columns
                .iter()
                .flat_map(|other| self.typed_value_columns(other, compared.zone)),
        );
        let column = self.session_column(&self.mapping.expires.column);
        let table = self.schema.table(&self.mapping.sessions);
        let newest =
            if table.is_some_and(|table| table.index_starting_with(&self.mapping.expires.column).is_some()) {
                // Only with an index are the newest rows cheap to find.
                format!("\nWHERE {column} IS NOT NULL\nORDER BY {column} DESC")
            } else {
                String::new()
            };
        format!("SELECT {}\nFROM {}{newest}\nLIMIT {limit}", columns.join(", "), self.sessions_source())
    }

    fn typed_value_columns(&self, column: &str, zone: Option<Zone>) -> [String; 2] {
        let value = self.session_column(column);
        if let Some(kind) = self.dialect().type_of_expr(&value) {
            return [kind, self.cast_to_text(&value)];
        }
        let native = |decoder: Decoder, kind: ColumnKind| {
            let at = TimestampExpr::new(self.dialect(), None, decoder, &value, kind);
            ["'micros'".to_owned(), at.micros_expr(&at.value)]
        };
        match self.column_kind(&self.mapping.sessions, column) {
            kind @ ColumnKind::Timestamptz => native(Decoder::Timestamptz, kind),
            kind @ ColumnKind::Timestamp => {
                native(zone.map_or(Decoder::TimestampUtc, Decoder::TimestampLocal), kind)
            }
            ColumnKind::Integer => ["'integer'".to_owned(), self.cast_to_text(&value)],
            _ => ["'text'".to_owned(), format!("left({}, {MAX_TIMESTAMP_CHARS})", self.cast_to_text(&value))],
        }
    }

    /// Returns microseconds of the latest creation that a time zone can explain, and of the latest expiry in
    /// the past.
    pub(super) fn newest_timestamp_exprs(&self) -> [String; 2] {
        let latest = |at: &TimestampExpr, limit: UtcTimestamp| {
            at.micros_expr(&self.dialect().filtered_aggregate("MAX", &at.value, &at.expired_condition(limit)))
        };
        let created = self.mapping.created.as_ref().map(|created| self.timestamp_expr(created));
        [
            created.map_or("CAST(NULL AS bigint)".into(), |created| {
                latest(&created, self.now.saturating_add_micros(MAX_UTC_OFFSET_US + 900_000_000))
            }),
            latest(&self.timestamp_expr(&self.mapping.expires), self.now),
        ]
    }

    /// Returns the condition that the expiry is text without a time zone.
    pub(super) fn naive_expiry_condition(&self) -> String {
        let expires = &self.mapping.expires;
        if ![Decoder::IsoText, Decoder::EpochMillisOrIso].contains(&expires.decoder) {
            return "1 = 0".into();
        }
        let kind = self.column_kind(&self.mapping.sessions, &expires.column);
        self.dialect().naive_text_condition(&self.session_column(&expires.column), kind)
    }
}
