//! The history of a check: its value, its results and its alert over time, and what else happened meanwhile.

use std::sync::Arc;

use jiff::SignedDuration;
use sessionwatch_core::{
    alert::AlertState,
    checks::{
        active_sessions::ACTIVE_SESSIONS_CHECK, creation_rate::CREATION_RATE_CHECK,
        duplicate_tokens::DUPLICATE_TOKENS_CHECK, expired_backlog::EXPIRED_BACKLOG_CHECK,
        orphaned_sessions::ORPHANED_SESSIONS_CHECK, reappeared_sessions::REAPPEARED_SESSIONS_CHECK,
        sessions_per_user::SESSIONS_PER_USER_CHECK, token_reassigned::TOKEN_REASSIGNED_CHECK,
        user_session_excess::USER_SESSION_EXCESS_CHECK,
    },
    timestamp::UtcTimestamp,
};
use sessionwatch_store::{
    StoreError,
    history_events::{self, CheckRef},
    incidents, latest_reports, samples,
    transaction::Tx,
};

use super::{
    AppError, AppState, Period,
    alerts::{AlertRecord, EventRecord, EventSearch},
    incidents::IncidentRecord,
    targets::LastReport,
};

/// Length of the period whose results are listed.
pub const RESULTS_LOOKBACK: SignedDuration = SignedDuration::from_hours(14 * 24);
/// Most notifications that are searched for firing periods.
const MAX_ALERT_EVENTS: u32 = 200;
/// Most events of the target that are searched for deploys, incidents and cleanups.
const MAX_TARGET_EVENTS: u32 = 400;

/// The gauge that holds the value of each check that has one.
const CHECK_GAUGES: [(&str, &str); 9] = [
    (DUPLICATE_TOKENS_CHECK.id, "duplicate_tokens"),
    (TOKEN_REASSIGNED_CHECK.id, "reassigned"),
    (REAPPEARED_SESSIONS_CHECK.id, "reappeared"),
    (ORPHANED_SESSIONS_CHECK.id, "orphaned"),
    (SESSIONS_PER_USER_CHECK.id, "per_user"),
    (USER_SESSION_EXCESS_CHECK.id, "max_per_user"),
    (CREATION_RATE_CHECK.id, "created_last_hour"),
    (EXPIRED_BACKLOG_CHECK.id, "expired"),
    (ACTIVE_SESSIONS_CHECK.id, "active"),
];

/// Gauges that are usually zero, or stand for the worst user.
const PEAK_GAUGES: [&str; 5] = ["duplicate_tokens", "reassigned", "reappeared", "orphaned", "max_per_user"];

/// The history of a check on a target.
#[derive(Clone, Debug)]
pub struct CheckHistory {
    /// Values over the period, the oldest first, each `None` if unknown; empty if no gauge holds the check's value.
    pub values: Vec<(UtcTimestamp, Option<f64>)>,
    /// Periods during which the alert was firing.
    pub firing: Vec<Period>,
    /// Names of the results of the last [`RESULTS_LOOKBACK`], each with its start, the oldest first.
    pub results: Vec<(UtcTimestamp, String)>,
    /// Deploys, incidents and cleanups of the target in the period, the oldest first.
    pub target_events: Vec<EventRecord>,
    /// Report of the last check run of the target.
    pub report: Option<LastReport>,
    /// The open incident of the target.
    pub open_incident: Option<IncidentRecord>,
}

/// Returns the name of the gauge that holds the value of a check.
#[must_use]
pub fn gauge_for_check(check: &str) -> Option<&'static str> {
    CHECK_GAUGES.iter().find(|(id, _)| *id == check).map(|(_, gauge)| *gauge)
}

/// Loads the history of a check over a period.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn load_check_history(
    app: &Arc<AppState>,
    alert: &AlertRecord,
    period: Period,
) -> Result<CheckHistory, AppError> {
    let (now, alert) = (app.clock.now(), alert.clone());
    app.read_store(move |db| {
        let check = CheckRef { target: &alert.target, check: &alert.check };
        let report = latest_reports::find_report(db, &alert.target)?;
        Ok(CheckHistory {
            values: list_values(db, check, period, now)?,
            firing: list_firing_periods(db, &alert, period)?,
            results: history_events::list_verdicts(db, check, Period::ending_at(now, RESULTS_LOOKBACK))?,
            target_events: list_target_events(db, &alert.target, period)?,
            report: report.map(|(at, document)| LastReport { at, document }),
            open_incident: incidents::find_open_incident(db, &alert.target)?,
        })
    })
    .await
}

fn list_values(
    db: Tx<'_>,
    check: CheckRef<'_>,
    period: Period,
    now: UtcTimestamp,
) -> Result<Vec<(UtcTimestamp, Option<f64>)>, StoreError> {
    let Some(gauge) = gauge_for_check(check.check) else { return Ok(vec![]) };
    let samples = samples::list_samples_between(db, check.target, period, now)?;
    // A mean would hide a problem that lasted for one run.
    let is_peak = PEAK_GAUGES.contains(&gauge);
    let value = |[mean, _, max]: &[f64; 3]| if is_peak { *max } else { *mean };
    let values = samples.iter().map(|sample| (sample.at, sample.gauges.get(gauge).map(value)));
    Ok(values.collect())
}

/// Lists the periods from each notification that the alert fires to the one that it is resolved, and the one that
/// lasts.
fn list_firing_periods(db: Tx<'_>, alert: &AlertRecord, period: Period) -> Result<Vec<Period>, StoreError> {
    let search = EventSearch {
        check: Some(alert.check.clone()),
        alerts_only: true,
        limit: MAX_ALERT_EVENTS,
        ..search_target_events(&alert.target, period)
    };
    let mut since = None;
    let mut periods = vec![];
    for event in history_events::search_events(db, &search)? {
        if event.kind == "resolved" {
            // An alert whose start is not among the events fired before the period.
            periods.push(Period { from: since.take().unwrap_or(period.from), to: event.at });
        } else {
            since.get_or_insert(event.at);
        }
    }
    // Also without notifications, as while it is silenced.
    if let AlertState::Firing { since, .. } = alert.alert.state {
        periods.push(Period { from: since.max(period.from), to: period.to });
    }
    Ok(periods)
}

fn list_target_events(db: Tx<'_>, target: &str, period: Period) -> Result<Vec<EventRecord>, StoreError> {
    let mut found = history_events::search_events(db, &search_target_events(target, period))?;
    found.retain(|event| matches!(event.kind.as_str(), "deploy" | "incident" | "cleanup"));
    Ok(found)
}

fn search_target_events(target: &str, period: Period) -> EventSearch {
    EventSearch {
        from: period.from,
        to: period.to,
        target: Some(target.to_owned()),
        check: None,
        text: None,
        alerts_only: false,
        before_id: None,
        limit: MAX_TARGET_EVENTS,
    }
}

#[cfg(test)]
mod tests {
    use sessionwatch_core::{alert::Alert, duration::MINUTE};

    use super::*;
    use crate::app::test_app::TestApp;

    const CONFIG: &str = "[[target]]\nname = \"app\"\nurl = \"sqlite:missing.db\"\n";

    fn alert(state: AlertState) -> AlertRecord {
        AlertRecord {
            target: "app".into(),
            check: "duplicate-tokens".into(),
            alert: Alert { state, ..Alert::default() },
            severity: "critical".into(),
            summary: String::new(),
            acknowledged_by: None,
            note: None,
            verdict: None,
            unknown_reason: None,
            finding: None,
            updated_at: UtcTimestamp::UNIX_EPOCH,
        }
    }

    #[tokio::test]
    async fn firing_periods_end_when_the_alert_is_resolved() {
        let app = TestApp::with_config(CONFIG);
        let now = app.clock.now();
        let at = |minutes: i32| now - MINUTE * minutes;
        for (minutes, kind) in
            [(50, "resolved"), (40, "firing"), (35, "reminder"), (30, "resolved"), (20, "deploy")]
        {
            let event = EventRecord {
                id: 0,
                at: at(minutes),
                target: "app".into(),
                check: "duplicate-tokens".into(),
                kind: kind.into(),
                summary: String::new(),
                detail: "{}".into(),
            };
            app.store.write(|db| history_events::insert_event(db, &event)).unwrap();
        }
        let period = Period { from: at(60), to: now };
        let firing = AlertState::Firing { since: at(10), passing_runs: 0, notified_at: None };
        let history = load_check_history(&app, &alert(firing), period).await.unwrap();
        let expected = [(60, 50), (40, 30), (10, 0)].map(|(from, to)| Period { from: at(from), to: at(to) });
        assert_eq!(history.firing, expected);
        assert_eq!(history.target_events.len(), 1);
        let history = load_check_history(&app, &alert(AlertState::Resolved), period).await.unwrap();
        assert_eq!(history.firing.len(), 2);
    }

    #[test]
    fn gauges_belong_to_known_checks() {
        for (id, _) in CHECK_GAUGES {
            assert!(crate::checks::TABLE_CHECKS.iter().any(|check| check.id == id), "{id}");
        }
        assert_eq!((gauge_for_check("expired-backlog"), gauge_for_check("mine")), (Some("expired"), None));
    }
}
