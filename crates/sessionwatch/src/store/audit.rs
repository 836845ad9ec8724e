//! The audit trail: who did what. Each entry carries the hash of the one before it, so that a changed or removed entry
//! shows.

use std::fmt::Write as _;

use rusqlite::{Connection, OptionalExtension as _, params};
use sessionwatch_rules::instant::Instant;
use sha2::{Digest as _, Sha256};

use super::StoreError;

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

/// Adds an entry.
///
/// # Errors
///
/// If it cannot be written.
pub fn add(
    connection: &Connection,
    (actor, action): (&str, &str),
    detail: &str,
    now: Instant,
) -> Result<(), StoreError> {
    let last = connection
        .query_row("SELECT hash FROM audit ORDER BY id DESC LIMIT 1", [], |row| row.get::<_, String>(0))
        .optional()?;
    let previous = last.unwrap_or_else(|| NOTHING.into());
    let hash = hash(&previous, now.micros(), [actor, action, detail]);
    connection.execute(
        "INSERT INTO audit (at, actor, action, detail, previous, hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![now.micros(), actor, action, detail, previous, hash],
    )?;
    Ok(())
}

/// Follows the trail from its start.
///
/// # Errors
///
/// If it cannot be read.
pub fn verify(connection: &Connection) -> Result<Trail, StoreError> {
    let mut statement =
        connection.prepare("SELECT id, at, actor, action, detail, previous, hash FROM audit ORDER BY id")?;
    let mut rows = statement.query([])?;
    let (mut last, mut count) = (NOTHING.to_owned(), 0);
    while let Some(row) = rows.next()? {
        let text = |at: usize| row.get::<_, String>(at);
        let (actor, action, detail, previous, found) = (text(2)?, text(3)?, text(4)?, text(5)?, text(6)?);
        let expected = hash(&previous, row.get(1)?, [&actor, &action, &detail]);
        if previous != last || found != expected {
            return Ok(Trail::Broken(row.get(0)?));
        }
        last = found;
        count += 1;
    }
    Ok(Trail::Whole(count))
}

/// SHA-256 over every part with its length, so that no two entries read alike.
fn hash(previous: &str, at: i64, parts: [&str; 3]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(at.to_be_bytes());
    for part in [previous].into_iter().chain(parts) {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::store;

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
                store.write(|transaction| add(transaction, ("first", "second"), detail, now)).unwrap();
            }
            let tampered = store.write(|transaction| Ok(transaction.execute_batch(tamper)?));
            assert!(tampered.is_ok() && store.read(verify).unwrap() == expected, "{tamper}");
        }
    }
}
