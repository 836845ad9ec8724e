//! What pages show about incidents besides their records: the current step, the clock, and the sessions concerned.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;
use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_store::{
    StoreError,
    incidents::{self, DrillRecord, IncidentRecord, IncidentState, TimelineEntry},
    latest_reports,
};

use super::{AppError, AppState, incidents::IncidentWorkflow};
use crate::{checks::EvidenceKind, incident::report};

pub use crate::incident::{
    affected_sessions::{AffectedSession, AffectedSessions},
    progress::{ContainmentClock, StepProgress, reopened_at},
    report::{BLANK_PLACEHOLDER, ReportPart},
};

/// All incidents.
#[derive(Clone, Debug)]
pub struct IncidentList {
    /// Incidents that are not closed, the latest first.
    pub open: Vec<OpenIncident>,
    /// Closed incidents, the latest first.
    pub closed: Vec<IncidentRecord>,
    /// The latest drill.
    pub last_drill: Option<DrillRecord>,
}

/// An incident that is not closed.
#[derive(Clone, Debug)]
pub struct OpenIncident {
    /// The incident.
    pub incident: IncidentRecord,
    /// Its current step.
    pub progress: StepProgress,
    /// Time when it was last reopened.
    pub reopened_at: Option<UtcTimestamp>,
}

/// Loads all incidents, with the current step of those that are not closed.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn load_incident_list(app: &Arc<AppState>) -> Result<IncidentList, AppError> {
    app.read_store(|db| {
        let (closed, open): (Vec<_>, Vec<_>) = incidents::list_incidents(db)?
            .into_iter()
            .partition(|incident| incident.state == IncidentState::Closed);
        let with_step = |incident: IncidentRecord| {
            let timeline = incidents::list_timeline(db, &incident.id)?;
            Ok::<_, StoreError>(OpenIncident {
                progress: StepProgress::of_incident(&incident, &timeline),
                reopened_at: reopened_at(&timeline),
                incident,
            })
        };
        Ok(IncidentList {
            open: open.into_iter().map(with_step).collect::<Result<_, _>>()?,
            closed,
            last_drill: incidents::list_drills(db)?.into_iter().next(),
        })
    })
    .await
}

/// Returns the parts of an incident's report.
///
/// # Errors
///
/// If the stored incident cannot be decoded.
pub fn build_report(case: &IncidentWorkflow) -> Result<Vec<ReportPart>, AppError> {
    Ok(report::build_parts(&case.incident, &case.timeline)?)
}

/// Numbers of sessions that a containment would revoke, from the latest check run. Unknown ones are `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContainmentCounts {
    /// Tokens on more than one session.
    pub shared_tokens: Option<u64>,
    /// Sessions with these tokens.
    pub shared_sessions: Option<u64>,
    /// Sessions of users who do not exist.
    pub orphaned: Option<u64>,
    /// All sessions.
    pub all: Option<u64>,
    /// Time of the check run.
    pub at: Option<UtcTimestamp>,
}

/// What is known about the sessions that an incident is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IncidentSituation {
    /// The sessions, as the check runs of the incident recorded them. Until the incident is contained, also those of
    /// the target's last check run.
    pub affected: AffectedSessions,
    /// Numbers of sessions that a containment would revoke.
    pub counts: ContainmentCounts,
}

/// Loads what is known about the sessions of an incident. Reads stored check runs instead of the database.
///
/// # Errors
///
/// If the state store is unavailable, or the stored incident cannot be decoded.
pub async fn load_situation(
    app: &Arc<AppState>,
    case: &IncidentWorkflow,
) -> Result<IncidentSituation, AppError> {
    let mut affected = AffectedSessions::from_timeline(&case.timeline)?;
    let target = case.incident.target.clone();
    let last_run = app.read_store(move |db| latest_reports::find_report(db, &target)).await?;
    if let Some((_, report)) = last_run.as_ref().filter(|_| case.incident.state == IncidentState::Open) {
        affected.add_sessions(AffectedSessions::from_report(report));
    }
    // The check run of a step may be later than the last scheduled one.
    let latest = find_check_run(&case.timeline)?.into_iter().chain(last_run).max_by_key(|(at, _)| *at);
    let counts = latest.map_or_else(ContainmentCounts::default, |(at, report)| ContainmentCounts {
        at: Some(at),
        ..count_sessions(&report)
    });
    Ok(IncidentSituation { affected, counts })
}

/// Returns the report of the latest check run on a timeline that could read the session table.
fn find_check_run(timeline: &[TimelineEntry]) -> Result<Option<(UtcTimestamp, Value)>, StoreError> {
    for entry in timeline.iter().rev() {
        let report = entry.parse_detail()?;
        if report["stats"].is_object() {
            return Ok(Some((entry.at, report)));
        }
    }
    Ok(None)
}

fn count_sessions(report: &Value) -> ContainmentCounts {
    let count = |key: &str| report["stats"][key].as_u64();
    ContainmentCounts {
        shared_tokens: count("duplicate_tokens"),
        shared_sessions: count_shared_sessions(report),
        orphaned: count("orphaned"),
        all: count("sessions"),
        at: None,
    }
}

/// Counts the sessions with shared tokens, if the report lists them all and each belongs to another user. Of several
/// sessions of one user with one token, the newest is kept, which the report does not show.
fn count_shared_sessions(report: &Value) -> Option<u64> {
    let is_duplicates = |id: &str| {
        let mut checks = crate::checks::TABLE_CHECKS.iter();
        checks.any(|known| known.id == id && known.evidence == EvidenceKind::Duplicates)
    };
    let checks = report["checks"].as_array()?;
    let check = checks.iter().find(|check| check["id"].as_str().is_some_and(is_duplicates))?;
    if check["result"] == "passing" {
        return Some(0);
    }
    let found = AffectedSessions::from_report(&serde_json::json!({ "checks": [check] }));
    let mut users: BTreeMap<&Option<String>, Vec<&Option<String>>> = BTreeMap::new();
    for session in &found.sessions {
        users.entry(&session.token_prefix).or_default().push(&session.user);
    }
    let is_shared = |users: &Vec<&Option<String>>| users.iter().any(|user| *user != users[0]);
    let is_known = !found.is_cut && !users.is_empty() && users.values().all(is_shared);
    is_known.then_some(found.sessions.len() as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(users: &[&str]) -> Value {
        let row = |user: &&str| json!({ "user": user, "id": user, "token_prefix": "abcd", "display": [] });
        let rows: Vec<Value> = users.iter().map(row).collect();
        json!({
            "stats": { "sessions": 400, "duplicate_tokens": 1, "orphaned": null },
            "checks": [{ "id": "duplicate-tokens", "result": "failing", "value": 1, "evidence": rows }],
        })
    }

    #[test]
    fn the_latest_readable_check_run_of_the_timeline_is_found() {
        let entry = |at: i64, detail: &Value| TimelineEntry {
            at: UtcTimestamp::from_micros(at).unwrap(),
            actor: "ada".into(),
            kind: "done".into(),
            step: "confirm".into(),
            message: String::new(),
            detail: detail.to_string(),
        };
        let failed = json!({ "stats": null, "error": "the database is unreachable" });
        let timeline = [entry(1, &report(&["2", "3"])), entry(2, &failed), entry(3, &json!({}))];
        let (at, run) = find_check_run(&timeline).unwrap().unwrap();
        assert_eq!((at, run["stats"]["sessions"].as_u64()), (timeline[0].at, Some(400)));
        assert!(find_check_run(&timeline[1..]).unwrap().is_none());
    }

    #[test]
    fn sessions_are_counted_only_if_the_report_shows_them_all() {
        let counts = count_sessions(&report(&["2", "3"]));
        assert_eq!((counts.shared_tokens, counts.shared_sessions), (Some(1), Some(2)));
        assert_eq!((counts.orphaned, counts.all), (None, Some(400)));
        // The newest of several rows of one user is kept.
        let counts = count_sessions(&json!({ "checks": [{ "id": "duplicate-tokens", "result": "failing",
            "evidence": [{ "user": "2", "id": "1" }, { "user": "2", "id": "2" }] }] }));
        assert_eq!(counts.shared_sessions, None);
        let many: Vec<String> = (0..10).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(count_sessions(&report(&many)).shared_sessions, None);
        let passing = json!({ "checks": [{ "id": "duplicate-tokens", "result": "passing" }] });
        assert_eq!(count_sessions(&passing).shared_sessions, Some(0));
        assert_eq!(count_sessions(&json!({})), ContainmentCounts::default());
    }
}
