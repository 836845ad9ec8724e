//! The snapshot: the in-memory mirror of a target's sessions, fed row by row, without tokens.
//!
//! Costs 24 bytes a session and 24 a user, besides the text of ids that are text, and until it is kept for the next look
//! eight more a session: where its row stands. Rows are put on shelves by
//! fingerprint as they arrive and sorted shelf by shelf at the end: a large hash table would wait for memory at every
//! row, and sorted snapshots are compared by walking along both.

use serde::{Deserialize, Serialize};

use crate::{
    addresses::{Address, AddressBook, AddressRef, FirstRows},
    decoder::Decoded,
    instant::{Instant, MICROS_PER_HOUR},
    known_users::KnownUsers,
    local_time::Newest,
    radix_buckets::{RadixBuckets, shelf_of},
    stats::{Duplicates, Histogram, Measured, SessionStats},
    user_totals::{SessionTally, UserIdInterner, UserTotals, add_up, spread},
};

mod live;
mod sorting;

pub use self::live::{LiveSessions, OutOfStep, RowKey, SessionChange};
use self::sorting::sort;
pub use crate::user_totals::{User, UserTotal};

/// Rows that a finding shows.
pub const EVIDENCE_LIMIT: usize = 10;
const NEVER: i64 = i64::MAX;
const UNDECODABLE: i64 = i64::MIN;
/// The key of sessions without a user; as an integer id, the one that no sequence reaches.
const NO_USER: u64 = i64::MIN.cast_unsigned();

/// What a look compares every row with.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotOptions {
    /// The instant of the look.
    pub now: Instant,
    /// The longest lifetime that the policy allows, in microseconds.
    pub max_lifetime_us: Option<i64>,
    /// Whether rows carry a creation time.
    pub has_created: bool,
}

/// One session as it arrives from a scan.
#[derive(Clone, Copy, Debug)]
pub struct SessionRow<'a> {
    /// Keyed hash of the token; nothing for a row without a token.
    pub fingerprint: Option<u64>,
    /// The user; nothing for an anonymous session.
    pub user: Option<User<'a>>,
    /// Its end.
    pub expiry: Decoded,
    /// Its creation.
    pub created: Decoded,
    /// The user does not exist.
    pub orphan: bool,
    /// Where the row stands; nothing if the database does not say.
    pub address: Option<AddressRef<'a>>,
}

/// Rows that a finding shows.
#[derive(Clone, Copy, Debug)]
pub enum Notable<'a> {
    /// The first [`EVIDENCE_LIMIT`] expired ones, oldest first.
    OldestExpired,
    /// The first [`EVIDENCE_LIMIT`] that end too late or never: those without an end first, then the latest.
    BeyondPolicy,
    /// The first [`EVIDENCE_LIMIT`] whose user does not exist, by their ends.
    Orphans,
    /// All that have one of these fingerprints.
    Fingerprints(&'a [u64]),
}

/// What differs between two looks, by fingerprint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SnapshotDiff {
    /// Tokens that were not there before, in their order, and whose they are.
    pub(crate) created: Vec<(u64, Option<u64>)>,
    /// Tokens whose expiry moved.
    pub(crate) extended: u64,
    /// Tokens that are gone, in their order.
    pub(crate) ended: Vec<u64>,
    /// Tokens whose user changed.
    pub(crate) rebound: Vec<u64>,
}

/// A snapshot in the making.
#[derive(Debug)]
pub struct SnapshotBuilder {
    frame: SnapshotOptions,
    known_users: Option<KnownUsers>,
    book: AddressBook,
    notable: NotableRows,
    entries: RadixBuckets<Placed>,
    marks: RadixBuckets<SessionTally>,
    names: UserIdInterner,
    census: SessionStats,
    newest: Newest,
}

/// The in-memory mirror of a target's sessions at one look.
#[derive(Debug)]
pub struct SessionSnapshot {
    snapshot: SnapshotEntries,
    book: AddressBook,
    notable: NotableRows,
    /// The address of each entry of the snapshot.
    addresses: Vec<Vec<u64>>,
    suspects: Vec<u64>,
    holdings: Vec<UserTotals>,
    census: SessionStats,
    newest: Newest,
}

/// The part of a snapshot that later ones are compared with.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct SnapshotEntries {
    /// Sorted by fingerprint within a shelf, and from shelf to shelf.
    pub(crate) entries: Vec<Vec<SnapshotEntry>>,
    pub(crate) names: UserIdInterner,
}

/// One session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotEntry {
    // A hash: no number of fewer bytes is likelier than another.
    #[serde(with = "postcard::fixint::le")]
    pub(crate) fingerprint: u64,
    pub(crate) user: u64,
    pub(crate) expiry: i64,
}

/// An entry, and where its row stands.
#[derive(Clone, Copy, Debug)]
struct Placed {
    entry: SnapshotEntry,
    address: u64,
}

/// The rows that stand out by themselves.
#[derive(Debug)]
struct NotableRows {
    oldest_expired: FirstRows,
    beyond_policy: FirstRows,
    orphans: FirstRows,
}

impl SnapshotBuilder {
    /// An empty builder with room for about that many sessions.
    #[must_use]
    pub fn new(frame: SnapshotOptions, expected: usize) -> Self {
        Self {
            frame,
            known_users: None,
            book: AddressBook::default(),
            notable: NotableRows::default(),
            entries: RadixBuckets::new(expected),
            marks: RadixBuckets::new(expected),
            names: UserIdInterner::default(),
            census: empty(&frame),
            newest: Newest::default(),
        }
    }

    /// Takes the sessions of everybody else for orphans.
    #[must_use]
    pub fn knowing(mut self, users: Option<KnownUsers>) -> Self {
        self.known_users = users;
        self
    }

    /// Takes in one session.
    #[inline]
    pub fn insert(&mut self, row: SessionRow<'_>) {
        let address = self.book.pack(row.address);
        let (expiry, active) = self.count_expiry(row.expiry, address);
        let recent = self.count_creation(row.created);
        let user = match row.user {
            None => {
                self.census.anonymous += 1;
                NO_USER
            }
            Some(id) => {
                self.census.active_with_user += u64::from(active);
                let orphan = row.orphan || self.known_users.as_ref().is_some_and(|users| !users.contains(id));
                if orphan {
                    let rank = if let Decoded::At(_) = row.expiry { expiry } else { NEVER };
                    self.notable.orphans.offer(&self.book, rank, address);
                }
                let user = self.names.key(id);
                spread(&mut self.marks, SessionTally { user, active, recent, orphan });
                user
            }
        };
        if let Some(fingerprint) = row.fingerprint {
            self.entries
                .push(fingerprint, Placed { entry: SnapshotEntry { fingerprint, user, expiry }, address });
        }
    }

    /// Counts the row under its expiry: as stored, and whether it is active.
    fn count_expiry(&mut self, expiry: Decoded, address: u64) -> (i64, bool) {
        let (census, notable, book) = (&mut self.census, &mut self.notable, &self.book);
        let now = self.frame.now;
        census.sessions += 1;
        let (stored, active) = match expiry {
            Decoded::Never => {
                census.never_expiring += 1;
                notable.beyond_policy.offer(book, !NEVER, address);
                (NEVER, true)
            }
            Decoded::Undecodable => {
                census.undecodable += 1;
                (UNDECODABLE, false)
            }
            Decoded::At(at) if at > now => {
                census.furthest_expiry = census.furthest_expiry.max(Some(at));
                if let (Some(beyond), Some(policy)) = (&mut census.beyond_policy, self.frame.max_lifetime_us)
                    && at > now.plus_micros(policy)
                {
                    *beyond += 1;
                    // Latest first.
                    notable.beyond_policy.offer(book, !at.micros(), address);
                }
                (at.micros(), true)
            }
            Decoded::At(at) => {
                census.expired += 1;
                notable.oldest_expired.offer(book, at.micros(), address);
                self.newest.ended = self.newest.ended.max(Some(at));
                census.oldest_expired = Some(census.oldest_expired.map_or(at, |oldest| oldest.min(at)));
                (at.micros(), false)
            }
        };
        census.active += u64::from(active);
        (stored, active)
    }

    /// Counts the row under its creation; true if that was in the last hour.
    fn count_creation(&mut self, created: Decoded) -> bool {
        let Some(count) = &mut self.census.created_last_hour else {
            return false;
        };
        let Decoded::At(at) = created else { return false };
        self.newest.see_created(at, self.frame.now);
        let recent = at > self.frame.now.plus_micros(-MICROS_PER_HOUR);
        *count += u64::from(recent);
        recent
    }

    /// The snapshot of all that was taken in.
    #[must_use]
    pub fn finish(self) -> SessionSnapshot {
        // Nothing arrives any more, so there is a processor for each of them.
        let (marks, entries) = (self.marks, self.entries);
        let (holdings, sorted) = std::thread::scope(|scope| {
            let holdings = scope.spawn(|| add_up(marks));
            let sorted = sort(entries);
            (holdings.join(), sorted)
        });
        let holdings = holdings.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        SessionSnapshot {
            snapshot: SnapshotEntries { entries: sorted.entries, names: self.names },
            book: self.book,
            notable: self.notable,
            addresses: sorted.addresses,
            suspects: sorted.suspects,
            holdings,
            census: self.census,
            newest: self.newest,
        }
    }
}

impl Default for NotableRows {
    fn default() -> Self {
        let first = || FirstRows::new(EVIDENCE_LIMIT);
        Self { oldest_expired: first(), beyond_policy: first(), orphans: first() }
    }
}

impl SessionSnapshot {
    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.census.sessions
    }

    /// Fingerprints seen more than once, each once: suspects, to be confirmed on the token itself.
    #[must_use]
    pub fn suspects(&self) -> &[u64] {
        &self.suspects
    }

    /// Where rows stand that a finding shows; nothing if the database did not say of every row.
    #[must_use]
    pub fn addresses(&self, notable: Notable<'_>) -> Option<Vec<Address>> {
        let unpack = |packed| self.book.unpack(packed);
        self.book.is_complete().then(|| match notable {
            Notable::OldestExpired => self.notable.oldest_expired.packed().map(unpack).collect(),
            Notable::BeyondPolicy => self.notable.beyond_policy.packed().map(unpack).collect(),
            Notable::Orphans => self.notable.orphans.packed().map(unpack).collect(),
            Notable::Fingerprints(wanted) => {
                wanted.iter().flat_map(|wanted| self.packed(*wanted)).copied().map(unpack).collect()
            }
        })
    }

    /// The packed addresses of the rows with that fingerprint.
    fn packed(&self, fingerprint: u64) -> &[u64] {
        let shelf = shelf_of(fingerprint, self.addresses.len());
        let entries = self.snapshot.entries.get(shelf).map_or(&[][..], Vec::as_slice);
        let start = entries.partition_point(|entry| entry.fingerprint < fingerprint);
        let end = entries.partition_point(|entry| entry.fingerprint <= fingerprint);
        self.addresses.get(shelf).and_then(|shelf| shelf.get(start..end)).unwrap_or_default()
    }

    /// The newest instants of the table.
    #[must_use]
    pub fn newest(&self) -> Newest {
        self.newest
    }

    /// The census, with what only the database can say: confirmed duplicates, and whether orphans were looked for.
    #[must_use]
    pub fn census(&self, duplicates: Measured<Duplicates>, orphans: Option<Measured<u64>>) -> SessionStats {
        let mut census = self.census.clone();
        census.duplicates = duplicates;
        let mut orphaned = 0;
        for holding in &self.holdings {
            bump(&mut census.active_per_user, holding.active);
            orphaned += u64::from(holding.orphans);
            if holding.is_orphan() {
                continue;
            }
            bump(&mut census.rows_per_user, holding.rows);
            if let Some(histogram) = &mut census.created_per_user {
                bump(histogram, holding.recent);
            }
        }
        census.orphaned = orphans.unwrap_or(Measured::Counted(orphaned));
        census
    }

    /// The users with the most active sessions, most first.
    #[must_use]
    pub fn top_active(&self, limit: usize) -> Vec<UserTotal> {
        self.snapshot.names.top(&self.holdings, limit, |holding| holding.active)
    }

    /// The existing users with the most sessions created in the last hour, most first.
    #[must_use]
    pub fn top_recent(&self, limit: usize) -> Vec<UserTotal> {
        self.snapshot.names.top(
            &self.holdings,
            limit,
            |holding| if holding.is_orphan() { 0 } else { holding.recent },
        )
    }

    /// The existing users with the most rows of any status, most first.
    #[must_use]
    pub fn top_rows(&self, limit: usize) -> Vec<UserTotal> {
        self.snapshot.names.top(
            &self.holdings,
            limit,
            |holding| if holding.is_orphan() { 0 } else { holding.rows },
        )
    }

    pub(crate) fn snapshot(&self) -> &SnapshotEntries {
        &self.snapshot
    }

    pub(crate) fn into_snapshot(self) -> SnapshotEntries {
        self.snapshot
    }

    /// The keys of users who do not exist, in their order.
    pub(crate) fn ghosts(&self) -> Vec<u64> {
        let ghosts = self.holdings.iter().filter(|holding| holding.is_orphan());
        let mut keys: Vec<u64> = ghosts.map(|holding| holding.user).collect();
        keys.sort_unstable();
        keys
    }
}

impl SnapshotEntries {
    /// What differs from `earlier`, of the same target under the same fingerprint key. Tokens that stand on several rows
    /// are left out: they are findings of their own.
    pub(crate) fn differs_from(&self, earlier: &Self) -> SnapshotDiff {
        let mut difference = SnapshotDiff::default();
        let mut before = earlier.entries.iter().flat_map(|shelf| runs(shelf)).peekable();
        let mut gone = |run: &[SnapshotEntry]| {
            if let [gone] = run {
                difference.ended.push(gone.fingerprint);
            }
        };
        for now in self.entries.iter().flat_map(|shelf| runs(shelf)) {
            while let Some(run) = before.next_if(|run| key(run) < key(now)) {
                gone(run);
            }
            match (before.next_if(|run| key(run) == key(now)), now) {
                (None, [now]) => {
                    difference.created.push((now.fingerprint, (now.user != NO_USER).then_some(now.user)));
                }
                (Some([before]), [now]) if earlier.user(before) != self.user(now) => {
                    difference.rebound.push(now.fingerprint);
                }
                (Some([before]), [now]) => difference.extended += u64::from(before.expiry != now.expiry),
                _ => {}
            }
        }
        before.for_each(gone);
        difference
    }

    /// Whether every user that an entry names is among the names.
    pub(crate) fn has_known_users(&self) -> bool {
        let is_known = |entry: &SnapshotEntry| entry.user == NO_USER || self.names.knows(entry.user);
        self.entries.iter().flatten().all(is_known)
    }

    fn user(&self, entry: &SnapshotEntry) -> Option<User<'_>> {
        (entry.user != NO_USER).then(|| self.names.user(entry.user))
    }
}

/// The entries of a sorted shelf, those of one fingerprint together.
fn runs(shelf: &[SnapshotEntry]) -> impl Iterator<Item = &[SnapshotEntry]> {
    shelf.chunk_by(|one, other| one.fingerprint == other.fingerprint)
}

fn key(run: &[SnapshotEntry]) -> Option<u64> {
    run.first().map(|entry| entry.fingerprint)
}

fn bump(histogram: &mut Histogram, held: u32) {
    if held > 0 {
        *histogram.entry(u64::from(held)).or_default() += 1;
    }
}

fn empty(frame: &SnapshotOptions) -> SessionStats {
    SessionStats {
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
        duplicates: Measured::Counted(Duplicates::default()),
        orphaned: Measured::Counted(0),
    }
}

#[cfg(test)]
mod tests;
