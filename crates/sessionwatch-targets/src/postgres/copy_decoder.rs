//! Decoder of the binary COPY of a scan, which fills the snapshot row by row as data arrives.

use pg_link::RowSinkSlot;
use sessionwatch_core::{
    known_users::KnownUsers,
    row_addresses::RowAddressRef,
    snapshot::{SessionRow, SessionSnapshot, SnapshotBuilder, SnapshotOptions, UserIdRef},
    timestamp_decoder::{DecodedTime, Decoder, RawValue},
};
use tokio_postgres::Client;

use super::CopyRowSink;
use crate::{
    error::TargetError,
    mapping::TimestampColumn,
    scan_progress::{RowCounter, ScanProgress},
    sql::{OrphanSearch, QueryBuilder, RowAddressing, table_info::ColumnKind},
};

/// Signature, flags and extension length of a binary COPY.
const COPY_SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
const COPY_HEADER_BYTES: usize = 19;
/// Maximum number of rows to allocate memory for in advance.
const MAX_PREALLOCATED_ROWS: usize = 50_000_000;
/// Maximum number of users to allocate for in advance. Lower, since that memory is initialized at once.
const MAX_PREALLOCATED_USERS: usize = 1_000_000;

/// Columns of a scan and their decoding.
#[derive(Debug)]
pub(super) struct CopyLayout {
    has_integer_user: bool,
    expires: ScannedTimestamp,
    created: Option<ScannedTimestamp>,
    has_orphan: bool,
    addressing: RowAddressing,
}

/// Decoding of a timestamp column.
#[derive(Clone, Copy, Debug)]
struct ScannedTimestamp {
    decoder: Decoder,
    kind: ColumnKind,
}

/// Decodes the rows of a COPY as they arrive.
#[derive(Debug)]
pub(super) struct CopyRowDecoder {
    sink: DecodedRowSink,
    has_begun: bool,
    has_failed: bool,
}

/// Destination of decoded rows.
#[derive(Debug)]
enum DecodedRowSink {
    Sessions(Box<SessionRowSink>),
    Users { known: KnownUsers, integer: bool },
}

/// Inserts sessions into the snapshot.
#[derive(Debug)]
struct SessionRowSink {
    layout: CopyLayout,
    builder: SnapshotBuilder,
    row_counter: RowCounter,
}

/// A connection and the slot for the receiver of its COPY.
#[derive(Clone, Copy)]
pub(super) struct CopySource<'a> {
    pub(super) client: &'a Client,
    pub(super) sink_slot: &'a RowSinkSlot<CopyRowSink>,
    pub(super) progress: Option<&'a ScanProgress>,
}

/// Scans the sessions, after the keys of the users if orphans are found by those.
pub(super) async fn scan_sessions(
    source: CopySource<'_>,
    sql: &QueryBuilder<'_>,
    options: SnapshotOptions,
) -> Result<SessionSnapshot, TargetError> {
    let users = match sql.plan_orphan_search() {
        OrphanSearch::UserKeys(query) => Some(read_known_users(source, sql, &query).await?),
        OrphanSearch::Join | OrphanSearch::Skipped => None,
    };
    let sessions = sql.schema.table(&sql.mapping.sessions);
    let expected = sessions.and_then(|table| table.estimated_rows).unwrap_or(0);
    // The estimate only sizes the first allocation, so a wrong one costs little.
    let room = usize::try_from(expected).unwrap_or(0).min(MAX_PREALLOCATED_ROWS);
    let builder = SnapshotBuilder::new(options, room).with_known_users(users);
    let sink = DecodedRowSink::Sessions(Box::new(SessionRowSink {
        layout: CopyLayout::from_query_builder(sql),
        builder,
        row_counter: RowCounter::new(source.progress, expected),
    }));
    match source.copy_rows(&sql.scan_query(), sink).await? {
        DecodedRowSink::Sessions(rows) => Ok(rows.builder.finish()),
        // The slot returns the sink that was put in, so this cannot happen.
        DecodedRowSink::Users { .. } => Err(unexpected_row_error()),
    }
}

async fn read_known_users(
    source: CopySource<'_>,
    sql: &QueryBuilder<'_>,
    query: &str,
) -> Result<KnownUsers, TargetError> {
    let users = sql.mapping.users.as_ref();
    let table = users.and_then(|users| sql.schema.table(&users.table));
    let expected = table.and_then(|table| table.estimated_rows).unwrap_or(0);
    let known = KnownUsers::with_capacity(usize::try_from(expected).unwrap_or(0).min(MAX_PREALLOCATED_USERS));
    let integer = sql.has_integer_user();
    match source.copy_rows(query, DecodedRowSink::Users { known, integer }).await? {
        DecodedRowSink::Users { known, .. } => Ok(known),
        DecodedRowSink::Sessions(_) => Err(unexpected_row_error()),
    }
}

fn unexpected_row_error() -> TargetError {
    TargetError::Undecodable("a row of a scan")
}

impl CopySource<'_> {
    /// Copies the rows of a query into a sink.
    async fn copy_rows(self, query: &str, sink: DecodedRowSink) -> Result<DecodedRowSink, TargetError> {
        let collector = CopyRowDecoder { sink, has_begun: false, has_failed: false };
        self.sink_slot.put(CopyRowSink::Scan(Box::new(collector)));
        let statement = format!("COPY ({query}) TO STDOUT (FORMAT binary)");
        tracing::debug!("query: {}", crate::sql::redact_literals(&statement));
        // The rows are decoded as they arrive and never reach the driver.
        let outcome = self.client.batch_execute(&statement).await;
        let collector = if let Some(CopyRowSink::Scan(collector)) = self.sink_slot.take() {
            Some(collector)
        } else {
            None
        };
        outcome
            .map_err(|error| super::explain_overflow(self.sink_slot, super::classify_query_error(&error)))?;
        collector.and_then(|collector| collector.finish()).ok_or_else(unexpected_row_error)
    }
}

impl CopyRowDecoder {
    /// Decodes the row of one message.
    #[inline]
    pub(super) fn push_row(&mut self, message: &[u8]) {
        let mut tuple = TupleFields(message);
        if !self.has_begun {
            self.has_begun = true;
            self.has_failed |=
                !message.starts_with(COPY_SIGNATURE) || tuple.take_bytes(COPY_HEADER_BYTES).is_none();
        }
        // The trailer of a binary COPY has the field count -1.
        if tuple.0.is_empty() || tuple.take_bytes(2) == Some(&[0xff, 0xff]) {
            return;
        }
        let taken = match &mut self.sink {
            DecodedRowSink::Sessions(rows) => {
                rows.row_counter.count_row();
                rows.layout.insert_row(&mut tuple, &mut rows.builder)
            }
            DecodedRowSink::Users { known, integer } => insert_user(*integer, &mut tuple, known),
        };
        self.has_failed |= taken.is_none();
    }

    /// Returns the decoded rows, or `None` if one was malformed.
    fn finish(self) -> Option<DecodedRowSink> {
        (!self.has_failed).then_some(self.sink)
    }
}

impl CopyLayout {
    fn from_query_builder(sql: &QueryBuilder<'_>) -> Self {
        let mapping = sql.mapping;
        let kind = |column: &str| sql.schema.column_kind(&mapping.sessions, column);
        let stored = |column: &TimestampColumn| ScannedTimestamp {
            decoder: column.decoder,
            kind: kind(&column.column),
        };
        Self {
            has_integer_user: sql.has_integer_user(),
            expires: stored(&mapping.expires),
            created: mapping.created.as_ref().map(stored),
            has_orphan: sql.plan_orphan_search() == OrphanSearch::Join,
            addressing: sql.row_addressing(),
        }
    }

    #[inline]
    fn insert_row(&self, fields: &mut TupleFields<'_>, builder: &mut SnapshotBuilder) -> Option<()> {
        let fingerprint = match fields.next_field()? {
            Some(field) => Some(parse_integer(field)?.cast_unsigned()),
            None => None,
        };
        let user = parse_user(self.has_integer_user, fields.next_field()?)?;
        let expiry = decode_timestamp(self.expires, fields.next_field()?);
        let created = match self.created {
            Some(column) => decode_timestamp(column, fields.next_field()?),
            None => DecodedTime::Never,
        };
        let orphan = self.has_orphan
            && match fields.next_field()? {
                Some([1]) => true,
                Some([0]) | None => false,
                Some(_) => return None,
            };
        let address = match self.addressing {
            RowAddressing::Position => Some(RowAddressRef::Position(parse_tid(fields.next_field()??)?)),
            RowAddressing::HeapAndPosition => {
                let heap = u32::from_be_bytes(fields.next_field()??.try_into().ok()?);
                Some(RowAddressRef::HeapAndPosition { heap, position: parse_tid(fields.next_field()??)? })
            }
            RowAddressing::Id => fields.next_field()?.map(RowAddressRef::Id),
            RowAddressing::Unavailable => None,
        };
        builder.insert(SessionRow { fingerprint, user, expiry, created, orphan, address });
        Some(())
    }
}

fn insert_user(integer: bool, fields: &mut TupleFields<'_>, known: &mut KnownUsers) -> Option<()> {
    known.insert(parse_user(integer, fields.next_field()?)??);
    Some(())
}

/// Parses a user ID. The outer `None` means a malformed integer.
#[expect(clippy::option_option, reason = "a field that cannot be read and a NULL are different situations")]
fn parse_user(is_integer: bool, field: Option<&[u8]>) -> Option<Option<UserIdRef<'_>>> {
    Some(match field {
        // Integers are compared as numbers, which takes less memory than their text.
        Some(bytes) if is_integer => Some(UserIdRef::Integer(parse_integer(bytes)?)),
        other => other.map(UserIdRef::Text),
    })
}

/// Parses a `tid`: a block number of four bytes and a line number of two.
fn parse_tid(bytes: &[u8]) -> Option<u64> {
    let bytes: [u8; 6] = bytes.try_into().ok()?;
    Some(bytes.iter().fold(0, |place, byte| place << 8 | u64::from(*byte)))
}

fn decode_timestamp(stored: ScannedTimestamp, field: Option<&[u8]>) -> DecodedTime {
    let raw = match (field, stored.kind) {
        (None, _) => RawValue::Null,
        (Some(bytes), ColumnKind::Timestamptz | ColumnKind::Timestamp) => {
            parse_integer(bytes).map_or(RawValue::Other, RawValue::MicrosSince2000)
        }
        (Some(bytes), ColumnKind::Integer) => parse_integer(bytes).map_or(RawValue::Other, RawValue::Integer),
        (Some(bytes), _) => RawValue::Text(bytes),
    };
    stored.decoder.decode(raw)
}

/// Parses an integer of 2, 4 or 8 bytes.
fn parse_integer(bytes: &[u8]) -> Option<i64> {
    match *bytes {
        [a, b] => Some(i16::from_be_bytes([a, b]).into()),
        [a, b, c, d] => Some(i32::from_be_bytes([a, b, c, d]).into()),
        _ => bytes.try_into().ok().map(i64::from_be_bytes),
    }
}

/// The fields of one tuple. Each has a length of four bytes, -1 for NULL, and a value.
struct TupleFields<'a>(&'a [u8]);

impl<'a> TupleFields<'a> {
    fn take_bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// Returns the next field. The outer `None` means that the tuple is too short.
    #[expect(clippy::option_option, reason = "a missing field and a NULL are different situations")]
    fn next_field(&mut self) -> Option<Option<&'a [u8]>> {
        let length = i32::from_be_bytes(self.take_bytes(4)?.try_into().ok()?);
        match usize::try_from(length) {
            Ok(length) => self.take_bytes(length).map(Some),
            Err(_) => Some(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a decoder for sessions with a `timestamptz` expiry.
    fn session_collector() -> CopyRowDecoder {
        let now = sessionwatch_core::timestamp::UtcTimestamp::MIN;
        let frame = SnapshotOptions { now, max_lifetime_us: None, has_created: false };
        let expires = ScannedTimestamp { decoder: Decoder::Timestamptz, kind: ColumnKind::Timestamptz };
        let addressing = RowAddressing::Unavailable;
        let layout =
            CopyLayout { has_integer_user: false, expires, created: None, has_orphan: false, addressing };
        let (builder, progress) = (SnapshotBuilder::new(frame, 0), RowCounter::new(None, 0));
        let rows = SessionRowSink { layout, builder, row_counter: progress };
        CopyRowDecoder { sink: DecodedRowSink::Sessions(Box::new(rows)), has_begun: false, has_failed: false }
    }

    #[test]
    fn rows_of_another_format_fail_the_scan() {
        let mut collector = session_collector();
        collector.push_row(&[0xff; 300]);
        assert!(collector.finish().is_none());
    }

    #[test]
    fn reads_integers_of_every_width() {
        assert_eq!(parse_integer(&(-2i16).to_be_bytes()), Some(-2));
        assert_eq!(parse_integer(&i32::MIN.to_be_bytes()), Some(i32::MIN.into()));
        assert_eq!(parse_integer(&i64::MAX.to_be_bytes()), Some(i64::MAX));
        assert_eq!(parse_integer(&[1, 2, 3]), None);
    }

    #[test]
    fn a_cut_tuple_ends_without_a_panic() {
        let tuple = [0, 0, 0, 8, 1, 2, 3];
        for length in 0..tuple.len() {
            assert_eq!(TupleFields(&tuple[..length]).next_field(), None);
        }
        assert_eq!(TupleFields(&[0xff, 0xff, 0xff, 0xff]).next_field(), Some(None));
    }
}

#[cfg(test)]
mod tuple_tests;
