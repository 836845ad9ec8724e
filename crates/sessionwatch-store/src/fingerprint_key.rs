//! The key with which a store hashes session tokens to fingerprints, shared by its daemons.

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
