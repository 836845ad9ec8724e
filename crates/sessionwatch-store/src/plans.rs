//! Plans: the exact rows that an action would touch.

use jiff::SignedDuration;
use sessionwatch_core::{
    row_ref::{self, RowRef},
    timestamp::UtcTimestamp,
};

use crate::{StoreError, confirmed_time, row::StoreRow, transaction::Tx};

/// The progress of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::EnumString)]
#[strum(serialize_all = "kebab-case")]
pub enum PlanState {
    /// Its rows are still being listed.
    Making,
    /// Complete and not applied yet.
    Planned,
    /// Partly applied.
    Begun,
    /// Applied.
    Done,
}

/// A plan, without its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanRecord {
    /// Id of the plan.
    pub id: String,
    /// The target's name.
    pub target: String,
    /// The target's address, without a password.
    pub address: String,
    /// The requested selection, as JSON.
    pub request: String,
    /// Time of creation.
    pub created_at: UtcTimestamp,
    /// The person or program that created the plan.
    pub created_by: String,
    /// Time of the last change.
    pub updated_at: UtcTimestamp,
    /// The plan's progress.
    pub state: PlanState,
    /// Number of rows in the plan.
    pub row_count: u64,
    /// Number of active sessions among them.
    pub active_sessions: u64,
    /// Further details, as a JSON object.
    pub summary: String,
    /// The second person who approved the plan.
    pub approved_by: Option<String>,
}

const PLAN_COLUMNS: &str =
    "id, target, address, about, made_at, made_by, touched_at, state, named, active, summary, approved_by";
/// Time after which a plan that was never applied is deleted.
const UNAPPLIED_PLAN_RETENTION: SignedDuration = SignedDuration::from_hours(24);

impl PlanState {
    /// Returns the name of the state in the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Stores a plan or its new state.
///
/// # Errors
///
/// If the store cannot be written.
pub fn upsert_plan(db: Tx<'_>, plan: &PlanRecord) -> Result<(), StoreError> {
    // Saturated: the database has no unsigned type, and no plan is that large.
    let [rows, active] =
        [plan.row_count, plan.active_sessions].map(|count| i64::try_from(count).unwrap_or(i64::MAX));
    db.execute(
        "INSERT INTO plans (id, target, address, about, made_at, made_by, touched_at, state, named, active, \
         summary, approved_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (id) DO UPDATE SET touched_at = excluded.touched_at, state = excluded.state, named = \
         excluded.named,
           active = excluded.active, summary = excluded.summary, approved_by = excluded.approved_by",
        &[
            (&plan.id).into(),
            (&plan.target).into(),
            (&plan.address).into(),
            (&plan.request).into(),
            plan.created_at.into(),
            (&plan.created_by).into(),
            plan.updated_at.into(),
            plan.state.name().into(),
            rows.into(),
            active.into(),
            (&plan.summary).into(),
            (&plan.approved_by).into(),
        ],
    )?;
    Ok(())
}

/// Stores a chunk of a plan's rows.
///
/// # Errors
///
/// If the store cannot be written.
pub fn insert_plan_chunk(db: Tx<'_>, plan: &str, chunk: i64, rows: &[RowRef]) -> Result<(), StoreError> {
    // Packed, because a plan may name millions of rows.
    let content = row_ref::encode_row_refs(rows);
    db.execute(
        "INSERT INTO plan_chunks (plan, piece, content) VALUES ($1, $2, $3)",
        &[plan.into(), chunk.into(), content.as_slice().into()],
    )?;
    Ok(())
}

/// Returns the number and rows of a plan's first chunk after `after_chunk`.
///
/// # Errors
///
/// If the store cannot be read.
pub fn find_next_plan_chunk(
    db: Tx<'_>,
    plan: &str,
    after_chunk: i64,
) -> Result<Option<(i64, Vec<RowRef>)>, StoreError> {
    let row = db.query_row(
        // One chunk at a time, so that applying a large plan needs little memory.
        "SELECT piece, content FROM plan_chunks WHERE plan = $1 AND piece > $2 ORDER BY piece LIMIT 1",
        &[plan.into(), after_chunk.into()],
    )?;
    row.map(plan_chunk_from_row).transpose()
}

/// Returns the number and rows of a plan's last chunk before `before_chunk`.
///
/// # Errors
///
/// If the store cannot be read.
pub fn find_previous_plan_chunk(
    db: Tx<'_>,
    plan: &str,
    before_chunk: i64,
) -> Result<Option<(i64, Vec<RowRef>)>, StoreError> {
    let row = db.query_row(
        "SELECT piece, content FROM plan_chunks WHERE plan = $1 AND piece < $2 ORDER BY piece DESC LIMIT 1",
        &[plan.into(), before_chunk.into()],
    )?;
    row.map(plan_chunk_from_row).transpose()
}

fn plan_chunk_from_row(row: StoreRow) -> Result<(i64, Vec<RowRef>), StoreError> {
    let rows = row_ref::decode_row_refs(row.read_bytes(1)?).map_err(|_| row.undecodable_column(1))?;
    Ok((row.read_i64(0)?, rows))
}

/// Returns a plan by its id.
///
/// # Errors
///
/// If the store cannot be read.
pub fn find_plan(db: Tx<'_>, id: &str) -> Result<Option<PlanRecord>, StoreError> {
    let query = format!("SELECT {PLAN_COLUMNS} FROM plans WHERE id = $1");
    db.query_row(&query, &[id.into()])?.as_ref().map(plan_from_row).transpose()
}

/// Returns all plans, latest first.
///
/// # Errors
///
/// If the store cannot be read.
pub fn list_plans(db: Tx<'_>) -> Result<Vec<PlanRecord>, StoreError> {
    let query = format!("SELECT {PLAN_COLUMNS} FROM plans ORDER BY made_at DESC, id");
    db.query_rows(&query, &[])?.iter().map(plan_from_row).collect()
}

/// Returns other plans for the same target, by name or address, that were started or applied since an instant.
///
/// # Errors
///
/// If the store cannot be read.
pub fn list_plans_applied_since(
    db: Tx<'_>,
    plan: &PlanRecord,
    since: UtcTimestamp,
) -> Result<Vec<PlanRecord>, StoreError> {
    let query = format!(
        // By address too: two targets may be names for the same database.
        "SELECT {PLAN_COLUMNS} FROM plans WHERE (target = $1 OR address = $2) AND id <> $3 \
         AND state IN ('begun', 'done') AND touched_at >= $4"
    );
    let values = [(&plan.target).into(), (&plan.address).into(), (&plan.id).into(), since.into()];
    db.query_rows(&query, &values)?.iter().map(self::plan_from_row).collect()
}

/// Deletes the rows of applied plans, and plans that were not applied within a day. Partly applied plans are kept.
///
/// # Errors
///
/// If the store cannot be written.
pub fn prune_plans(db: Tx<'_>, now: UtcTimestamp) -> Result<(), StoreError> {
    // A plan keeps its rows until it is applied; a restore reads them from the archive.
    let before = confirmed_time::confirmed_retention_time(db, now)? - UNAPPLIED_PLAN_RETENTION;
    db.execute(
        "DELETE FROM plans WHERE state IN ('making', 'planned') AND touched_at < $1",
        &[before.into()],
    )?;
    // Also removes the rows of plans that the statement above has just deleted.
    db.execute(
        "DELETE FROM plan_chunks WHERE plan NOT IN (SELECT id FROM plans WHERE state <> 'done')",
        &[],
    )?;
    Ok(())
}

fn plan_from_row(row: &StoreRow) -> Result<PlanRecord, StoreError> {
    // Decoded first, as it determines whether the summary is complete.
    let state = row.parse_text(7)?;
    Ok(PlanRecord {
        id: row.read_text(0)?,
        target: row.read_text(1)?,
        address: row.read_text(2)?,
        request: row.read_json_text(3)?,
        created_at: row.read_timestamp(4)?,
        created_by: row.read_text(5)?,
        updated_at: row.read_timestamp(6)?,
        state,
        row_count: row.read_u64(8)?,
        active_sessions: row.read_u64(9)?,
        // The summary is written last, when all rows are listed.
        summary: if state == PlanState::Making { row.read_text(10)? } else { row.read_json_object_text(10)? },
        approved_by: row.read_optional_text(11)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::store_of_each_kind;

    #[test]
    fn a_plan_and_its_rows_are_stored_and_pruned() {
        let at = |hours: i64| UtcTimestamp::UNIX_EPOCH + SignedDuration::from_hours(hours);
        for store in store_of_each_kind() {
            let mut plan = PlanRecord {
                id: "p1".into(),
                target: "app".into(),
                address: "sqlite:app.db".into(),
                request: "{}".into(),
                created_at: at(1),
                created_by: "ada".into(),
                updated_at: at(1),
                state: PlanState::Planned,
                row_count: 2,
                active_sessions: 1,
                summary: "{}".into(),
                approved_by: None,
            };
            let rows = vec![RowRef { row_hash: 7, id: Some("a".into()), ..RowRef::default() }; 2];
            store
                .write(|db| upsert_plan(db, &plan).and_then(|()| insert_plan_chunk(db, "p1", 4, &rows)))
                .unwrap();
            assert_eq!(store.read(|db| find_plan(db, "p1")).unwrap(), Some(plan.clone()));
            assert_eq!(store.read(|db| find_plan(db, "p2")).unwrap(), None);
            assert_eq!(store.read(|db| find_next_plan_chunk(db, "p1", 3)).unwrap(), Some((4, rows.clone())));
            assert_eq!(store.read(|db| find_next_plan_chunk(db, "p1", 4)).unwrap(), None);
            store.write(|db| prune_plans(db, at(25))).unwrap();
            assert_eq!(store.read(list_plans).unwrap(), [plan.clone()]);
            // A partly applied plan stays until it is done.
            plan.state = PlanState::Begun;
            store.write(|db| upsert_plan(db, &plan).and_then(|()| prune_plans(db, at(26)))).unwrap();
            assert_eq!(store.read(|db| find_next_plan_chunk(db, "p1", 0)).unwrap(), Some((4, rows)));
            plan.state = PlanState::Done;
            store.write(|db| upsert_plan(db, &plan).and_then(|()| prune_plans(db, at(26)))).unwrap();
            assert_eq!(store.read(|db| find_next_plan_chunk(db, "p1", 0)).unwrap(), None);
            assert_eq!(store.read(list_plans).unwrap(), [plan.clone()]);
            plan.state = PlanState::Planned;
            store.write(|db| upsert_plan(db, &plan).and_then(|()| prune_plans(db, at(26)))).unwrap();
            assert_eq!(store.read(list_plans).unwrap(), []);
        }
    }
}
