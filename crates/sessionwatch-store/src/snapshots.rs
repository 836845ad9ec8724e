//! Session snapshots: the sessions of the last check run by fingerprint, so that a restarted daemon can still compute
//! the diff.

use sessionwatch_core::timestamp::UtcTimestamp;

use crate::{StoreError, transaction::Tx};

/// Name of the fingerprint key in the `secrets` table.
const FINGERPRINT_KEY_NAME: &str = "fingerprint-key";

/// Returns the fingerprint key, after storing `offered` as the key if there is none.
///
/// # Errors
///
/// If the store cannot be written.
pub fn ensure_fingerprint_key(db: Tx<'_>, offered: i64) -> Result<i64, StoreError> {
    db.execute(
        "INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
        // The first daemon to store a key decides, and the others use that one.
        &[FINGERPRINT_KEY_NAME.into(), offered.into()],
    )?;
    // Read back: on a conflict, the stored key counts and not the offered one.
    Ok(find_fingerprint_key(db)?.unwrap_or(offered))
}

/// Returns the fingerprint key, or `None` if there is none yet.
///
/// # Errors
///
/// If the store cannot be read.
pub fn find_fingerprint_key(db: Tx<'_>) -> Result<Option<i64>, StoreError> {
    let row = db.query_row("SELECT value FROM secrets WHERE name = $1", &[FINGERPRINT_KEY_NAME.into()])?;
    row.map(|row| row.read_i64(0)).transpose()
}

/// Stores a target's session snapshot, replacing the previous one.
///
/// # Errors
///
/// If the store cannot be written.
pub fn upsert_snapshot(
    db: Tx<'_>,
    target: &str,
    snapshot: &[u8],
    now: UtcTimestamp,
) -> Result<(), StoreError> {
    db.execute(
        "INSERT INTO snapshots (target, at, snapshot) VALUES ($1, $2, $3)
         ON CONFLICT (target) DO UPDATE SET at = excluded.at, snapshot = excluded.snapshot",
        &[target.into(), now.into(), snapshot.into()],
    )?;
    Ok(())
}

/// Returns a target's session snapshot and the time when it was taken.
///
/// # Errors
///
/// If the store cannot be read.
pub fn find_snapshot(db: Tx<'_>, target: &str) -> Result<Option<(UtcTimestamp, Vec<u8>)>, StoreError> {
    let row = db.query_row("SELECT at, snapshot FROM snapshots WHERE target = $1", &[target.into()])?;
    row.map(|row| Ok((row.read_timestamp(0)?, row.read_bytes(1)?.to_vec()))).transpose()
}
