//! The ledger: the in-memory mirror of a target's sessions, fed row by row, without tokens.
//!
//! Costs 28 bytes a session (20 without a creation column) and 5 to 9 for the index of fingerprints, besides one entry
//! a user.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::{
    census::{Census, Duplicates, Fact, Histogram},
    decoder::Decoded,
    instant::{HOUR, Instant},
};

const NEVER: i64 = i64::MAX;
const UNDECODABLE: i64 = i64::MIN;
const NO_USER: u32 = u32::MAX;
const NO_FINGERPRINT: u64 = 0;

/// What a look compares every row with.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// The instant of the look.
    pub now: Instant,
    /// The longest lifetime that the policy allows, in microseconds.
    pub max_lifetime_us: Option<i64>,
    /// Whether rows carry a creation time.
    pub has_created: bool,
}

/// One session as it arrives from a scan.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// Keyed hash of the token; nothing for a row without a token.
    pub fingerprint: Option<u64>,
    /// The user's id as text; nothing for an anonymous session.
    pub user: Option<&'a [u8]>,
    /// Its end.
    pub expiry: Decoded,
    /// Its creation.
    pub created: Decoded,
    /// The user does not exist.
    pub orphan: bool,
}

/// A user and the sessions it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The user's id.
    pub user: String,
    /// How many.
    pub sessions: u64,
}

/// What happened between two looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Tokens that were not there before.
    pub created: u64,
    /// Tokens whose expiry moved.
    pub extended: u64,
    /// Tokens that are gone.
    pub ended: u64,
    /// Fingerprints of tokens whose user changed.
    pub rebound: Vec<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    rows: u32,
    active: u32,
    recent: u32,
    orphan: bool,
}

/// The users of a ledger: ids in one arena, found by hash.
#[derive(Debug, Default)]
struct Directory {
    text: Vec<u8>,
    ends: Vec<usize>,
    tallies: Vec<Tally>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

/// The in-memory mirror of a target's sessions at one look.
#[derive(Debug)]
pub struct Ledger {
    frame: Frame,
    fingerprints: Vec<u64>,
    users: Vec<u32>,
    expiries: Vec<i64>,
    index: HashTable<u32>,
    suspects: Vec<u64>,
    directory: Directory,
    census: Census,
}

impl Ledger {
    /// An empty ledger with room for about that many sessions.
    #[must_use]
    pub fn new(frame: Frame, expected: usize) -> Self {
        Self {
            frame,
            fingerprints: Vec::with_capacity(expected),
            users: Vec::with_capacity(expected),
            expiries: Vec::with_capacity(expected),
            index: HashTable::with_capacity(expected),
            suspects: Vec::new(),
            directory: Directory::default(),
            census: empty(&frame),
        }
    }

    /// Takes in one session.
    pub fn insert(&mut self, row: Row<'_>) {
        let position = u32::try_from(self.fingerprints.len())
            .expect("a table of over four billion sessions is not scanned");
        let fingerprint = row.fingerprint.unwrap_or(NO_FINGERPRINT);
        self.fingerprints.push(fingerprint);
        if fingerprint != NO_FINGERPRINT {
            self.note_fingerprint(fingerprint, position);
        }
        let active = self.count_expiry(row.expiry);
        let recent = self.count_creation(row.created);
        let user = match row.user {
            None => {
                self.census.anonymous += 1;
                NO_USER
            }
            Some(id) => {
                self.census.active_with_user += u64::from(active);
                let user = self.directory.intern(id);
                let tally = &mut self.directory.tallies[user as usize];
                tally.rows += 1;
                tally.active += u32::from(active);
                tally.recent += u32::from(recent);
                tally.orphan |= row.orphan;
                user
            }
        };
        self.users.push(user);
    }

    fn note_fingerprint(&mut self, fingerprint: u64, position: u32) {
        let fingerprints = &self.fingerprints;
        let same = |other: &u32| fingerprints[*other as usize] == fingerprint;
        // The fingerprint is itself a keyed hash, so it is its own hash value.
        let entry = self.index.entry(fingerprint, same, |other| fingerprints[*other as usize]);
        match entry {
            hashbrown::hash_table::Entry::Occupied(_) => self.suspects.push(fingerprint),
            hashbrown::hash_table::Entry::Vacant(vacant) => {
                vacant.insert(position);
            }
        }
    }

    /// Counts the row under its expiry; true if it is active.
    fn count_expiry(&mut self, expiry: Decoded) -> bool {
        let census = &mut self.census;
        let now = self.frame.now;
        census.sessions += 1;
        let (stored, active) = match expiry {
            Decoded::Never => {
                census.never_expiring += 1;
                (NEVER, true)
            }
            Decoded::Undecodable => {
                census.undecodable += 1;
                (UNDECODABLE, false)
            }
            Decoded::At(at) if at > now => {
                census.furthest_expiry = census.furthest_expiry.max(Some(at));
                if let (Some(beyond), Some(policy)) = (&mut census.beyond_policy, self.frame.max_lifetime_us)
                {
                    *beyond += u64::from(at > now.plus(policy));
                }
                (at.micros(), true)
            }
            Decoded::At(at) => {
                census.expired += 1;
                census.oldest_expired = Some(census.oldest_expired.map_or(at, |oldest| oldest.min(at)));
                (at.micros(), false)
            }
        };
        census.active += u64::from(active);
        self.expiries.push(stored);
        active
    }

    /// Counts the row under its creation; true if that was in the last hour.
    fn count_creation(&mut self, created: Decoded) -> bool {
        let Some(count) = &mut self.census.created_last_hour else {
            return false;
        };
        let recent = matches!(created, Decoded::At(at) if at > self.frame.now.plus(-HOUR));
        *count += u64::from(recent);
        recent
    }

    /// Sessions in the ledger.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fingerprints.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fingerprints.is_empty()
    }

    /// Fingerprints seen more than once, each once: suspects, to be confirmed on the token itself.
    #[must_use]
    pub fn suspects(&self) -> Vec<u64> {
        let mut suspects = self.suspects.clone();
        suspects.sort_unstable();
        suspects.dedup();
        suspects
    }

    /// The census, with what only the database can say: confirmed duplicates, and whether orphans were looked for.
    #[must_use]
    pub fn census(&self, duplicates: Fact<Duplicates>, orphans: Option<Fact<u64>>) -> Census {
        let mut census = self.census.clone();
        census.duplicates = duplicates;
        let mut orphaned = 0;
        for tally in &self.directory.tallies {
            bump(&mut census.active_per_user, tally.active);
            if tally.orphan {
                orphaned += u64::from(tally.rows);
                continue;
            }
            bump(&mut census.rows_per_user, tally.rows);
            if let Some(histogram) = &mut census.created_per_user {
                bump(histogram, tally.recent);
            }
        }
        census.orphaned = orphans.unwrap_or(Fact::Counted(orphaned));
        census
    }

    /// The users with the most active sessions, most first.
    #[must_use]
    pub fn top_active(&self, limit: usize) -> Vec<Holder> {
        self.directory.top(limit, |tally| tally.active)
    }

    /// The existing users with the most sessions created in the last hour, most first.
    #[must_use]
    pub fn top_recent(&self, limit: usize) -> Vec<Holder> {
        self.directory.top(limit, |tally| if tally.orphan { 0 } else { tally.recent })
    }

    /// The existing users with the most rows of any status, most first.
    #[must_use]
    pub fn top_rows(&self, limit: usize) -> Vec<Holder> {
        self.directory.top(limit, |tally| if tally.orphan { 0 } else { tally.rows })
    }

    /// What happened since `earlier`, a ledger of the same target under the same fingerprint key. Tokens that stand on
    /// several rows are left out: they are findings of their own.
    #[must_use]
    pub fn changes_since(&self, earlier: &Self) -> Changes {
        let mut changes = Changes::default();
        let doubled = |ledger: &Self, fingerprint: &u64| ledger.suspects.contains(fingerprint);
        for (position, fingerprint) in self.fingerprints.iter().enumerate() {
            if *fingerprint == NO_FINGERPRINT || doubled(self, fingerprint) || doubled(earlier, fingerprint) {
                continue;
            }
            match earlier.find(*fingerprint) {
                None => changes.created += 1,
                Some(before) if earlier.user(before) != self.user(position) => {
                    changes.rebound.push(*fingerprint)
                }
                Some(before) => {
                    changes.extended += u64::from(earlier.expiries[before] != self.expiries[position])
                }
            }
        }
        let gone = |fingerprint: &&u64| **fingerprint != NO_FINGERPRINT && self.find(**fingerprint).is_none();
        changes.ended = earlier.fingerprints.iter().filter(gone).count() as u64;
        changes.rebound.sort_unstable();
        changes
    }

    fn find(&self, fingerprint: u64) -> Option<usize> {
        self.index
            .find(fingerprint, |at| self.fingerprints[*at as usize] == fingerprint)
            .map(|at| *at as usize)
    }

    fn user(&self, position: usize) -> Option<&[u8]> {
        let user = self.users[position];
        if user == NO_USER { None } else { Some(self.directory.id(user)) }
    }
}

impl Directory {
    fn id(&self, user: u32) -> &[u8] {
        slice(&self.text, &self.ends, user)
    }

    fn intern(&mut self, id: &[u8]) -> u32 {
        let (text, ends, hasher) = (&self.text, &self.ends, &self.hasher);
        let hash = hasher.hash_one(id);
        let same = |user: &u32| slice(text, ends, *user) == id;
        if let Some(user) = self.index.find(hash, same) {
            return *user;
        }
        let user = u32::try_from(self.ends.len()).expect("fewer users than sessions");
        self.index.insert_unique(hash, user, |other| hasher.hash_one(slice(text, ends, *other)));
        self.text.extend_from_slice(id);
        self.ends.push(self.text.len());
        self.tallies.push(Tally::default());
        user
    }

    fn top(&self, limit: usize, count: impl Fn(&Tally) -> u32) -> Vec<Holder> {
        let mut ranked: Vec<(u32, u32)> =
            (0u32..).zip(&self.tallies).map(|(user, tally)| (count(tally), user)).collect();
        ranked.retain(|(sessions, _)| *sessions > 0);
        let by_rank =
            |a: &(u32, u32), b: &(u32, u32)| b.0.cmp(&a.0).then_with(|| self.id(a.1).cmp(self.id(b.1)));
        if ranked.len() > limit && limit > 0 {
            ranked.select_nth_unstable_by(limit - 1, by_rank);
        }
        ranked.truncate(limit);
        ranked.sort_unstable_by(by_rank);
        let holder = |(sessions, user): (u32, u32)| Holder {
            user: String::from_utf8_lossy(self.id(user)).into_owned(),
            sessions: u64::from(sessions),
        };
        ranked.into_iter().map(holder).collect()
    }
}

fn slice<'a>(text: &'a [u8], ends: &[usize], user: u32) -> &'a [u8] {
    let user = user as usize;
    let start = user.checked_sub(1).map_or(0, |before| ends[before]);
    &text[start..ends[user]]
}

fn bump(histogram: &mut Histogram, held: u32) {
    if held > 0 {
        *histogram.entry(u64::from(held)).or_default() += 1;
    }
}

fn empty(frame: &Frame) -> Census {
    Census {
        taken_at: frame.now,
        sessions: 0,
        active: 0,
        expired: 0,
        never_expiring: 0,
        undecodable: 0,
        anonymous: 0,
        active_with_user: 0,
        oldest_expired: None,
        furthest_expiry: None,
        beyond_policy: frame.max_lifetime_us.map(|_| 0),
        active_per_user: Histogram::new(),
        rows_per_user: Histogram::new(),
        created_per_user: frame.has_created.then(Histogram::new),
        created_last_hour: frame.has_created.then_some(0),
        duplicates: Fact::Counted(Duplicates::default()),
        orphaned: Fact::Counted(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(micros: i64) -> Instant {
        Instant::from_micros(micros).unwrap()
    }

    fn ledger(rows: &[(u64, Option<&str>, i64)]) -> Ledger {
        let frame = Frame { now: instant(1_000), max_lifetime_us: Some(500), has_created: false };
        let mut ledger = Ledger::new(frame, 0);
        for (fingerprint, user, expiry) in rows {
            ledger.insert(Row {
                fingerprint: Some(*fingerprint),
                user: user.map(str::as_bytes),
                expiry: Decoded::At(instant(*expiry)),
                created: Decoded::Never,
                orphan: *user == Some("ghost"),
            });
        }
        ledger
    }

    #[test]
    fn an_expiry_equal_to_now_has_ended_and_one_at_the_policy_is_allowed() {
        let ledger = ledger(&[(1, None, 1_000), (2, None, 1_001), (3, None, 1_500), (4, None, 1_501)]);
        let census = ledger.census(Fact::Counted(Duplicates::default()), None);
        assert_eq!((census.expired, census.active, census.beyond_policy), (1, 3, Some(1)));
    }

    #[test]
    fn anonymous_and_orphaned_sessions_leave_the_rules_about_users() {
        let ledger =
            ledger(&[(1, None, 2_000), (2, Some("a"), 2_000), (3, Some("a"), 10), (4, Some("ghost"), 2_000)]);
        let census = ledger.census(Fact::Counted(Duplicates::default()), None);
        assert_eq!(census.anonymous, 1);
        assert_eq!(census.orphaned, Fact::Counted(1));
        assert_eq!(census.users_active(), 2);
        assert_eq!(census.rows_per_user, Histogram::from([(2, 1)]));
        assert_eq!(ledger.top_rows(5), vec![Holder { user: "a".into(), sessions: 2 }]);
    }

    #[test]
    fn a_repeated_fingerprint_is_suspected_once() {
        assert_eq!(ledger(&[(7, None, 1), (7, None, 1), (7, None, 1), (8, None, 1)]).suspects(), vec![7]);
    }

    #[test]
    fn sees_created_extended_ended_and_rebound() {
        let before =
            ledger(&[(1, Some("a"), 10), (2, Some("a"), 10), (3, Some("b"), 10), (9, Some("z"), 10)]);
        let after = ledger(&[(4, Some("a"), 10), (2, Some("a"), 20), (3, Some("c"), 10), (9, Some("z"), 10)]);
        let expected = Changes { created: 1, extended: 1, ended: 1, rebound: vec![3] };
        assert_eq!(after.changes_since(&before), expected);
    }
}
