//! Tests that every field of a tuple is decoded, and that a damaged tuple fails the scan instead of changing a fact.

use sessionwatch_core::{
    row_addresses::RowAddress, session_stats::Measured, snapshot::EvidenceSelector, timestamp::UtcTimestamp,
};

use super::*;

/// A time in 2026.
const NOW: UtcTimestamp = UtcTimestamp::UNIX_EPOCH.saturating_add_micros(1_795_953_600_000_000);
/// The same time in microseconds since 2000.
const NOW_SINCE_2000: i64 = 1_795_953_600_000_000 - 946_684_800_000_000;

fn collector(addressing: RowAddressing) -> CopyRowDecoder {
    let options = SnapshotOptions { now: NOW, max_lifetime_us: Some(1_000_000), has_created: true };
    let layout = CopyLayout {
        has_integer_user: true,
        expires: ScannedTimestamp { decoder: Decoder::Timestamptz, kind: ColumnKind::Timestamptz },
        created: Some(ScannedTimestamp { decoder: Decoder::EpochMillis, kind: ColumnKind::Integer }),
        has_orphan: true,
        addressing,
    };
    let (builder, row_counter) = (SnapshotBuilder::new(options, 0), RowCounter::new(None, 0));
    let sink = DecodedRowSink::Sessions(Box::new(SessionRowSink { layout, builder, row_counter }));
    CopyRowDecoder { sink, has_begun: false, has_failed: false }
}

/// Returns the first message of a COPY before its first tuple.
fn signature() -> Vec<u8> {
    [COPY_SIGNATURE, &[0; 8]].concat()
}

/// Encodes a tuple; `None` is NULL.
fn tuple(fields: &[Option<&[u8]>]) -> Vec<u8> {
    let mut bytes = u16::try_from(fields.len()).unwrap().to_be_bytes().to_vec();
    for field in fields {
        match field {
            Some(value) => {
                bytes.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
                bytes.extend_from_slice(value);
            }
            None => bytes.extend_from_slice(&[0xff; 4]),
        }
    }
    bytes
}

fn snapshot(collector: CopyRowDecoder) -> Option<SessionSnapshot> {
    match collector.finish()? {
        DecodedRowSink::Sessions(rows) => Some(rows.builder.finish()),
        DecodedRowSink::Users { .. } => unreachable!("a sink for sessions"),
    }
}

/// A session of user 7 that has expired, created half an hour ago, whose user does not exist.
fn fields<'a>(expiry: &'a [u8], created: &'a [u8], user: &'a [u8]) -> [Option<&'a [u8]>; 6] {
    let position = &[0, 1, 0x11, 0x70, 0, 3];
    [Some(&[0, 0, 0, 0, 0, 0, 0, 9]), Some(user), Some(expiry), Some(created), Some(&[1]), Some(position)]
}

#[test]
fn every_field_of_a_tuple_is_decoded() {
    let mut collector = collector(RowAddressing::Position);
    let expiry = (NOW_SINCE_2000 - 1).to_be_bytes();
    let created = (NOW.micros() / 1_000 - 1_800_000).to_be_bytes();
    let whole = tuple(&fields(&expiry, &created, &7_i32.to_be_bytes()));
    collector.push_row(&[signature(), whole].concat());
    // NULL in every field that may be NULL: an anonymous session that never expires.
    let none = [None, None, None, None, Some(&[0][..]), Some(&[0, 0, 0, 0, 0, 1][..])];
    collector.push_row(&tuple(&none));
    let beyond = (NOW_SINCE_2000 + 1_000_001).to_be_bytes();
    let mut late = fields(&beyond, &created, &[0, 7]);
    late[4] = Some(&[0]);
    collector.push_row(&tuple(&late));
    // The trailer.
    collector.push_row(&[0xff, 0xff]);
    let snapshot = snapshot(collector).unwrap();
    let stats = snapshot.stats(Measured::Unknown(String::new()), None);
    assert_eq!((stats.sessions, stats.active, stats.expired), (3, 2, 1));
    assert_eq!((stats.never_expiring, stats.anonymous, stats.beyond_policy), (1, 1, Some(1)));
    assert_eq!(stats.created_last_hour, Some(2));
    assert_eq!(snapshot.repeated_fingerprints(), [9]);
    let orphans = snapshot.evidence_addresses(EvidenceSelector::Orphans).unwrap();
    assert_eq!(orphans, [RowAddress::Position(70_000 << 16 | 3)]);
}

#[test]
fn a_tuple_cut_anywhere_fails_the_scan() {
    let expiry = NOW_SINCE_2000.to_be_bytes();
    let whole = tuple(&fields(&expiry, &[0; 8], &[0, 7]));
    for length in 1..whole.len() {
        let mut collector = collector(RowAddressing::Position);
        collector.push_row(&signature());
        collector.push_row(&whole[..length]);
        assert!(snapshot(collector).is_none(), "cut to {length} bytes");
    }
    // One damaged row among good ones is enough.
    let mut collector = collector(RowAddressing::Position);
    collector.push_row(&[signature(), whole.clone()].concat());
    collector.push_row(&whole[..whole.len() - 1]);
    collector.push_row(&whole);
    assert!(snapshot(collector).is_none());
}

#[test]
fn a_field_of_the_wrong_size_is_an_error_and_not_another_user_or_row() {
    let expiry = NOW_SINCE_2000.to_be_bytes();
    let good = fields(&expiry, &[0; 8], &[0, 7]);
    let heap_and_position = |heap: &'static [u8], position: &'static [u8]| {
        [good[0], good[1], good[2], good[3], good[4], Some(heap), Some(position)]
    };
    let heaps = RowAddressing::HeapAndPosition;
    for (addressing, row, is_valid) in [
        (RowAddressing::Position, [&good[..1], &[Some(&[0, 0, 7][..])], &good[2..]].concat(), false),
        (RowAddressing::Position, [&good[..1], &[Some(&[][..])], &good[2..]].concat(), false),
        (RowAddressing::Position, [&good[..5], &[Some(&[0; 5][..])]].concat(), false),
        (RowAddressing::Position, [&good[..5], &[Some(&[0; 8][..])]].concat(), false),
        (RowAddressing::Position, [&good[..5], &[None]].concat(), false),
        (RowAddressing::Position, good.to_vec(), true),
        (heaps, heap_and_position(&[0, 0, 64, 0], &[0; 6]).to_vec(), true),
        (heaps, heap_and_position(&[0, 64, 0], &[0; 6]).to_vec(), false),
        (heaps, heap_and_position(&[0, 0, 64, 0], &[0; 4]).to_vec(), false),
        (RowAddressing::Unavailable, good[..5].to_vec(), true),
        (RowAddressing::Unavailable, good[..4].to_vec(), false),
        (RowAddressing::Id, [&good[..5], &[None]].concat(), true),
    ] {
        let mut collector = collector(addressing);
        collector.push_row(&[signature(), tuple(&row)].concat());
        assert_eq!(snapshot(collector).is_some(), is_valid, "{addressing:?} {row:?}");
    }
}

#[test]
fn a_timestamp_that_cannot_be_decoded_is_neither_active_nor_expired() {
    for damaged in [&[0_u8; 7][..], &[], &i64::MIN.to_be_bytes(), &(i64::MAX - 1).to_be_bytes()] {
        let mut collector = collector(RowAddressing::Position);
        collector.push_row(&[signature(), tuple(&fields(damaged, damaged, &[0, 7]))].concat());
        let stats = snapshot(collector).unwrap().stats(Measured::Unknown(String::new()), None);
        let counts = (stats.undecodable, stats.active, stats.expired, stats.created_last_hour);
        assert_eq!(counts, (1, 0, 0, Some(0)), "{damaged:?}");
    }
}

#[test]
fn a_stream_that_is_no_binary_copy_fails_the_scan() {
    let row = tuple(&fields(&NOW_SINCE_2000.to_be_bytes(), &[0; 8], &[0, 7]));
    let mut other_version = signature();
    other_version[9] = b'\t';
    for begin in [&b""[..], b"PGCOPY", &signature()[..18], &other_version] {
        let mut collector = collector(RowAddressing::Position);
        collector.push_row(&[begin, &row].concat());
        // A header without its last byte takes one from the tuple, which is then damaged.
        assert!(snapshot(collector).is_none(), "{begin:?}");
    }
    let mut empty = collector(RowAddressing::Position);
    empty.push_row(&signature());
    empty.push_row(&[0xff, 0xff]);
    assert_eq!(snapshot(empty).unwrap().row_count(), 0);
}

#[test]
fn a_user_key_that_is_null_or_damaged_fails_the_scan() {
    for (integer, field, is_valid) in [
        (true, Some(&[0, 7][..]), true),
        (true, Some(&[7][..]), false),
        (true, None, false),
        (false, Some(&b"ada"[..]), true),
        (false, Some(&[][..]), true),
        (false, None, false),
    ] {
        let sink = DecodedRowSink::Users { known: KnownUsers::with_capacity(0), integer };
        let mut collector = CopyRowDecoder { sink, has_begun: false, has_failed: false };
        collector.push_row(&[signature(), tuple(&[field])].concat());
        assert_eq!(collector.finish().is_some(), is_valid, "{integer} {field:?}");
    }
}
