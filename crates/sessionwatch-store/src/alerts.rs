//! Alerts: one row per target and check.

use std::collections::BTreeSet;

use sessionwatch_core::{
    alert::{Alert, AlertState},
    severity::Severity,
    timestamp::UtcTimestamp,
};

use crate::{
    StoreError,
    row::{Param, StoreRow},
    transaction::Tx,
};

/// A stored alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertRecord {
    /// The target's name.
    pub target: String,
    /// The check's id.
    pub check: String,
    /// The alert's state.
    pub alert: Alert,
    /// The severity's name.
    pub severity: String,
    /// A one-sentence summary of the problem.
    pub summary: String,
    /// The person who acknowledged the alert.
    pub acknowledged_by: Option<String>,
    /// The note of that person.
    pub note: Option<String>,
    /// The name of the check's last result; `None` before the first one.
    pub verdict: Option<String>,
    /// Why the last result is unknown; `None` if it is known, or if the check only describes the run.
    pub unknown_reason: Option<String>,
    /// The last failing finding, as JSON.
    pub finding: Option<String>,
    /// Time of the last check run.
    pub updated_at: UtcTimestamp,
}

const ALERT_COLUMNS: &str = "target, check_id, state, looks, clear, since, told, stale, severity, summary, \
                             acknowledged_by, note, verdict, finding, updated_at, unknown_reason";

/// Returns the alert of a check on a target.
///
/// # Errors
///
/// If the store cannot be read.
pub fn find_alert(db: Tx<'_>, target: &str, check: &str) -> Result<Option<AlertRecord>, StoreError> {
    let query = format!("SELECT {ALERT_COLUMNS} FROM alerts WHERE target = $1 AND check_id = $2");
    db.query_row(&query, &[target.into(), check.into()])?.as_ref().map(alert_from_row).transpose()
}

/// Returns all alerts of a target, ordered by check.
///
/// # Errors
///
/// If the store cannot be read.
pub fn list_target_alerts(db: Tx<'_>, target: &str) -> Result<Vec<AlertRecord>, StoreError> {
    let query = format!("SELECT {ALERT_COLUMNS} FROM alerts WHERE target = $1 ORDER BY check_id");
    db.query_rows(&query, &[target.into()])?.iter().map(alert_from_row).collect()
}

/// Order of alerts: firing before pending ones, then the most severe, then the oldest.
const WORST_FIRST: &str = "CASE state WHEN 'firing' THEN 0 WHEN 'pending' THEN 1 ELSE 2 END,
         CASE severity WHEN 'critical' THEN 0 WHEN 'high' THEN 1 WHEN 'medium' THEN 2 WHEN 'low' THEN 3 END,
         since, target, check_id";

/// Returns firing and pending alerts; with `include_ok`, the state of every check. Firing alerts come first, then
/// pending ones. Within a state, the most severe come first, then the oldest.
///
/// # Errors
///
/// If the store cannot be read.
pub fn list_alerts(db: Tx<'_>, include_ok: bool) -> Result<Vec<AlertRecord>, StoreError> {
    let query = format!(
        "SELECT {ALERT_COLUMNS} FROM alerts WHERE $1 = 1 OR state <> 'resolved'
         ORDER BY {WORST_FIRST}"
    );
    db.query_rows(&query, &[include_ok.into()])?.iter().map(alert_from_row).collect()
}

/// Number of alerts of a target that share state, severity and acknowledgment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertCount {
    /// The target's name.
    pub target: String,
    /// The severity's name.
    pub severity: String,
    /// `true` for firing alerts, `false` for pending ones.
    pub is_firing: bool,
    /// `true` if somebody has acknowledged these alerts.
    pub is_acknowledged: bool,
    /// The number of alerts, at least one.
    pub count: u64,
}

/// Counts firing and pending alerts.
///
/// # Errors
///
/// If the store cannot be read.
pub fn count_alerts(db: Tx<'_>) -> Result<Vec<AlertCount>, StoreError> {
    let query =
        "SELECT target, severity, state, CASE WHEN acknowledged_by IS NULL THEN 0 ELSE 1 END, COUNT(*)
         FROM alerts WHERE state <> 'resolved' GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4";
    let count = |row: &StoreRow| {
        let is_firing = match row.read_text(2)?.as_str() {
            "firing" => true,
            "pending" => false,
            _ => return Err(row.undecodable_column(2)),
        };
        Ok(AlertCount {
            target: row.read_text(0)?,
            severity: row.read_known_text(1, |name| name.parse::<Severity>().is_ok())?,
            is_firing,
            is_acknowledged: row.read_bool(3)?,
            count: row.read_u64(4)?,
        })
    };
    db.query_rows(query, &[])?.iter().map(count).collect()
}

/// Returns the names of the targets with a check whose last result is unknown.
///
/// # Errors
///
/// If the store cannot be read.
pub fn list_targets_with_unknown_results(db: Tx<'_>) -> Result<BTreeSet<String>, StoreError> {
    let query = "SELECT DISTINCT target FROM alerts WHERE unknown_reason IS NOT NULL";
    db.query_rows(query, &[])?.iter().map(|row| row.read_text(0)).collect()
}

impl AlertRecord {
    /// Returns the last failing finding with its evidence, or JSON null if there was none.
    ///
    /// # Errors
    ///
    /// If the stored text is not JSON.
    pub fn parse_finding(&self) -> Result<serde_json::Value, StoreError> {
        // An error, not JSON null: null means that the check has never failed.
        let undecodable = |_| StoreError::Undecodable { table: "alerts".into(), column: "finding".into() };
        let finding = self.finding.as_deref().map(serde_json::from_str).transpose();
        Ok(finding.map_err(undecodable)?.unwrap_or_default())
    }
}

/// Most alerts per statement: 50 rows of 16 parameters stay below the limits of both databases.
const MAX_ALERTS_PER_STATEMENT: usize = 50;

/// Stores an alert.
///
/// # Errors
///
/// If the store cannot be written.
pub fn upsert_alert(db: Tx<'_>, alert: &AlertRecord) -> Result<(), StoreError> {
    upsert_alerts(db, std::slice::from_ref(alert))
}

/// Stores alerts. No two may have the same target and check: an upsert cannot touch a row twice.
///
/// # Errors
///
/// If the store cannot be written.
pub fn upsert_alerts(db: Tx<'_>, alerts: &[AlertRecord]) -> Result<(), StoreError> {
    // A run with many checks writes all alerts in a few round trips to a PostgreSQL store.
    for all in alerts.chunks(MAX_ALERTS_PER_STATEMENT) {
        let values: Vec<Param<'_>> = all.iter().flat_map(alert_params).collect();
        let width = values.len() / all.len();
        let row = |first: usize| {
            let places: Vec<String> = (first..first + width).map(|place| format!("${place}")).collect();
            format!("({})", places.join(", "))
        };
        let rows: Vec<String> = (0..all.len()).map(|number| row(number * width + 1)).collect();
        let statement = format!(
            "INSERT INTO alerts (target, check_id, state, looks, clear, since, told, stale, severity, \
             summary, acknowledged_by, note, verdict, finding, updated_at, unknown_reason)
             VALUES {}
             ON CONFLICT (target, check_id) DO UPDATE SET
               state = excluded.state, looks = excluded.looks, clear = excluded.clear, since = \
               excluded.since, told = excluded.told,
               stale = excluded.stale, severity = excluded.severity, summary = excluded.summary,
               acknowledged_by = excluded.acknowledged_by, note = excluded.note, verdict = excluded.verdict,
               finding = excluded.finding, updated_at = excluded.updated_at,
               unknown_reason = excluded.unknown_reason",
            rows.join(", ")
        );
        db.execute(&statement, &values)?;
    }
    Ok(())
}

/// Returns the parameters for an alert, in the order of the columns.
fn alert_params(record: &AlertRecord) -> [Param<'_>; 16] {
    // States without a counter store zero, so that a later state does not inherit an old count.
    let (failing_runs, passing_runs, since, notified_at) = match record.alert.state {
        AlertState::Resolved => (0, 0, None, None),
        AlertState::Pending { failing_runs, since } => (failing_runs, 0, Some(since), None),
        AlertState::Firing { since, passing_runs, notified_at } => {
            (0, passing_runs, Some(since), notified_at)
        }
    };
    [
        (&record.target).into(),
        (&record.check).into(),
        record.alert.state.name().into(),
        failing_runs.into(),
        passing_runs.into(),
        since.into(),
        notified_at.into(),
        record.alert.is_stale.into(),
        (&record.severity).into(),
        (&record.summary).into(),
        (&record.acknowledged_by).into(),
        (&record.note).into(),
        (&record.verdict).into(),
        (&record.finding).into(),
        record.updated_at.into(),
        (&record.unknown_reason).into(),
    ]
}

/// Deletes an alert.
///
/// # Errors
///
/// If the store cannot be written.
pub fn delete_alert(db: Tx<'_>, target: &str, check: &str) -> Result<(), StoreError> {
    db.execute("DELETE FROM alerts WHERE target = $1 AND check_id = $2", &[target.into(), check.into()])?;
    Ok(())
}

/// The names of check results.
const VERDICT_NAMES: [&str; 3] = ["passing", "failing", "unknown"];

fn alert_from_row(row: &StoreRow) -> Result<AlertRecord, StoreError> {
    let state = match row.read_text(2)?.as_str() {
        "resolved" => AlertState::Resolved,
        "pending" => AlertState::Pending { failing_runs: row.read_u32(3)?, since: row.read_timestamp(5)? },
        "firing" => AlertState::Firing {
            since: row.read_timestamp(5)?,
            passing_runs: row.read_u32(4)?,
            notified_at: row.read_optional_timestamp(6)?,
        },
        _ => return Err(row.undecodable_column(2)),
    };
    // Read first, because the alert derives a flag from it.
    let acknowledged_by = row.read_optional_text(10)?;
    Ok(AlertRecord {
        target: row.read_text(0)?,
        check: row.read_text(1)?,
        alert: Alert { state, is_stale: row.read_bool(7)?, is_acknowledged: acknowledged_by.is_some() },
        severity: row.read_known_text(8, |name| name.parse::<Severity>().is_ok())?,
        summary: row.read_text(9)?,
        acknowledged_by,
        note: row.read_optional_text(11)?,
        verdict: row.read_optional_known_text(12, |name| VERDICT_NAMES.contains(&name))?,
        finding: row.read_optional_json_text(13)?,
        updated_at: row.read_timestamp(14)?,
        unknown_reason: row.read_optional_text(15)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::store_of_each_kind;

    #[test]
    fn every_state_is_stored_and_read_back() {
        for store in store_of_each_kind() {
            let at = |micros| UtcTimestamp::from_micros(micros).unwrap();
            for state in [
                AlertState::Resolved,
                AlertState::Pending { failing_runs: 3, since: at(4) },
                AlertState::Firing { since: at(5), passing_runs: 1, notified_at: None },
                AlertState::Firing { since: at(5), passing_runs: 0, notified_at: Some(at(9)) },
            ] {
                let record = AlertRecord {
                    target: "one".into(),
                    check: "duplicate-tokens".into(),
                    alert: Alert { state, is_stale: true, is_acknowledged: true },
                    severity: "critical".into(),
                    summary: "what's wrong".into(),
                    acknowledged_by: Some("ada".into()),
                    note: Some("on it".into()),
                    verdict: Some("failing".into()),
                    unknown_reason: None,
                    finding: Some("{}".into()),
                    updated_at: at(77),
                };
                store.write(|db| upsert_alert(db, &record)).unwrap();
                let read = store.read(|db| find_alert(db, "one", "duplicate-tokens")).unwrap();
                assert_eq!(read, Some(record));
                // A check that is unknown and never failed has no alert.
                let listed = store.read(|db| list_alerts(db, false)).unwrap().len();
                assert_eq!(listed, usize::from(state != AlertState::Resolved), "{state:?}");
            }
            let counted = store.read(count_alerts).unwrap();
            let expected = AlertCount {
                target: "one".into(),
                severity: "critical".into(),
                is_firing: true,
                is_acknowledged: true,
                count: 1,
            };
            assert_eq!(counted, [expected]);
            assert_eq!(store.read(|db| find_alert(db, "two", "duplicate-tokens")).unwrap(), None);
        }
    }

    #[test]
    fn firing_alerts_come_first_then_the_most_severe_then_the_oldest() {
        let at = |micros| UtcTimestamp::from_micros(micros).unwrap();
        let firing = |since| AlertState::Firing { since: at(since), passing_runs: 0, notified_at: None };
        let pending = |since| AlertState::Pending { failing_runs: 1, since: at(since) };
        for store in store_of_each_kind() {
            for (check, severity, state) in [
                ("a", "low", firing(1)),
                ("b", "high", firing(3)),
                ("c", "critical", pending(1)),
                ("d", "medium", firing(2)),
                ("e", "critical", AlertState::Resolved),
                ("f", "high", firing(2)),
                ("g", "critical", firing(9)),
                ("h", "low", AlertState::Resolved),
            ] {
                let record = AlertRecord {
                    target: "app".into(),
                    check: check.into(),
                    alert: Alert { state, ..Alert::default() },
                    severity: severity.into(),
                    summary: String::new(),
                    acknowledged_by: None,
                    note: None,
                    verdict: None,
                    unknown_reason: None,
                    finding: None,
                    updated_at: at(9),
                };
                store.write(|db| upsert_alert(db, &record)).unwrap();
            }
            let listed = |include_ok| {
                let alerts = store.read(|db| list_alerts(db, include_ok)).unwrap();
                alerts.iter().map(|record| record.check.as_str()).collect::<String>()
            };
            assert_eq!(listed(true), "gfbdaceh");
            assert_eq!(listed(false), "gfbdac");
        }
    }

    #[test]
    fn every_severity_has_a_rank_in_the_order_of_alerts() {
        for severity in Severity::ALL {
            assert!(WORST_FIRST.contains(&format!("'{}'", severity.name())), "{severity:?}");
        }
    }
}
