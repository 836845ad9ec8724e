//! Holdings: what each user holds, and the names of users.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use serde::{Deserialize, Serialize};

use crate::{arena::Arena, radix_buckets::RadixBuckets};

/// A user's id as a database hands it over. All users of one ledger are of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserIdRef<'a> {
    /// An integer of any width.
    Integer(i64),
    /// Anything else, as text.
    Text(&'a [u8]),
}

/// A user and the sessions it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserTotal {
    /// The user's id.
    pub user: String,
    /// How many.
    pub sessions: u64,
}

/// What one session adds to its user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionTally {
    pub(crate) user_key: u64,
    pub(crate) is_active: bool,
    pub(crate) is_recent: bool,
    pub(crate) is_orphan: bool,
}

/// What one user holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UserTotals {
    pub(crate) user_key: u64,
    pub(crate) rows: u32,
    pub(crate) active: u32,
    pub(crate) recent: u32,
    /// Rows whose user does not exist: all of them, unless users that differ to the database look alike here.
    pub(crate) orphans: u32,
}

/// Ids that are text, each once: in one arena, found by hash.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct UserIdInterner {
    texts: Arena,
    // What was stored is looked up by number only.
    #[serde(skip)]
    index: HashTable<(u64, u32)>,
    #[serde(skip)]
    hasher: DefaultHashBuilder,
}

/// Users in the making: the marks of every session, spread by user.
pub(crate) fn bucket_session(tallies: &mut RadixBuckets<SessionTally>, tally: SessionTally) {
    // An odd factor gives every key another one, and carries the low bits, where integers differ, to the leading ones.
    tallies.push(tally.user_key.wrapping_mul(0x9e37_79b9_7f4a_7c15), tally);
}

/// Adds the marks up.
pub(crate) fn aggregate_users(tallies: RadixBuckets<SessionTally>) -> Vec<UserTotals> {
    let mut holdings = Vec::new();
    for mut shelf in tallies.into_buckets() {
        shelf.sort_unstable_by_key(|mark| mark.user_key);
        holdings.extend(
            shelf.chunk_by(|one, other| one.user_key == other.user_key).map(UserTotals::from_tallies),
        );
    }
    holdings
}

impl UserTotals {
    fn from_tallies(tallies: &[SessionTally]) -> Self {
        let count = |test: fn(&SessionTally) -> bool| {
            let found = tallies.iter().filter(|mark| test(mark)).count();
            u32::try_from(found).unwrap_or(u32::MAX)
        };
        Self {
            user_key: tallies.first().map_or(0, |mark| mark.user_key),
            rows: count(|_| true),
            active: count(|mark| mark.is_active),
            recent: count(|mark| mark.is_recent),
            orphans: count(|mark| mark.is_orphan),
        }
    }
}

impl UserTotals {
    /// Whether the user does not exist.
    pub(crate) fn is_missing(&self) -> bool {
        self.orphans == self.rows
    }
}

impl UserIdInterner {
    /// The key of a user: the integer itself, or the number of its text.
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
        let user = u32::try_from(self.texts.push(id)).expect("a table of four billion users is not scanned");
        self.index.insert_unique(hash, (hash, user), |(known, _)| *known);
        user
    }

    /// Whether a key names a user here.
    pub(crate) fn contains_key(&self, key: u64) -> bool {
        self.texts.is_empty() || usize::try_from(key).is_ok_and(|number| number < self.texts.len())
    }

    /// Names that are looked up by key only.
    pub(crate) fn from_texts(texts: &[&[u8]]) -> Self {
        let mut names = Self::default();
        for text in texts {
            names.texts.push(text);
        }
        names
    }

    /// The user of a key.
    pub(crate) fn user_id(&self, key: u64) -> UserIdRef<'_> {
        let text = usize::try_from(key).ok().and_then(|number| self.texts.get(number));
        text.map_or(UserIdRef::Integer(key.cast_signed()), UserIdRef::Text)
    }

    /// The users with the most of something, most first, ties by id (integers as numbers, text by its bytes).
    pub(crate) fn top_users(
        &self,
        totals: &[UserTotals],
        limit: usize,
        count: impl Fn(&UserTotals) -> u32,
    ) -> Vec<UserTotal> {
        let mut best: Vec<(u32, u64)> = Vec::with_capacity(limit + 1);
        let before = |one: &(u32, u64), other: &(u32, u64)| {
            one.0 > other.0 || (one.0 == other.0 && self.user_id(one.1).is_before(self.user_id(other.1)))
        };
        for holding in totals {
            let candidate = (count(holding), holding.user_key);
            let beaten = best.len() == limit && best.last().is_none_or(|last| !before(&candidate, last));
            if candidate.0 > 0 && !beaten {
                let place = best.partition_point(|kept| before(kept, &candidate));
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
    fn a_text_has_one_number_and_keeps_it() {
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
    fn the_most_come_first_and_ties_go_by_id() {
        let mut marks = RadixBuckets::new(0);
        for user in [10i64, 9, 9, 10, -3, 7, 7, 7, 8] {
            let user = user.cast_unsigned();
            bucket_session(
                &mut marks,
                SessionTally { user_key: user, is_active: true, is_recent: false, is_orphan: false },
            );
        }
        let (holdings, names) = (aggregate_users(marks), UserIdInterner::default());
        let top = |limit| {
            let holders = names.top_users(&holdings, limit, |holding| holding.active);
            holders.into_iter().map(|holder| holder.user).collect::<Vec<_>>()
        };
        assert_eq!(top(9), ["7", "9", "10", "-3", "8"]);
        assert_eq!(top(2), ["7", "9"]);
        assert!(top(0).is_empty());
        assert!(names.top_users(&holdings, 9, |holding| holding.recent).is_empty());
    }
}
