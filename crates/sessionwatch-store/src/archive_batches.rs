//! The archive: encrypted batches of rows, sealed before the rows are deleted from their table.

use sessionwatch_core::{
    row_ref::{self, RowRef},
    timestamp::UtcTimestamp,
};

use crate::{StoreError, row::StoreRow, transaction::Tx};

/// The state of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::EnumString)]
#[strum(serialize_all = "kebab-case")]
pub enum BatchState {
    /// Sealed; whether its rows were deleted is not known yet.
    Pending,
    /// Settled: its rows were deleted from or changed in the table.
    Kept,
    /// Rows are being restored; whether they were is not known yet.
    Restoring,
}

/// The state of an archived row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchivedRowState {
    /// The row never left the table.
    NotRemoved = 0,
    /// The row is in the archive.
    Archived = 1,
    /// The row was restored.
    Restored = 2,
}

/// A batch, without its sealed rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedBatch {
    /// Id of the batch, assigned by [`insert_batch`].
    pub id: i64,
    /// Id of the applied plan.
    pub plan: String,
    /// The target.
    pub target: String,
    /// The batch's state.
    pub state: BatchState,
    /// The id of the target's transaction, for databases that have one.
    pub transaction_id: Option<i64>,
    /// Time when the batch was sealed.
    pub sealed_at: UtcTimestamp,
    /// Time when the batch is purged.
    pub purge_at: UtcTimestamp,
    /// The recipient whose key opens the batch (`age1…`).
    pub recipient: String,
    /// The rows, in the order in which they are sealed.
    pub rows: Vec<RowRef>,
    /// The state of each row.
    pub row_states: Vec<ArchivedRowState>,
}

/// The archived rows of one plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveSummary {
    /// Id of the plan.
    pub plan: String,
    /// The target.
    pub target: String,
    /// Time when the first batch was sealed.
    pub first_sealed_at: UtcTimestamp,
    /// Time when the last batch is purged.
    pub purge_at: UtcTimestamp,
    /// The recipient whose key opens the batch (`age1…`).
    pub recipient: String,
    /// Number of rows that can still be restored; restored rows are not among them.
    pub restorable_rows: u64,
    /// Number of rows restored.
    pub restored_rows: u64,
}

impl ArchiveSummary {
    /// Returns `true` while rows of the plan can be restored.
    #[must_use]
    pub fn can_be_restored(&self) -> bool {
        self.restorable_rows > 0
    }

    /// Returns `true` if rows of the plan were restored, and none is left to restore.
    #[must_use]
    pub fn is_restored(&self) -> bool {
        self.restored_rows > 0 && !self.can_be_restored()
    }
}

const BATCH_COLUMNS: &str = "id, plan, target, state, txid, at, purge_at, recipient, content, fates";

impl BatchState {
    /// Returns the name of the state in the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl ArchivedRowState {
    fn from_byte(byte: u8) -> Option<Self> {
        // An unknown byte is an error: a row of unknown state must neither be restored nor purged.
        [Self::NotRemoved, Self::Archived, Self::Restored].into_iter().find(|state| *state as u8 == byte)
    }
}

impl ArchivedBatch {
    /// Counts the rows in this state.
    #[must_use]
    pub fn count_rows(&self, state: ArchivedRowState) -> u64 {
        self.row_states.iter().filter(|found| **found == state).count() as u64
    }
}

/// Stores a batch with its sealed rows. Returns its id.
///
/// # Errors
///
/// If the store cannot be written.
pub fn insert_batch(db: Tx<'_>, batch: &ArchivedBatch, sealed: &[u8]) -> Result<i64, StoreError> {
    // Assigned here, because the caller needs the id on both databases.
    let id = db.next_id("archive_batches")?;
    let content = row_ref::encode_row_refs(&batch.rows);
    let txid = super::row::Param::Int(batch.transaction_id);
    db.execute(
        "INSERT INTO archive_batches (id, plan, target, state, txid, at, purge_at, recipient, content, fates, sealed)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        &[
            id.into(),
            (&batch.plan).into(),
            (&batch.target).into(),
            batch.state.name().into(),
            txid,
            batch.sealed_at.into(),
            batch.purge_at.into(),
            (&batch.recipient).into(),
            content.as_slice().into(),
            encode_row_states(&batch.row_states).as_slice().into(),
            sealed.into(),
        ],
    )?;
    Ok(id)
}

/// Records the outcome of a batch. Deletes a batch whose rows never left the table.
///
/// # Errors
///
/// If the store cannot be written.
pub fn set_batch_state(
    db: Tx<'_>,
    id: i64,
    state: BatchState,
    txid: Option<i64>,
    row_states: &[ArchivedRowState],
) -> Result<(), StoreError> {
    if row_states.iter().all(|row_state| *row_state == ArchivedRowState::NotRemoved) {
        db.execute("DELETE FROM archive_batches WHERE id = $1", &[id.into()])?;
        return Ok(());
    }
    let values = [id.into(), state.name().into(), super::row::Param::Int(txid)];
    // State and fates are two statements, but one transaction of the caller.
    db.execute("UPDATE archive_batches SET state = $2, txid = $3 WHERE id = $1", &values)?;
    let encoded_states = encode_row_states(row_states);
    db.execute(
        "UPDATE archive_batches SET fates = $2 WHERE id = $1",
        &[id.into(), encoded_states.as_slice().into()],
    )?;
    if !row_states.contains(&ArchivedRowState::Archived) {
        // No row is left to restore, so the sealed copies are dropped at once.
        db.execute(
            "UPDATE archive_batches SET sealed = $2 WHERE id = $1",
            &[id.into(), [].as_slice().into()],
        )?;
    }
    Ok(())
}

/// Returns a target's batches whose outcome is not known yet, oldest first.
///
/// # Errors
///
/// If the store cannot be read.
pub fn list_unsettled_batches(db: Tx<'_>, target: &str) -> Result<Vec<ArchivedBatch>, StoreError> {
    // Across all plans: rows of an interrupted plan must be settled before another one touches the table.
    let query = format!(
        "SELECT {BATCH_COLUMNS} FROM archive_batches WHERE state <> 'kept' AND target = $1 ORDER BY id"
    );
    db.query_rows(&query, &[target.into()])?.iter().map(batch_from_row).collect()
}

/// Returns a plan's first batch with an id above `after_id`.
///
/// # Errors
///
/// If the store cannot be read.
pub fn find_next_batch(db: Tx<'_>, plan: &str, after_id: i64) -> Result<Option<ArchivedBatch>, StoreError> {
    let query = format!(
        "SELECT {BATCH_COLUMNS} FROM archive_batches WHERE plan = $1 AND id > $2 ORDER BY id LIMIT 1"
    );
    db.query_row(&query, &[plan.into(), after_id.into()])?.as_ref().map(batch_from_row).transpose()
}

/// Returns a batch and its sealed rows.
///
/// # Errors
///
/// If the store cannot be read.
pub fn find_batch(db: Tx<'_>, id: i64) -> Result<Option<(ArchivedBatch, Vec<u8>)>, StoreError> {
    let query = format!("SELECT {BATCH_COLUMNS}, sealed FROM archive_batches WHERE id = $1");
    let batch = |row: StoreRow| Ok((batch_from_row(&row)?, row.read_bytes(10)?.to_vec()));
    db.query_row(&query, &[id.into()])?.map(batch).transpose()
}

/// Returns the archived rows of each plan, latest first.
///
/// # Errors
///
/// If the store cannot be read.
pub fn list_archive_summaries(db: Tx<'_>) -> Result<Vec<ArchiveSummary>, StoreError> {
    let rows = db.query_rows(
        "SELECT plan, target, at, purge_at, recipient, fates, state FROM archive_batches ORDER BY id DESC",
        &[],
    )?;
    let mut summaries: Vec<ArchiveSummary> = Vec::new();
    for row in &rows {
        let states = read_row_states(row, 5)?;
        // Decoded only to be checked: an unknown state is an error even where it is not shown.
        row.parse_text::<BatchState>(6)?;
        let count = |state| states.iter().filter(|found| **found == state).count() as u64;
        let first_sealed_at = row.read_timestamp(2)?;
        let plan = row.read_text(0)?;
        // A linear search: there are few plans at a time, and the order of the rows is kept.
        let found = summaries.iter().position(|summary| summary.plan == plan);
        let index = found.unwrap_or(summaries.len());
        if found.is_none() {
            summaries.push(ArchiveSummary {
                plan,
                target: row.read_text(1)?,
                first_sealed_at,
                purge_at: row.read_timestamp(3)?,
                recipient: row.read_text(4)?,
                restorable_rows: 0,
                restored_rows: 0,
            });
        }
        let summary = &mut summaries[index];
        // Rows are read in descending order of ids, so the first batch of a plan comes last.
        summary.first_sealed_at = summary.first_sealed_at.min(first_sealed_at);
        summary.restorable_rows += count(ArchivedRowState::Archived);
        summary.restored_rows += count(ArchivedRowState::Restored);
    }
    Ok(summaries)
}

/// Counts the rows in the archive of a plan.
///
/// # Errors
///
/// If the store cannot be read.
pub fn count_archived_rows(db: Tx<'_>, plan: &str) -> Result<u64, StoreError> {
    let rows = db.query_rows("SELECT fates FROM archive_batches WHERE plan = $1", &[plan.into()])?;
    // One byte a row.
    rows.iter().map(|row| Ok(row.read_bytes(0)?.len() as u64)).sum()
}

/// Purges settled batches: those of `plan`, or without one all that are past their retention. Returns the number of
/// rows that could have been restored.
///
/// # Errors
///
/// If the store cannot be written.
pub fn purge_batches(db: Tx<'_>, plan: Option<&str>, now: UtcTimestamp) -> Result<u64, StoreError> {
    // Only settled batches: an unsettled one may hold the only copy of rows whose deletion is being decided.
    let passed = "state = 'kept' AND (($1 <> '' AND plan = $1) OR ($1 = '' AND purge_at <= $2))";
    let values = [plan.unwrap_or_default().into(), now.into()];
    // Read before the deletion, which does not return how many rows could have been restored.
    let rows = db.query_rows(&format!("SELECT fates FROM archive_batches WHERE {passed}"), &values)?;
    let mut removed = 0;
    for row in &rows {
        removed +=
            read_row_states(row, 0)?.iter().filter(|state| **state == ArchivedRowState::Archived).count()
                as u64;
    }
    if let (Tx::Sqlite(_), false) = (db, rows.is_empty()) {
        // Overwrites the freed pages, so that purged rows cannot be recovered from the file.
        db.execute_batch("PRAGMA secure_delete = ON")?;
    }
    db.execute(&format!("DELETE FROM archive_batches WHERE {passed}"), &values)?;
    Ok(removed)
}

fn encode_row_states(states: &[ArchivedRowState]) -> Vec<u8> {
    states.iter().map(|state| *state as u8).collect()
}

/// Reads the state of each row of a batch.
fn read_row_states(row: &StoreRow, at: usize) -> Result<Vec<ArchivedRowState>, StoreError> {
    let state = |byte: &u8| ArchivedRowState::from_byte(*byte).ok_or_else(|| row.undecodable_column(at));
    row.read_bytes(at)?.iter().map(state).collect()
}

fn batch_from_row(row: &StoreRow) -> Result<ArchivedBatch, StoreError> {
    let (rows, row_states) = (
        row_ref::decode_row_refs(row.read_bytes(8)?).map_err(|_| row.undecodable_column(8))?,
        read_row_states(row, 9)?,
    );
    // A batch whose lists differ in length would assign fates to the wrong rows.
    if rows.len() != row_states.len() {
        return Err(row.undecodable_column(9));
    }
    Ok(ArchivedBatch {
        id: row.read_i64(0)?,
        plan: row.read_text(1)?,
        target: row.read_text(2)?,
        state: row.parse_text(3)?,
        transaction_id: row.read_optional_i64(4)?,
        sealed_at: row.read_timestamp(5)?,
        purge_at: row.read_timestamp(6)?,
        recipient: row.read_text(7)?,
        rows,
        row_states,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::store_of_each_kind;

    fn at(micros: i64) -> UtcTimestamp {
        UtcTimestamp::from_micros(micros).unwrap()
    }

    #[test]
    fn batches_are_kept_settled_and_purged() {
        for store in store_of_each_kind() {
            let mut expected = ArchivedBatch {
                id: 1,
                plan: "p".into(),
                target: "app".into(),
                state: BatchState::Pending,
                transaction_id: Some(9),
                sealed_at: at(5),
                purge_at: at(50),
                recipient: "age1x".into(),
                rows: vec![
                    RowRef { row_hash: 1, ..RowRef::default() },
                    RowRef { row_hash: 2, ..RowRef::default() },
                ],
                row_states: vec![ArchivedRowState::Archived; 2],
            };
            let settle = |id: i64, states: &[ArchivedRowState]| {
                store.write(|db| set_batch_state(db, id, BatchState::Kept, None, states)).unwrap();
            };
            assert_eq!(store.write(|db| insert_batch(db, &expected, b"sealed")).unwrap(), 1);
            assert_eq!(store.read(|db| list_unsettled_batches(db, "app")).unwrap(), [expected.clone()]);
            assert_eq!(store.read(|db| list_unsettled_batches(db, "other")).unwrap(), []);
            // An unsettled batch is not purged.
            assert_eq!(store.write(|db| purge_batches(db, None, at(60))).unwrap(), 0);
            let row_states = [ArchivedRowState::Archived, ArchivedRowState::NotRemoved];
            settle(1, &row_states);
            (expected.state, expected.transaction_id, expected.row_states) =
                (BatchState::Kept, None, row_states.to_vec());
            assert_eq!(
                store.read(|db| find_batch(db, 1)).unwrap(),
                Some((expected.clone(), b"sealed".to_vec()))
            );
            assert_eq!(store.read(|db| find_next_batch(db, "p", 0)).unwrap(), Some(expected.clone()));
            assert_eq!(store.read(|db| find_next_batch(db, "p", 1)).unwrap(), None);
            let archived = store.read(list_archive_summaries).unwrap();
            assert_eq!((archived.len(), archived[0].restorable_rows, archived[0].restored_rows), (1, 1, 0));
            settle(1, &[ArchivedRowState::Restored, ArchivedRowState::NotRemoved]);
            assert_eq!(store.read(|db| find_batch(db, 1)).unwrap().unwrap().1, b"");
            assert_eq!(store.read(list_archive_summaries).unwrap()[0].restored_rows, 1);
            assert_eq!(store.write(|db| insert_batch(db, &expected, b"sealed")).unwrap(), 2);
            settle(2, &[ArchivedRowState::NotRemoved; 2]);
            assert_eq!(
                store.write(|db| insert_batch(db, &expected, b"sealed")).unwrap(),
                3,
                "a batch with no removed row is deleted, and its id is not given again"
            );
            assert_eq!(store.write(|db| purge_batches(db, None, at(49))).unwrap(), 0);
            assert_eq!(store.write(|db| purge_batches(db, Some("other"), at(49))).unwrap(), 0);
            assert_eq!(store.write(|db| purge_batches(db, None, at(50))).unwrap(), 1);
            assert_eq!(store.read(list_archive_summaries).unwrap(), []);
        }
    }
}
