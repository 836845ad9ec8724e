//! The users that exist, where the sessions of others are looked for outside the database.

use std::{collections::hash_map::RandomState, hash::BuildHasher};

use hashbrown::HashSet;

use crate::user_totals::UserIdRef;

/// The users that exist: an integer as itself, a text as a keyed hash of 64 bits. That two texts have the same hash happens
/// by chance for one in 10^13 users who do not exist, beside a million who do, and nobody can bring it about without the key.
#[derive(Debug, Default)]
pub struct KnownUsers {
    keys: HashSet<u64>,
    hasher: RandomState,
}

impl KnownUsers {
    /// Nobody, with room for that many.
    #[must_use]
    pub fn with_capacity(expected: usize) -> Self {
        Self { keys: HashSet::with_capacity(expected), hasher: RandomState::new() }
    }

    /// Adds a user.
    #[inline]
    pub fn insert(&mut self, user: UserIdRef<'_>) {
        self.keys.insert(self.user_key(user));
    }

    /// Whether a user exists.
    #[inline]
    #[must_use]
    pub fn contains(&self, user: UserIdRef<'_>) -> bool {
        self.keys.contains(&self.user_key(user))
    }

    #[inline]
    fn user_key(&self, user: UserIdRef<'_>) -> u64 {
        match user {
            UserIdRef::Integer(id) => id.cast_unsigned(),
            UserIdRef::Text(id) => self.hasher.hash_one(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_texts_are_found_again_and_others_are_not() {
        let mut known = KnownUsers::with_capacity(2);
        for user in
            [UserIdRef::Integer(-7), UserIdRef::Integer(0), UserIdRef::Text(b"ada"), UserIdRef::Text(b"")]
        {
            known.insert(user);
            assert!(known.contains(user), "{user:?}");
        }
        for user in [UserIdRef::Integer(7), UserIdRef::Text(b"Ada"), UserIdRef::Text(b"ada ")] {
            assert!(!known.contains(user), "{user:?}");
        }
    }
}
