//! Attestations: checklist items that no query can decide, confirmed by a person.

use sessionwatch_core::{period::Period, timestamp::UtcTimestamp};

use crate::{StoreError, row::StoreRow, transaction::Tx};

/// A person's statement on a checklist item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// Time of the attestation.
    pub at: UtcTimestamp,
    /// The target's name.
    pub target: String,
    /// The id of the checklist item.
    pub item: String,
    /// `true` if the item passes.
    pub holds: bool,
    /// The person.
    pub owner: String,
    /// The person's note.
    pub note: String,
}

/// Stores an attestation.
///
/// # Errors
///
/// If the store cannot be written.
pub fn insert_attestation(db: Tx<'_>, attestation: &Attestation) -> Result<(), StoreError> {
    let id = db.next_id("attestations")?;
    db.execute(
        "INSERT INTO attestations (id, at, target, item, holds, owner, note) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[
            id.into(),
            attestation.at.into(),
            (&attestation.target).into(),
            (&attestation.item).into(),
            attestation.holds.into(),
            (&attestation.owner).into(),
            (&attestation.note).into(),
        ],
    )?;
    Ok(())
}

/// A checklist item of a target.
#[derive(Clone, Copy, Debug)]
pub struct ChecklistItemRef<'a> {
    /// The name of the target.
    pub target: &'a str,
    /// The id of the item.
    pub item: &'a str,
}

/// Returns the last attestation of an item in a period.
///
/// # Errors
///
/// If the store cannot be read.
pub fn find_latest_attestation(
    db: Tx<'_>,
    item: ChecklistItemRef<'_>,
    Period { from, to }: Period,
) -> Result<Option<Attestation>, StoreError> {
    let ChecklistItemRef { target, item } = item;
    let row = db.query_row(
        "SELECT at, holds, owner, note FROM attestations
         WHERE target = $1 AND item = $2 AND at >= $3 AND at < $4 ORDER BY id DESC LIMIT 1",
        &[target.into(), item.into(), from.into(), to.into()],
    )?;
    let attestation = |row: StoreRow| {
        Ok(Attestation {
            at: row.read_timestamp(0)?,
            target: target.to_owned(),
            item: item.to_owned(),
            holds: row.read_bool(1)?,
            owner: row.read_text(2)?,
            note: row.read_text(3)?,
        })
    };
    row.map(attestation).transpose()
}
