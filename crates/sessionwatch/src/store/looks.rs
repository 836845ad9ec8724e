//! Looks: what was seen, when.

use rusqlite::{Connection, params};
use sessionwatch_rules::instant::Instant;

use super::StoreError;

/// A look to keep.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// The target's name.
    pub target: &'a str,
    /// When.
    pub taken_at: Instant,
    /// How long it took, in microseconds.
    pub duration_us: i64,
    /// The verdict of the whole.
    pub verdict: &'a str,
    /// The report as JSON.
    pub report: &'a str,
}

/// Keeps a look.
///
/// # Errors
///
/// If it cannot be written.
pub fn insert(connection: &Connection, look: Look<'_>) -> Result<(), StoreError> {
    connection.execute(
        "INSERT INTO looks (target, taken_at, duration_us, verdict, report)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        params![look.target, look.taken_at.micros(), look.duration_us, look.verdict, look.report],
    )?;
    Ok(())
}

/// Forgets looks at a target that were taken before an instant.
///
/// # Errors
///
/// If it cannot be written.
pub fn forget(connection: &Connection, target: &str, before: Instant) -> Result<(), StoreError> {
    let query = "DELETE FROM looks WHERE target = ?1 AND taken_at < ?2";
    connection.execute(query, params![target, before.micros()])?;
    Ok(())
}
