//! Session counts per user, and the interned user ids.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use serde::{Deserialize, Serialize};

use crate::{arena::Arena, radix_buckets::RadixBuckets};

/// User id as returned by the database. All ids of one snapshot are of the same kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserIdRef<'a> {
    /// An integer of any width.
    Integer(i64),
    /// Anything else, as text.
    Text(&'a [u8]),
}

/// User and number of sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserTotal {
    /// User id.
    pub user: String,
    /// Number of sessions.
    pub sessions: u64,
}

/// Contribution of one session to its user's totals.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionTally {
    pub(crate) user_key: u64,
    pub(crate) is_active: bool,
    pub(crate) is_recent: bool,
    pub(crate) is_orphan: bool,
}

/// Totals of one user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UserTotals {
    pub(crate) user_key: u64,
    pub(crate) rows: u32,
    pub(crate) active: u32,
    pub(crate) recent: u32,
    /// Rows whose user does not exist. That is all rows or none, unless ids that differ in the database look the same
    /// here.
    pub(crate) orphans: u32,
}

/// Interner of text ids, backed by an arena and a hash index.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct UserIdInterner {
    texts: Arena,
    // Stored ids are only looked up by number, so the index is not stored.
    #[serde(skip)]
    index: HashTable<(u64, u32)>,
    #[serde(skip)]
    hasher: DefaultHashBuilder,
}

/// Adds the tally of a session to the bucket of its user.
pub(crate) fn bucket_session(tallies: &mut RadixBuckets<SessionTally>, tally: SessionTally) {
    // Integer ids differ mostly in their low bits. Multiplying by an odd constant is bijective and carries them to
    // the leading bits, which select the bucket.
    tallies.push(tally.user_key.wrapping_mul(0x9e37_79b9_7f4a_7c15), tally);
}

/// Sums up the tallies by user.
pub(crate) fn aggregate_users(tallies: RadixBuckets<SessionTally>) -> Vec<UserTotals> {
    let mut totals = Vec::new();
    for mut bucket in tallies.into_buckets() {
        // Sorting one bucket at a time stays within the CPU cache.
        bucket.sort_unstable_by_key(|tally| tally.user_key);
        totals.extend(
            bucket.chunk_by(|one, other| one.user_key == other.user_key).map(UserTotals::from_tallies),
        );
    }
    totals
}

impl UserTotals {
    fn from_tallies(tallies: &[SessionTally]) -> Self {
        let count = |test: fn(&SessionTally) -> bool| {
            let found = tallies.iter().filter(|tally| test(tally)).count();
            u32::try_from(found).unwrap_or(u32::MAX)
        };
        Self {
            user_key: tallies.first().map_or(0, |tally| tally.user_key),
            rows: count(|_| true),
            active: count(|tally| tally.is_active),
            recent: count(|tally| tally.is_recent),
            orphans: count(|tally| tally.is_orphan),
        }
    }
}

impl UserTotals {
    /// Returns whether the user does not exist.
    pub(crate) fn is_missing(&self) -> bool {
        self.orphans == self.rows
    }
}

impl UserIdInterner {
    /// Returns the key of a user: the integer itself, or the number of its text.
    #[inline]
    pub(crate) fn user_key(&mut self, user: UserIdRef<'_>) -> u64 {
        match user {
            UserIdRef::Integer(id) => id.cast_unsigned(),
            UserIdRef::Text(id) => u64::from(self.intern_text(id)),
        }
    }

    fn intern_text(&mut self, id: &[u8]) -> u32 {
        let hash = self.hasher.hash_one(id);
        let texts = &self.texts;
        let same = |(known, user): &(u64, u32)| *known == hash && texts.get(*user as usize) == Some(id);
        if let Some((_, user)) = self.index.find(hash, same) {
            return *user;
        }
        let user = u32::try_from(self.texts.push(id)).expect("fewer than four billion users");
        self.index.insert_unique(hash, (hash, user), |(known, _)| *known);
        user
    }

    /// Returns whether a key belongs to a known user.
    pub(crate) fn contains_key(&self, key: u64) -> bool {
        self.texts.is_empty() || usize::try_from(key).is_ok_and(|number| number < self.texts.len())
    }

    /// Creates an interner for lookups by key only.
    pub(crate) fn from_texts(texts: &[&[u8]]) -> Self {
        let mut names = Self::default();
        for text in texts {
            names.texts.push(text);
        }
        names
    }

    /// Returns the id of the user with this key.
    pub(crate) fn user_id(&self, key: u64) -> UserIdRef<'_> {
        let text = usize::try_from(key).ok().and_then(|number| self.texts.get(number));
        text.map_or(UserIdRef::Integer(key.cast_signed()), UserIdRef::Text)
    }

    /// Returns the users with the highest counts, highest first, ties by id (integers as numbers, text by bytes).
    pub(crate) fn top_users(
        &self,
        totals: &[UserTotals],
        limit: usize,
        count: impl Fn(&UserTotals) -> u32,
    ) -> Vec<UserTotal> {
        // Only `limit` users are kept, so an insertion is cheaper than sorting all totals.
        let mut best: Vec<(u32, u64)> = Vec::with_capacity(limit + 1);
        let before = |one: &(u32, u64), other: &(u32, u64)| {
            one.0 > other.0 || (one.0 == other.0 && self.user_id(one.1).is_before(self.user_id(other.1)))
        };
        for user in totals {
            let candidate = (count(user), user.user_key);
            let beaten = best.len() == limit && best.last().is_none_or(|last| !before(&candidate, last));
            if candidate.0 > 0 && !beaten {
                let place = best.partition_point(|present| before(present, &candidate));
                best.insert(place, candidate);
                best.truncate(limit);
            }
        }
        best.into_iter()
            .map(|(sessions, key)| UserTotal { user: self.user_id(key).to_text(), sessions: sessions.into() })
            .collect()
    }
}

impl UserIdRef<'_> {
    fn is_before(self, other: UserIdRef<'_>) -> bool {
        match (self, other) {
            (Self::Integer(one), UserIdRef::Integer(other)) => one < other,
            (Self::Text(one), UserIdRef::Text(other)) => one < other,
            (Self::Integer(_), UserIdRef::Text(_)) => true,
            (Self::Text(_), UserIdRef::Integer(_)) => false,
        }
    }

    pub(crate) fn to_text(self) -> String {
        match self {
            Self::Integer(id) => id.to_string(),
            Self::Text(id) => String::from_utf8_lossy(id).into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_interned_once() {
        let mut names = UserIdInterner::default();
        let keys: Vec<u64> = [&b"ada"[..], b"", b"bo", b"ada", b""]
            .iter()
            .map(|id| names.user_key(UserIdRef::Text(id)))
            .collect();
        assert_eq!(keys, [0, 1, 2, 0, 1]);
        assert_eq!(names.user_id(2), UserIdRef::Text(b"bo"));
        assert_eq!(UserIdInterner::default().user_id(u64::MAX), UserIdRef::Integer(-1));
    }

    #[test]
    fn the_highest_counts_come_first_and_ties_are_ordered_by_id() {
        let mut tallies = RadixBuckets::new(0);
        for user_key in [10i64, 9, 9, 10, -3, 7, 7, 7, 8] {
            let user_key = user_key.cast_unsigned();
            bucket_session(
                &mut tallies,
                SessionTally { user_key, is_active: true, is_recent: false, is_orphan: false },
            );
        }
        let (totals, names) = (aggregate_users(tallies), UserIdInterner::default());
        let top = |limit| {
            let users = names.top_users(&totals, limit, |user_key| user_key.active);
            users.into_iter().map(|user_key| user_key.user).collect::<Vec<_>>()
        };
        assert_eq!(top(9), ["7", "9", "10", "-3", "8"]);
        assert_eq!(top(2), ["7", "9"]);
        assert!(top(0).is_empty());
        assert!(names.top_users(&totals, 9, |user_key| user_key.recent).is_empty());
    }
}
