//! Session snapshots: the compact in-memory copy of a target's sessions, built row by row, without tokens.
//!
//! A snapshot takes 24 bytes per session and 24 per user, plus the text of text ids. Until it is stored for the next
//! check run, it also takes 8 bytes per session for the row address.
//!
//! Rows are distributed to buckets by fingerprint as they arrive, and each bucket is sorted at the end. A large hash
//! table would miss the CPU cache on every row, and two sorted snapshots are compared in one pass.

use serde::{Deserialize, Serialize};

use crate::{
    known_users::KnownUsers,
    local_time::NewestTimes,
    radix_buckets::{RadixBuckets, bucket_index},
    row_addresses::{FirstRows, RowAddress, RowAddressPacker, RowAddressRef},
    session_stats::{DuplicateTokens, Histogram, Measured, SessionStats},
    timestamp::{MICROS_PER_HOUR, UtcTimestamp},
    timestamp_decoder::DecodedTime,
    user_totals::{SessionTally, UserIdInterner, UserTotals, aggregate_users, bucket_session},
};

mod live;
mod sorting;

pub use self::live::{LiveChangeError, LiveSessions, RowKey, SessionChange};
use self::sorting::sort_entries;
pub use crate::user_totals::{UserIdRef, UserTotal};

/// Maximum number of rows shown as evidence.
pub const MAX_EVIDENCE_ROWS: usize = 10;
const NEVER_EXPIRES_US: i64 = i64::MAX;
const UNDECODABLE_EXPIRY_US: i64 = i64::MIN;
/// User key of sessions without a user. As an integer id, it is a value that no sequence reaches.
const NO_USER_KEY: u64 = i64::MIN.cast_unsigned();

/// Values that every row is compared with.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotOptions {
    /// Time of the check run.
    pub now: UtcTimestamp,
    /// Maximum lifetime under the policy, in microseconds.
    pub max_lifetime_us: Option<i64>,
    /// Rows have a creation time.
    pub has_created: bool,
}

/// One session as read by a scan.
#[derive(Clone, Copy, Debug)]
pub struct SessionRow<'a> {
    /// Keyed hash of the token; `None` for a row without a token.
    pub fingerprint: Option<u64>,
    /// User; `None` for an anonymous session.
    pub user: Option<UserIdRef<'a>>,
    /// Expiry.
    pub expiry: DecodedTime,
    /// Creation time.
    pub created: DecodedTime,
    /// The user does not exist.
    pub orphan: bool,
    /// Row address; `None` if the database has none.
    pub address: Option<RowAddressRef<'a>>,
}

/// Selects the rows shown as evidence.
#[derive(Clone, Copy, Debug)]
pub enum EvidenceSelector<'a> {
    /// The first [`MAX_EVIDENCE_ROWS`] expired rows, oldest first.
    OldestExpired,
    /// The first [`MAX_EVIDENCE_ROWS`] rows beyond the lifetime policy: those that never expire first, then the
    /// latest.
    BeyondPolicy,
    /// The first [`MAX_EVIDENCE_ROWS`] rows whose user does not exist, by expiry.
    Orphans,
    /// All rows with one of these fingerprints.
    Fingerprints(&'a [u64]),
}

/// Difference between two snapshots by fingerprint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SnapshotDiff {
    /// New tokens and their user keys, sorted.
    pub(crate) created: Vec<(u64, Option<u64>)>,
    /// Number of tokens whose expiry changed.
    pub(crate) extended: u64,
    /// Tokens that are gone, sorted.
    pub(crate) ended: Vec<u64>,
    /// Tokens whose user changed.
    pub(crate) reassigned: Vec<u64>,
}

/// Builds a snapshot row by row.
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

/// Compact in-memory copy of a target's sessions in one check run.
#[derive(Debug)]
pub struct SessionSnapshot {
    entries: SnapshotEntries,
    address_packer: RowAddressPacker,
    notable: NotableRows,
    /// Packed address of each entry, by bucket.
    addresses: Vec<Vec<u64>>,
    repeated_fingerprints: Vec<u64>,
    user_totals: Vec<UserTotals>,
    stats: SessionStats,
    newest: NewestTimes,
}

/// Part of a snapshot that is stored and compared with later ones.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct SnapshotEntries {
    /// Sorted by fingerprint, within each bucket and across buckets.
    pub(crate) buckets: Vec<Vec<SnapshotEntry>>,
    pub(crate) user_ids: UserIdInterner,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotEntry {
    // A hash rarely fits in fewer bytes, so a variable-length encoding would only cost space.
    #[serde(with = "postcard::fixint::le")]
    pub(crate) fingerprint: u64,
    pub(crate) user_key: u64,
    pub(crate) expiry: i64,
}

#[derive(Clone, Copy, Debug)]
struct AddressedEntry {
    entry: SnapshotEntry,
    address: u64,
}

/// Rows kept as evidence while the snapshot is built.
#[derive(Debug)]
struct NotableRows {
    oldest_expired: FirstRows,
    beyond_policy: FirstRows,
    orphans: FirstRows,
}

impl SnapshotBuilder {
    /// Creates an empty builder with room for about `expected` sessions.
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

    /// Treats sessions of all users not in this set as orphans.
    #[must_use]
    pub fn with_known_users(mut self, users: Option<KnownUsers>) -> Self {
        self.known_users = users;
        self
    }

    /// Adds one session.
    #[inline]
    pub fn insert(&mut self, row: SessionRow<'_>) {
        // Every row needs an address, because duplicate tokens are only known at the end.
        let address = self.address_packer.pack(row.address);
        let (expiry, is_active) = self.count_expiry(row.expiry, address);
        let is_recent = self.count_creation(row.created);
        let user_key = match row.user {
            None => {
                self.stats.anonymous += 1;
                NO_USER_KEY
            }
            Some(id) => {
                self.stats.active_with_user += u64::from(is_active);
                let is_orphan =
                    row.orphan || self.known_users.as_ref().is_some_and(|users| !users.contains(id));
                if is_orphan {
                    let rank = if let DecodedTime::At(_) = row.expiry { expiry } else { NEVER_EXPIRES_US };
                    self.notable.orphans.offer_row(&self.address_packer, rank, address);
                }
                let user_key = self.user_ids.user_key(id);
                bucket_session(&mut self.tallies, SessionTally { user_key, is_active, is_recent, is_orphan });
                user_key
            }
        };
        // Rows without a token only count in the stats: there is nothing to compare them by.
        if let Some(fingerprint) = row.fingerprint {
            self.entries.push(
                fingerprint,
                AddressedEntry { entry: SnapshotEntry { fingerprint, user_key, expiry }, address },
            );
        }
    }

    /// Counts a row by its expiry. Returns the expiry as stored, and whether the session is active.
    fn count_expiry(&mut self, expiry: DecodedTime, address: u64) -> (i64, bool) {
        let (stats, notable, packer) = (&mut self.stats, &mut self.notable, &self.address_packer);
        let now = self.options.now;
        stats.sessions += 1;
        let (stored, active) = match expiry {
            DecodedTime::Never => {
                stats.never_expiring += 1;
                // The complement sorts these first: `FirstRows` keeps the lowest ranks.
                notable.beyond_policy.offer_row(packer, !NEVER_EXPIRES_US, address);
                (NEVER_EXPIRES_US, true)
            }
            DecodedTime::Undecodable => {
                stats.undecodable += 1;
                (UNDECODABLE_EXPIRY_US, false)
            }
            DecodedTime::At(at) if at > now => {
                stats.furthest_expiry = stats.furthest_expiry.max(Some(at));
                if let (Some(beyond), Some(policy)) = (&mut stats.beyond_policy, self.options.max_lifetime_us)
                    && at > now.saturating_add_micros(policy)
                {
                    *beyond += 1;
                    // Latest first.
                    notable.beyond_policy.offer_row(packer, !at.micros(), address);
                }
                (at.micros(), true)
            }
            DecodedTime::At(at) => {
                stats.expired += 1;
                notable.oldest_expired.offer_row(packer, at.micros(), address);
                self.newest.ended = self.newest.ended.max(Some(at));
                stats.oldest_expired = Some(stats.oldest_expired.map_or(at, |oldest| oldest.min(at)));
                (at.micros(), false)
            }
        };
        stats.active += u64::from(active);
        (stored, active)
    }

    /// Counts a row by its creation time. Returns whether it was created in the last hour.
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

    /// Builds the snapshot from all added sessions.
    #[must_use]
    pub fn finish(self) -> SessionSnapshot {
        // The database connection is idle now, so both can use a CPU core of their own.
        let (tallies, entries) = (self.tallies, self.entries);
        let (user_totals, sorted) = std::thread::scope(|scope| {
            let user_totals = scope.spawn(|| aggregate_users(tallies));
            let sorted = sort_entries(entries);
            (user_totals.join(), sorted)
        });
        let user_totals = user_totals.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        SessionSnapshot {
            entries: SnapshotEntries { buckets: sorted.buckets, user_ids: self.user_ids },
            address_packer: self.address_packer,
            notable: self.notable,
            addresses: sorted.addresses,
            repeated_fingerprints: sorted.repeated_fingerprints,
            user_totals,
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
    /// Returns the number of rows.
    #[must_use]
    pub fn row_count(&self) -> u64 {
        self.stats.sessions
    }

    /// Returns each fingerprint seen more than once. These are candidates, to be confirmed by comparing the tokens.
    #[must_use]
    pub fn repeated_fingerprints(&self) -> &[u64] {
        &self.repeated_fingerprints
    }

    /// Returns the addresses of evidence rows; `None` if the database did not return an address for every row.
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

    fn packed_addresses(&self, fingerprint: u64) -> &[u64] {
        let bucket = bucket_index(fingerprint, self.addresses.len());
        let entries = self.entries.buckets.get(bucket).map_or(&[][..], Vec::as_slice);
        let start = entries.partition_point(|entry| entry.fingerprint < fingerprint);
        let end = entries.partition_point(|entry| entry.fingerprint <= fingerprint);
        self.addresses.get(bucket).and_then(|bucket| bucket.get(start..end)).unwrap_or_default()
    }

    /// Returns the newest timestamps of the table.
    #[must_use]
    pub fn newest_times(&self) -> NewestTimes {
        self.newest
    }

    /// Returns the session stats, completed with facts that only the database knows: confirmed duplicates, and
    /// orphans if the database counted them.
    #[must_use]
    pub fn stats(
        &self,
        duplicates: Measured<DuplicateTokens>,
        orphans: Option<Measured<u64>>,
    ) -> SessionStats {
        let mut stats = self.stats.clone();
        stats.duplicates = duplicates;
        let mut orphaned = 0;
        for user in &self.user_totals {
            increment_bucket(&mut stats.active_per_user, user.active);
            orphaned += u64::from(user.orphans);
            // Users who do not exist are left out of the histograms below.
            if user.is_missing() {
                continue;
            }
            increment_bucket(&mut stats.rows_per_user, user.rows);
            if let Some(histogram) = &mut stats.created_per_user {
                increment_bucket(histogram, user.recent);
            }
        }
        stats.orphaned = orphans.unwrap_or(Measured::Counted(orphaned));
        stats
    }

    /// Returns the users with the most active sessions, most first.
    #[must_use]
    pub fn top_active_users(&self, limit: usize) -> Vec<UserTotal> {
        self.entries.user_ids.top_users(&self.user_totals, limit, |user| user.active)
    }

    /// Returns the existing users with the most sessions created in the last hour, most first.
    #[must_use]
    pub fn top_recent_users(&self, limit: usize) -> Vec<UserTotal> {
        self.entries
            .user_ids
            .top_users(&self.user_totals, limit, |user| if user.is_missing() { 0 } else { user.recent })
    }

    /// Returns the existing users with the most rows of any status, most first.
    #[must_use]
    pub fn top_users_by_rows(&self, limit: usize) -> Vec<UserTotal> {
        self.entries
            .user_ids
            .top_users(&self.user_totals, limit, |user| if user.is_missing() { 0 } else { user.rows })
    }

    pub(crate) fn entries(&self) -> &SnapshotEntries {
        &self.entries
    }

    pub(crate) fn into_entries(self) -> SnapshotEntries {
        self.entries
    }

    /// Returns the sorted keys of users who do not exist.
    pub(crate) fn missing_users(&self) -> Vec<u64> {
        let missing = self.user_totals.iter().filter(|user| user.is_missing());
        let mut keys: Vec<u64> = missing.map(|user| user.user_key).collect();
        keys.sort_unstable();
        keys
    }
}

impl SnapshotEntries {
    /// Compares with an earlier snapshot of the same target and fingerprint key. Duplicate tokens are left out; they
    /// have a check of their own.
    pub(crate) fn diff_from(&self, earlier: &Self) -> SnapshotDiff {
        // Both sides are sorted, so one pass over both is enough.
        let mut difference = SnapshotDiff::default();
        let mut before = earlier.buckets.iter().flat_map(|bucket| fingerprint_runs(bucket)).peekable();
        let mut gone = |run: &[SnapshotEntry]| {
            if let [gone] = run {
                difference.ended.push(gone.fingerprint);
            }
        };
        for now in self.buckets.iter().flat_map(|bucket| fingerprint_runs(bucket)) {
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

    /// Returns whether every user key of an entry is known.
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

/// Groups the entries of a sorted bucket by fingerprint.
fn fingerprint_runs(bucket: &[SnapshotEntry]) -> impl Iterator<Item = &[SnapshotEntry]> {
    bucket.chunk_by(|one, other| one.fingerprint == other.fingerprint)
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
