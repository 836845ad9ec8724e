//! Layouts: the table in which the sessions of each target were recognized.

use serde::{Serialize, de::DeserializeOwned};
use sessionwatch_core::timestamp::UtcTimestamp;

use crate::{StoreError, audit, transaction::Tx};

/// What is kept of a target; `L` is where its sessions are, as whoever recognizes them writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLayout<L> {
    /// The target.
    pub target: String,
    /// Where the target was then, without a password.
    pub address: String,
    /// What the configuration said about its tables then.
    pub configured_tables: String,
    /// Where its sessions were.
    pub layout: L,
    /// Since when.
    pub recognized_at: UtcTimestamp,
    /// Who confirmed it; `None` for the first that was recognized.
    pub confirmed_by: Option<String>,
}

/// A change of where the sessions of a target are, as the audit trail names it.
#[derive(Clone, Copy, Debug)]
pub struct LayoutChange<'a, L> {
    /// The target.
    pub target: &'a str,
    /// Who confirmed it, or what did.
    pub actor: &'a str,
    /// Where they were before; `None` if that is not known.
    pub before: Option<&'a L>,
    /// Where they are now.
    pub after: &'a L,
}

/// Returns what is kept of a target.
///
/// # Errors
///
/// If it cannot be read.
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
            layout: row.decode_text(2, |text| serde_json::from_str(text).ok())?,
            recognized_at: row.read_timestamp(3)?,
            confirmed_by: row.read_optional_text(4)?,
        })
    })
    .transpose()
}

/// Returns everything that is kept.
///
/// # Errors
///
/// If it cannot be read.
pub fn list_layouts<L: DeserializeOwned>(db: Tx<'_>) -> Result<Vec<StoredLayout<L>>, StoreError> {
    let mut all = Vec::new();
    for row in db.query_rows("SELECT target FROM layouts ORDER BY target", &[])? {
        all.extend(find_layout(db, &row.read_text(0)?)?);
    }
    Ok(all)
}

/// Keeps where the sessions of a target are, in place of what was kept before.
///
/// # Errors
///
/// If it cannot be written.
pub fn upsert_layout<L: Serialize>(db: Tx<'_>, kept: &StoredLayout<L>) -> Result<(), StoreError> {
    let layout = serde_json::to_string(&kept.layout).map_err(|_| StoreError::NotSerializable("a layout"))?;
    db.execute(
        "INSERT INTO layouts (target, address, configured, layout, at, confirmed_by) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (target) DO UPDATE SET address = excluded.address, configured = excluded.configured,
           layout = excluded.layout, at = excluded.at, confirmed_by = excluded.confirmed_by",
        &[
            kept.target.as_str().into(),
            kept.address.as_str().into(),
            kept.configured_tables.as_str().into(),
            layout.as_str().into(),
            kept.recognized_at.into(),
            (&kept.confirmed_by).into(),
        ],
    )?;
    Ok(())
}

/// Notes in the audit trail that the sessions of a target are elsewhere than before.
///
/// # Errors
///
/// If it cannot be written.
pub fn audit_layout_change<L: Serialize>(
    db: Tx<'_>,
    change: LayoutChange<'_, L>,
    now: UtcTimestamp,
) -> Result<(), StoreError> {
    let LayoutChange { target, actor, before, after } = change;
    let detail = serde_json::json!({ "target": target, "before": before, "after": after });
    audit::insert_audit_entry(
        db,
        audit::NewAuditEntry { actor, action: "target.layout_confirmed", detail: &detail.to_string() },
        now,
    )
}
