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
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_come_from_the_report() {
        let report = json!({
            "stats": { "sessions": 10, "active": 8, "expired": 2, "orphaned": null, "duplicate_tokens": 1 },
        });
        let totals = SessionTotals::from_report(UtcTimestamp::UNIX_EPOCH, &report);
        assert_eq!((totals.sessions, totals.active, totals.orphaned), (Some(10), Some(8), None));
        assert_eq!((totals.shared_tokens, totals.active_users), (Some(1), None));
        let failed_run = SessionTotals::from_report(UtcTimestamp::UNIX_EPOCH, &json!({ "stats": null }));
        assert_eq!(failed_run.sessions, None);
    }
}
