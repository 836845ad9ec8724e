//! The audit log: who did what. Each entry includes the hash of the previous one, so that a changed or removed entry is
//! detected.

use sessionwatch_core::{period::Period, timestamp::UtcTimestamp};
use sha2::{Digest as _, Sha256};

use crate::{StoreError, history_events::contains_pattern, row::Param, transaction::Tx};
use credentials::mask_credentials;

/// Previous hash of the first entry.
const EMPTY_CHAIN_HASH: &str = "";

/// Conditions of a search; the parameters are those of [`AuditSearch::values`].
const AUDIT_CONDITIONS: &str =
    "(CAST($1 AS TEXT) IS NULL OR actor = $1) AND (CAST($2 AS TEXT) IS NULL OR action = $2)
   AND (CAST($3 AS TEXT) IS NULL OR LOWER(actor || ' ' || action || ' ' || detail) LIKE LOWER($3) ESCAPE '!')
   AND (CAST($4 AS BIGINT) IS NULL OR at >= $4)";

/// The result of verifying the hash chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainStatus {
    /// All entries are intact; holds their number.
    Intact(u64),
    /// The entry with this id was changed, or does not follow the previous one.
    Broken(i64),
}

/// An audit log entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Id of the entry.
    pub id: i64,
    /// Time of the action.
    pub at: UtcTimestamp,
    /// The person or program that acted.
    pub actor: String,
    /// The action's name.
    pub action: String,
    /// Further details, as JSON.
    pub detail: String,
}

/// An entry to add.
#[derive(Clone, Copy, Debug)]
pub struct NewAuditEntry<'a> {
    /// The person or program that acted.
    pub actor: &'a str,
    /// The action's name, such as `plan.applied`.
    pub action: &'a str,
    /// Object and outcome, as JSON.
    pub detail: &'a str,
}

/// Adds an entry. Credentials typed into any of its texts are masked.
///
/// # Errors
///
/// If the store cannot be written.
pub fn insert_audit_entry(db: Tx<'_>, entry: NewAuditEntry<'_>, now: UtcTimestamp) -> Result<(), StoreError> {
    // Masked before hashing and storing: people paste addresses with passwords into notes and reasons.
    let (actor, action, detail) =
        (mask_credentials(entry.actor), mask_credentials(entry.action), mask_credentials(entry.detail));
    let (actor, action, detail) = (actor.as_ref(), action.as_ref(), detail.as_ref());
    // By id and not by time: entries keep their order even if the clock was set back.
    let last = db.query_row("SELECT hash FROM audit ORDER BY id DESC LIMIT 1", &[])?;
    let previous = last.map_or_else(|| Ok(EMPTY_CHAIN_HASH.into()), |row| row.read_text(0))?;
    let hash = hash_entry(&previous, now.micros(), [actor, action, detail]);
    // The hash covers the masked texts, as stored: verification must not need the credentials.
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

/// Returns the entries in a period, oldest first; the latest ones if there are more than `limit`.
///
/// # Errors
///
/// If the store cannot be read.
pub fn list_audit_entries_between(
    db: Tx<'_>,
    Period { from, to }: Period,
    limit: u32,
) -> Result<Vec<AuditEntry>, StoreError> {
    let query = "SELECT id, at, actor, action, detail FROM audit WHERE at >= $1 AND at < $2 ORDER BY id DESC LIMIT $3";
    let rows = db.query_rows(query, &[from.into(), to.into(), limit.into()])?;
    // Read backwards for the limit, and returned in the order in which people read a log.
    rows.iter().rev().map(audit_entry_from_row).collect()
}

/// Counts the entries in a period.
///
/// # Errors
///
/// If the store cannot be read.
pub fn count_audit_entries_between(db: Tx<'_>, Period { from, to }: Period) -> Result<u64, StoreError> {
    db.query_count("SELECT COUNT(*) FROM audit WHERE at >= $1 AND at < $2", &[from.into(), to.into()])
}

/// Returns entries with an id below `before`, latest first.
///
/// # Errors
///
/// If the store cannot be read.
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

/// Search criteria for audit entries. `None` applies no restriction.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuditSearch<'a> {
    /// Only entries of this actor.
    pub actor: Option<&'a str>,
    /// Only entries with this action.
    pub action: Option<&'a str>,
    /// Only entries whose actor, action or details contain this text, ignoring case.
    pub text: Option<&'a str>,
    /// Only entries at or after this time.
    pub from: Option<UtcTimestamp>,
}

impl<'a> AuditSearch<'a> {
    /// Returns the values of [`AUDIT_CONDITIONS`].
    fn values(&self, pattern: Option<&'a str>) -> [Param<'a>; 4] {
        [Param::Text(self.actor), Param::Text(self.action), Param::Text(pattern), self.from.into()]
    }

    /// Returns the pattern of the text for `LIKE … ESCAPE '!'`.
    fn text_pattern(&self) -> Option<String> {
        self.text.map(contains_pattern)
    }
}

/// Returns the matching entries with an id below `before`, latest first.
///
/// # Errors
///
/// If the store cannot be read.
pub fn search_audit_entries(
    db: Tx<'_>,
    search: AuditSearch<'_>,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<AuditEntry>, StoreError> {
    let pattern = search.text_pattern();
    let query = format!(
        "SELECT id, at, actor, action, detail FROM audit WHERE {AUDIT_CONDITIONS} AND id < $5 ORDER BY id DESC LIMIT $6"
    );
    let mut values = search.values(pattern.as_deref()).to_vec();
    values.extend([Param::from(before.unwrap_or(i64::MAX)), limit.into()]);
    db.query_rows(&query, &values)?.iter().map(audit_entry_from_row).collect()
}

/// Counts the matching entries.
///
/// # Errors
///
/// If the store cannot be read.
pub fn count_audit_entries(db: Tx<'_>, search: AuditSearch<'_>) -> Result<u64, StoreError> {
    let pattern = search.text_pattern();
    let query = format!("SELECT COUNT(*) FROM audit WHERE {AUDIT_CONDITIONS}");
    db.query_row(&query, &search.values(pattern.as_deref()))?.map_or(Ok(0), |row| row.read_u64(0))
}

/// Returns the actors that have entries, by name. Failed logins do not count: they name anybody.
///
/// # Errors
///
/// If the store cannot be read.
pub fn list_audit_actors(db: Tx<'_>) -> Result<Vec<String>, StoreError> {
    let rows =
        db.query_rows("SELECT DISTINCT actor FROM audit WHERE action <> 'login.failed' ORDER BY actor", &[])?;
    rows.iter().map(|row| row.read_text(0)).collect()
}

/// Returns the actions that have entries, by name.
///
/// # Errors
///
/// If the store cannot be read.
pub fn list_audit_actions(db: Tx<'_>) -> Result<Vec<String>, StoreError> {
    let rows = db.query_rows("SELECT DISTINCT action FROM audit ORDER BY action", &[])?;
    rows.iter().map(|row| row.read_text(0)).collect()
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

/// Returns the hash of the last entry. A copy kept elsewhere reveals entries removed from the end, which the chain
/// alone cannot.
///
/// # Errors
///
/// If the store cannot be read.
pub fn find_latest_hash(db: Tx<'_>) -> Result<Option<String>, StoreError> {
    db.query_row("SELECT hash FROM audit ORDER BY id DESC LIMIT 1", &[])?
        .map(|row| row.read_text(0))
        .transpose()
}

/// Returns `true` if an entry has this hash.
///
/// # Errors
///
/// If the store cannot be read.
pub fn contains_hash(db: Tx<'_>, hash: &str) -> Result<bool, StoreError> {
    Ok(db.query_row("SELECT 1 FROM audit WHERE hash = $1", &[hash.into()])?.is_some())
}

/// Verifies the hash chain from its start.
///
/// # Errors
///
/// If the store cannot be read.
pub fn verify_chain(db: Tx<'_>) -> Result<ChainStatus, StoreError> {
    /// Entries read per query.
    const VERIFY_PAGE_SIZE: i64 = 1_000;
    let (mut last, mut count, mut seen) = (EMPTY_CHAIN_HASH.to_owned(), 0, 0);
    loop {
        // Reads page by page: the log is never pruned, and may not fit into memory.
        let page = db.query_rows(
            "SELECT id, at, actor, action, detail, previous, hash FROM audit WHERE id > $1 ORDER BY id LIMIT $2",
            &[seen.into(), VERIFY_PAGE_SIZE.into()],
        )?;
        for row in &page {
            let text = |at| row.read_text(at);
            let [actor, action, detail, previous, found] = [text(2)?, text(3)?, text(4)?, text(5)?, text(6)?];
            // The stored hash of the previous entry must match the computed one, or an entry was removed
            // between them.
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

/// Returns the SHA-256 of an entry. Each text is preceded by its length, so that different entries never hash the same
/// bytes.
fn hash_entry(previous: &str, at: i64, parts: [&str; 3]) -> String {
    let mut hasher = Sha256::new();
    // Fixed-width fields need no length in front.
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
    use crate::tests::{open_file_store, store_of_each_kind};

    #[test]
    fn entries_are_found_by_actor_action_text_and_time() {
        for store in store_of_each_kind() {
            let at = |micros| UtcTimestamp::from_micros(micros).unwrap();
            for (micros, actor, action, detail) in [
                (1, "ada", "plan.created", r#"{"target":"shop_a"}"#),
                (2, "ada", "login.ended", "{}"),
                (3, "bob", "plan.created", r#"{"target":"shopXa"}"#),
            ] {
                let entry = NewAuditEntry { actor, action, detail };
                store.write(|db| insert_audit_entry(db, entry, at(micros))).unwrap();
            }
            let none = AuditSearch::default();
            for (search, expected) in [
                (none, vec![3, 2, 1]),
                (AuditSearch { actor: Some("ada"), ..none }, vec![2, 1]),
                (AuditSearch { action: Some("plan.created"), ..none }, vec![3, 1]),
                (AuditSearch { text: Some("SHOP_A"), ..none }, vec![1]),
                (AuditSearch { text: Some("%"), ..none }, vec![]),
                (AuditSearch { from: Some(at(2)), ..none }, vec![3, 2]),
            ] {
                let found = store.read(|db| search_audit_entries(db, search, None, 9)).unwrap();
                let ids: Vec<i64> = found.iter().map(|entry| entry.id).collect();
                assert_eq!(ids, expected, "{search:?}");
                let count = store.read(|db| count_audit_entries(db, search)).unwrap();
                assert_eq!(count, expected.len() as u64, "{search:?}");
            }
            assert_eq!(store.read(|db| search_audit_entries(db, none, Some(2), 9)).unwrap().len(), 1);
            assert_eq!(store.read(list_audit_actors).unwrap(), ["ada", "bob"]);
            assert_eq!(store.read(list_audit_actions).unwrap(), ["login.ended", "plan.created"]);
        }
    }

    #[test]
    fn changed_removed_and_forged_entries_are_detected() {
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
