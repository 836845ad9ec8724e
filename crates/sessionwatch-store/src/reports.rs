//! Reports: the last one of each target, whole.

use sessionwatch_core::instant::Instant;

use crate::{StoreError, db::Db};

/// Keeps a report as JSON.
///
/// # Errors
///
/// If it cannot be written.
pub fn put(db: Db<'_>, target: &str, report: &str, now: Instant) -> Result<(), StoreError> {
    db.run(
        "INSERT INTO reports (target, at, report) VALUES ($1, $2, $3)
         ON CONFLICT (target) DO UPDATE SET at = excluded.at, report = excluded.report",
        &[target.into(), now.into(), report.into()],
    )?;
    Ok(())
}

/// The last report of a target, and when it was made.
///
/// # Errors
///
/// If it cannot be read or decoded.
pub fn document(db: Db<'_>, target: &str) -> Result<Option<(Instant, serde_json::Value)>, StoreError> {
    let decoded = |(at, text): (Instant, String)| {
        let undecodable = |_| StoreError::Undecodable { table: "reports".into(), column: "report".into() };
        Ok((at, serde_json::from_str(&text).map_err(undecodable)?))
    };
    get(db, target)?.map(decoded).transpose()
}

/// The last report of a target as JSON, and when it was made.
///
/// # Errors
///
/// If it cannot be read.
pub fn get(db: Db<'_>, target: &str) -> Result<Option<(Instant, String)>, StoreError> {
    let row = db.row("SELECT at, report FROM reports WHERE target = $1", &[target.into()])?;
    row.map(|row| Ok((row.instant(0)?, row.json(1)?))).transpose()
}
