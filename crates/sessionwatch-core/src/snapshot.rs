//! The snapshot: the in-memory mirror of a target's sessions, fed row by row, without tokens.
//!
//! Costs 24 bytes a session and 24 a user, besides the text of ids that are text, and until it is kept for the next look
//! eight more a session: where its row stands. Rows are put on shelves by
//! fingerprint as they arrive and sorted shelf by shelf at the end: a large hash table would wait for memory at every
//! row, and sorted snapshots are compared by walking along both.

use serde::{Deserialize, Serialize};

use crate::{
    decoder::DecodedTime,
    known_users::KnownUsers,
    local_time::NewestTimes,
    radix_buckets::{RadixBuckets, bucket_index},
    row_addresses::{FirstRows, RowAddress, RowAddressPacker, RowAddressRef},
    stats::{DuplicateTokens, Histogram, Measured, SessionStats},
    timestamp::{MICROS_PER_HOUR, UtcTimestamp},
    user_totals::{SessionTally, UserIdInterner, UserTotals, aggregate_users, bucket_session},
};

mod live;
mod sorting;

pub use self::live::{LiveChangeError, LiveSessions, RowKey, SessionChange};
use self::sorting::sort_entries;
pub use crate::user_totals::{UserIdRef, UserTotal};

/// Rows that a finding shows.
pub const MAX_EVIDENCE_ROWS: usize = 10;
const NEVER_EXPIRES_US: i64 = i64::MAX;
const UNDECODABLE_EXPIRY_US: i64 = i64::MIN;
/// The key of sessions without a user; as an integer id, the one that no sequence reaches.
const NO_USER_KEY: u64 = i64::MIN.cast_unsigned();

/// What a look compares every row with.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotOptions {
    /// The instant of the look.
    pub now: UtcTimestamp,
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
    pub user: Option<UserIdRef<'a>>,
    /// Its end.
    pub expiry: DecodedTime,
    /// Its creation.
    pub created: DecodedTime,
    /// The user does not exist.
    pub orphan: bool,
    /// Where the row stands; nothing if the database does not say.
    pub address: Option<RowAddressRef<'a>>,
}

/// Rows that a finding shows.
#[derive(Clone, Copy, Debug)]
pub enum EvidenceSelector<'a> {
    /// The first [`MAX_EVIDENCE_ROWS`] expired ones, oldest first.
    OldestExpired,
    /// The first [`MAX_EVIDENCE_ROWS`] that end too late or never: those without an end first, then the latest.
    BeyondPolicy,
    /// The first [`MAX_EVIDENCE_ROWS`] whose user does not exist, by their ends.
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
    pub(crate) reassigned: Vec<u64>,
}

/// A snapshot in the making.
#[derive(Debug)]
pub struct SnapshotBuilder {
    options: SnapshotOptions,
    known_users: Option<KnownUsers>,
    address_packer: RowAddressPacker,
    notable: NotableRows,
    entries: RadixBuckets<AddressedEntry>,
    tallies: RadixBuckets<SessionTally>,
    user_ids: UserIdInterner,
    stats: SessionStats,
    newest: NewestTimes,
}

/// The in-memory mirror of a target's sessions at one look.
#[derive(Debug)]
pub struct SessionSnapshot {
    entries: SnapshotEntries,
    address_packer: RowAddressPacker,
    notable: NotableRows,
    /// The address of each entry of the snapshot.
    addresses: Vec<Vec<u64>>,
    repeated_fingerprints: Vec<u64>,
    user_totals: Vec<UserTotals>,
    stats: SessionStats,
    newest: NewestTimes,
}

/// The part of a snapshot that later ones are compared with.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct SnapshotEntries {
    /// Sorted by fingerprint within a shelf, and from shelf to shelf.
    pub(crate) buckets: Vec<Vec<SnapshotEntry>>,
    pub(crate) user_ids: UserIdInterner,
}

/// One session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotEntry {
    // A hash: no number of fewer bytes is likelier than another.
    #[serde(with = "postcard::fixint::le")]
    pub(crate) fingerprint: u64,
    pub(crate) user_key: u64,
    pub(crate) expiry: i64,
}

/// An entry, and where its row stands.
#[derive(Clone, Copy, Debug)]
struct AddressedEntry {
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
    pub fn new(options: SnapshotOptions, expected: usize) -> Self {
        Self {
            options,
            known_users: None,
            address_packer: RowAddressPacker::default(),
            notable: NotableRows::default(),
            entries: RadixBuckets::new(expected),
            tallies: RadixBuckets::new(expected),
            user_ids: UserIdInterner::default(),
            stats: empty_stats(&options),
            newest: NewestTimes::default(),
        }
    }

    /// Takes the sessions of everybody else for orphans.
    #[must_use]
    pub fn with_known_users(mut self, users: Option<KnownUsers>) -> Self {
        self.known_users = users;
        self
    }

    /// Takes in one session.
    #[inline]
    pub fn insert(&mut self, row: SessionRow<'_>) {
        let address = self.address_packer.pack(row.address);
        let (expiry, active) = self.count_expiry(row.expiry, address);
        let recent = self.count_creation(row.created);
        let user = match row.user {
            None => {
                self.stats.anonymous += 1;
                NO_USER_KEY
            }
            Some(id) => {
                self.stats.active_with_user += u64::from(active);
                let orphan = row.orphan || self.known_users.as_ref().is_some_and(|users| !users.contains(id));
                if orphan {
                    let rank = if let DecodedTime::At(_) = row.expiry { expiry } else { NEVER_EXPIRES_US };
                    self.notable.orphans.offer_row(&self.address_packer, rank, address);
                }
                let user = self.user_ids.user_key(id);
                bucket_session(
                    &mut self.tallies,
                    SessionTally { user_key: user, is_active: active, is_recent: recent, is_orphan: orphan },
                );
                user
            }
        };
        if let Some(fingerprint) = row.fingerprint {
            self.entries.push(
                fingerprint,
                AddressedEntry { entry: SnapshotEntry { fingerprint, user_key: user, expiry }, address },
            );
        }
    }

    /// Counts the row under its expiry: as stored, and whether it is active.
    fn count_expiry(&mut self, expiry: DecodedTime, address: u64) -> (i64, bool) {
        let (census, notable, book) = (&mut self.stats, &mut self.notable, &self.address_packer);
        let now = self.options.now;
        census.sessions += 1;
        let (stored, active) = match expiry {
            DecodedTime::Never => {
                census.never_expiring += 1;
                notable.beyond_policy.offer_row(book, !NEVER_EXPIRES_US, address);
                (NEVER_EXPIRES_US, true)
            }
            DecodedTime::Undecodable => {
                census.undecodable += 1;
                (UNDECODABLE_EXPIRY_US, false)
            }
            DecodedTime::At(at) if at > now => {
                census.furthest_expiry = census.furthest_expiry.max(Some(at));
                if let (Some(beyond), Some(policy)) =
                    (&mut census.beyond_policy, self.options.max_lifetime_us)
                    && at > now.saturating_add_micros(policy)
                {
                    *beyond += 1;
                    // Latest first.
                    notable.beyond_policy.offer_row(book, !at.micros(), address);
                }
                (at.micros(), true)
            }
            DecodedTime::At(at) => {
                census.expired += 1;
                notable.oldest_expired.offer_row(book, at.micros(), address);
                self.newest.ended = self.newest.ended.max(Some(at));
                census.oldest_expired = Some(census.oldest_expired.map_or(at, |oldest| oldest.min(at)));
                (at.micros(), false)
            }
        };
        census.active += u64::from(active);
        (stored, active)
    }

    /// Counts the row under its creation; true if that was in the last hour.
    fn count_creation(&mut self, created: DecodedTime) -> bool {
        let Some(count) = &mut self.stats.created_last_hour else {
            return false;
        };
        let DecodedTime::At(at) = created else { return false };
        self.newest.observe_created(at, self.options.now);
        let recent = at > self.options.now.saturating_add_micros(-MICROS_PER_HOUR);
        *count += u64::from(recent);
        recent
    }

    /// The snapshot of all that was taken in.
    #[must_use]
    pub fn finish(self) -> SessionSnapshot {
        // Nothing arrives any more, so there is a processor for each of them.
        let (marks, entries) = (self.tallies, self.entries);
        let (holdings, sorted) = std::thread::scope(|scope| {
            let holdings = scope.spawn(|| aggregate_users(marks));
            let sorted = sort_entries(entries);
            (holdings.join(), sorted)
        });
        let holdings = holdings.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        SessionSnapshot {
            entries: SnapshotEntries { buckets: sorted.buckets, user_ids: self.user_ids },
            address_packer: self.address_packer,
            notable: self.notable,
            addresses: sorted.addresses,
            repeated_fingerprints: sorted.repeated_fingerprints,
            user_totals: holdings,
            stats: self.stats,
            newest: self.newest,
        }
    }
}

impl Default for NotableRows {
    fn default() -> Self {
        let first = || FirstRows::new(MAX_EVIDENCE_ROWS);
        Self { oldest_expired: first(), beyond_policy: first(), orphans: first() }
    }
}

impl SessionSnapshot {
    /// How many rows there are.
    #[must_use]
    pub fn row_count(&self) -> u64 {
        self.stats.sessions
    }

    /// Fingerprints seen more than once, each once: suspects, to be confirmed on the token itself.
    #[must_use]
    pub fn repeated_fingerprints(&self) -> &[u64] {
        &self.repeated_fingerprints
    }

    /// Where rows stand that a finding shows; nothing if the database did not say of every row.
    #[must_use]
    pub fn evidence_addresses(&self, selector: EvidenceSelector<'_>) -> Option<Vec<RowAddress>> {
        let unpack = |packed| self.address_packer.unpack(packed);
        self.address_packer.is_complete().then(|| match selector {
            EvidenceSelector::OldestExpired => {
                self.notable.oldest_expired.packed_addresses().map(unpack).collect()
            }
            EvidenceSelector::BeyondPolicy => {
                self.notable.beyond_policy.packed_addresses().map(unpack).collect()
            }
            EvidenceSelector::Orphans => self.notable.orphans.packed_addresses().map(unpack).collect(),
            EvidenceSelector::Fingerprints(wanted) => {
                wanted.iter().flat_map(|wanted| self.packed_addresses(*wanted)).copied().map(unpack).collect()
            }
        })
    }

    /// The packed addresses of the rows with that fingerprint.
    fn packed_addresses(&self, fingerprint: u64) -> &[u64] {
        let shelf = bucket_index(fingerprint, self.addresses.len());
        let entries = self.entries.buckets.get(shelf).map_or(&[][..], Vec::as_slice);
        let start = entries.partition_point(|entry| entry.fingerprint < fingerprint);
        let end = entries.partition_point(|entry| entry.fingerprint <= fingerprint);
        self.addresses.get(shelf).and_then(|shelf| shelf.get(start..end)).unwrap_or_default()
    }

    /// The newest instants of the table.
    #[must_use]
    pub fn newest_times(&self) -> NewestTimes {
        self.newest
    }

    /// The census, with what only the database can say: confirmed duplicates, and whether orphans were looked for.
    #[must_use]
    pub fn stats(
        &self,
        duplicates: Measured<DuplicateTokens>,
        orphans: Option<Measured<u64>>,
    ) -> SessionStats {
        let mut census = self.stats.clone();
        census.duplicates = duplicates;
        let mut orphaned = 0;
        for holding in &self.user_totals {
            increment_bucket(&mut census.active_per_user, holding.active);
            orphaned += u64::from(holding.orphans);
            if holding.is_missing() {
                continue;
            }
            increment_bucket(&mut census.rows_per_user, holding.rows);
            if let Some(histogram) = &mut census.created_per_user {
                increment_bucket(histogram, holding.recent);
            }
        }
        census.orphaned = orphans.unwrap_or(Measured::Counted(orphaned));
        census
    }

    /// The users with the most active sessions, most first.
    #[must_use]
    pub fn top_active_users(&self, limit: usize) -> Vec<UserTotal> {
        self.entries.user_ids.top_users(&self.user_totals, limit, |holding| holding.active)
    }

    /// The existing users with the most sessions created in the last hour, most first.
    #[must_use]
    pub fn top_recent_users(&self, limit: usize) -> Vec<UserTotal> {
        self.entries.user_ids.top_users(&self.user_totals, limit, |holding| {
            if holding.is_missing() { 0 } else { holding.recent }
        })
    }

    /// The existing users with the most rows of any status, most first.
    #[must_use]
    pub fn top_users_by_rows(&self, limit: usize) -> Vec<UserTotal> {
        self.entries.user_ids.top_users(&self.user_totals, limit, |holding| {
            if holding.is_missing() { 0 } else { holding.rows }
        })
    }

    pub(crate) fn entries(&self) -> &SnapshotEntries {
        &self.entries
    }

    pub(crate) fn into_entries(self) -> SnapshotEntries {
        self.entries
    }

    /// The keys of users who do not exist, in their order.
    pub(crate) fn missing_users(&self) -> Vec<u64> {
        let ghosts = self.user_totals.iter().filter(|holding| holding.is_missing());
        let mut keys: Vec<u64> = ghosts.map(|holding| holding.user_key).collect();
        keys.sort_unstable();
        keys
    }
}

impl SnapshotEntries {
    /// What differs from `earlier`, of the same target under the same fingerprint key. Tokens that stand on several rows
    /// are left out: they are findings of their own.
    pub(crate) fn diff_from(&self, earlier: &Self) -> SnapshotDiff {
        let mut difference = SnapshotDiff::default();
        let mut before = earlier.buckets.iter().flat_map(|shelf| fingerprint_runs(shelf)).peekable();
        let mut gone = |run: &[SnapshotEntry]| {
            if let [gone] = run {
                difference.ended.push(gone.fingerprint);
            }
        };
        for now in self.buckets.iter().flat_map(|shelf| fingerprint_runs(shelf)) {
            while let Some(run) = before.next_if(|run| run_fingerprint(run) < run_fingerprint(now)) {
                gone(run);
            }
            match (before.next_if(|run| run_fingerprint(run) == run_fingerprint(now)), now) {
                (None, [now]) => {
                    difference
                        .created
                        .push((now.fingerprint, (now.user_key != NO_USER_KEY).then_some(now.user_key)));
                }
                (Some([before]), [now]) if earlier.entry_user(before) != self.entry_user(now) => {
                    difference.reassigned.push(now.fingerprint);
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
        let is_known = |entry: &SnapshotEntry| {
            entry.user_key == NO_USER_KEY || self.user_ids.contains_key(entry.user_key)
        };
        self.buckets.iter().flatten().all(is_known)
    }

    fn entry_user(&self, entry: &SnapshotEntry) -> Option<UserIdRef<'_>> {
        (entry.user_key != NO_USER_KEY).then(|| self.user_ids.user_id(entry.user_key))
    }
}

/// The entries of a sorted shelf, those of one fingerprint together.
fn fingerprint_runs(shelf: &[SnapshotEntry]) -> impl Iterator<Item = &[SnapshotEntry]> {
    shelf.chunk_by(|one, other| one.fingerprint == other.fingerprint)
}

fn run_fingerprint(run: &[SnapshotEntry]) -> Option<u64> {
    run.first().map(|entry| entry.fingerprint)
}

fn increment_bucket(histogram: &mut Histogram, held: u32) {
    if held > 0 {
        *histogram.entry(u64::from(held)).or_default() += 1;
    }
}

fn empty_stats(options: &SnapshotOptions) -> SessionStats {
    SessionStats {
        taken_at: options.now,
        sessions: 0,
        active: 0,
        expired: 0,
        never_expiring: 0,
        undecodable: 0,
        anonymous: 0,
        active_with_user: 0,
        oldest_expired: None,
        furthest_expiry: None,
        beyond_policy: options.max_lifetime_us.map(|_| 0),
        active_per_user: Histogram::new(),
        rows_per_user: Histogram::new(),
        created_per_user: options.has_created.then(Histogram::new),
        created_last_hour: options.has_created.then_some(0),
        duplicates: Measured::Counted(DuplicateTokens::default()),
        orphaned: Measured::Counted(0),
    }
}

#[cfg(test)]
mod tests;
