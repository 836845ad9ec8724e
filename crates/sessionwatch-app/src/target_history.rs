//! What the watch keeps of a target from look to look, so that the next one sees what changed.

use std::hash::Hasher as _;

use sessionwatch_core::{
    history::{Comparison, RunTimestamps, SessionChanges, SessionHistory},
    local_time::GrowthWindow,
    snapshot::SessionSnapshot,
    timestamp::UtcTimestamp,
};
use siphasher::sip::SipHasher13;

use sessionwatch_targets::layout::Layout;

/// Why looks are not compared, where they are not.
pub const REASON_NOT_IN_DAEMON: &str = "looks are compared by `sessionwatch serve` only";
const REASON_REPLICA_BEHIND: &str = "the replica is behind the look before: what it lacks says nothing";
const REASON_PUSHDOWN: &str = "the pushdown engine pulls no rows to compare";

/// Which copy of the database a look read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplicaRole {
    /// The database itself.
    #[default]
    Primary,
    /// A replica, which may lag.
    Replica,
}

/// What a look read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadPosition {
    /// Which copy.
    pub role: ReplicaRole,
    /// How far that had come, in bytes of the write-ahead log; nothing if it does not say.
    pub wal_position: Option<u64>,
}

/// How what two looks read follows on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadOrder {
    /// As the looks do.
    Forward,
    /// Perhaps not: what differs may only differ there.
    Unclear,
    /// Not as the looks do.
    Backward,
}

/// What is kept from look to look.
#[derive(Debug, Default)]
pub struct TargetHistory {
    /// The key of the fingerprints; nothing for that of this process.
    fingerprint_key: Option<i64>,
    history: Option<SessionHistory>,
    position: ReadPosition,
    /// The last look, by the clock of the watch.
    last_run_at: Option<UtcTimestamp>,
    /// When the newest sessions appeared.
    growth: Option<GrowthWindow>,
    /// An instant that has certainly passed; `None` where the present one has.
    confirmed_time: Option<UtcTimestamp>,
}

/// What a look adds to the memory.
#[derive(Debug)]
pub struct HistoryUpdate {
    /// The sessions.
    pub snapshot: SessionSnapshot,
    /// What changed since the look before; nothing at a first one.
    pub changes: Option<SessionChanges>,
    /// What the fingerprints depend on.
    pub layout_hash: u64,
    /// Where they were read.
    pub position: ReadPosition,
}

impl TargetHistory {
    /// A memory whose fingerprints are under that key, with what an earlier process kept.
    #[must_use]
    pub fn from_stored(key: i64, history: Option<SessionHistory>) -> Self {
        Self { fingerprint_key: Some(key), history, ..Self::default() }
    }

    /// The same, knowing of looks by an earlier process: the last one, and when sessions had appeared.
    #[must_use]
    pub fn with_last_run(self, last_run_at: Option<UtcTimestamp>, growth: Option<GrowthWindow>) -> Self {
        Self { last_run_at, growth, ..self }
    }

    /// When the newest sessions appeared, after a look that found those changes.
    #[must_use]
    pub fn growth_after(&self, changes: Option<&SessionChanges>, now: UtcTimestamp) -> Option<GrowthWindow> {
        let grew = changes.is_some_and(|changes| changes.created > changes.reappeared.len() as u64);
        let found = self.last_run_at.filter(|_| grew).map(|after| GrowthWindow { after, until: now });
        found.or(self.growth)
    }

    /// Returns `true` if there is an earlier run to compare with.
    #[must_use]
    pub fn can_compare(&self) -> bool {
        self.history.is_some()
    }

    /// Whether the run before saw a session.
    #[must_use]
    pub fn had_sessions(&self) -> bool {
        self.history.as_ref().is_some_and(SessionHistory::has_sessions)
    }

    /// The key of the fingerprints.
    #[must_use]
    pub fn fingerprint_key(&self) -> Option<i64> {
        self.fingerprint_key
    }

    /// What happened since the last look; nothing at a first one.
    #[must_use]
    pub fn changes_since_last_run(
        &self,
        snapshot: &SessionSnapshot,
        layout_hash: u64,
        now: UtcTimestamp,
        position: ReadPosition,
    ) -> Option<SessionChanges> {
        let elsewhere = self.read_order(position) != ReadOrder::Forward;
        let moment = RunTimestamps { now, confirmed: self.confirmed_time.unwrap_or(now) };
        self.history.as_ref()?.compare_snapshot(snapshot, layout_hash, moment, elsewhere)
    }

    /// Takes an instant that has certainly passed: what had ended long before it is forgotten.
    pub fn set_confirmed_time(&mut self, confirmed_time: UtcTimestamp) {
        self.confirmed_time = Some(confirmed_time);
    }

    /// Whether a look there read what is older than what the look before read: then there is nothing to compare, nor to
    /// keep.
    #[must_use]
    pub fn is_newer_than(&self, position: ReadPosition) -> bool {
        self.read_order(position) == ReadOrder::Backward
    }

    fn read_order(&self, position: ReadPosition) -> ReadOrder {
        match (self.position, position) {
            _ if self.history.is_none() => ReadOrder::Forward,
            // Nothing is ahead of the database itself.
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

    /// The memory after a look. To be kept once what it found is safe: what changed is found only once.
    #[must_use]
    pub fn advance(&self, update: HistoryUpdate, now: UtcTimestamp) -> Self {
        let HistoryUpdate { snapshot: ledger, changes, layout_hash: shape, position: standing } = update;
        let growth = self.growth_after(changes.as_ref(), now);
        let history = Some(SessionHistory::from_run(shape, ledger, now, changes));
        Self {
            fingerprint_key: self.fingerprint_key,
            history,
            position: standing,
            last_run_at: Some(now),
            growth,
            confirmed_time: self.confirmed_time,
        }
    }

    /// What a later process needs to go on; nothing before a first look.
    #[must_use]
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        self.history.as_ref().map(SessionHistory::to_bytes)
    }
}

/// What a fingerprint and its user depend on, besides the row.
#[must_use]
pub fn layout_hash(layout: &Layout, key: i64) -> u64 {
    let mapping = &layout.candidate.mapping;
    let mut hasher = SipHasher13::new();
    hasher.write_i64(key);
    let table = layout.quote_table(&mapping.sessions);
    for part in [table.as_str(), mapping.token.as_str(), mapping.user.as_deref().unwrap_or_default()] {
        hasher.write(part.as_bytes());
        hasher.write_u8(0);
    }
    hasher.finish()
}

/// How a look compares with the look before: `watched` by whom, with which rows of which copy, and what changed.
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
        (Some(memory), ..) if memory.is_newer_than(position) => Comparison::Impossible(REASON_REPLICA_BEHIND),
        (Some(_), Some(_), None) => Comparison::FirstRun,
        (Some(_), Some(_), Some(changes)) => Comparison::Since(changes),
    }
}

#[cfg(test)]
mod tests {
    use sessionwatch_core::snapshot::{SnapshotBuilder, SnapshotOptions};

    use super::*;

    #[test]
    fn a_replica_is_compared_unless_it_is_behind() {
        let at = |source, position| ReadPosition { role: source, wal_position: position };
        let (primary, replica) = (ReplicaRole::Primary, ReplicaRole::Replica);
        for (before, now, order) in [
            (at(primary, Some(5)), at(replica, Some(4)), ReadOrder::Backward),
            (at(primary, Some(5)), at(replica, Some(5)), ReadOrder::Forward),
            (at(replica, Some(5)), at(replica, Some(4)), ReadOrder::Backward),
            (at(replica, Some(5)), at(primary, Some(4)), ReadOrder::Forward),
            (at(primary, None), at(replica, Some(4)), ReadOrder::Unclear),
            (at(replica, None), at(replica, None), ReadOrder::Forward),
        ] {
            let frame = SnapshotOptions { now: UtcTimestamp::MIN, max_lifetime_us: None, has_created: false };
            let ledger = SnapshotBuilder::new(frame, 0).finish();
            let history = Some(SessionHistory::from_run(1, ledger, UtcTimestamp::MIN, None));
            let memory = TargetHistory { history, position: before, ..TargetHistory::default() };
            assert_eq!(memory.read_order(now), order, "{before:?} {now:?}");
        }
        assert_eq!(TargetHistory::default().read_order(at(replica, None)), ReadOrder::Forward);
    }
}
