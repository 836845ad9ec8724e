//! The format in which earlier versions stored a history: numbers of eight bytes and texts one after the other,
//! little-endian, with a checksum at the end. It is read, and not written any more.

use std::hash::Hasher as _;

use jiff::SignedDuration;
use siphasher::sip::SipHasher13;

use super::{EndedSession, History, NewSessions, RecentHistory};
use crate::{
    instant::Instant,
    snapshot::{SnapshotEntries, SnapshotEntry},
    user_totals::UserIdInterner,
};

/// What bytes of this format begin with.
pub(super) const FORMAT: [u8; 8] = *b"1YROTSIH";

/// The history of those bytes; nothing if they are damaged.
pub(super) fn decode(bytes: &[u8]) -> Option<History> {
    let (body, checksum) = bytes.split_last_chunk::<8>()?;
    let mut hasher = SipHasher13::new();
    hasher.write(body);
    if hasher.finish() != u64::from_le_bytes(*checksum) {
        return None;
    }
    let mut reader = Reader(body.strip_prefix(&FORMAT)?);
    let shape = reader.number()?;
    let snapshot = reader.snapshot()?;
    let history = History { shape, snapshot, past: reader.past()? };
    history.snapshot.has_known_users().then_some(history)
}

/// Reads bytes; nothing where they end too early.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }

    fn signed(&mut self) -> Option<i64> {
        self.number().map(u64::cast_signed)
    }

    fn instant(&mut self) -> Option<Instant> {
        Instant::from_micros(self.signed()?)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(text)
    }

    fn list<T, L: FromIterator<T>>(&mut self, read: impl Fn(&mut Self) -> Option<T>) -> Option<L> {
        // The length alone reserves nothing: bytes that claim too much end first.
        (0..self.number()?).map(|_| read(self)).collect()
    }

    fn snapshot(&mut self) -> Option<SnapshotEntries> {
        let names: Vec<&[u8]> = self.list(Self::text)?;
        let entry = |reader: &mut Self| {
            let (fingerprint, user) = (reader.number()?, reader.number()?);
            Some(SnapshotEntry { fingerprint, user, expiry: reader.signed()? })
        };
        let entries = self.list(|reader| reader.list::<_, Vec<_>>(entry))?;
        Some(SnapshotEntries { entries, names: UserIdInterner::of_texts(&names) })
    }

    fn past(&mut self) -> Option<RecentHistory> {
        let (at, since) = (self.instant()?, self.instant()?);
        let user = |reader: &mut Self| {
            let user = String::from_utf8(reader.text()?.to_vec()).ok()?;
            Some((user, reader.number()?))
        };
        let arrivals = self.list(|reader| {
            let (at, span) = (reader.instant()?, SignedDuration::from_micros(reader.signed()?));
            let count = reader.number()?;
            Some(NewSessions { at, span, count, users: reader.list(user)? })
        })?;
        let peaks = self.list(|reader| Some((reader.signed()?, f64::from_bits(reader.number()?))))?;
        let ended =
            self.list(|reader| Some(EndedSession { fingerprint: reader.number()?, at: reader.signed()? }))?;
        Some(RecentHistory { at, since, arrivals, peaks, ended })
    }
}
