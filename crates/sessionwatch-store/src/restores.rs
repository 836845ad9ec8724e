//! Restores: the sessions that sessionwatch restored, so that check runs do not report them as reappeared.

use sessionwatch_core::timestamp::UtcTimestamp;

use crate::{
    StoreError,
    archive_batches::{self, ArchivedBatch, ArchivedRowState, BatchState},
    row::StoreRow,
    transaction::Tx,
};

/// Sessions restored at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredSessions {
    /// Time of the restore; `None` while it is not known whether the sessions were restored.
    pub at: Option<UtcTimestamp>,
    /// Fingerprints of the tokens.
    pub fingerprints: Vec<u64>,
}

/// Settles a batch like [`archive_batches::set_batch_state`], and records the rows that are restored since it was read.
///
/// # Errors
///
/// If the store cannot be written.
pub fn settle_batch(
    db: Tx<'_>,
    batch: &ArchivedBatch,
    states: &[ArchivedRowState],
    now: UtcTimestamp,
) -> Result<(), StoreError> {
    archive_batches::set_batch_state(db, batch.id, BatchState::Kept, None, states)?;
    let is_new = |before: &ArchivedRowState, after: &ArchivedRowState| {
        *after == ArchivedRowState::Restored && before != after
    };
    let rows = batch.rows.iter().zip(batch.row_states.iter().zip(states));
    let restored = rows.filter(|(_, (before, after))| is_new(before, after));
    let fingerprints: Vec<u8> =
        restored.filter_map(|(row, _)| row.token_fingerprint).flat_map(i64::to_le_bytes).collect();
    if fingerprints.is_empty() {
        return Ok(());
    }
    let id = db.next_id("restores")?;
    db.execute(
        "INSERT INTO restores (id, target, at, fingerprints) VALUES ($1, $2, $3, $4)",
        &[id.into(), (&batch.target).into(), now.into(), fingerprints.as_slice().into()],
    )?;
    Ok(())
}

/// Returns the sessions of a target that were restored, or are being restored.
///
/// # Errors
///
/// If the store cannot be read.
pub fn list_restored_sessions(db: Tx<'_>, target: &str) -> Result<Vec<RestoredSessions>, StoreError> {
    let rows = db.query_rows(
        "SELECT at, fingerprints FROM restores WHERE target = $1 ORDER BY at, id",
        &[target.into()],
    )?;
    let restored = |row: &StoreRow| {
        let (fingerprints, rest) = row.read_bytes(1)?.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(row.undecodable_column(1));
        }
        let fingerprints = fingerprints.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        Ok(RestoredSessions { at: Some(row.read_timestamp(0)?), fingerprints })
    };
    let mut sessions = rows.iter().map(restored).collect::<Result<Vec<_>, StoreError>>()?;
    // The target commits before the store does, so a check run may find the rows in between.
    for batch in archive_batches::list_unsettled_batches(db, target)? {
        if batch.state == BatchState::Restoring {
            let rows = batch.rows.iter().zip(&batch.row_states);
            let archived = rows.filter(|(_, state)| **state == ArchivedRowState::Archived);
            let tokens = archived.filter_map(|(row, _)| row.token_fingerprint);
            sessions
                .push(RestoredSessions { at: None, fingerprints: tokens.map(i64::cast_unsigned).collect() });
        }
    }
    Ok(sessions)
}

/// Deletes the restores before this time.
///
/// # Errors
///
/// If the store cannot be written.
pub fn prune_restores(db: Tx<'_>, before: UtcTimestamp) -> Result<(), StoreError> {
    db.execute("DELETE FROM restores WHERE at < $1", &[before.into()])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use sessionwatch_core::row_ref::RowRef;

    use super::*;
    use crate::{archive_batches::insert_batch, tests::store_of_each_kind};

    fn at(micros: i64) -> UtcTimestamp {
        UtcTimestamp::from_micros(micros).unwrap()
    }

    #[test]
    fn restored_sessions_are_listed_until_they_are_pruned() {
        use ArchivedRowState::{Archived, NotRemoved, Restored};
        for store in store_of_each_kind() {
            let row = |token_fingerprint: Option<i64>| RowRef { token_fingerprint, ..RowRef::default() };
            let batch = ArchivedBatch {
                id: 1,
                plan: "p".into(),
                target: "app".into(),
                state: BatchState::Pending,
                transaction_id: None,
                sealed_at: at(1),
                purge_at: at(100),
                recipient: "age1".into(),
                rows: vec![row(Some(-7)), row(Some(8)), row(None), row(Some(9))],
                row_states: vec![Archived, Archived, Archived, NotRemoved],
            };
            let list = |target: &str| store.read(|db| list_restored_sessions(db, target)).unwrap();
            store.write(|db| insert_batch(db, &batch, b"x")).unwrap();
            assert_eq!(list("app"), []);
            store
                .write(|db| {
                    archive_batches::set_batch_state(db, 1, BatchState::Restoring, None, &batch.row_states)
                })
                .unwrap();
            let fingerprints = vec![(-7_i64).cast_unsigned(), 8];
            assert_eq!(list("app"), [RestoredSessions { at: None, fingerprints }]);
            assert_eq!(list("other"), []);
            let states = [Restored, Archived, Restored, NotRemoved];
            store.write(|db| settle_batch(db, &batch, &states, at(5))).unwrap();
            let first = RestoredSessions { at: Some(at(5)), fingerprints: vec![(-7_i64).cast_unsigned()] };
            assert_eq!(list("app"), std::slice::from_ref(&first));
            let (later, _) = store.read(|db| archive_batches::find_batch(db, 1)).unwrap().unwrap();
            let states = [Restored, Restored, Restored, NotRemoved];
            store.write(|db| settle_batch(db, &later, &states, at(6))).unwrap();
            let second = RestoredSessions { at: Some(at(6)), fingerprints: vec![8] };
            assert_eq!(list("app"), [first, second]);
            store.write(|db| prune_restores(db, at(6))).unwrap();
            assert_eq!(list("app"), [RestoredSessions { at: Some(at(6)), fingerprints: vec![8] }]);
        }
    }
}
