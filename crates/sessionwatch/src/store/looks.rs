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

/// Forgets looks taken before an instant: how many.
///
/// # Errors
///
/// If it cannot be written.
pub fn forget(connection: &Connection, before: Instant) -> Result<usize, StoreError> {
    Ok(connection.execute("DELETE FROM looks WHERE taken_at < ?1", [before.micros()])?)
}

/// When the last look at a target was taken that saw something.
///
/// # Errors
///
/// If it cannot be read.
pub fn last_seen(connection: &Connection, target: &str) -> Result<Option<Instant>, StoreError> {
    let micros: Option<i64> = connection.query_row(
        "SELECT MAX(taken_at) FROM looks WHERE target = ?1 AND verdict <> 'blind'",
        [target],
        |row| row.get(0),
    )?;
    Ok(micros.and_then(Instant::from_micros))
}
