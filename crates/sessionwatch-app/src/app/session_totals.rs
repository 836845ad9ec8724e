//! Counts of sessions from the last check run, for pages that must not count a large table themselves.

use std::sync::Arc;

use serde_json::Value;
use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_store::latest_reports;

use super::{AppError, AppState};

/// Counts of the last check run. Each is `None` if the run could not determine it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionTotals {
    /// Time of the run; `None` before the first one.
    pub checked_at: Option<UtcTimestamp>,
    /// All stored sessions.
    pub sessions: Option<u64>,
    /// Users with an active session.
    pub active_users: Option<u64>,
    /// Sessions that have not expired.
    pub active: Option<u64>,
    /// Sessions that have expired.
    pub expired: Option<u64>,
    /// Sessions whose user does not exist.
    pub orphaned: Option<u64>,
    /// Sessions created in the last hour.
    pub created_last_hour: Option<u64>,
    /// Tokens that occur more than once.
    pub shared_tokens: Option<u64>,
    /// Row ids of some sessions with a shared token.
    shared_ids: Vec<String>,
    /// Row ids of some sessions whose user does not exist.
    orphaned_ids: Vec<String>,
}

/// Loads the counts of the last check run of a target.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn load_session_totals(app: &Arc<AppState>, target: &str) -> Result<SessionTotals, AppError> {
    let target = target.to_owned();
    app.read_store(move |db| {
        let report = latest_reports::find_report(db, &target)?;
        Ok(report.map(|(at, document)| SessionTotals::from_report(at, &document)).unwrap_or_default())
    })
    .await
}

impl SessionTotals {
    fn from_report(at: UtcTimestamp, report: &Value) -> Self {
        let stat = |name: &str| report["stats"][name].as_u64();
        Self {
            checked_at: Some(at),
            sessions: stat("sessions"),
            active_users: stat("users_active"),
            active: stat("active"),
            expired: stat("expired"),
            orphaned: stat("orphaned"),
            created_last_hour: stat("created_last_hour"),
            shared_tokens: stat("duplicate_tokens"),
            shared_ids: evidence_ids(report, "duplicate-tokens"),
            orphaned_ids: evidence_ids(report, "orphaned-sessions"),
        }
    }

    /// Returns `true` if the last run showed this session as one with a shared token. The run shows a few only.
    #[must_use]
    pub fn is_shared(&self, id: Option<&str>) -> bool {
        id.is_some_and(|id| self.shared_ids.iter().any(|shared| shared == id))
    }

    /// Returns `true` if the last run showed the user of this session as missing. The run shows a few only.
    #[must_use]
    pub fn is_orphaned(&self, id: Option<&str>) -> bool {
        id.is_some_and(|id| self.orphaned_ids.iter().any(|orphaned| orphaned == id))
    }
}

fn evidence_ids(report: &Value, check: &str) -> Vec<String> {
    let checks = report["checks"].as_array().into_iter().flatten();
    let rows =
        checks.filter(|result| result["id"] == check).filter_map(|result| result["evidence"].as_array());
    rows.flatten().filter_map(|row| row["id"].as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_and_evidence_come_from_the_report() {
        let evidence = |id: &str| json!([{ "id": id }, { "id": null }]);
        let report = json!({
            "stats": { "sessions": 10, "active": 8, "expired": 2, "orphaned": null, "duplicate_tokens": 1 },
            "checks": [
                { "id": "duplicate-tokens", "evidence": evidence("a") },
                { "id": "orphaned-sessions", "evidence": evidence("b") },
            ],
        });
        let totals = SessionTotals::from_report(UtcTimestamp::UNIX_EPOCH, &report);
        assert_eq!((totals.sessions, totals.active, totals.orphaned), (Some(10), Some(8), None));
        assert!(totals.is_shared(Some("a")) && !totals.is_shared(Some("b")) && !totals.is_shared(None));
        assert!(totals.is_orphaned(Some("b")) && !totals.is_orphaned(Some("a")));
        let failed_run = SessionTotals::from_report(UtcTimestamp::UNIX_EPOCH, &json!({ "stats": null }));
        assert_eq!(failed_run.sessions, None);
    }
}
