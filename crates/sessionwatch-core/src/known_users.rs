//! The set of existing users, for engines that detect orphaned sessions outside the database.

use std::{collections::hash_map::RandomState, hash::BuildHasher};

use hashbrown::HashSet;

use crate::user_totals::UserIdRef;

/// The set of existing user IDs: integers as they are, text as 64-bit keyed hashes.
///
/// With a million existing users, about one missing user in 10^13 collides with an existing one by chance. The key is
/// random, so nobody can craft a collision.
#[derive(Debug, Default)]
pub struct KnownUsers {
    keys: HashSet<u64>,
    hasher: RandomState,
}

impl KnownUsers {
    /// Creates an empty set with room for `expected` users.
    #[must_use]
    pub fn with_capacity(expected: usize) -> Self {
        Self { keys: HashSet::with_capacity(expected), hasher: RandomState::new() }
    }

    /// Adds a user.
    #[inline]
    pub fn insert(&mut self, user: UserIdRef<'_>) {
        self.keys.insert(self.user_key(user));
    }

    /// Returns whether a user exists.
    #[inline]
    #[must_use]
    pub fn contains(&self, user: UserIdRef<'_>) -> bool {
        self.keys.contains(&self.user_key(user))
    }

    #[inline]
    fn user_key(&self, user: UserIdRef<'_>) -> u64 {
        match user {
            // Integers are distinct 64-bit values already, so a hash would gain nothing.
            UserIdRef::Integer(id) => id.cast_unsigned(),
            UserIdRef::Text(id) => self.hasher.hash_one(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contains_inserted_users_and_no_others() {
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
