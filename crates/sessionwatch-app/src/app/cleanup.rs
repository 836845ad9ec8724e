//! Cleanup of a target: what its last check run found, and the plans and archives so far. The target is not queried.

use std::sync::Arc;

use serde_json::Value;
use sessionwatch_clock as clock;
use sessionwatch_core::{
    alert::AlertState,
    checks::{
        duplicate_tokens::DUPLICATE_TOKENS_CHECK, expired_backlog::EXPIRED_BACKLOG_CHECK,
        orphaned_sessions::ORPHANED_SESSIONS_CHECK, user_session_excess::USER_SESSION_EXCESS_CHECK,
    },
    severity::Severity,
    snapshot::MAX_EVIDENCE_ROWS,
    timestamp::UtcTimestamp,
};
use sessionwatch_store::{StoreError, alerts, archive_batches, history_events, latest_reports, plans};

use super::{
    AppError, AppState,
    alerts::AlertRecord,
    plans::{ActionPlan, ArchiveSummary},
    targets::LastReport,
};

/// Kind of history event that records a cleanup on schedule.
pub(crate) const CLEANUP_EVENT_KIND: &str = "cleanup";

/// A kind of sessions that a cleanup removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CleanupKind {
    /// Sessions that share a token.
    Duplicates,
    /// Expired sessions that are still stored.
    Expired,
    /// Sessions whose user does not exist.
    Orphaned,
    /// Active sessions beyond the limit per user.
    Excess,
}

/// What the last check run says about a kind of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CleanupState {
    /// Within the limits of the check.
    Passing,
    /// Failing, and nobody has acknowledged the alert.
    Failing,
    /// Failing, but not long enough to notify.
    Pending,
    /// Failing, and acknowledged.
    Acknowledged,
    /// The check could not be decided.
    Unknown,
    /// The check is off.
    NotChecked,
}

/// A kind of sessions of a target, as its last check run found it.
#[derive(Clone, Debug, PartialEq)]
pub struct CleanupCandidate {
    /// The kind.
    pub kind: CleanupKind,
    /// State of its check.
    pub state: CleanupState,
    /// Severity of its check.
    pub severity: Severity,
    /// Tokens of [`CleanupKind::Duplicates`], users of [`CleanupKind::Excess`], and sessions otherwise; `None` if
    /// unknown.
    pub count: Option<u64>,
    /// `true` if there may be more than `count`.
    pub is_lower_bound: bool,
    /// Time of the first failing run, if the check fails.
    pub failing_since: Option<UtcTimestamp>,
    /// Expiry of the session that expired first; only of [`CleanupKind::Expired`].
    pub oldest: Option<UtcTimestamp>,
    /// Sessions that the check permits per user; only of [`CleanupKind::Excess`].
    pub user_limit: Option<u64>,
    /// Reason why the state is unknown; may be empty.
    pub reason: String,
}

/// Everything that the cleanup page of a target shows.
#[derive(Clone, Debug)]
pub struct CleanupOverview {
    /// Report of the last check run; `None` before the first one.
    pub report: Option<LastReport>,
    /// Every kind, in the order of [`CleanupKind::ALL`].
    pub candidates: Vec<CleanupCandidate>,
    /// Plans of the target, the latest first.
    pub plans: Vec<ActionPlan>,
    /// Archives of the target, one per plan that removed rows.
    pub archives: Vec<ArchiveSummary>,
    /// Time of the last cleanup on schedule; `None` if there was none.
    pub last_scheduled_at: Option<UtcTimestamp>,
}

impl CleanupKind {
    /// All kinds, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Duplicates, Self::Expired, Self::Orphaned, Self::Excess];

    /// Returns the id of the check that finds such sessions.
    #[must_use]
    pub fn check_id(self) -> &'static str {
        match self {
            Self::Duplicates => DUPLICATE_TOKENS_CHECK.id,
            Self::Expired => EXPIRED_BACKLOG_CHECK.id,
            Self::Orphaned => ORPHANED_SESSIONS_CHECK.id,
            Self::Excess => USER_SESSION_EXCESS_CHECK.id,
        }
    }

    /// Returns the name in forms and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Duplicates => "duplicates",
            Self::Expired => "expired",
            Self::Orphaned => "orphaned",
            Self::Excess => "excess",
        }
    }

    fn default_severity(self) -> Severity {
        match self {
            Self::Duplicates => DUPLICATE_TOKENS_CHECK.severity,
            Self::Expired => EXPIRED_BACKLOG_CHECK.severity,
            Self::Orphaned => ORPHANED_SESSIONS_CHECK.severity,
            Self::Excess => USER_SESSION_EXCESS_CHECK.severity,
        }
    }
}

impl CleanupCandidate {
    /// Returns `true` if the check fails, whether or not anybody has acknowledged that.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        matches!(self.state, CleanupState::Failing | CleanupState::Pending | CleanupState::Acknowledged)
    }

    fn from_report(kind: CleanupKind, report: &Value, alerts: &[AlertRecord]) -> Self {
        let result = find_result(report, kind);
        let alert = alerts.iter().find(|alert| alert.check == kind.check_id());
        let stats = &report["stats"];
        let user_limit = (kind == CleanupKind::Excess).then(|| read_user_limit(result)).flatten();
        let excess_users = count_users_above(result, user_limit);
        let count = match kind {
            CleanupKind::Duplicates => stats["duplicate_tokens"].as_u64(),
            CleanupKind::Expired => stats["expired"].as_u64(),
            CleanupKind::Orphaned => stats["orphaned"].as_u64(),
            CleanupKind::Excess => excess_users,
        };
        let severity = result["severity"].as_str().and_then(|name| name.parse().ok());
        let oldest = stats["oldest_expired"].as_str().and_then(clock::parse_rfc3339);
        let reason = result["reason"].as_str().or(report["error"].as_str()).unwrap_or_default();
        Self {
            kind,
            state: CleanupState::from_result(result, alert),
            severity: severity.unwrap_or_else(|| kind.default_severity()),
            count,
            is_lower_bound: kind == CleanupKind::Excess && excess_users >= Some(MAX_EVIDENCE_ROWS as u64),
            failing_since: alert.and_then(failing_since),
            oldest: oldest.filter(|_| kind == CleanupKind::Expired),
            user_limit,
            reason: reason.to_owned(),
        }
    }
}

impl CleanupState {
    fn from_result(result: &Value, alert: Option<&AlertRecord>) -> Self {
        let is_pending = alert.is_some_and(|alert| matches!(alert.alert.state, AlertState::Pending { .. }));
        match result["result"].as_str() {
            Some("passing") => Self::Passing,
            Some("failing") if is_pending => Self::Pending,
            Some("failing") if alert.is_some_and(|alert| alert.acknowledged_by.is_some()) => {
                Self::Acknowledged
            }
            Some("failing") => Self::Failing,
            Some(_) => Self::Unknown,
            None => Self::NotChecked,
        }
    }
}

fn failing_since(alert: &AlertRecord) -> Option<UtcTimestamp> {
    match alert.alert.state {
        AlertState::Firing { since, .. } | AlertState::Pending { since, .. } => Some(since),
        AlertState::Resolved => None,
    }
}

/// Returns the result of the check for a kind; null without one.
fn find_result(report: &Value, kind: CleanupKind) -> &Value {
    let checks = report["checks"].as_array().map(Vec::as_slice).unwrap_or_default();
    checks.iter().find(|check| check["id"] == kind.check_id()).unwrap_or(&Value::Null)
}

/// Returns the number of sessions that the check permits per user.
fn read_user_limit(result: &Value) -> Option<u64> {
    result["user_limit"].as_u64()
}

/// Counts the users in the evidence who have more sessions than the limit; zero if the check passes.
fn count_users_above(result: &Value, limit: Option<u64>) -> Option<u64> {
    match result["result"].as_str()? {
        "passing" => Some(0),
        "failing" => {
            let evidence = result["evidence"].as_array()?;
            let above = |row: &&Value| row["rows"].as_u64() > limit;
            Some(evidence.iter().filter(above).count() as u64)
        }
        _ => None,
    }
}

/// Returns the number of sessions that the last check run of a target permitted per user: the configured maximum, or
/// less if most users have few. Without a run, the configured maximum.
///
/// # Errors
///
/// If the target does not exist.
pub async fn find_user_limit(app: &Arc<AppState>, target: &str) -> Result<u64, AppError> {
    let (name, max) = (app.target(target)?.name, app.config().checks.thresholds.user_session_excess.max);
    app.read_store(move |db| {
        let report = latest_reports::find_report(db, &name)?;
        let limit = report.and_then(|(_, report)| read_user_limit(find_result(&report, CleanupKind::Excess)));
        Ok::<_, StoreError>(limit.unwrap_or(max))
    })
    .await
}

/// Loads what can be cleaned up on a target, and its plans and archives.
///
/// # Errors
///
/// If the target does not exist.
pub async fn load_cleanup_overview(app: &Arc<AppState>, target: &str) -> Result<CleanupOverview, AppError> {
    let name = app.target(target)?.name;
    app.read_store(move |db| {
        let report = latest_reports::find_report(db, &name)?;
        let alerts = alerts::list_target_alerts(db, &name)?;
        let document = report.as_ref().map_or(&Value::Null, |(_, document)| document);
        let candidate = |kind| CleanupCandidate::from_report(kind, document, &alerts);
        let candidates = CleanupKind::ALL.into_iter().map(candidate).collect();
        let plans = plans::list_plans(db)?.into_iter().filter(|plan| plan.target == name);
        let plans = plans.map(ActionPlan::from_record).filter_map(Result::transpose);
        let mut archives = archive_batches::list_archive_summaries(db)?;
        archives.retain(|archive| archive.target == name);
        let scheduled = history_events::TargetEventKind {
            kind: CLEANUP_EVENT_KIND,
            target: &name,
            check: EXPIRED_BACKLOG_CHECK.id,
        };
        Ok::<_, StoreError>(CleanupOverview {
            candidates,
            plans: plans.collect::<Result<_, _>>()?,
            archives,
            last_scheduled_at: history_events::last_target_event_at(db, scheduled)?,
            report: report.map(|(at, document)| LastReport { at, document }),
        })
    })
    .await
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sessionwatch_core::alert::Alert;

    use super::*;

    fn alert(check: &str, acknowledged_by: Option<&str>) -> AlertRecord {
        let since = UtcTimestamp::UNIX_EPOCH;
        AlertRecord {
            target: "app".into(),
            check: check.into(),
            alert: Alert {
                state: AlertState::Firing { since, passing_runs: 0, notified_at: None },
                ..Alert::default()
            },
            severity: "critical".into(),
            summary: String::new(),
            acknowledged_by: acknowledged_by.map(Into::into),
            note: None,
            verdict: None,
            unknown_reason: None,
            finding: None,
            updated_at: since,
        }
    }

    #[test]
    fn candidates_come_from_the_last_report() {
        let report = json!({
            "stats": { "duplicate_tokens": 3, "expired": 160, "orphaned": null,
                "oldest_expired": "1970-01-02T00:00:00Z" },
            "checks": [
                { "id": "duplicate-tokens", "severity": "critical", "result": "failing" },
                { "id": "expired-backlog", "severity": "low", "result": "failing" },
                { "id": "orphaned-sessions", "severity": "high", "result": "unknown", "reason": "no users" },
                { "id": "user-session-excess", "severity": "medium", "result": "failing",
                  "threshold": "> 5 (outlier)", "user_limit": 5,
                  "evidence": [{ "rows": 9 }, { "rows": 6 }, { "rows": 5 }] },
            ],
        });
        let alerts = [alert("duplicate-tokens", None), alert("expired-backlog", Some("ada"))];
        let candidate = |kind| CleanupCandidate::from_report(kind, &report, &alerts);
        let states = CleanupKind::ALL.map(|kind| (candidate(kind).state, candidate(kind).count));
        let expected = [
            (CleanupState::Failing, Some(3)),
            (CleanupState::Acknowledged, Some(160)),
            (CleanupState::Unknown, None),
            (CleanupState::Failing, Some(2)),
        ];
        assert_eq!(states, expected);
        assert_eq!(candidate(CleanupKind::Orphaned).reason, "no users");
        assert_eq!(candidate(CleanupKind::Excess).user_limit, Some(5));
        assert_eq!(candidate(CleanupKind::Expired).severity, Severity::Low);
        assert_eq!(candidate(CleanupKind::Expired).oldest, clock::parse_rfc3339("1970-01-02T00:00:00Z"));
    }

    #[test]
    fn a_failed_run_leaves_every_kind_unknown() {
        let failed = json!({ "stats": null, "error": "cannot connect", "checks": [
            { "id": "expired-backlog", "severity": "medium", "result": "unknown", "reason": null },
        ] });
        let of = |kind| CleanupCandidate::from_report(kind, &failed, &[]);
        let expired = of(CleanupKind::Expired);
        assert_eq!((expired.state, expired.count), (CleanupState::Unknown, None));
        assert_eq!(expired.reason, "cannot connect");
        assert_eq!(of(CleanupKind::Orphaned).state, CleanupState::NotChecked);
    }
}
