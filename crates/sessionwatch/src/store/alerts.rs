//! Alerts: one row a target and check.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use sessionwatch_rules::{
    alert::{Alert, State},
    instant::Instant,
};

use super::StoreError;

/// An alert as kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The target's name.
    pub target: String,
    /// The check's id.
    pub check: String,
    /// Where it stands.
    pub alert: Alert,
    /// Its severity, by name.
    pub severity: String,
    /// What is wrong, in one sentence.
    pub summary: String,
    /// Who looks after it.
    pub acknowledged_by: Option<String>,
    /// What that person says.
    pub note: Option<String>,
    /// The last look.
    pub updated_at: Instant,
}

const COLUMNS: &str = "target, check_id, state, looks, clear, since, told, stale, severity, summary, acknowledged_by, note, updated_at";

/// The alert of a check on a target.
///
/// # Errors
///
/// If it cannot be read.
pub fn get(connection: &Connection, target: &str, check: &str) -> Result<Option<Kept>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM alerts WHERE target = ?1 AND check_id = ?2");
    Ok(connection.query_row(&query, [target, check], kept).optional()?)
}

/// Every alert that is not in order, worst and oldest first; with `all`, every one.
///
/// # Errors
///
/// If they cannot be read.
pub fn list(connection: &Connection, all: bool) -> Result<Vec<Kept>, StoreError> {
    let query = format!(
        "SELECT {COLUMNS} FROM alerts WHERE ?1 OR state <> 'ok' OR stale <> 0
         ORDER BY CASE state WHEN 'firing' THEN 0 WHEN 'pending' THEN 1 ELSE 2 END, since, target, check_id"
    );
    let mut statement = connection.prepare(&query)?;
    let rows = statement.query_map([all], kept)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Keeps an alert.
///
/// # Errors
///
/// If it cannot be written.
pub fn put(connection: &Connection, kept: &Kept) -> Result<(), StoreError> {
    let (looks, clear, since, told) = match kept.alert.state {
        State::Ok => (0, 0, None, None),
        State::Pending { looks } => (looks, 0, None, None),
        State::Firing { since, clear, told } => (0, clear, Some(since.micros()), told.map(Instant::micros)),
    };
    connection.execute(
        "INSERT INTO alerts (target, check_id, state, looks, clear, since, told, stale, severity, summary, acknowledged_by, note, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
         ON CONFLICT (target, check_id) DO UPDATE SET
           state = excluded.state, looks = excluded.looks, clear = excluded.clear, since = excluded.since, told = excluded.told,
           stale = excluded.stale, severity = excluded.severity, summary = excluded.summary,
           acknowledged_by = excluded.acknowledged_by, note = excluded.note, updated_at = excluded.updated_at",
        params![
            kept.target,
            kept.check,
            kept.alert.state.name(),
            looks,
            clear,
            since,
            told,
            i64::from(kept.alert.stale),
            kept.severity,
            kept.summary,
            kept.acknowledged_by,
            kept.note,
            kept.updated_at.micros(),
        ],
    )?;
    Ok(())
}

fn kept(row: &Row<'_>) -> rusqlite::Result<Kept> {
    let instant =
        |at: usize| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(at)?.and_then(Instant::from_micros));
    let state = match row.get::<_, String>(2)?.as_str() {
        "pending" => State::Pending { looks: row.get(3)? },
        "firing" => State::Firing {
            since: instant(5)?.unwrap_or(Instant::MIN),
            clear: row.get(4)?,
            told: instant(6)?,
        },
        _ => State::Ok,
    };
    let acknowledged_by: Option<String> = row.get(10)?;
    Ok(Kept {
        target: row.get(0)?,
        check: row.get(1)?,
        alert: Alert { state, stale: row.get::<_, i64>(7)? != 0, acknowledged: acknowledged_by.is_some() },
        severity: row.get(8)?,
        summary: row.get(9)?,
        acknowledged_by,
        note: row.get(11)?,
        updated_at: instant(12)?.unwrap_or(Instant::MIN),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::store;

    #[test]
    fn every_state_comes_back_as_it_was() {
        let (_folder, store) = store();
        let at = |micros| Instant::from_micros(micros).unwrap();
        for state in [
            State::Ok,
            State::Pending { looks: 3 },
            State::Firing { since: at(5), clear: 1, told: None },
            State::Firing { since: at(5), clear: 0, told: Some(at(9)) },
        ] {
            let kept = Kept {
                target: "one".into(),
                check: "duplicate-tokens".into(),
                alert: Alert { state, stale: true, acknowledged: true },
                severity: "critical".into(),
                summary: "what's wrong".into(),
                acknowledged_by: Some("ada".into()),
                note: Some("on it".into()),
                updated_at: at(77),
            };
            store.write(|transaction| put(transaction, &kept)).unwrap();
            let read = store.read(|connection| get(connection, "one", "duplicate-tokens")).unwrap();
            assert_eq!(read, Some(kept));
        }
        assert_eq!(store.read(|connection| list(connection, false)).unwrap().len(), 1);
        assert_eq!(store.read(|connection| get(connection, "two", "duplicate-tokens")).unwrap(), None);
    }
}
