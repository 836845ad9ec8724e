//! Layouts: the session table detected in each target.

use serde::{Serialize, de::DeserializeOwned};
use sessionwatch_core::timestamp::UtcTimestamp;

use crate::{StoreError, audit, transaction::Tx};

/// The stored layout of a target. `L` is the serialized form of the layout itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLayout<L> {
    /// The target's name.
    pub target: String,
    /// The target's address when the layout was stored, without a password.
    pub address: String,
    /// The configured tables when the layout was stored.
    pub configured_tables: String,
    /// The layout.
    pub layout: L,
    /// Time of detection or confirmation.
    pub recognized_at: UtcTimestamp,
    /// The person who confirmed the layout; `None` if it was detected first and never changed.
    pub confirmed_by: Option<String>,
}

/// A change of a target's layout, for the audit log.
#[derive(Clone, Copy, Debug)]
pub struct LayoutChange<'a, L> {
    /// The target's name.
    pub target: &'a str,
    /// The person or program that confirmed the change.
    pub actor: &'a str,
    /// The previous layout; `None` if unknown.
    pub before: Option<&'a L>,
    /// The new layout.
    pub after: &'a L,
}

/// Returns the stored layout of a target.
///
/// # Errors
///
/// If the store cannot be read.
pub fn find_layout<L: DeserializeOwned>(
    db: Tx<'_>,
    target: &str,
) -> Result<Option<StoredLayout<L>>, StoreError> {
    let row = db.query_row(
        "SELECT address, configured, layout, at, confirmed_by FROM layouts WHERE target = $1",
        &[target.into()],
    )?;
    row.map(|row| {
        Ok(StoredLayout {
            target: target.to_owned(),
            address: row.read_text(0)?,
            configured_tables: row.read_text(1)?,
            // A layout that cannot be decoded is an error: a guessed table could be cleaned up.
            layout: row.decode_text(2, |text| serde_json::from_str(text).ok())?,
            recognized_at: row.read_timestamp(3)?,
            confirmed_by: row.read_optional_text(4)?,
        })
    })
    .transpose()
}

/// Returns all stored layouts, ordered by target.
///
/// # Errors
///
/// If the store cannot be read.
pub fn list_layouts<L: DeserializeOwned>(db: Tx<'_>) -> Result<Vec<StoredLayout<L>>, StoreError> {
    let mut all = Vec::new();
    // Only names here, so that a single place decodes layouts.
    for row in db.query_rows("SELECT target FROM layouts ORDER BY target", &[])? {
        all.extend(find_layout(db, &row.read_text(0)?)?);
    }
    Ok(all)
}

/// Stores a target's layout, replacing the previous one.
///
/// # Errors
///
/// If the store cannot be written.
pub fn upsert_layout<L: Serialize>(db: Tx<'_>, record: &StoredLayout<L>) -> Result<(), StoreError> {
    // Before the transaction is touched, so that a failure leaves nothing half written.
    let layout =
        serde_json::to_string(&record.layout).map_err(|_| StoreError::NotSerializable("a layout"))?;
    db.execute(
        "INSERT INTO layouts (target, address, configured, layout, at, confirmed_by) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (target) DO UPDATE SET address = excluded.address, configured = excluded.configured,
           layout = excluded.layout, at = excluded.at, confirmed_by = excluded.confirmed_by",
        &[
            record.target.as_str().into(),
            record.address.as_str().into(),
            record.configured_tables.as_str().into(),
            layout.as_str().into(),
            record.recognized_at.into(),
            (&record.confirmed_by).into(),
        ],
    )?;
    Ok(())
}

/// Records a layout change in the audit log.
///
/// # Errors
///
/// If the store cannot be written.
pub fn audit_layout_change<L: Serialize>(
    db: Tx<'_>,
    change: LayoutChange<'_, L>,
    now: UtcTimestamp,
) -> Result<(), StoreError> {
    let LayoutChange { target, actor, before, after } = change;
    // Both layouts, so that the log names the table that was monitored until then.
    let detail = serde_json::json!({ "target": target, "before": before, "after": after });
    audit::insert_audit_entry(
        db,
        audit::NewAuditEntry { actor, action: "target.layout_confirmed", detail: &detail.to_string() },
        now,
    )
}
