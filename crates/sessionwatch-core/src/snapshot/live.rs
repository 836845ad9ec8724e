//! Live sessions of a target, updated change by change for the `stream` engine. A snapshot of them equals the
//! snapshot of a scan.

use std::collections::{BTreeMap, btree_map::Entry};

use super::{SessionRow, SessionSnapshot, SnapshotBuilder, SnapshotOptions};
use crate::{
    known_users::KnownUsers,
    row_addresses::{RowAddress, RowAddressRef},
    timestamp_decoder::DecodedTime,
    user_totals::{UserIdInterner, UserIdRef},
};

/// Stable key of a row in the change stream: its primary key, or a hash of the primary key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey(pub u64);

/// Change of one row.
#[derive(Clone, Copy, Debug)]
pub enum SessionChange<'a> {
    /// The row was inserted.
    Created(RowKey, SessionRow<'a>),
    /// The row has new values.
    Updated(RowKey, SessionRow<'a>),
    /// The row was deleted.
    Deleted(RowKey),
}

/// The change contradicts the known rows, because a change was missed or arrived twice. Only a new scan recovers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LiveChangeError {
    /// The inserted row is known already.
    #[error("the change stream inserted a row that already exists")]
    RowExists,
    /// The updated or deleted row is not known.
    #[error("the change stream changed a row that does not exist")]
    RowMissing,
}

/// The current sessions by row.
#[derive(Debug, Default)]
pub struct LiveSessions {
    rows: BTreeMap<RowKey, LiveRow>,
    user_ids: UserIdInterner,
}

#[derive(Debug)]
struct LiveRow {
    fingerprint: Option<u64>,
    /// Key in `user_ids`.
    user_key: Option<u64>,
    expiry: DecodedTime,
    created: DecodedTime,
    orphan: bool,
    address: Option<RowAddress>,
}

impl LiveSessions {
    /// Applies a row of the initial scan, or a later change.
    ///
    /// # Errors
    ///
    /// If the change contradicts the known rows, which then stay as they were.
    pub fn apply(&mut self, change: SessionChange<'_>) -> Result<(), LiveChangeError> {
        match change {
            SessionChange::Created(key, row) => {
                let row = LiveRow::new(row, &mut self.user_ids);
                match self.rows.entry(key) {
                    // A row that is known already means that a change arrived twice, so the other rows are in doubt
                    // as well.
                    Entry::Occupied(_) => return Err(LiveChangeError::RowExists),
                    Entry::Vacant(free) => free.insert(row),
                };
            }
            SessionChange::Updated(key, row) => {
                let known = self.rows.get_mut(&key).ok_or(LiveChangeError::RowMissing)?;
                *known = LiveRow::new(row, &mut self.user_ids);
            }
            SessionChange::Deleted(key) => {
                self.rows.remove(&key).ok_or(LiveChangeError::RowMissing)?;
            }
        }
        Ok(())
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn row_count(&self) -> usize {
        self.rows.len()
    }

    /// Builds a snapshot of all rows. With `users`, sessions of any other user are orphans.
    #[must_use]
    pub fn to_snapshot(&self, options: SnapshotOptions, users: Option<KnownUsers>) -> SessionSnapshot {
        let mut builder = SnapshotBuilder::new(options, self.rows.len()).with_known_users(users);
        for row in self.rows.values() {
            builder.insert(row.as_session_row(&self.user_ids));
        }
        builder.finish()
    }
}

impl LiveRow {
    fn new(row: SessionRow<'_>, names: &mut UserIdInterner) -> Self {
        let SessionRow { fingerprint, user, expiry, created, orphan, address } = row;
        // Text ids are interned, because the same user usually has several sessions.
        let user_key = user.map(|user| names.user_key(user));
        Self { fingerprint, user_key, expiry, created, orphan, address: address.map(to_owned_address) }
    }

    fn as_session_row<'a>(&'a self, names: &'a UserIdInterner) -> SessionRow<'a> {
        let user: Option<UserIdRef<'a>> = self.user_key.map(|key| names.user_id(key));
        let address = self.address.as_ref().map(to_address_ref);
        let Self { fingerprint, expiry, created, orphan, .. } = *self;
        SessionRow { fingerprint, user, expiry, created, orphan, address }
    }
}

fn to_owned_address(address: RowAddressRef<'_>) -> RowAddress {
    match address {
        RowAddressRef::Position(position) => RowAddress::Position(position),
        RowAddressRef::HeapAndPosition { heap, position } => RowAddress::HeapAndPosition { heap, position },
        RowAddressRef::Id(id) => RowAddress::Id(String::from_utf8_lossy(id).into_owned()),
    }
}

fn to_address_ref(address: &RowAddress) -> RowAddressRef<'_> {
    match address {
        RowAddress::Position(position) => RowAddressRef::Position(*position),
        RowAddress::HeapAndPosition { heap, position } => {
            RowAddressRef::HeapAndPosition { heap: *heap, position: *position }
        }
        RowAddress::Id(id) => RowAddressRef::Id(id.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        session_stats::{DuplicateTokens, Measured},
        snapshot::{EvidenceSelector, SnapshotDiff},
        timestamp::{MICROS_PER_HOUR, UtcTimestamp},
    };

    /// A row with few possible tokens and users, so that they collide.
    #[derive(Clone, Copy, Debug)]
    struct Facts {
        token: Option<u8>,
        user: Option<u8>,
        expiry: i8,
        created: i8,
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Store(u8, Facts),
        Delete(u8),
    }

    fn facts() -> impl Strategy<Value = Facts> {
        (prop::option::of(0u8..9), prop::option::of(0u8..5), -3i8..4, -3i8..1)
            .prop_map(|(token, user, expiry, created)| Facts { token, user, expiry, created })
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0u8..12, facts()).prop_map(|(key, facts)| Step::Store(key, facts)),
            1 => (0u8..12).prop_map(Step::Delete),
        ]
    }

    fn row(key: u8, facts: Facts, names: &[String]) -> SessionRow<'_> {
        let at = |hours: i8| match hours {
            3 => DecodedTime::Never,
            -3 => DecodedTime::Undecodable,
            hours => DecodedTime::At(
                UtcTimestamp::from_micros(100 * MICROS_PER_HOUR + i64::from(hours) * MICROS_PER_HOUR / 2)
                    .unwrap(),
            ),
        };
        SessionRow {
            fingerprint: facts.token.map(u64::from),
            user: facts.user.map(|user| UserIdRef::Text(names[usize::from(user)].as_bytes())),
            expiry: at(facts.expiry),
            created: at(facts.created),
            orphan: facts.user == Some(4),
            address: Some(RowAddressRef::Position(key.into())),
        }
    }

    /// Collects everything a snapshot can report.
    fn read(snapshot: &SessionSnapshot) -> impl PartialEq + std::fmt::Debug + use<> {
        let addresses = |notable| {
            let mut places: Vec<String> = snapshot
                .evidence_addresses(notable)
                .unwrap()
                .iter()
                .map(|address| format!("{address:?}"))
                .collect();
            places.sort();
            places
        };
        (
            snapshot.stats(Measured::Counted(DuplicateTokens::default()), None),
            snapshot.repeated_fingerprints().to_vec(),
            (snapshot.top_active_users(9), snapshot.top_recent_users(9), snapshot.top_users_by_rows(9)),
            snapshot.newest_times(),
            [EvidenceSelector::OldestExpired, EvidenceSelector::BeyondPolicy, EvidenceSelector::Orphans]
                .map(addresses),
        )
    }

    proptest! {
        #[test]
        fn a_snapshot_after_any_changes_equals_that_of_a_scan(steps in prop::collection::vec(step(), 0..60)) {
            let names: Vec<String> = (0..5).map(|user| format!("user-{user}")).collect();
            let (mut live, mut rows) = (LiveSessions::default(), BTreeMap::<u8, Facts>::new());
            for step in steps {
                let (change, is_known) = match step {
                    Step::Store(key, facts) => {
                        let row_key = RowKey(key.into());
                        match rows.insert(key, facts) {
                            None => (SessionChange::Created(row_key, row(key, facts, &names)), true),
                            Some(_) => (SessionChange::Updated(row_key, row(key, facts, &names)), true),
                        }
                    }
                    Step::Delete(key) => {
                        (SessionChange::Deleted(RowKey(key.into())), rows.remove(&key).is_some())
                    }
                };
                prop_assert_eq!(live.apply(change).is_ok(), is_known);
            }
            let now = UtcTimestamp::from_micros(100 * MICROS_PER_HOUR).unwrap();
            let options = SnapshotOptions { now, max_lifetime_us: Some(MICROS_PER_HOUR), has_created: true };
            let mut scan = SnapshotBuilder::new(options, 0);
            for (key, facts) in &rows {
                scan.insert(row(*key, *facts, &names));
            }
            let (live, scan) = (live.to_snapshot(options, None), scan.finish());
            prop_assert_eq!(read(&live), read(&scan));
            prop_assert_eq!(live.entries().diff_from(scan.entries()), SnapshotDiff::default());
        }
    }

    #[test]
    fn contradictory_changes_are_rejected() {
        let mut live = LiveSessions::default();
        let facts = Facts { token: Some(1), user: None, expiry: 1, created: 0 };
        let created = SessionChange::Created(RowKey(1), row(1, facts, &[]));
        assert_eq!(live.apply(created), Ok(()));
        assert_eq!(live.apply(created), Err(LiveChangeError::RowExists));
        assert_eq!(
            live.apply(SessionChange::Updated(RowKey(2), row(2, facts, &[]))),
            Err(LiveChangeError::RowMissing)
        );
        assert_eq!(live.apply(SessionChange::Deleted(RowKey(2))), Err(LiveChangeError::RowMissing));
        assert_eq!(live.row_count(), 1);
    }
}
