//! Alerts: one row a target and check.

use sessionwatch_core::{
    alert::{Alert, State},
    instant::Instant,
    severity::Severity,
};

use crate::{
    StoreError,
    db::Db,
    row::{Row, Value},
};

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
    /// The last verdict, by name; nothing before the first one.
    pub verdict: Option<String>,
    /// The last finding that failed, as JSON.
    pub finding: Option<String>,
    /// The last look.
    pub updated_at: Instant,
}

const COLUMNS: &str = "target, check_id, state, looks, clear, since, told, stale, severity, summary, acknowledged_by, note, verdict, finding, updated_at";

/// The alert of a check on a target.
///
/// # Errors
///
/// If it cannot be read.
pub fn get(db: Db<'_>, target: &str, check: &str) -> Result<Option<Kept>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM alerts WHERE target = $1 AND check_id = $2");
    db.row(&query, &[target.into(), check.into()])?.as_ref().map(kept).transpose()
}

/// Every alert of a target.
///
/// # Errors
///
/// If they cannot be read.
pub fn of_target(db: Db<'_>, target: &str) -> Result<Vec<Kept>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM alerts WHERE target = $1 ORDER BY check_id");
    db.rows(&query, &[target.into()])?.iter().map(kept).collect()
}

/// Every alert that is not in order, worst and oldest first; with `all`, every one.
///
/// # Errors
///
/// If they cannot be read.
pub fn list(db: Db<'_>, all: bool) -> Result<Vec<Kept>, StoreError> {
    let query = format!(
        "SELECT {COLUMNS} FROM alerts WHERE $1 = 1 OR state <> 'ok' OR stale <> 0
         ORDER BY CASE state WHEN 'firing' THEN 0 WHEN 'pending' THEN 1 ELSE 2 END, since, target, check_id"
    );
    db.rows(&query, &[all.into()])?.iter().map(kept).collect()
}

impl Kept {
    /// Returns what failed last, with the rows that show it; JSON null if nothing did.
    ///
    /// # Errors
    ///
    /// If it is no JSON.
    pub fn finding_document(&self) -> Result<serde_json::Value, StoreError> {
        let undecodable = |_| StoreError::Undecodable { table: "alerts".into(), column: "finding".into() };
        let finding = self.finding.as_deref().map(serde_json::from_str).transpose();
        Ok(finding.map_err(undecodable)?.unwrap_or_default())
    }
}

/// Alerts that one statement keeps.
const ALERTS_OF_STATEMENT: usize = 50;

/// Keeps an alert.
///
/// # Errors
///
/// If it cannot be written.
pub fn put(db: Db<'_>, kept: &Kept) -> Result<(), StoreError> {
    put_all(db, std::slice::from_ref(kept))
}

/// Keeps alerts, no two of them of the same target and check.
///
/// # Errors
///
/// If they cannot be written.
pub fn put_all(db: Db<'_>, all: &[Kept]) -> Result<(), StoreError> {
    for all in all.chunks(ALERTS_OF_STATEMENT) {
        let values: Vec<Value<'_>> = all.iter().flat_map(values).collect();
        let width = values.len() / all.len();
        let row = |first: usize| {
            let places: Vec<String> = (first..first + width).map(|place| format!("${place}")).collect();
            format!("({})", places.join(", "))
        };
        let rows: Vec<String> = (0..all.len()).map(|number| row(number * width + 1)).collect();
        let statement = format!(
            "INSERT INTO alerts (target, check_id, state, looks, clear, since, told, stale, severity, summary, acknowledged_by, note, verdict, finding, updated_at)
             VALUES {}
             ON CONFLICT (target, check_id) DO UPDATE SET
               state = excluded.state, looks = excluded.looks, clear = excluded.clear, since = excluded.since, told = excluded.told,
               stale = excluded.stale, severity = excluded.severity, summary = excluded.summary,
               acknowledged_by = excluded.acknowledged_by, note = excluded.note, verdict = excluded.verdict,
               finding = excluded.finding, updated_at = excluded.updated_at",
            rows.join(", ")
        );
        db.run(&statement, &values)?;
    }
    Ok(())
}

/// What is kept of an alert, in the order of the columns.
fn values(kept: &Kept) -> [Value<'_>; 15] {
    let (looks, clear, since, told) = match kept.alert.state {
        State::Ok => (0, 0, None, None),
        State::Pending { looks, since } => (looks, 0, Some(since), None),
        State::Firing { since, clear, told } => (0, clear, Some(since), told),
    };
    [
        (&kept.target).into(),
        (&kept.check).into(),
        kept.alert.state.name().into(),
        looks.into(),
        clear.into(),
        since.into(),
        told.into(),
        kept.alert.stale.into(),
        (&kept.severity).into(),
        (&kept.summary).into(),
        (&kept.acknowledged_by).into(),
        (&kept.note).into(),
        (&kept.verdict).into(),
        (&kept.finding).into(),
        kept.updated_at.into(),
    ]
}

/// Forgets an alert.
///
/// # Errors
///
/// If it cannot be written.
pub fn remove(db: Db<'_>, target: &str, check: &str) -> Result<(), StoreError> {
    db.run("DELETE FROM alerts WHERE target = $1 AND check_id = $2", &[target.into(), check.into()])?;
    Ok(())
}

/// The verdicts of a check, by name.
const VERDICTS: [&str; 3] = ["healthy", "failing", "unknown"];

fn kept(row: &Row) -> Result<Kept, StoreError> {
    let state = match row.text(2)?.as_str() {
        "ok" => State::Ok,
        "pending" => State::Pending { looks: row.small(3)?, since: row.instant(5)? },
        "firing" => {
            State::Firing { since: row.instant(5)?, clear: row.small(4)?, told: row.maybe_instant(6)? }
        }
        _ => return Err(row.unreadable(2)),
    };
    let acknowledged_by = row.maybe_text(10)?;
    Ok(Kept {
        target: row.text(0)?,
        check: row.text(1)?,
        alert: Alert { state, stale: row.flag(7)?, acknowledged: acknowledged_by.is_some() },
        severity: row.name(8, |name| name.parse::<Severity>().is_ok())?,
        summary: row.text(9)?,
        acknowledged_by,
        note: row.maybe_text(11)?,
        verdict: row.maybe_name(12, |name| VERDICTS.contains(&name))?,
        finding: row.maybe_json(13)?,
        updated_at: row.instant(14)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::both;

    #[test]
    fn every_state_comes_back_as_it_was() {
        for store in both() {
            let at = |micros| Instant::from_micros(micros).unwrap();
            for state in [
                State::Ok,
                State::Pending { looks: 3, since: at(4) },
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
                    verdict: Some("failing".into()),
                    finding: Some("{}".into()),
                    updated_at: at(77),
                };
                store.write(|db| put(db, &kept)).unwrap();
                let read = store.read(|db| get(db, "one", "duplicate-tokens")).unwrap();
                assert_eq!(read, Some(kept));
            }
            assert_eq!(store.read(|db| list(db, false)).unwrap().len(), 1);
            assert_eq!(store.read(|db| get(db, "two", "duplicate-tokens")).unwrap(), None);
        }
    }
}
