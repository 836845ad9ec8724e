//! Plans: what an action would touch, row by row.

use jiff::SignedDuration;
use sessionwatch_core::{
    instant::Instant,
    row_ref::{self, RowRef},
};

use crate::{StoreError, confirmed_time, db::Db, row::Row};

/// How far a plan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::EnumString)]
#[strum(serialize_all = "kebab-case")]
pub enum State {
    /// Its rows are still being listed.
    Making,
    /// Nothing was touched yet.
    Planned,
    /// Some of it was carried out.
    Begun,
    /// It was carried out.
    Done,
}

/// A plan, without its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its id.
    pub id: String,
    /// The target.
    pub target: String,
    /// Where that is, without a password.
    pub address: String,
    /// What was asked for, as JSON.
    pub about: String,
    /// When it was made.
    pub made_at: Instant,
    /// By whom.
    pub made_by: String,
    /// When it was made or worked on last.
    pub touched_at: Instant,
    /// How far it is.
    pub state: State,
    /// Rows that it names.
    pub rows: u64,
    /// Active sessions among them.
    pub active: u64,
    /// The rest, as JSON.
    pub summary: String,
    /// The second person who agreed to it.
    pub approved_by: Option<String>,
}

const COLUMNS: &str =
    "id, target, address, about, made_at, made_by, touched_at, state, named, active, summary, approved_by";
/// How long a plan that nobody carries out is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

impl State {
    /// Its name in the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Keeps a plan, or what has become of it.
///
/// # Errors
///
/// If it cannot be written.
pub fn put(db: Db<'_>, plan: &Plan) -> Result<(), StoreError> {
    let [rows, active] = [plan.rows, plan.active].map(|count| i64::try_from(count).unwrap_or(i64::MAX));
    db.run(
        "INSERT INTO plans (id, target, address, about, made_at, made_by, touched_at, state, named, active, summary, approved_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (id) DO UPDATE SET touched_at = excluded.touched_at, state = excluded.state, named = excluded.named,
           active = excluded.active, summary = excluded.summary, approved_by = excluded.approved_by",
        &[
            (&plan.id).into(),
            (&plan.target).into(),
            (&plan.address).into(),
            (&plan.about).into(),
            plan.made_at.into(),
            (&plan.made_by).into(),
            plan.touched_at.into(),
            plan.state.name().into(),
            rows.into(),
            active.into(),
            (&plan.summary).into(),
            (&plan.approved_by).into(),
        ],
    )?;
    Ok(())
}

/// Keeps rows of a plan.
///
/// # Errors
///
/// If they cannot be written.
pub fn put_piece(db: Db<'_>, plan: &str, piece: i64, rows: &[RowRef]) -> Result<(), StoreError> {
    let content = row_ref::encode(rows);
    db.run(
        "INSERT INTO planned (plan, piece, content) VALUES ($1, $2, $3)",
        &[plan.into(), piece.into(), content.as_slice().into()],
    )?;
    Ok(())
}

/// The first piece of a plan behind that number: its own number, and its rows.
///
/// # Errors
///
/// If it cannot be read.
pub fn piece(db: Db<'_>, plan: &str, behind: i64) -> Result<Option<(i64, Vec<RowRef>)>, StoreError> {
    let row = db.row(
        "SELECT piece, content FROM planned WHERE plan = $1 AND piece > $2 ORDER BY piece LIMIT 1",
        &[plan.into(), behind.into()],
    )?;
    row.map(numbered).transpose()
}

/// The last piece of a plan before that number: its own number, and its rows.
///
/// # Errors
///
/// If it cannot be read.
pub fn last_piece(db: Db<'_>, plan: &str, before: i64) -> Result<Option<(i64, Vec<RowRef>)>, StoreError> {
    let row = db.row(
        "SELECT piece, content FROM planned WHERE plan = $1 AND piece < $2 ORDER BY piece DESC LIMIT 1",
        &[plan.into(), before.into()],
    )?;
    row.map(numbered).transpose()
}

fn numbered(row: Row) -> Result<(i64, Vec<RowRef>), StoreError> {
    let rows = row_ref::decode(row.bytes(1)?).map_err(|_| row.unreadable(1))?;
    Ok((row.int(0)?, rows))
}

/// A plan.
///
/// # Errors
///
/// If it cannot be read.
pub fn get(db: Db<'_>, id: &str) -> Result<Option<Plan>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM plans WHERE id = $1");
    db.row(&query, &[id.into()])?.as_ref().map(plan).transpose()
}

/// The plans, latest first.
///
/// # Errors
///
/// If they cannot be read.
pub fn list(db: Db<'_>) -> Result<Vec<Plan>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM plans ORDER BY made_at DESC, id");
    db.rows(&query, &[])?.iter().map(plan).collect()
}

/// The other plans of a target, by its name or its address, that were begun or ended since an instant.
///
/// # Errors
///
/// If they cannot be read.
pub fn applied_since(db: Db<'_>, plan: &Plan, since: Instant) -> Result<Vec<Plan>, StoreError> {
    let query = format!(
        "SELECT {COLUMNS} FROM plans WHERE (target = $1 OR address = $2) AND id <> $3 AND state IN ('begun', 'done') AND touched_at >= $4"
    );
    let values = [(&plan.target).into(), (&plan.address).into(), (&plan.id).into(), since.into()];
    db.rows(&query, &values)?.iter().map(self::plan).collect()
}

/// Forgets the rows of what was carried out, and plans that nobody wants any more. What was begun is kept.
///
/// # Errors
///
/// If it cannot be written.
pub fn forget(db: Db<'_>, now: Instant) -> Result<(), StoreError> {
    let before = confirmed_time::passed(db, now)? - KEPT;
    db.run("DELETE FROM plans WHERE state IN ('making', 'planned') AND touched_at < $1", &[before.into()])?;
    db.run("DELETE FROM planned WHERE plan NOT IN (SELECT id FROM plans WHERE state <> 'done')", &[])?;
    Ok(())
}

fn plan(row: &Row) -> Result<Plan, StoreError> {
    let state = row.parsed(7)?;
    Ok(Plan {
        id: row.text(0)?,
        target: row.text(1)?,
        address: row.text(2)?,
        about: row.json(3)?,
        made_at: row.instant(4)?,
        made_by: row.text(5)?,
        touched_at: row.instant(6)?,
        state,
        rows: row.count(8)?,
        active: row.count(9)?,
        // While it is being made there is none yet.
        summary: if state == State::Making { row.text(10)? } else { row.json_object(10)? },
        approved_by: row.maybe_text(11)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::both;

    #[test]
    fn a_plan_and_its_rows_are_kept_and_forgotten() {
        let at = |hours: i64| Instant::UNIX_EPOCH + SignedDuration::from_hours(hours);
        for store in both() {
            let mut plan = Plan {
                id: "p1".into(),
                target: "app".into(),
                address: "sqlite:app.db".into(),
                about: "{}".into(),
                made_at: at(1),
                made_by: "ada".into(),
                touched_at: at(1),
                state: State::Planned,
                rows: 2,
                active: 1,
                summary: "{}".into(),
                approved_by: None,
            };
            let rows = vec![RowRef { mark: 7, id: Some("a".into()), ..RowRef::default() }; 2];
            store.write(|db| put(db, &plan).and_then(|()| put_piece(db, "p1", 4, &rows))).unwrap();
            assert_eq!(store.read(|db| get(db, "p1")).unwrap(), Some(plan.clone()));
            assert_eq!(store.read(|db| get(db, "p2")).unwrap(), None);
            assert_eq!(store.read(|db| piece(db, "p1", 3)).unwrap(), Some((4, rows.clone())));
            assert_eq!(store.read(|db| piece(db, "p1", 4)).unwrap(), None);
            store.write(|db| forget(db, at(25))).unwrap();
            assert_eq!(store.read(list).unwrap(), [plan.clone()]);
            // What was begun stays until it is done.
            plan.state = State::Begun;
            store.write(|db| put(db, &plan).and_then(|()| forget(db, at(26)))).unwrap();
            assert_eq!(store.read(|db| piece(db, "p1", 0)).unwrap(), Some((4, rows)));
            plan.state = State::Done;
            store.write(|db| put(db, &plan).and_then(|()| forget(db, at(26)))).unwrap();
            assert_eq!(store.read(|db| piece(db, "p1", 0)).unwrap(), None);
            assert_eq!(store.read(list).unwrap(), [plan.clone()]);
            plan.state = State::Planned;
            store.write(|db| put(db, &plan).and_then(|()| forget(db, at(26)))).unwrap();
            assert_eq!(store.read(list).unwrap(), []);
        }
    }
}
