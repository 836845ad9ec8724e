//! The latest check report of each target.

use sessionwatch_core::timestamp::UtcTimestamp;

use crate::{StoreError, transaction::Tx};

/// Stores a target's report, a JSON text, replacing the previous one.
///
/// # Errors
///
/// If the store cannot be written.
pub fn upsert_report(db: Tx<'_>, target: &str, report: &str, now: UtcTimestamp) -> Result<(), StoreError> {
    db.execute(
        "INSERT INTO latest_reports (target, at, report) VALUES ($1, $2, $3)
         ON CONFLICT (target) DO UPDATE SET at = excluded.at, report = excluded.report",
        &[target.into(), now.into(), report.into()],
    )?;
    Ok(())
}

/// Returns a target's latest report, parsed, and its time.
///
/// # Errors
///
/// If the store cannot be read, or the report is not valid JSON.
pub fn find_report(
    db: Tx<'_>,
    target: &str,
) -> Result<Option<(UtcTimestamp, serde_json::Value)>, StoreError> {
    let decoded = |(at, text): (UtcTimestamp, String)| {
        let undecodable =
            |_| StoreError::Undecodable { table: "latest_reports".into(), column: "report".into() };
        Ok((at, serde_json::from_str(&text).map_err(undecodable)?))
    };
    find_report_text(db, target)?.map(decoded).transpose()
}

/// Returns a target's latest report as JSON text, and its time.
///
/// # Errors
///
/// If the store cannot be read.
pub fn find_report_text(db: Tx<'_>, target: &str) -> Result<Option<(UtcTimestamp, String)>, StoreError> {
    let row = db.query_row("SELECT at, report FROM latest_reports WHERE target = $1", &[target.into()])?;
    row.map(|row| Ok((row.read_timestamp(0)?, row.read_json_text(1)?))).transpose()
}
