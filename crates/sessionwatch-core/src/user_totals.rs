//! Holdings: what each user holds, and the names of users.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use serde::{Deserialize, Serialize};

use crate::{arena::Arena, radix_buckets::RadixBuckets};

/// A user's id as a database hands it over. All users of one ledger are of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User<'a> {
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
    pub(crate) user: u64,
    pub(crate) active: bool,
    pub(crate) recent: bool,
    pub(crate) orphan: bool,
}

/// What one user holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UserTotals {
    pub(crate) user: u64,
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
pub(crate) fn spread(marks: &mut RadixBuckets<SessionTally>, mark: SessionTally) {
    // An odd factor gives every key another one, and carries the low bits, where integers differ, to the leading ones.
    marks.push(mark.user.wrapping_mul(0x9e37_79b9_7f4a_7c15), mark);
}

/// Adds the marks up.
pub(crate) fn add_up(marks: RadixBuckets<SessionTally>) -> Vec<UserTotals> {
    let mut holdings = Vec::new();
    for mut shelf in marks.into_shelves() {
        shelf.sort_unstable_by_key(|mark| mark.user);
        holdings.extend(shelf.chunk_by(|one, other| one.user == other.user).map(UserTotals::of));
    }
    holdings
}

impl UserTotals {
    fn of(marks: &[SessionTally]) -> Self {
        let count = |test: fn(&SessionTally) -> bool| {
            let found = marks.iter().filter(|mark| test(mark)).count();
            u32::try_from(found).unwrap_or(u32::MAX)
        };
        Self {
            user: marks.first().map_or(0, |mark| mark.user),
            rows: count(|_| true),
            active: count(|mark| mark.active),
            recent: count(|mark| mark.recent),
            orphans: count(|mark| mark.orphan),
        }
    }
}

impl UserTotals {
    /// Whether the user does not exist.
    pub(crate) fn is_orphan(&self) -> bool {
        self.orphans == self.rows
    }
}

impl UserIdInterner {
    /// The key of a user: the integer itself, or the number of its text.
    #[inline]
    pub(crate) fn key(&mut self, user: User<'_>) -> u64 {
        match user {
            User::Integer(id) => id.cast_unsigned(),
            User::Text(id) => u64::from(self.intern(id)),
        }
    }

    fn intern(&mut self, id: &[u8]) -> u32 {
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
    pub(crate) fn knows(&self, key: u64) -> bool {
        self.texts.is_empty() || usize::try_from(key).is_ok_and(|number| number < self.texts.len())
    }

    /// Names that are looked up by key only.
    pub(crate) fn of_texts(texts: &[&[u8]]) -> Self {
        let mut names = Self::default();
        for text in texts {
            names.texts.push(text);
        }
        names
    }

    /// The user of a key.
    pub(crate) fn user(&self, key: u64) -> User<'_> {
        let text = usize::try_from(key).ok().and_then(|number| self.texts.get(number));
        text.map_or(User::Integer(key.cast_signed()), User::Text)
    }

    /// The users with the most of something, most first, ties by id (integers as numbers, text by its bytes).
    pub(crate) fn top(
        &self,
        holdings: &[UserTotals],
        limit: usize,
        count: impl Fn(&UserTotals) -> u32,
    ) -> Vec<UserTotal> {
        let mut best: Vec<(u32, u64)> = Vec::with_capacity(limit + 1);
        let before = |one: &(u32, u64), other: &(u32, u64)| {
            one.0 > other.0 || (one.0 == other.0 && self.user(one.1).is_before(self.user(other.1)))
        };
        for holding in holdings {
            let candidate = (count(holding), holding.user);
            let beaten = best.len() == limit && best.last().is_none_or(|last| !before(&candidate, last));
            if candidate.0 > 0 && !beaten {
                let place = best.partition_point(|kept| before(kept, &candidate));
                best.insert(place, candidate);
                best.truncate(limit);
            }
        }
        best.into_iter()
            .map(|(sessions, key)| UserTotal { user: self.user(key).to_text(), sessions: sessions.into() })
            .collect()
    }
}

impl User<'_> {
    fn is_before(self, other: User<'_>) -> bool {
        match (self, other) {
            (Self::Integer(one), User::Integer(other)) => one < other,
            (Self::Text(one), User::Text(other)) => one < other,
            (Self::Integer(_), User::Text(_)) => true,
            (Self::Text(_), User::Integer(_)) => false,
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
        let keys: Vec<u64> =
            [&b"ada"[..], b"", b"bo", b"ada", b""].iter().map(|id| names.key(User::Text(id))).collect();
        assert_eq!(keys, [0, 1, 2, 0, 1]);
        assert_eq!(names.user(2), User::Text(b"bo"));
        assert_eq!(UserIdInterner::default().user(u64::MAX), User::Integer(-1));
    }

    #[test]
    fn the_most_come_first_and_ties_go_by_id() {
        let mut marks = RadixBuckets::new(0);
        for user in [10i64, 9, 9, 10, -3, 7, 7, 7, 8] {
            let user = user.cast_unsigned();
            spread(&mut marks, SessionTally { user, active: true, recent: false, orphan: false });
        }
        let (holdings, names) = (add_up(marks), UserIdInterner::default());
        let top = |limit| {
            let holders = names.top(&holdings, limit, |holding| holding.active);
            holders.into_iter().map(|holder| holder.user).collect::<Vec<_>>()
        };
        assert_eq!(top(9), ["7", "9", "10", "-3", "8"]);
        assert_eq!(top(2), ["7", "9"]);
        assert!(top(0).is_empty());
        assert!(names.top(&holdings, 9, |holding| holding.recent).is_empty());
    }
}
