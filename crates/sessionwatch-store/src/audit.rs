//! The audit trail: who did what. Each entry carries the hash of the one before it, so that a changed or removed entry
//! shows.

use sessionwatch_core::{instant::Instant, period::Period};
use sha2::{Digest as _, Sha256};

use crate::{StoreError, db::Db};
use credentials::mask;

/// What the first entry carries.
const NOTHING: &str = "";

/// Whether the trail is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trail {
    /// Every entry follows from the one before it; how many there are.
    Whole(u64),
    /// The entry of that number is not what was written, or does not follow.
    Broken(i64),
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: Instant,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// The rest, as JSON.
    pub detail: String,
}

/// An entry to add.
#[derive(Clone, Copy, Debug)]
pub struct NewEntry<'a> {
    /// Who did it.
    pub actor: &'a str,
    /// What was done, in a word.
    pub action: &'a str,
    /// To what and with which outcome, as JSON.
    pub detail: &'a str,
}

/// Adds an entry, without the credentials that somebody may have typed into it.
///
/// # Errors
///
/// If it cannot be written.
pub fn add(db: Db<'_>, entry: NewEntry<'_>, now: Instant) -> Result<(), StoreError> {
    let (actor, action, detail) = (mask(entry.actor), mask(entry.action), mask(entry.detail));
    let (actor, action, detail) = (actor.as_ref(), action.as_ref(), detail.as_ref());
    let last = db.row("SELECT hash FROM audit ORDER BY id DESC LIMIT 1", &[])?;
    let previous = last.map_or_else(|| Ok(NOTHING.into()), |row| row.text(0))?;
    let hash = hash(&previous, now.micros(), [actor, action, detail]);
    let id = db.next_id("audit")?;
    db.run(
        "INSERT INTO audit (id, at, actor, action, detail, previous, hash) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[
            id.into(),
            now.into(),
            actor.into(),
            action.into(),
            detail.into(),
            (&previous).into(),
            (&hash).into(),
        ],
    )?;
    Ok(())
}

/// The entries between two instants, oldest first; the latest where there are more than the limit.
///
/// # Errors
///
/// If they cannot be read.
pub fn between(db: Db<'_>, Period { from, to }: Period, limit: u32) -> Result<Vec<Entry>, StoreError> {
    let query = "SELECT id, at, actor, action, detail FROM audit WHERE at >= $1 AND at < $2 ORDER BY id DESC LIMIT $3";
    let rows = db.rows(query, &[from.into(), to.into(), limit.into()])?;
    rows.iter().rev().map(entry).collect()
}

/// The entries with smaller numbers than that one, the latest first.
///
/// # Errors
///
/// If they cannot be read.
pub fn page(db: Db<'_>, before: Option<i64>, limit: u32) -> Result<Vec<Entry>, StoreError> {
    let query = "SELECT id, at, actor, action, detail FROM audit WHERE id < $1 ORDER BY id DESC LIMIT $2";
    db.rows(query, &[before.unwrap_or(i64::MAX).into(), limit.into()])?.iter().map(entry).collect()
}

fn entry(row: &super::row::Row) -> Result<Entry, StoreError> {
    Ok(Entry {
        id: row.int(0)?,
        at: row.instant(1)?,
        actor: row.text(2)?,
        action: row.text(3)?,
        detail: row.json(4)?,
    })
}

/// The hash of the last entry. Whoever keeps it elsewhere sees entries cut off the end, which no chain shows by itself.
///
/// # Errors
///
/// If it cannot be read.
pub fn head(db: Db<'_>) -> Result<Option<String>, StoreError> {
    db.row("SELECT hash FROM audit ORDER BY id DESC LIMIT 1", &[])?.map(|row| row.text(0)).transpose()
}

/// Whether an entry has that hash.
///
/// # Errors
///
/// If it cannot be read.
pub fn knows(db: Db<'_>, hash: &str) -> Result<bool, StoreError> {
    Ok(db.row("SELECT 1 FROM audit WHERE hash = $1", &[hash.into()])?.is_some())
}

/// Follows the trail from its start.
///
/// # Errors
///
/// If it cannot be read.
pub fn verify(db: Db<'_>) -> Result<Trail, StoreError> {
    /// Entries that are read at once.
    const PAGE: i64 = 1_000;
    let (mut last, mut count, mut seen) = (NOTHING.to_owned(), 0, 0);
    loop {
        let page = db.rows(
            "SELECT id, at, actor, action, detail, previous, hash FROM audit WHERE id > $1 ORDER BY id LIMIT $2",
            &[seen.into(), PAGE.into()],
        )?;
        for row in &page {
            let text = |at| row.text(at);
            let [actor, action, detail, previous, found] = [text(2)?, text(3)?, text(4)?, text(5)?, text(6)?];
            if previous != last || found != hash(&previous, row.int(1)?, [&actor, &action, &detail]) {
                return Ok(Trail::Broken(row.int(0)?));
            }
            (last, seen) = (found, row.int(0)?);
            count += 1;
        }
        if page.is_empty() {
            return Ok(Trail::Whole(count));
        }
    }
}

/// SHA-256 over every part with its length, so that no two entries read alike.
fn hash(previous: &str, at: i64, parts: [&str; 3]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(at.to_be_bytes());
    for part in [previous].into_iter().chain(parts) {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    const_hex::encode(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::store;

    #[test]
    fn a_changed_a_removed_and_a_forged_entry_show() {
        let now = Instant::from_micros(1).unwrap();
        for (tamper, expected) in [
            ("SELECT 1", Trail::Whole(3)),
            ("UPDATE audit SET detail = 'x' WHERE id = 2", Trail::Broken(2)),
            ("DELETE FROM audit WHERE id = 2", Trail::Broken(3)),
            ("UPDATE audit SET actor = 'firsts', action = 'econd' WHERE id = 2", Trail::Broken(2)),
        ] {
            let (_folder, store) = store();
            for detail in ["a", "b", "c"] {
                store
                    .write(|transaction| {
                        add(transaction, NewEntry { actor: "first", action: "second", detail }, now)
                    })
                    .unwrap();
            }
            let tampered = store.write(|db| db.script(tamper));
            assert!(tampered.is_ok() && store.read(verify).unwrap() == expected, "{tamper}");
        }
    }
}
