//! History of a target between check runs: the session snapshot with which the next run is compared.

use std::{collections::BTreeMap, hash::Hasher as _};

use sessionwatch_core::{
    local_time::GrowthWindow,
    session_history::{Comparison, RunTimestamps, SessionChanges, SessionHistory},
    snapshot::SessionSnapshot,
    timestamp::UtcTimestamp,
};
use sessionwatch_store::{Store, restores};
use siphasher::sip::SipHasher13;

use sessionwatch_targets::layout::Layout;

/// The reason why a run outside the daemon compares nothing.
pub const REASON_NOT_IN_DAEMON: &str = "only `sessionwatch serve` compares check runs";
// A session missing on a lagging replica may just not have arrived yet.
const REASON_REPLICA_BEHIND: &str =
    "the replica is behind the previous check run, so there is nothing to compare";
const REASON_PUSHDOWN: &str = "the pushdown engine reads no rows to compare";

/// The database server that a run read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplicaRole {
    /// The primary.
    #[default]
    Primary,
    /// A replica, which may lag.
    Replica,
}

/// The state of the database that a run read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadPosition {
    /// The server that was read.
    pub role: ReplicaRole,
    /// Position in the write-ahead log, in bytes; `None` if the database does not report it.
    pub wal_position: Option<u64>,
}

/// Order of the data of two consecutive runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadOrder {
    /// The later run read the same or newer data.
    Forward,
    /// Unknown: differences may be due to replication lag.
    Unclear,
    /// The later run read older data.
    Backward,
}

/// State of a target that is kept between runs.
#[derive(Debug, Default)]
pub struct TargetHistory {
    /// `None` for the key of this process.
    fingerprint_key: Option<i64>,
    history: Option<SessionHistory>,
    position: ReadPosition,
    /// By the daemon's clock.
    last_run_at: Option<UtcTimestamp>,
    /// Window in which the newest sessions appeared.
    growth: Option<GrowthWindow>,
    /// Confirmed past time; `None` if the current time is trusted.
    confirmed_time: Option<UtcTimestamp>,
    /// Record of restores; `None` without a state store.
    restores: Option<RestoreRecord>,
}

/// The record of the sessions that sessionwatch restored in a target.
#[derive(Clone, Debug)]
pub struct RestoreRecord {
    /// State store with the record.
    pub store: Store,
    /// The name of the target.
    pub target: String,
}

impl RestoreRecord {
    /// Removes restored sessions from the changes of a run.
    fn exclude_restored(&self, changes: &mut SessionChanges) {
        if changes.reappeared.is_empty() {
            return;
        }
        // Read after the target was, so that no restore between the two is missed.
        let listed = self.store.read(|db| restores::list_restored_sessions(db, &self.target));
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) => {
                // The run cannot be recorded either, so the next one finds the same changes.
                tracing::warn!(target = self.target, "cannot read which sessions were restored: {error}");
                return;
            }
        };
        let mut restored_at: BTreeMap<u64, UtcTimestamp> = BTreeMap::new();
        for sessions in &listed {
            // A restore under way counts as the latest one.
            let at = sessions.at.unwrap_or(UtcTimestamp::MAX);
            for fingerprint in &sessions.fingerprints {
                let latest = restored_at.entry(*fingerprint).or_insert(at);
                *latest = at.max(*latest);
            }
        }
        changes.exclude_restored(|fingerprint| restored_at.get(&fingerprint).copied());
    }
}

/// The result of a run that updates the history.
#[derive(Debug)]
pub struct HistoryUpdate {
    /// Snapshot of all sessions.
    pub snapshot: SessionSnapshot,
    /// Changes since the previous run; `None` in the first run.
    pub changes: Option<SessionChanges>,
    /// Hash of everything that fingerprints depend on.
    pub layout_hash: u64,
    /// The database state that was read.
    pub position: ReadPosition,
}

impl TargetHistory {
    /// Creates a history with a fingerprint key and the snapshot that an earlier process saved.
    #[must_use]
    pub fn from_stored(key: i64, history: Option<SessionHistory>) -> Self {
        Self { fingerprint_key: Some(key), history, ..Self::default() }
    }

    /// Adds the time of the last run of an earlier process, and the window in which sessions had appeared.
    #[must_use]
    pub fn with_last_run(self, last_run_at: Option<UtcTimestamp>, growth: Option<GrowthWindow>) -> Self {
        Self { last_run_at, growth, ..self }
    }

    /// Adds the record of restores, so that restored sessions do not count as reappeared.
    #[must_use]
    pub fn with_restores(self, restores: RestoreRecord) -> Self {
        Self { restores: Some(restores), ..self }
    }

    /// Returns the window in which the newest sessions appeared, given the changes of a run at `now`.
    #[must_use]
    pub fn growth_after(&self, changes: Option<&SessionChanges>, now: UtcTimestamp) -> Option<GrowthWindow> {
        // Reappeared sessions count as created but are not new.
        let grew = changes.is_some_and(|changes| changes.created > changes.reappeared.len() as u64);
        let found = self.last_run_at.filter(|_| grew).map(|after| GrowthWindow { after, until: now });
        found.or(self.growth)
    }

    /// Returns `true` if there is a snapshot to compare with.
    #[must_use]
    pub fn can_compare(&self) -> bool {
        self.history.is_some()
    }

    /// Returns `true` if an earlier run found a session. Sessions of the first run that all ended more than a week ago
    /// are forgotten if none has appeared since.
    #[must_use]
    pub fn had_sessions(&self) -> bool {
        self.growth.is_some() || self.history.as_ref().is_some_and(SessionHistory::had_sessions)
    }

    /// Returns the key of the fingerprints; `None` for the key of this process.
    #[must_use]
    pub fn fingerprint_key(&self) -> Option<i64> {
        self.fingerprint_key
    }

    /// Returns the changes since the last run; `None` if there is none to compare with.
    #[must_use]
    pub fn changes_since_last_run(
        &self,
        snapshot: &SessionSnapshot,
        layout_hash: u64,
        now: UtcTimestamp,
        position: ReadPosition,
    ) -> Option<SessionChanges> {
        // Without a known order, a missing session may be replication lag.
        let is_other_copy = self.read_order(position) != ReadOrder::Forward;
        let timestamps = RunTimestamps { now, confirmed: self.confirmed_time.unwrap_or(now) };
        let mut changes =
            self.history.as_ref()?.compare_snapshot(snapshot, layout_hash, timestamps, is_other_copy)?;
        if let Some(restores) = &self.restores {
            restores.exclude_restored(&mut changes);
        }
        Some(changes)
    }

    /// Sets the confirmed past time. Sessions that ended long before it are forgotten.
    pub fn set_confirmed_time(&mut self, confirmed_time: UtcTimestamp) {
        self.confirmed_time = Some(confirmed_time);
    }

    /// Returns `true` if the history is newer than the data at `position`, so that a run there can neither be compared
    /// nor kept.
    #[must_use]
    pub fn is_newer_than(&self, position: ReadPosition) -> bool {
        self.read_order(position) == ReadOrder::Backward
    }

    fn read_order(&self, position: ReadPosition) -> ReadOrder {
        match (self.position, position) {
            _ if self.history.is_none() => ReadOrder::Forward,
            // No replica is ahead of the primary.
            (_, ReadPosition { role: ReplicaRole::Primary, .. }) => ReadOrder::Forward,
            (
                ReadPosition { wal_position: Some(before), .. },
                ReadPosition { wal_position: Some(now), .. },
            ) => {
                if now < before {
                    ReadOrder::Backward
                } else {
                    ReadOrder::Forward
                }
            }
            (before, now) if before.role == now.role => ReadOrder::Forward,
            _ => ReadOrder::Unclear,
        }
    }

    /// Returns the history after a run. Replace the old one only once the results are stored: each change is found only
    /// once.
    #[must_use]
    pub fn advance(&self, update: HistoryUpdate, now: UtcTimestamp) -> Self {
        let HistoryUpdate { snapshot, changes, layout_hash, position } = update;
        let growth = self.growth_after(changes.as_ref(), now);
        let history = Some(SessionHistory::from_run(layout_hash, snapshot, now, changes));
        Self {
            fingerprint_key: self.fingerprint_key,
            history,
            position,
            last_run_at: Some(now),
            growth,
            confirmed_time: self.confirmed_time,
            restores: self.restores.clone(),
        }
    }

    /// Serializes the snapshot for a later process; `None` before the first run.
    #[must_use]
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        self.history.as_ref().map(SessionHistory::to_bytes)
    }
}

/// Returns a hash of everything except the row that a fingerprint and its user depend on: key, table and columns.
/// Snapshots with different hashes cannot be compared.
#[must_use]
pub fn layout_hash(layout: &Layout, key: i64) -> u64 {
    let mapping = &layout.candidate.mapping;
    let mut hasher = SipHasher13::new();
    hasher.write_i64(key);
    let table = layout.quote_table(&mapping.sessions);
    for part in [table.as_str(), mapping.token.as_str(), mapping.user.as_deref().unwrap_or_default()] {
        hasher.write(part.as_bytes());
        // A separator, so that `ab` + `c` differs from `a` + `bc`.
        hasher.write_u8(0);
    }
    hasher.finish()
}

/// Returns how a run compares with the previous one: `history` is `None` outside the daemon, `snapshot` with an engine
/// that reads no rows, and `changes` in the first run.
#[must_use]
pub fn comparison_for<'a>(
    history: Option<&TargetHistory>,
    snapshot: Option<&SessionSnapshot>,
    position: ReadPosition,
    changes: Option<&'a SessionChanges>,
) -> Comparison<'a> {
    match (history, snapshot, changes) {
        (None, ..) => Comparison::Impossible(REASON_NOT_IN_DAEMON),
        (Some(_), None, _) => Comparison::Impossible(REASON_PUSHDOWN),
        (Some(history), ..) if history.is_newer_than(position) => {
            Comparison::Impossible(REASON_REPLICA_BEHIND)
        }
        (Some(_), Some(_), None) => Comparison::FirstRun,
        (Some(_), Some(_), Some(changes)) => Comparison::Since(changes),
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use sessionwatch_core::{
        snapshot::{SessionRow, SnapshotBuilder, SnapshotOptions},
        timestamp_decoder::DecodedTime,
    };

    use super::*;

    /// Returns a snapshot of sessions with these fingerprints.
    fn build_snapshot(fingerprints: &[u64]) -> SessionSnapshot {
        let options = SnapshotOptions { now: UtcTimestamp::MIN, max_lifetime_us: None, has_created: false };
        let mut builder = SnapshotBuilder::new(options, 0);
        for fingerprint in fingerprints {
            builder.insert(SessionRow {
                fingerprint: Some(*fingerprint),
                user: None,
                expiry: DecodedTime::Never,
                created: DecodedTime::Never,
                orphan: false,
                address: None,
            });
        }
        builder.finish()
    }

    /// Returns the history after runs that are days apart.
    fn history_after(runs: &[(i64, &[u64])]) -> TargetHistory {
        let mut history = TargetHistory::from_stored(1, None);
        for (day, fingerprints) in runs {
            let now = UtcTimestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * day);
            let snapshot = build_snapshot(fingerprints);
            let position = ReadPosition::default();
            let changes = history.changes_since_last_run(&snapshot, 1, now, position);
            history = history.advance(HistoryUpdate { snapshot, changes, layout_hash: 1, position }, now);
        }
        history
    }

    #[test]
    fn sessions_are_remembered_after_they_ended() {
        assert!(!history_after(&[]).had_sessions());
        assert!(!history_after(&[(1, &[]), (2, &[])]).had_sessions());
        assert!(history_after(&[(1, &[7])]).had_sessions());
        // Several runs after the one that found the table empty.
        assert!(history_after(&[(1, &[7]), (2, &[]), (3, &[]), (4, &[])]).had_sessions());
        assert!(history_after(&[(1, &[]), (2, &[7]), (3, &[]), (40, &[]), (41, &[])]).had_sessions());
    }

    #[test]
    fn a_replica_is_compared_unless_it_is_behind() {
        let at = |role, wal_position| ReadPosition { role, wal_position };
        let (primary, replica) = (ReplicaRole::Primary, ReplicaRole::Replica);
        for (before, now, order) in [
            (at(primary, Some(5)), at(replica, Some(4)), ReadOrder::Backward),
            (at(primary, Some(5)), at(replica, Some(5)), ReadOrder::Forward),
            (at(replica, Some(5)), at(replica, Some(4)), ReadOrder::Backward),
            (at(replica, Some(5)), at(primary, Some(4)), ReadOrder::Forward),
            (at(primary, None), at(replica, Some(4)), ReadOrder::Unclear),
            (at(replica, None), at(replica, None), ReadOrder::Forward),
        ] {
            let history = Some(SessionHistory::from_run(1, build_snapshot(&[]), UtcTimestamp::MIN, None));
            let history = TargetHistory { history, position: before, ..TargetHistory::default() };
            assert_eq!(history.read_order(now), order, "{before:?} {now:?}");
        }
        assert_eq!(TargetHistory::default().read_order(at(replica, None)), ReadOrder::Forward);
    }
}
