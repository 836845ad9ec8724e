//! Ledgers: the sessions of the last look by fingerprint, so that a restart still sees what changed.

use sessionwatch_core::timestamp::UtcTimestamp;

use crate::{StoreError, transaction::Tx};

/// The name of the key of the fingerprints.
const FINGERPRINT_KEY_NAME: &str = "fingerprint-key";

/// The key of the store's fingerprints: what is offered becomes the key if there is none yet.
///
/// # Errors
///
/// If it cannot be written.
pub fn ensure_fingerprint_key(db: Tx<'_>, offered: i64) -> Result<i64, StoreError> {
    db.execute(
        "INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
        &[FINGERPRINT_KEY_NAME.into(), offered.into()],
    )?;
    Ok(find_fingerprint_key(db)?.unwrap_or(offered))
}

/// The key of the store's fingerprints; `None` if there is none yet.
///
/// # Errors
///
/// If it cannot be read.
pub fn find_fingerprint_key(db: Tx<'_>) -> Result<Option<i64>, StoreError> {
    let row = db.query_row("SELECT value FROM secrets WHERE name = $1", &[FINGERPRINT_KEY_NAME.into()])?;
    row.map(|row| row.read_i64(0)).transpose()
}

/// Keeps a target's ledger.
///
/// # Errors
///
/// If it cannot be written.
pub fn upsert_snapshot(
    db: Tx<'_>,
    target: &str,
    snapshot: &[u8],
    now: UtcTimestamp,
) -> Result<(), StoreError> {
    db.execute(
        "INSERT INTO ledgers (target, at, ledger) VALUES ($1, $2, $3)
         ON CONFLICT (target) DO UPDATE SET at = excluded.at, ledger = excluded.ledger",
        &[target.into(), now.into(), snapshot.into()],
    )?;
    Ok(())
}

/// A target's ledger, and when it was taken.
///
/// # Errors
///
/// If it cannot be read.
pub fn find_snapshot(db: Tx<'_>, target: &str) -> Result<Option<(UtcTimestamp, Vec<u8>)>, StoreError> {
    let row = db.query_row("SELECT at, ledger FROM ledgers WHERE target = $1", &[target.into()])?;
    row.map(|row| Ok((row.read_timestamp(0)?, row.read_bytes(1)?.to_vec()))).transpose()
}
