//! The scan: one binary COPY, read field by field into the ledger as it arrives.

use sessionwatch_rules::{
    decoder::{Decoded, Decoder, Raw},
    ledger::{Frame, Intake, Ledger, Row, User},
};
use tokio_postgres::Client;

use super::tap::{Outlet, Taker};
use crate::{
    profile::{mapping::InstantColumn, schema::ColumnKind},
    progress::Progress,
    target::{error::TargetError, sql::Sql},
};

/// Signature, flags and extension length of a binary COPY.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0";
const HEADER_LENGTH: usize = 19;

/// How to read the columns of a scan.
#[derive(Debug)]
pub(super) struct Layout {
    integer_user: bool,
    expires: Stored,
    created: Option<Stored>,
    orphan: bool,
}

/// How an instant arrives.
#[derive(Clone, Copy, Debug)]
struct Stored {
    decoder: Decoder,
    kind: ColumnKind,
}

/// Reads the rows of a scan as they arrive.
#[derive(Debug)]
pub(super) struct Collector {
    layout: Layout,
    intake: Intake,
    progress: Progress,
    begun: bool,
    failed: bool,
}

pub(super) async fn run(
    client: &Client,
    outlet: &Outlet,
    sql: &Sql<'_>,
    frame: Frame,
) -> Result<Ledger, TargetError> {
    let sessions = sql.schema.table(&sql.mapping.sessions);
    let expected = sessions.and_then(|table| table.estimated_rows).unwrap_or(0);
    let progress = Progress::new(expected);
    // The estimate only sizes the first allocation, so a wrong one costs little.
    let intake = Intake::new(frame, usize::try_from(expected).unwrap_or(0).min(50_000_000));
    let collector = Collector { layout: Layout::of(sql), intake, progress, begun: false, failed: false };
    outlet.open(Taker::Scan(Box::new(collector)));
    let statement = format!("COPY ({}) TO STDOUT (FORMAT binary)", sql.scan());
    tracing::debug!("query: {}", crate::target::sql::without_values(&statement));
    let outcome = client.batch_execute(&statement).await;
    let collector = if let Some(Taker::Scan(collector)) = outlet.close() { Some(collector) } else { None };
    outcome.map_err(|error| super::query_error(&error))?;
    collector
        .and_then(|collector| collector.finish())
        .ok_or_else(|| TargetError::Query("unexpected row".into()))
}

impl Collector {
    /// Takes in the row of one message.
    #[inline]
    pub(super) fn row(&mut self, message: &[u8]) {
        let mut tuple = Fields(message);
        if !self.begun {
            self.begun = true;
            self.failed |= !message.starts_with(HEADER) || tuple.take(HEADER_LENGTH).is_none();
        }
        if tuple.0.is_empty() || tuple.take(2) == Some(&[0xff, 0xff]) {
            return;
        }
        self.failed |= self.layout.insert(&mut tuple, &mut self.intake).is_none();
        self.progress.advance();
    }

    /// The ledger, unless a row could not be read.
    pub(super) fn finish(self) -> Option<Ledger> {
        (!self.failed).then(|| self.intake.finish())
    }

    /// One that cannot read any row.
    #[cfg(test)]
    pub(super) fn refusing() -> Self {
        let now = sessionwatch_rules::instant::Instant::MIN;
        let frame = Frame { now, max_lifetime_us: None, has_created: false };
        let expires = Stored { decoder: Decoder::Timestamptz, kind: ColumnKind::Timestamptz };
        let layout = Layout { integer_user: false, expires, created: None, orphan: false };
        let intake = Intake::new(frame, 0);
        Self { layout, intake, progress: Progress::new(0), begun: false, failed: false }
    }
}

impl Layout {
    fn of(sql: &Sql<'_>) -> Self {
        let mapping = sql.mapping;
        let kind = |column: &str| sql.schema.kind(&mapping.sessions, column);
        let stored = |column: &InstantColumn| Stored { decoder: column.decoder, kind: kind(&column.column) };
        Self {
            integer_user: mapping.user.as_deref().is_some_and(|user| kind(user) == ColumnKind::Integer),
            expires: stored(&mapping.expires),
            created: mapping.created.as_ref().map(stored),
            orphan: sql.looks_for_orphans(),
        }
    }

    #[inline]
    fn insert(&self, fields: &mut Fields<'_>, intake: &mut Intake) -> Option<()> {
        let fingerprint = fields.next()?.and_then(integer).map(i64::cast_unsigned);
        let user = match fields.next()? {
            Some(bytes) if self.integer_user => Some(User::Integer(integer(bytes)?)),
            other => other.map(User::Text),
        };
        let expiry = instant(self.expires, fields.next()?);
        let created = match self.created {
            Some(column) => instant(column, fields.next()?),
            None => Decoded::Never,
        };
        let orphan = self.orphan && fields.next()? == Some(&[1]);
        intake.insert(Row { fingerprint, user, expiry, created, orphan });
        Some(())
    }
}

fn instant(stored: Stored, field: Option<&[u8]>) -> Decoded {
    let raw = match (field, stored.kind) {
        (None, _) => Raw::Null,
        (Some(bytes), ColumnKind::Timestamptz | ColumnKind::Timestamp) => {
            integer(bytes).map_or(Raw::Other, Raw::Postgres)
        }
        (Some(bytes), ColumnKind::Integer) => integer(bytes).map_or(Raw::Other, Raw::Integer),
        (Some(bytes), _) => Raw::Text(bytes),
    };
    stored.decoder.decode(raw)
}

/// An integer of 2, 4 or 8 bytes.
fn integer(bytes: &[u8]) -> Option<i64> {
    match *bytes {
        [a, b] => Some(i16::from_be_bytes([a, b]).into()),
        [a, b, c, d] => Some(i32::from_be_bytes([a, b, c, d]).into()),
        _ => bytes.try_into().ok().map(i64::from_be_bytes),
    }
}

/// The fields of one tuple: each a length of four bytes, -1 for NULL, and the value.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// The next field; outer nothing if the tuple is too short.
    #[expect(clippy::option_option, reason = "a missing field and a NULL are different situations")]
    fn next(&mut self) -> Option<Option<&'a [u8]>> {
        let length = i32::from_be_bytes(self.take(4)?.try_into().ok()?);
        match usize::try_from(length) {
            Ok(length) => self.take(length).map(Some),
            Err(_) => Some(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_integers_of_every_width() {
        assert_eq!(integer(&(-2i16).to_be_bytes()), Some(-2));
        assert_eq!(integer(&i32::MIN.to_be_bytes()), Some(i32::MIN.into()));
        assert_eq!(integer(&i64::MAX.to_be_bytes()), Some(i64::MAX));
        assert_eq!(integer(&[1, 2, 3]), None);
    }

    #[test]
    fn a_cut_tuple_ends_without_a_panic() {
        let tuple = [0, 0, 0, 8, 1, 2, 3];
        for length in 0..tuple.len() {
            assert_eq!(Fields(&tuple[..length]).next(), None);
        }
        assert_eq!(Fields(&[0xff, 0xff, 0xff, 0xff]).next(), Some(None));
    }
}
