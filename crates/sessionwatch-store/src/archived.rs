//! Archived rows: batches that were sealed before they left the table.

use sessionwatch_core::{
    instant::Instant,
    row_ref::{self, RowRef},
};

use crate::{StoreError, db::Db, row::Row};

/// How far a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::EnumString)]
#[strum(serialize_all = "kebab-case")]
pub enum State {
    /// It is sealed; whether its rows are gone is not known yet.
    Pending,
    /// Its rows are gone from the table, or changed there.
    Kept,
    /// Some of its rows are being put back; whether they are is not known yet.
    Restoring,
}

/// Where a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It never left the table.
    Stayed = 0,
    /// It is in the archive.
    Archived = 1,
    /// It was put back.
    Restored = 2,
}

/// A batch, without its sealed rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Its number; given when it is kept.
    pub id: i64,
    /// The plan that it was carried out for.
    pub plan: String,
    /// The target.
    pub target: String,
    /// How far it is.
    pub state: State,
    /// The transaction on the target, where those have numbers.
    pub txid: Option<i64>,
    /// When it was sealed.
    pub at: Instant,
    /// When it is removed for good.
    pub purge_at: Instant,
    /// To whom it is sealed.
    pub recipient: String,
    /// Its rows, in the order in which they are sealed.
    pub rows: Vec<RowRef>,
    /// Where each of them is.
    pub fates: Vec<Fate>,
}

/// What the archive holds of one plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The plan.
    pub plan: String,
    /// The target.
    pub target: String,
    /// When the first row was sealed.
    pub at: Instant,
    /// When the last row is removed for good.
    pub purge_at: Instant,
    /// To whom it is sealed.
    pub recipient: String,
    /// Rows that can be put back.
    pub rows: u64,
    /// Rows that were.
    pub restored: u64,
}

const COLUMNS: &str = "id, plan, target, state, txid, at, purge_at, recipient, content, fates";

impl State {
    /// Its name in the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl Fate {
    fn of(byte: u8) -> Option<Self> {
        [Self::Stayed, Self::Archived, Self::Restored].into_iter().find(|fate| *fate as u8 == byte)
    }
}

impl Batch {
    /// How many of its rows are there.
    #[must_use]
    pub fn count(&self, fate: Fate) -> u64 {
        self.fates.iter().filter(|found| **found == fate).count() as u64
    }
}

/// Keeps a batch: its number.
///
/// # Errors
///
/// If it cannot be written.
pub fn add(db: Db<'_>, batch: &Batch, sealed: &[u8]) -> Result<i64, StoreError> {
    let id = db.next_id("archived")?;
    let content = row_ref::encode(&batch.rows);
    let txid = super::row::Value::Int(batch.txid);
    db.run(
        "INSERT INTO archived (id, plan, target, state, txid, at, purge_at, recipient, content, fates, sealed)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        &[
            id.into(),
            (&batch.plan).into(),
            (&batch.target).into(),
            batch.state.name().into(),
            txid,
            batch.at.into(),
            batch.purge_at.into(),
            (&batch.recipient).into(),
            content.as_slice().into(),
            bytes(&batch.fates).as_slice().into(),
            sealed.into(),
        ],
    )?;
    Ok(id)
}

/// Says what has become of a batch. One none of whose rows is in the archive, or was, is removed.
///
/// # Errors
///
/// If it cannot be written.
pub fn settle(
    db: Db<'_>,
    id: i64,
    state: State,
    txid: Option<i64>,
    fates: &[Fate],
) -> Result<(), StoreError> {
    if fates.iter().all(|fate| *fate == Fate::Stayed) {
        db.run("DELETE FROM archived WHERE id = $1", &[id.into()])?;
        return Ok(());
    }
    let values = [id.into(), state.name().into(), super::row::Value::Int(txid)];
    db.run("UPDATE archived SET state = $2, txid = $3 WHERE id = $1", &values)?;
    let fates_now = bytes(fates);
    db.run("UPDATE archived SET fates = $2 WHERE id = $1", &[id.into(), fates_now.as_slice().into()])?;
    if !fates.contains(&Fate::Archived) {
        // Nothing in it can be put back any more, so nobody needs the sealed rows.
        db.run("UPDATE archived SET sealed = $2 WHERE id = $1", &[id.into(), [].as_slice().into()])?;
    }
    Ok(())
}

/// The batches of a target of which it is not known what has become.
///
/// # Errors
///
/// If they cannot be read.
pub fn unsettled(db: Db<'_>, target: &str) -> Result<Vec<Batch>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM archived WHERE state <> 'kept' AND target = $1 ORDER BY id");
    db.rows(&query, &[target.into()])?.iter().map(batch).collect()
}

/// The first batch of a plan behind that number.
///
/// # Errors
///
/// If it cannot be read.
pub fn next(db: Db<'_>, plan: &str, behind: i64) -> Result<Option<Batch>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM archived WHERE plan = $1 AND id > $2 ORDER BY id LIMIT 1");
    db.row(&query, &[plan.into(), behind.into()])?.as_ref().map(batch).transpose()
}

/// A batch and its sealed rows.
///
/// # Errors
///
/// If it cannot be read.
pub fn get(db: Db<'_>, id: i64) -> Result<Option<(Batch, Vec<u8>)>, StoreError> {
    let query = format!("SELECT {COLUMNS}, sealed FROM archived WHERE id = $1");
    let batch = |row: Row| Ok((batch(&row)?, row.bytes(10)?.to_vec()));
    db.row(&query, &[id.into()])?.map(batch).transpose()
}

/// What the archive holds, latest first.
///
/// # Errors
///
/// If it cannot be read.
pub fn holdings(db: Db<'_>) -> Result<Vec<Holding>, StoreError> {
    let rows = db.rows(
        "SELECT plan, target, at, purge_at, recipient, fates, state FROM archived ORDER BY id DESC",
        &[],
    )?;
    let mut holdings: Vec<Holding> = Vec::new();
    for row in &rows {
        let fates = fates(row, 5)?;
        row.parsed::<State>(6)?;
        let count = |fate| fates.iter().filter(|found| **found == fate).count() as u64;
        let at = row.instant(2)?;
        let plan = row.text(0)?;
        let found = holdings.iter().position(|holding| holding.plan == plan);
        let held = found.unwrap_or(holdings.len());
        if found.is_none() {
            holdings.push(Holding {
                plan,
                target: row.text(1)?,
                at,
                purge_at: row.instant(3)?,
                recipient: row.text(4)?,
                rows: 0,
                restored: 0,
            });
        }
        let holding = &mut holdings[held];
        holding.at = holding.at.min(at);
        holding.rows += count(Fate::Archived);
        holding.restored += count(Fate::Restored);
    }
    Ok(holdings)
}

/// Removes for good what has passed its time, or all of one plan: how many rows could have been put back.
///
/// # Errors
///
/// If it cannot be written.
pub fn purge(db: Db<'_>, plan: Option<&str>, now: Instant) -> Result<u64, StoreError> {
    let passed = "state = 'kept' AND (($1 <> '' AND plan = $1) OR ($1 = '' AND purge_at <= $2))";
    let values = [plan.unwrap_or_default().into(), now.into()];
    let rows = db.rows(&format!("SELECT fates FROM archived WHERE {passed}"), &values)?;
    let mut removed = 0;
    for row in &rows {
        removed += fates(row, 0)?.iter().filter(|fate| **fate == Fate::Archived).count() as u64;
    }
    if let (Db::File(_), false) = (db, rows.is_empty()) {
        // The freed pages are written over.
        db.script("PRAGMA secure_delete = ON")?;
    }
    db.run(&format!("DELETE FROM archived WHERE {passed}"), &values)?;
    Ok(removed)
}

fn bytes(fates: &[Fate]) -> Vec<u8> {
    fates.iter().map(|fate| *fate as u8).collect()
}

/// Where each row of a batch is.
fn fates(row: &Row, at: usize) -> Result<Vec<Fate>, StoreError> {
    let fate = |byte: &u8| Fate::of(*byte).ok_or_else(|| row.unreadable(at));
    row.bytes(at)?.iter().map(fate).collect()
}

fn batch(row: &Row) -> Result<Batch, StoreError> {
    let (rows, fates) = (row_ref::decode(row.bytes(8)?).map_err(|_| row.unreadable(8))?, fates(row, 9)?);
    if rows.len() != fates.len() {
        return Err(row.unreadable(9));
    }
    Ok(Batch {
        id: row.int(0)?,
        plan: row.text(1)?,
        target: row.text(2)?,
        state: row.parsed(3)?,
        txid: row.maybe_int(4)?,
        at: row.instant(5)?,
        purge_at: row.instant(6)?,
        recipient: row.text(7)?,
        rows,
        fates,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::both;

    fn at(micros: i64) -> Instant {
        Instant::from_micros(micros).unwrap()
    }

    #[test]
    fn batches_are_kept_settled_and_purged() {
        for store in both() {
            let mut expected = Batch {
                id: 1,
                plan: "p".into(),
                target: "app".into(),
                state: State::Pending,
                txid: Some(9),
                at: at(5),
                purge_at: at(50),
                recipient: "age1x".into(),
                rows: vec![RowRef { mark: 1, ..RowRef::default() }, RowRef { mark: 2, ..RowRef::default() }],
                fates: vec![Fate::Archived; 2],
            };
            assert_eq!(store.write(|db| add(db, &expected, b"sealed")).unwrap(), 1);
            assert_eq!(store.read(|db| unsettled(db, "app")).unwrap(), [expected.clone()]);
            assert_eq!(store.read(|db| unsettled(db, "other")).unwrap(), []);
            // What is not settled is not purged either.
            assert_eq!(store.write(|db| purge(db, None, at(60))).unwrap(), 0);
            let fates = [Fate::Archived, Fate::Stayed];
            store.write(|db| settle(db, 1, State::Kept, None, &fates)).unwrap();
            (expected.state, expected.txid, expected.fates) = (State::Kept, None, fates.to_vec());
            assert_eq!(store.read(|db| get(db, 1)).unwrap(), Some((expected.clone(), b"sealed".to_vec())));
            assert_eq!(store.read(|db| next(db, "p", 0)).unwrap(), Some(expected.clone()));
            assert_eq!(store.read(|db| next(db, "p", 1)).unwrap(), None);
            let held = store.read(holdings).unwrap();
            assert_eq!((held.len(), held[0].rows, held[0].restored), (1, 1, 0));
            store.write(|db| settle(db, 1, State::Kept, None, &[Fate::Restored, Fate::Stayed])).unwrap();
            assert_eq!(store.read(|db| get(db, 1)).unwrap().unwrap().1, b"");
            assert_eq!(store.read(holdings).unwrap()[0].restored, 1);
            assert_eq!(store.write(|db| add(db, &expected, b"sealed")).unwrap(), 2);
            store.write(|db| settle(db, 2, State::Kept, None, &[Fate::Stayed; 2])).unwrap();
            assert_eq!(store.write(|db| add(db, &expected, b"sealed")).unwrap(), 2, "nothing of it was left");
            assert_eq!(store.write(|db| purge(db, None, at(49))).unwrap(), 0);
            assert_eq!(store.write(|db| purge(db, Some("other"), at(49))).unwrap(), 0);
            assert_eq!(store.write(|db| purge(db, None, at(50))).unwrap(), 1);
            assert_eq!(store.read(holdings).unwrap(), []);
        }
    }
}
