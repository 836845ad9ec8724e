//! What the watch keeps of a target from look to look, so that the next one sees what changed.

use std::hash::Hasher as _;

use sessionwatch_core::{
    history::{Comparison, History, Moment, SessionChanges},
    instant::Instant,
    local_time::Growth,
    snapshot::SessionSnapshot,
};
use siphasher::sip::SipHasher13;

use sessionwatch_targets::layout::Layout;

/// Why looks are not compared, where they are not.
pub const ALONE: &str = "looks are compared by `sessionwatch serve` only";
const BEHIND: &str = "the replica is behind the look before: what it lacks says nothing";
const PUSHED_DOWN: &str = "the pushdown engine pulls no rows to compare";

/// Which copy of the database a look read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// The database itself.
    #[default]
    Primary,
    /// A replica, which may lag.
    Replica,
}

/// What a look read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Which copy.
    pub source: Source,
    /// How far that had come, in bytes of the write-ahead log; nothing if it does not say.
    pub position: Option<u64>,
}

/// How what two looks read follows on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// As the looks do.
    Forward,
    /// Perhaps not: what differs may only differ there.
    Unclear,
    /// Not as the looks do.
    Backward,
}

/// What is kept from look to look.
#[derive(Debug, Default)]
pub struct Memory {
    /// The key of the fingerprints; nothing for that of this process.
    key: Option<i64>,
    history: Option<History>,
    standing: Standing,
    /// The last look, by the clock of the watch.
    looked: Option<Instant>,
    /// When the newest sessions appeared.
    growth: Option<Growth>,
    /// An instant that has certainly passed; `None` where the present one has.
    passed: Option<Instant>,
}

/// What a look adds to the memory.
#[derive(Debug)]
pub struct Mirror {
    /// The sessions.
    pub ledger: SessionSnapshot,
    /// What changed since the look before; nothing at a first one.
    pub changes: Option<SessionChanges>,
    /// What the fingerprints depend on.
    pub shape: u64,
    /// Where they were read.
    pub standing: Standing,
}

impl Memory {
    /// A memory whose fingerprints are under that key, with what an earlier process kept.
    #[must_use]
    pub fn restored(key: i64, history: Option<History>) -> Self {
        Self { key: Some(key), history, ..Self::default() }
    }

    /// The same, knowing of looks by an earlier process: the last one, and when sessions had appeared.
    #[must_use]
    pub fn recalling(self, looked: Option<Instant>, growth: Option<Growth>) -> Self {
        Self { looked, growth, ..self }
    }

    /// When the newest sessions appeared, after a look that found those changes.
    #[must_use]
    pub fn growth(&self, changes: Option<&SessionChanges>, now: Instant) -> Option<Growth> {
        let grew = changes.is_some_and(|changes| changes.created > changes.revived.len() as u64);
        let found = self.looked.filter(|_| grew).map(|after| Growth { after, until: now });
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
        self.history.as_ref().is_some_and(History::has_sessions)
    }

    /// The key of the fingerprints.
    #[must_use]
    pub fn key(&self) -> Option<i64> {
        self.key
    }

    /// What happened since the last look; nothing at a first one.
    #[must_use]
    pub fn changes(
        &self,
        ledger: &SessionSnapshot,
        shape: u64,
        now: Instant,
        standing: Standing,
    ) -> Option<SessionChanges> {
        let elsewhere = self.order(standing) != Order::Forward;
        let moment = Moment { now, passed: self.passed.unwrap_or(now) };
        self.history.as_ref()?.changes(ledger, shape, moment, elsewhere)
    }

    /// Takes an instant that has certainly passed: what had ended long before it is forgotten.
    pub fn has_passed(&mut self, passed: Instant) {
        self.passed = Some(passed);
    }

    /// Whether a look there read what is older than what the look before read: then there is nothing to compare, nor to
    /// keep.
    #[must_use]
    pub fn is_ahead_of(&self, standing: Standing) -> bool {
        self.order(standing) == Order::Backward
    }

    fn order(&self, standing: Standing) -> Order {
        match (self.standing, standing) {
            _ if self.history.is_none() => Order::Forward,
            // Nothing is ahead of the database itself.
            (_, Standing { source: Source::Primary, .. }) => Order::Forward,
            (Standing { position: Some(before), .. }, Standing { position: Some(now), .. }) => {
                if now < before { Order::Backward } else { Order::Forward }
            }
            (before, now) if before.source == now.source => Order::Forward,
            _ => Order::Unclear,
        }
    }

    /// The memory after a look. To be kept once what it found is safe: what changed is found only once.
    #[must_use]
    pub fn after(&self, mirror: Mirror, now: Instant) -> Self {
        let Mirror { ledger, changes, shape, standing } = mirror;
        let growth = self.growth(changes.as_ref(), now);
        let history = Some(History::after(shape, ledger, now, changes));
        Self { key: self.key, history, standing, looked: Some(now), growth, passed: self.passed }
    }

    /// What a later process needs to go on; nothing before a first look.
    #[must_use]
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        self.history.as_ref().map(History::to_bytes)
    }
}

/// What a fingerprint and its user depend on, besides the row.
#[must_use]
pub fn shape(layout: &Layout, key: i64) -> u64 {
    let mapping = &layout.candidate.mapping;
    let mut hasher = SipHasher13::new();
    hasher.write_i64(key);
    let table = layout.quoted(&mapping.sessions);
    for part in [table.as_str(), mapping.token.as_str(), mapping.user.as_deref().unwrap_or_default()] {
        hasher.write(part.as_bytes());
        hasher.write_u8(0);
    }
    hasher.finish()
}

/// How a look compares with the look before: `watched` by whom, with which rows of which copy, and what changed.
#[must_use]
pub fn compared<'a>(
    watched: Option<&Memory>,
    ledger: Option<&SessionSnapshot>,
    standing: Standing,
    changes: Option<&'a SessionChanges>,
) -> Comparison<'a> {
    match (watched, ledger, changes) {
        (None, ..) => Comparison::Impossible(ALONE),
        (Some(_), None, _) => Comparison::Impossible(PUSHED_DOWN),
        (Some(memory), ..) if memory.is_ahead_of(standing) => Comparison::Impossible(BEHIND),
        (Some(_), Some(_), None) => Comparison::First,
        (Some(_), Some(_), Some(changes)) => Comparison::Since(changes),
    }
}

#[cfg(test)]
mod tests {
    use sessionwatch_core::snapshot::{SnapshotBuilder, SnapshotOptions};

    use super::*;

    #[test]
    fn a_replica_is_compared_unless_it_is_behind() {
        let at = |source, position| Standing { source, position };
        let (primary, replica) = (Source::Primary, Source::Replica);
        for (before, now, order) in [
            (at(primary, Some(5)), at(replica, Some(4)), Order::Backward),
            (at(primary, Some(5)), at(replica, Some(5)), Order::Forward),
            (at(replica, Some(5)), at(replica, Some(4)), Order::Backward),
            (at(replica, Some(5)), at(primary, Some(4)), Order::Forward),
            (at(primary, None), at(replica, Some(4)), Order::Unclear),
            (at(replica, None), at(replica, None), Order::Forward),
        ] {
            let frame = SnapshotOptions { now: Instant::MIN, max_lifetime_us: None, has_created: false };
            let ledger = SnapshotBuilder::new(frame, 0).finish();
            let history = Some(History::after(1, ledger, Instant::MIN, None));
            let memory = Memory { history, standing: before, ..Memory::default() };
            assert_eq!(memory.order(now), order, "{before:?} {now:?}");
        }
        assert_eq!(Memory::default().order(at(replica, None)), Order::Forward);
    }
}
