//! The scan: one binary COPY, read field by field into the ledger as it arrives.

use pg_link::RowSinkSlot;
use sessionwatch_core::{
    addresses::AddressRef,
    decoder::{Decoded, Decoder, Raw},
    known_users::KnownUsers,
    snapshot::{SessionRow, SessionSnapshot, SnapshotBuilder, SnapshotOptions, User},
};
use tokio_postgres::Client;

use super::RowTaker;
use crate::{
    error::TargetError,
    mapping::InstantColumn,
    scan_progress::{RowCount, ScanProgress},
    sql::{OrphanSearch, RowAddressing, Sql, tables::ColumnKind},
};

/// Signature, flags and extension length of a binary COPY.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0";
const HEADER_LENGTH: usize = 19;
/// Rows for which room is made at most before they arrive.
const ROOM_LIMIT: usize = 50_000_000;
/// The same for users, whose room is written to at once.
const USERS_ROOM_LIMIT: usize = 1_000_000;

/// How to read the columns of a scan.
#[derive(Debug)]
pub(super) struct Layout {
    integer_user: bool,
    expires: Stored,
    created: Option<Stored>,
    orphan: bool,
    addressing: RowAddressing,
}

/// How an instant arrives.
#[derive(Clone, Copy, Debug)]
struct Stored {
    decoder: Decoder,
    kind: ColumnKind,
}

/// Takes apart the rows of a COPY as they arrive.
#[derive(Debug)]
pub(super) struct Collector {
    sink: Sink,
    begun: bool,
    failed: bool,
}

/// Where rows go.
#[derive(Debug)]
enum Sink {
    Sessions(Box<SessionRows>),
    Users { known: KnownUsers, integer: bool },
}

/// Sessions on their way into the ledger.
#[derive(Debug)]
struct SessionRows {
    layout: Layout,
    intake: SnapshotBuilder,
    progress: RowCount,
}

/// A connection, and where the rows of its COPY go.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) client: &'a Client,
    pub(super) rows: &'a RowSinkSlot<RowTaker>,
    pub(super) progress: Option<&'a ScanProgress>,
}

/// Scans the sessions; first the keys of the users, where orphans are found by those.
pub(super) async fn run(
    source: Source<'_>,
    sql: &Sql<'_>,
    frame: SnapshotOptions,
) -> Result<SessionSnapshot, TargetError> {
    let users = match sql.orphan_search() {
        OrphanSearch::UserKeys(query) => Some(known_users(source, sql, &query).await?),
        OrphanSearch::Join | OrphanSearch::Skipped => None,
    };
    let sessions = sql.schema.table(&sql.mapping.sessions);
    let expected = sessions.and_then(|table| table.estimated_rows).unwrap_or(0);
    // The estimate only sizes the first allocation, so a wrong one costs little.
    let room = usize::try_from(expected).unwrap_or(0).min(ROOM_LIMIT);
    let intake = SnapshotBuilder::new(frame, room).knowing(users);
    let sink = Sink::Sessions(Box::new(SessionRows {
        layout: Layout::of(sql),
        intake,
        progress: RowCount::new(source.progress, expected),
    }));
    match source.copy(&sql.scan(), sink).await? {
        Sink::Sessions(rows) => Ok(rows.intake.finish()),
        Sink::Users { .. } => Err(unexpected_row()),
    }
}

async fn known_users(source: Source<'_>, sql: &Sql<'_>, query: &str) -> Result<KnownUsers, TargetError> {
    let users = sql.mapping.users.as_ref();
    let table = users.and_then(|users| sql.schema.table(&users.table));
    let expected = table.and_then(|table| table.estimated_rows).unwrap_or(0);
    let known = KnownUsers::with_capacity(usize::try_from(expected).unwrap_or(0).min(USERS_ROOM_LIMIT));
    let integer = sql.has_integer_user();
    match source.copy(query, Sink::Users { known, integer }).await? {
        Sink::Users { known, .. } => Ok(known),
        Sink::Sessions(_) => Err(unexpected_row()),
    }
}

fn unexpected_row() -> TargetError {
    TargetError::Query("unexpected row".into())
}

impl Source<'_> {
    /// Copies the rows of a query.
    async fn copy(self, query: &str, sink: Sink) -> Result<Sink, TargetError> {
        let collector = Collector { sink, begun: false, failed: false };
        self.rows.put(RowTaker::Scan(Box::new(collector)));
        let statement = format!("COPY ({query}) TO STDOUT (FORMAT binary)");
        tracing::debug!("query: {}", crate::sql::without_values(&statement));
        let outcome = self.client.batch_execute(&statement).await;
        let collector =
            if let Some(RowTaker::Scan(collector)) = self.rows.take() { Some(collector) } else { None };
        outcome.map_err(|error| super::explain(self.rows, super::query_error(&error)))?;
        collector.and_then(|collector| collector.finish()).ok_or_else(unexpected_row)
    }
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
        let taken = match &mut self.sink {
            Sink::Sessions(rows) => {
                rows.progress.advance();
                rows.layout.insert(&mut tuple, &mut rows.intake)
            }
            Sink::Users { known, integer } => insert_user(*integer, &mut tuple, known),
        };
        self.failed |= taken.is_none();
    }

    /// What became of the rows, unless one could not be read.
    fn finish(self) -> Option<Sink> {
        (!self.failed).then_some(self.sink)
    }
}

impl Layout {
    fn of(sql: &Sql<'_>) -> Self {
        let mapping = sql.mapping;
        let kind = |column: &str| sql.schema.kind(&mapping.sessions, column);
        let stored = |column: &InstantColumn| Stored { decoder: column.decoder, kind: kind(&column.column) };
        Self {
            integer_user: sql.has_integer_user(),
            expires: stored(&mapping.expires),
            created: mapping.created.as_ref().map(stored),
            orphan: sql.orphan_search() == OrphanSearch::Join,
            addressing: sql.row_addressing(),
        }
    }

    #[inline]
    fn insert(&self, fields: &mut Fields<'_>, intake: &mut SnapshotBuilder) -> Option<()> {
        let fingerprint = fields.next()?.and_then(integer).map(i64::cast_unsigned);
        let user = user(self.integer_user, fields.next()?)?;
        let expiry = instant(self.expires, fields.next()?);
        let created = match self.created {
            Some(column) => instant(column, fields.next()?),
            None => Decoded::Never,
        };
        let orphan = self.orphan && fields.next()? == Some(&[1]);
        let address = match self.addressing {
            RowAddressing::Place => Some(AddressRef::Place(place(fields.next()??)?)),
            RowAddressing::HeapAndPlace => {
                let heap = u32::from_be_bytes(fields.next()??.try_into().ok()?);
                Some(AddressRef::HeapAndPlace { heap, place: place(fields.next()??)? })
            }
            RowAddressing::Id => fields.next()?.map(AddressRef::Id),
            RowAddressing::Nothing => None,
        };
        intake.insert(SessionRow { fingerprint, user, expiry, created, orphan, address });
        Some(())
    }
}

fn insert_user(integer: bool, fields: &mut Fields<'_>, known: &mut KnownUsers) -> Option<()> {
    known.insert(user(integer, fields.next()?)??);
    Some(())
}

/// A user; outer nothing if it should be an integer and is none.
#[expect(clippy::option_option, reason = "a field that cannot be read and a NULL are different situations")]
fn user(is_integer: bool, field: Option<&[u8]>) -> Option<Option<User<'_>>> {
    Some(match field {
        Some(bytes) if is_integer => Some(User::Integer(integer(bytes)?)),
        other => other.map(User::Text),
    })
}

/// A `tid`: four bytes of the block and two of the line.
fn place(bytes: &[u8]) -> Option<u64> {
    let bytes: [u8; 6] = bytes.try_into().ok()?;
    Some(bytes.iter().fold(0, |place, byte| place << 8 | u64::from(*byte)))
}

fn instant(stored: Stored, field: Option<&[u8]>) -> Decoded {
    let raw = match (field, stored.kind) {
        (None, _) => Raw::Null,
        (Some(bytes), ColumnKind::Timestamptz | ColumnKind::Timestamp) => {
            integer(bytes).map_or(Raw::Other, Raw::MicrosSince2000)
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

    /// A collector of sessions whose expiry is a `timestamptz`.
    fn session_collector() -> Collector {
        let now = sessionwatch_core::instant::Instant::MIN;
        let frame = SnapshotOptions { now, max_lifetime_us: None, has_created: false };
        let expires = Stored { decoder: Decoder::Timestamptz, kind: ColumnKind::Timestamptz };
        let addressing = RowAddressing::Nothing;
        let layout = Layout { integer_user: false, expires, created: None, orphan: false, addressing };
        let (intake, progress) = (SnapshotBuilder::new(frame, 0), RowCount::new(None, 0));
        let rows = SessionRows { layout, intake, progress };
        Collector { sink: Sink::Sessions(Box::new(rows)), begun: false, failed: false }
    }

    #[test]
    fn rows_of_another_format_fail_the_scan() {
        let mut collector = session_collector();
        collector.row(&[0xff; 300]);
        assert!(collector.finish().is_none());
    }

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
