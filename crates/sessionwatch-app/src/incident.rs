//! Incidents: steps, timeline, evidence and report. The rules are in `sessionwatch_core::incident`; every step is on
//! the timeline and in the audit log.

pub mod affected_sessions;
mod affected_summary;
mod containment;
pub mod drill;
pub mod evidence_bundle;
mod log_sources;
pub mod progress;
mod reopening;
pub mod report;
mod step_detection;
pub mod user_notice;
pub mod workflow;

use serde_json::{Value, json};
use sessionwatch_clock as clock;
use sessionwatch_core::{
    checks::CheckVerdict,
    duration::DAY,
    incident::{self, IncidentSeverity},
    period::Period,
    plural::format_count,
    severity::Severity,
    timestamp::UtcTimestamp,
};
use sessionwatch_store::{
    StoreError,
    incidents::{self, IncidentRecord, IncidentState, TimelineEntry},
    log_events::{self, LogEventRecord, LogEventSearch},
    transaction::Tx,
};

use crate::{
    check_run::{self, CheckReport, CheckRunRequest},
    logs,
    remediation::{ActionContext, ActionError},
    target_layouts,
};

pub use self::{
    containment::{ContainmentScope, record_containment},
    log_sources::describe_idle_sources,
    reopening::{ReopenReason, reopen_after_run, reopen_incident, reopen_reason_from_logs, reopen_reasons},
    step_detection::{StepOutcome, check_step},
};

/// Maximum number of log events of the last day that a new timeline starts with.
const MAX_OPENING_LOG_EVENTS: u32 = 50;

/// New entry of a timeline.
#[derive(Clone, Copy, Debug)]
pub struct NewTimelineEntry<'a> {
    /// Kind of entry.
    pub kind: &'a str,
    /// Step id; empty for none.
    pub step: &'a str,
    /// Text of a person, or of a finding.
    pub text: &'a str,
    /// Further facts as JSON.
    pub detail: Option<&'a Value>,
}

impl NewTimelineEntry<'_> {
    /// Adds the actor and the current time.
    #[must_use]
    pub fn into_entry(self, context: ActionContext<'_>) -> TimelineEntry {
        TimelineEntry {
            at: context.clock.now(),
            actor: context.actor.to_owned(),
            kind: self.kind.to_owned(),
            step: self.step.to_owned(),
            message: self.text.to_owned(),
            detail: self.detail.map_or_else(|| "{}".to_owned(), Value::to_string),
        }
    }
}

/// Opens an incident, and records a check run of the target.
///
/// # Errors
///
/// Fails if the target has an open incident, or the store cannot be written.
pub async fn open_incident(
    context: ActionContext<'_>,
    grade: IncidentSeverity,
    summary: &str,
) -> Result<(IncidentRecord, CheckReport), ActionError> {
    let target = &context.target.name;
    let still = |open: IncidentRecord| ActionError::StillOpen(open.id, open.state.name());
    // Checked before the check run too, which may take minutes.
    if let Some(open) = context.store.read(|db| incidents::find_open_incident(db, target))? {
        return Err(still(open));
    }
    let report = run_full_check(context).await;
    let now = context.clock.now();
    let day: String = clock::format_rfc3339(now).chars().take(10).filter(|letter| *letter != '-').collect();
    let severity = json!({ "severity": grade.name() });
    let opened = NewTimelineEntry { kind: "opened", step: "", text: summary, detail: Some(&severity) }
        .into_entry(context);
    let (found, document) = (severe_findings(&report).join("; "), report.to_json());
    let looked = NewTimelineEntry { kind: "check-run", step: "", text: &found, detail: Some(&document) }
        .into_entry(context);
    let stored_incident = context.store.write(|db| {
        // Another process may have opened one during the check run.
        if let Some(open) = incidents::find_open_incident(db, target)? {
            return Ok(Err(open));
        }
        let taken = incidents::list_incidents(db)?.iter().filter(|other| other.id.contains(&day)).count();
        let incident = IncidentRecord {
            id: incident::format_incident_id(&day, taken),
            target: context.target.name.clone(),
            severity: grade,
            state: IncidentState::Open,
            opened_at: now,
            opened_by: context.actor.to_owned(),
            contained_at: None,
            closed_at: None,
            report_fields: json!({ "summary": summary }).to_string(),
        };
        incidents::upsert_incident(db, &incident)?;
        incidents::insert_timeline_entry(db, &incident.id, &opened)?;
        incidents::insert_timeline_entry(db, &incident.id, &looked)?;
        let search = LogEventSearch {
            only_with_severity: true,
            limit: MAX_OPENING_LOG_EVENTS,
            ..LogEventSearch::default()
        };
        // No upper bound: if the clock was set back, recent events have a later time than now.
        let lately = Period { from: now - DAY, to: UtcTimestamp::MAX };
        for event in log_events::search_log_events(db, &context.target.name, lately, &search)?.iter().rev() {
            incidents::insert_timeline_entry(db, &incident.id, &timeline_entry(event, now)?)?;
        }
        Ok(Ok(incident))
    })?;
    Ok((stored_incident.map_err(still)?, report))
}

/// Runs every check, and reads all rows instead of trusting indexes and constraints.
pub async fn run_full_check(context: ActionContext<'_>) -> CheckReport {
    let (mut target, config) = (context.target.clone(), context.config);
    let located = target_layouts::set_known_layout(context.store, &mut target);
    let request = CheckRunRequest {
        target: &target,
        catalogue: &config.catalogue,
        settings: &config.checks,
        ignore_constraints: true,
        requested_ids: &[],
        history: None,
    };
    match located {
        Ok(()) => check_run::run_checks_once(request).await,
        Err(error) => check_run::failed_report(request, error),
    }
}

/// Describes the critical and high findings of a check run, or the reason why the run failed.
#[must_use]
pub fn severe_findings(report: &CheckReport) -> Vec<String> {
    if let Err(error) = &report.observation {
        return vec![format!("the check run failed: {error}")];
    }
    let bad = report.results.iter().filter(|outcome| outcome.severity >= Severity::High);
    bad.filter(|outcome| outcome.outcome.verdict == CheckVerdict::Failing)
        .map(|outcome| format!("{}: {}", outcome.id, outcome.outcome.summary))
        .collect()
}

/// Returns what else to do if deleting rows does not end every login.
#[must_use]
pub fn forced_logout_advice(context: ActionContext<'_>, report: &CheckReport) -> Vec<String> {
    let Ok(seen) = &report.observation else { return vec![] };
    // The notes of the report already have the hints that the tables give.
    let name = &seen.candidate.mapping.profile;
    let profile = context.config.catalogue.iter().find(|profile| profile.name == *name);
    profile.map(sessionwatch_targets::layout::profile_catalog::Profile::revoke_advice).unwrap_or_default()
}

/// Returns the ids of the plans that revoked sessions.
///
/// # Errors
///
/// Fails if an entry cannot be decoded.
pub fn containment_plans(timeline: &[TimelineEntry]) -> Result<Vec<String>, StoreError> {
    let plan = |entry: &TimelineEntry| match &entry.parse_detail()?["plan"] {
        Value::Null => Ok(None),
        Value::String(plan) => Ok(Some(plan.clone())),
        _ => Err(TimelineEntry::undecodable_column("detail")),
    };
    let contained = timeline.iter().filter(|entry| entry.kind == "contained");
    contained.map(plan).filter_map(Result::transpose).collect()
}

/// Sets a field of the report.
///
/// # Errors
///
/// Fails if the existing fields cannot be decoded, rather than overwriting them.
pub fn with_field(incident: IncidentRecord, name: &str, text: &str) -> Result<IncidentRecord, StoreError> {
    let undecodable = |_| StoreError::Undecodable { table: "incidents".into(), column: "fields".into() };
    let mut fields: serde_json::Map<String, Value> =
        serde_json::from_str(&incident.report_fields).map_err(undecodable)?;
    fields.insert(name.to_owned(), json!(text));
    Ok(IncidentRecord { report_fields: Value::Object(fields).to_string(), ..incident })
}

/// Returns a reason without surrounding white space; `None` if it is blank.
#[must_use]
pub fn trim_reason(reason: &str) -> Option<&str> {
    Some(reason.trim()).filter(|reason| !reason.is_empty())
}

/// Describes the time left for containment; `None` once the incident is contained or closed.
#[must_use]
pub fn describe_time_left(incident: &IncidentRecord, now: UtcTimestamp) -> Option<String> {
    if incident.contained_at.is_some() || incident.state == IncidentState::Closed {
        return None;
    }
    // Negative if the clock was set back since.
    let used = now.duration_since(incident.opened_at).as_mins().max(0);
    let given = incident.severity.containment_deadline().as_mins();
    let length = |minutes: i64| match minutes.unsigned_abs() {
        minutes if minutes < 120 => format_count(minutes, "minute", "minutes"),
        minutes => format_count(minutes / 60, "hour", "hours"),
    };
    Some(if used > given {
        format!("Revoking the sessions is {} overdue.", length(used - given))
    } else {
        format!("{} left to revoke the sessions.", length(given - used))
    })
}

/// Returns whether a target is checked every minute: for a day after sessions were revoked, even if the incident was
/// closed meanwhile.
///
/// # Errors
///
/// Fails if the store cannot be read.
pub fn is_closely_monitored(db: Tx<'_>, target: &str, now: UtcTimestamp) -> Result<bool, StoreError> {
    Ok(incident::is_closely_monitored(incidents::last_contained_at(db, target)?, now))
}

/// Returns a timeline entry for a log event.
///
/// # Errors
///
/// Fails if the event cannot be encoded as JSON.
pub fn timeline_entry(event: &LogEventRecord, now: UtcTimestamp) -> Result<TimelineEntry, StoreError> {
    let [actor, kind] = ["sessionwatch", "log-event"].map(str::to_owned);
    let message = format!("{}: {}", event.source, logs::describe_log_event(event));
    let detail = logs::log_event_json(event)?.to_string();
    Ok(TimelineEntry { at: now, actor, kind, step: String::new(), message, detail })
}

#[cfg(test)]
mod tests;
