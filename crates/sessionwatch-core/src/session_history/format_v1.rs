//! Format 1 of stored histories, read but no longer written: 64-bit little-endian numbers and length-prefixed texts
//! in sequence, and a checksum.

use std::hash::Hasher as _;

use jiff::SignedDuration;
use siphasher::sip::SipHasher13;

use super::{EndedSession, NewSessions, RecentHistory, SessionHistory};
use crate::{
    snapshot::{SnapshotEntries, SnapshotEntry},
    timestamp::UtcTimestamp,
    user_totals::UserIdInterner,
};

/// First bytes of this format.
pub(super) const FORMAT_MAGIC: [u8; 8] = *b"1YROTSIH";

/// Decodes a history of format 1; `None` if the bytes are damaged.
pub(super) fn decode_history(bytes: &[u8]) -> Option<SessionHistory> {
    // The checksum comes first: damaged bytes could otherwise parse by chance.
    let (body, checksum) = bytes.split_last_chunk::<8>()?;
    let mut hasher = SipHasher13::new();
    hasher.write(body);
    if hasher.finish() != u64::from_le_bytes(*checksum) {
        return None;
    }
    let mut reader = ByteReader(body.strip_prefix(&FORMAT_MAGIC)?);
    let layout_hash = reader.read_u64()?;
    let snapshot = reader.read_snapshot()?;
    let history = SessionHistory { layout_hash, snapshot, recent: reader.read_recent_history()? };
    history.snapshot.has_known_users().then_some(history)
}

/// Byte reader whose methods return `None` past the end.
struct ByteReader<'a>(&'a [u8]);

impl<'a> ByteReader<'a> {
    fn read_u64(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }

    fn read_i64(&mut self) -> Option<i64> {
        self.read_u64().map(u64::cast_signed)
    }

    fn read_timestamp(&mut self) -> Option<UtcTimestamp> {
        UtcTimestamp::from_micros(self.read_i64()?)
    }

    fn read_text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.read_u64()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(text)
    }

    fn read_list<T, L: FromIterator<T>>(&mut self, read: impl Fn(&mut Self) -> Option<T>) -> Option<L> {
        // Nothing is allocated from the claimed length, so a huge one fails at the end of the bytes.
        (0..self.read_u64()?).map(|_| read(self)).collect()
    }

    fn read_snapshot(&mut self) -> Option<SnapshotEntries> {
        let names: Vec<&[u8]> = self.read_list(Self::read_text)?;
        let entry = |reader: &mut Self| {
            let (fingerprint, user_key) = (reader.read_u64()?, reader.read_u64()?);
            Some(SnapshotEntry { fingerprint, user_key, expiry: reader.read_i64()? })
        };
        let buckets = self.read_list(|reader| reader.read_list::<_, Vec<_>>(entry))?;
        Some(SnapshotEntries { buckets, user_ids: UserIdInterner::from_texts(&names) })
    }

    fn read_recent_history(&mut self) -> Option<RecentHistory> {
        let (at, first_run_at) = (self.read_timestamp()?, self.read_timestamp()?);
        let user = |reader: &mut Self| {
            let user = String::from_utf8(reader.read_text()?.to_vec()).ok()?;
            Some((user, reader.read_u64()?))
        };
        let new_sessions = self.read_list(|reader| {
            let (at, interval) = (reader.read_timestamp()?, SignedDuration::from_micros(reader.read_i64()?));
            let count = reader.read_u64()?;
            Some(NewSessions { seen_at: at, interval, count, users: reader.read_list(user)? })
        })?;
        let hourly_peaks =
            self.read_list(|reader| Some((reader.read_i64()?, f64::from_bits(reader.read_u64()?))))?;
        let ended = self.read_list(|reader| {
            Some(EndedSession { fingerprint: reader.read_u64()?, ended_at_us: reader.read_i64()? })
        })?;
        Some(RecentHistory { last_run_at: at, first_run_at, new_sessions, hourly_peaks, ended })
    }
}
