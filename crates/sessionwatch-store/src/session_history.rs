//! Session history: the sessions of the last check run by fingerprint, so that a restarted daemon can still compute the
//! diff.

use sessionwatch_core::timestamp::UtcTimestamp;

use crate::{StoreError, transaction::Tx};

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
