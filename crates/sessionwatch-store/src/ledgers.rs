//! Ledgers: the sessions of the last look by fingerprint, so that a restart still sees what changed.

use sessionwatch_core::instant::Instant;

use crate::{StoreError, db::Db};

/// The name of the key of the fingerprints.
const KEY: &str = "fingerprint-key";

/// The key of the store's fingerprints: what is offered becomes the key if there is none yet.
///
/// # Errors
///
/// If it cannot be written.
pub fn key(db: Db<'_>, offered: i64) -> Result<i64, StoreError> {
    db.run(
        "INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
        &[KEY.into(), offered.into()],
    )?;
    Ok(present_key(db)?.unwrap_or(offered))
}

/// The key of the store's fingerprints; `None` if there is none yet.
///
/// # Errors
///
/// If it cannot be read.
pub fn present_key(db: Db<'_>) -> Result<Option<i64>, StoreError> {
    let row = db.row("SELECT value FROM secrets WHERE name = $1", &[KEY.into()])?;
    row.map(|row| row.int(0)).transpose()
}

/// Keeps a target's ledger.
///
/// # Errors
///
/// If it cannot be written.
pub fn put(db: Db<'_>, target: &str, ledger: &[u8], now: Instant) -> Result<(), StoreError> {
    db.run(
        "INSERT INTO ledgers (target, at, ledger) VALUES ($1, $2, $3)
         ON CONFLICT (target) DO UPDATE SET at = excluded.at, ledger = excluded.ledger",
        &[target.into(), now.into(), ledger.into()],
    )?;
    Ok(())
}

/// A target's ledger, and when it was taken.
///
/// # Errors
///
/// If it cannot be read.
pub fn get(db: Db<'_>, target: &str) -> Result<Option<(Instant, Vec<u8>)>, StoreError> {
    let row = db.row("SELECT at, ledger FROM ledgers WHERE target = $1", &[target.into()])?;
    row.map(|row| Ok((row.instant(0)?, row.bytes(1)?.to_vec()))).transpose()
}
