//! Silences: what is not told for a while.

use rusqlite::{Connection, params};
use sessionwatch_rules::instant::Instant;

use super::StoreError;

/// A silence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Its number.
    pub id: i64,
    /// Of this target; nothing for all.
    pub target: Option<String>,
    /// Of this check; nothing for all.
    pub check: Option<String>,
    /// Its end.
    pub until: Instant,
    /// Who asked for it.
    pub owner: String,
    /// Why.
    pub note: String,
}

/// Begins a silence: its number.
///
/// # Errors
///
/// If it cannot be written.
pub fn begin(connection: &Connection, silence: &Silence) -> Result<i64, StoreError> {
    connection.execute(
        "INSERT INTO silences (target, check_id, until, owner, note)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        params![silence.target, silence.check, silence.until.micros(), silence.owner, silence.note],
    )?;
    Ok(connection.last_insert_rowid())
}

/// Ends a silence: whether there was one.
///
/// # Errors
///
/// If it cannot be written.
pub fn end(connection: &Connection, id: i64) -> Result<bool, StoreError> {
    Ok(connection.execute("DELETE FROM silences WHERE id = ?1", [id])? > 0)
}

/// The silences that hold at an instant.
///
/// # Errors
///
/// If they cannot be read.
pub fn list(connection: &Connection, now: Instant) -> Result<Vec<Silence>, StoreError> {
    let mut statement = connection.prepare(
        "SELECT id, target, check_id, until, owner, note FROM silences
         WHERE until > ?1
         ORDER BY until, id",
    )?;
    let rows = statement.query_map([now.micros()], |row| {
        let until = Instant::from_micros(row.get(3)?).unwrap_or(Instant::MIN);
        Ok(Silence {
            id: row.get(0)?,
            target: row.get(1)?,
            check: row.get(2)?,
            until,
            owner: row.get(4)?,
            note: row.get(5)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

impl Silence {
    /// Whether it holds for a check on a target.
    #[must_use]
    pub fn covers(&self, target: &str, check: &str) -> bool {
        self.target.as_deref().is_none_or(|only| only == target)
            && self.check.as_deref().is_none_or(|only| only == check)
    }
}
