//! The SQL that compares instants within a row: the end and the creation with other columns, and with what the session
//! itself says of its end.

use sessionwatch_core::{
    decoder::Decoder,
    instant::Instant,
    zone::{MAX_OFFSET, Zone},
};

use super::{Sql, timestamps::InstantSql};
use crate::sql::tables::ColumnKind;

/// No instant is longer as text.
const LONGEST_INSTANT: usize = 40;

/// The columns of a row that are compared.
#[derive(Clone, Copy, Debug)]
pub struct Compared<'a> {
    /// Columns that hold an instant, near to when the session was created, used or changed.
    pub others: &'a [String],
    /// Columns that hold a session as JSON, with its cookie.
    pub documents: &'a [String],
    /// The zone of wall clocks; `None` for UTC.
    pub zone: Option<Zone>,
}

impl Sql<'_> {
    /// Some rows: end and creation in microseconds; of each document the end and the lifetime of its cookie, in
    /// milliseconds; and of each other column what it is (`micros`, `integer`, `text`) and its value.
    ///
    /// Of a session that is stored as JSON nothing leaves the database but digits and what stands between those of an
    /// instant.
    #[must_use]
    pub fn compared(&self, compared: Compared<'_>, limit: usize) -> String {
        let expiry = self.instant(&self.mapping.expires);
        let created = self.mapping.created.as_ref().map(|created| self.instant(created));
        let mut columns = vec![
            expiry.micros(&expiry.value),
            created.map_or_else(|| "CAST(NULL AS bigint)".into(), |created| created.micros(&created.value)),
        ];
        columns.extend(
            compared.documents.iter().flat_map(|document| self.dialect().cookie(&self.column(document))),
        );
        columns.extend(compared.others.iter().flat_map(|other| self.other(other, compared.zone)));
        let column = self.column(&self.mapping.expires.column);
        let table = self.schema.table(&self.mapping.sessions);
        let newest = if table.is_some_and(|table| table.index_led_by(&self.mapping.expires.column).is_some())
        {
            // Only an index makes the newest rows cheap to find.
            format!("\nWHERE {column} IS NOT NULL\nORDER BY {column} DESC")
        } else {
            String::new()
        };
        format!("SELECT {}\nFROM {}{newest}\nLIMIT {limit}", columns.join(", "), self.sessions())
    }

    fn other(&self, column: &str, zone: Option<Zone>) -> [String; 2] {
        let value = self.column(column);
        if let Some(kind) = self.dialect().dynamic_type(&value) {
            return [kind, self.text(&value)];
        }
        let native = |decoder: Decoder, kind: ColumnKind| {
            let at = InstantSql::new(self.dialect(), None, decoder, &value, kind);
            ["'micros'".to_owned(), at.micros(&at.value)]
        };
        match self.kind(&self.mapping.sessions, column) {
            kind @ ColumnKind::Timestamptz => native(Decoder::Timestamptz, kind),
            kind @ ColumnKind::Timestamp => {
                native(zone.map_or(Decoder::TimestampUtc, Decoder::TimestampLocal), kind)
            }
            ColumnKind::Integer => ["'integer'".to_owned(), self.text(&value)],
            _ => ["'text'".to_owned(), format!("left({}, {LONGEST_INSTANT})", self.text(&value))],
        }
    }

    /// Microseconds of the latest creation that some zone may explain, and of the latest end that has passed.
    pub(super) fn newest(&self) -> [String; 2] {
        let latest = |at: &InstantSql, limit: Instant| {
            at.micros(&self.dialect().filtered("MAX", &at.value, &at.expired(limit)))
        };
        let created = self.mapping.created.as_ref().map(|created| self.instant(created));
        [
            created.map_or("CAST(NULL AS bigint)".into(), |created| {
                latest(&created, self.now.plus_micros(MAX_OFFSET + 900_000_000))
            }),
            latest(&self.instant(&self.mapping.expires), self.now),
        ]
    }

    /// The condition that the end is text that names no zone.
    pub(super) fn end_is_naive(&self) -> String {
        let expires = &self.mapping.expires;
        if ![Decoder::IsoText, Decoder::EpochMillisOrIso].contains(&expires.decoder) {
            return "1 = 0".into();
        }
        let kind = self.kind(&self.mapping.sessions, &expires.column);
        self.dialect().is_naive(&self.column(&expires.column), kind)
    }
}
