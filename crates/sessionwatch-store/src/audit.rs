//! The audit trail: who did what. Each entry carries the hash of the one before it, so that a changed or removed entry
//! shows.

use sessionwatch_core::{period::Period, timestamp::UtcTimestamp};
use sha2::{Digest as _, Sha256};

use crate::{StoreError, transaction::Tx};
use credentials::mask_credentials;

/// What the first entry carries.
const EMPTY_CHAIN_HASH: &str = "";

/// Whether the trail is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainStatus {
    /// Every entry follows from the one before it; how many there are.
    Intact(u64),
    /// The entry of that number is not what was written, or does not follow.
    Broken(i64),
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: UtcTimestamp,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// The rest, as JSON.
    pub detail: String,
}

/// An entry to add.
#[derive(Clone, Copy, Debug)]
pub struct NewAuditEntry<'a> {
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
pub fn insert_audit_entry(db: Tx<'_>, entry: NewAuditEntry<'_>, now: UtcTimestamp) -> Result<(), StoreError> {
    let (actor, action, detail) =
        (mask_credentials(entry.actor), mask_credentials(entry.action), mask_credentials(entry.detail));
    let (actor, action, detail) = (actor.as_ref(), action.as_ref(), detail.as_ref());
    let last = db.query_row("SELECT hash FROM audit ORDER BY id DESC LIMIT 1", &[])?;
    let previous = last.map_or_else(|| Ok(EMPTY_CHAIN_HASH.into()), |row| row.read_text(0))?;
    let hash = hash_entry(&previous, now.micros(), [actor, action, detail]);
    let id = db.next_id("audit")?;
    db.execute(
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
pub fn list_audit_entries_between(
    db: Tx<'_>,
    Period { from, to }: Period,
    limit: u32,
) -> Result<Vec<AuditEntry>, StoreError> {
    let query = "SELECT id, at, actor, action, detail FROM audit WHERE at >= $1 AND at < $2 ORDER BY id DESC LIMIT $3";
    let rows = db.query_rows(query, &[from.into(), to.into(), limit.into()])?;
    rows.iter().rev().map(audit_entry_from_row).collect()
}

/// The entries with smaller numbers than that one, the latest first.
///
/// # Errors
///
/// If they cannot be read.
pub fn list_audit_entries_before(
    db: Tx<'_>,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<AuditEntry>, StoreError> {
    let query = "SELECT id, at, actor, action, detail FROM audit WHERE id < $1 ORDER BY id DESC LIMIT $2";
    db.query_rows(query, &[before.unwrap_or(i64::MAX).into(), limit.into()])?
        .iter()
        .map(audit_entry_from_row)
        .collect()
}

fn audit_entry_from_row(row: &super::row::StoreRow) -> Result<AuditEntry, StoreError> {
    Ok(AuditEntry {
        id: row.read_i64(0)?,
        at: row.read_timestamp(1)?,
        actor: row.read_text(2)?,
        action: row.read_text(3)?,
        detail: row.read_json_text(4)?,
    })
}

/// The hash of the last entry. Whoever keeps it elsewhere sees entries cut off the end, which no chain shows by itself.
///
/// # Errors
///
/// If it cannot be read.
pub fn find_latest_hash(db: Tx<'_>) -> Result<Option<String>, StoreError> {
    db.query_row("SELECT hash FROM audit ORDER BY id DESC LIMIT 1", &[])?
        .map(|row| row.read_text(0))
        .transpose()
}

/// Whether an entry has that hash.
///
/// # Errors
///
/// If it cannot be read.
pub fn contains_hash(db: Tx<'_>, hash: &str) -> Result<bool, StoreError> {
    Ok(db.query_row("SELECT 1 FROM audit WHERE hash = $1", &[hash.into()])?.is_some())
}

/// Follows the trail from its start.
///
/// # Errors
///
/// If it cannot be read.
pub fn verify_chain(db: Tx<'_>) -> Result<ChainStatus, StoreError> {
    /// Entries that are read at once.
    const VERIFY_PAGE_SIZE: i64 = 1_000;
    let (mut last, mut count, mut seen) = (EMPTY_CHAIN_HASH.to_owned(), 0, 0);
    loop {
        let page = db.query_rows(
            "SELECT id, at, actor, action, detail, previous, hash FROM audit WHERE id > $1 ORDER BY id LIMIT $2",
            &[seen.into(), VERIFY_PAGE_SIZE.into()],
        )?;
        for row in &page {
            let text = |at| row.read_text(at);
            let [actor, action, detail, previous, found] = [text(2)?, text(3)?, text(4)?, text(5)?, text(6)?];
            if previous != last
                || found != hash_entry(&previous, row.read_i64(1)?, [&actor, &action, &detail])
            {
                return Ok(ChainStatus::Broken(row.read_i64(0)?));
            }
            (last, seen) = (found, row.read_i64(0)?);
            count += 1;
        }
        if page.is_empty() {
            return Ok(ChainStatus::Intact(count));
        }
    }
}

/// SHA-256 over every part with its length, so that no two entries read alike.
fn hash_entry(previous: &str, at: i64, parts: [&str; 3]) -> String {
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
    use crate::tests::open_file_store;

    #[test]
    fn a_changed_a_removed_and_a_forged_entry_show() {
        let now = UtcTimestamp::from_micros(1).unwrap();
        for (tamper, expected) in [
            ("SELECT 1", ChainStatus::Intact(3)),
            ("UPDATE audit SET detail = 'x' WHERE id = 2", ChainStatus::Broken(2)),
            ("DELETE FROM audit WHERE id = 2", ChainStatus::Broken(3)),
            ("UPDATE audit SET actor = 'firsts', action = 'econd' WHERE id = 2", ChainStatus::Broken(2)),
        ] {
            let (_folder, store) = open_file_store();
            for detail in ["a", "b", "c"] {
                store
                    .write(|transaction| {
                        insert_audit_entry(
                            transaction,
                            NewAuditEntry { actor: "first", action: "second", detail },
                            now,
                        )
                    })
                    .unwrap();
            }
            let tampered = store.write(|db| db.execute_batch(tamper));
            assert!(tampered.is_ok() && store.read(verify_chain).unwrap() == expected, "{tamper}");
        }
    }
}
