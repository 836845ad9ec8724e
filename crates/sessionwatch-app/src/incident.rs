//! An emergency: what was found, what was done about it, by whom, and whether it held. Decisions are those of
//! `sessionwatch_core::incident`; every step is on the timeline and in the audit trail.

mod affected;
pub mod drill;
pub mod evidence;
mod log_sources;
pub mod message;
mod reopening;
pub mod report;
mod steps;
pub mod workflow;

use serde_json::{Value, json};
use sessionwatch_clock as clock;
use sessionwatch_core::{
    checks::CheckVerdict,
    duration::DAY,
    incident::{self, IncidentSeverity},
    period::Period,
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
    log_sources::describe_idle_sources,
    reopening::{ReopenReason, reopen_after_run, reopen_incident, reopen_reason_from_logs, reopen_reasons},
    steps::{StepOutcome, check_step},
};

/// Signals of the last day that are on the timeline from the start.
const MAX_OPENING_LOG_EVENTS: u32 = 50;

/// Something for the timeline.
#[derive(Clone, Copy, Debug)]
pub struct NewTimelineEntry<'a> {
    /// What kind of thing it is.
    pub kind: &'a str,
    /// The step that it belongs to; empty for none.
    pub step: &'a str,
    /// What was said or found.
    pub text: &'a str,
    /// The rest, as JSON.
    pub detail: Option<&'a Value>,
}

impl NewTimelineEntry<'_> {
    /// The entry, by whom and when.
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

/// Opens an incident, with a look at the target as it is now.
///
/// # Errors
///
/// If one of that target is open, or it cannot be kept.
pub async fn open_incident(
    context: ActionContext<'_>,
    grade: IncidentSeverity,
    summary: &str,
) -> Result<(IncidentRecord, CheckReport), ActionError> {
    let target = &context.target.name;
    let still = |open: IncidentRecord| ActionError::StillOpen(open.id, open.state.name());
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
    let kept = context.store.write(|db| {
        // Somebody else may have opened one during the look.
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
        // What seems to come later was seen before the clock was set back.
        let lately = Period { from: now - DAY, to: UtcTimestamp::MAX };
        for signal in log_events::search_log_events(db, &context.target.name, lately, &search)?.iter().rev() {
            incidents::insert_timeline_entry(db, &incident.id, &timeline_entry(signal, now)?)?;
        }
        Ok(Ok(incident))
    })?;
    Ok((kept.map_err(still)?, report))
}

/// A look at the target, without trust in indexes.
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

/// What a look found that is critical or high, in words; or why nothing is known.
#[must_use]
pub fn severe_findings(report: &CheckReport) -> Vec<String> {
    if let Err(error) = &report.observation {
        return vec![format!("the target could not be looked at: {error}")];
    }
    let bad = report.results.iter().filter(|outcome| outcome.severity >= Severity::High);
    bad.filter(|outcome| outcome.outcome.verdict == CheckVerdict::Failing)
        .map(|outcome| format!("{}: {}", outcome.id, outcome.outcome.summary))
        .collect()
}

/// What has to be done besides, where ending rows does not end every log-in.
#[must_use]
pub fn forced_logout_advice(context: ActionContext<'_>, report: &CheckReport) -> Vec<String> {
    let Ok(seen) = &report.observation else { return vec![] };
    // What the tables say is among the notes of the report.
    let name = &seen.candidate.mapping.profile;
    let profile = context.config.catalogue.iter().find(|profile| profile.name == *name);
    profile.map(sessionwatch_targets::layout::profile_catalog::Profile::revoke_advice).unwrap_or_default()
}

/// The plans that ended sessions.
///
/// # Errors
///
/// If an entry cannot be decoded.
pub fn containment_plans(timeline: &[TimelineEntry]) -> Result<Vec<String>, StoreError> {
    let plan = |entry: &TimelineEntry| match &entry.parse_detail()?["plan"] {
        Value::Null => Ok(None),
        Value::String(plan) => Ok(Some(plan.clone())),
        _ => Err(TimelineEntry::undecodable_column("detail")),
    };
    let contained = timeline.iter().filter(|entry| entry.kind == "contained");
    contained.map(plan).filter_map(Result::transpose).collect()
}

/// What a person says under a name.
///
/// # Errors
///
/// If what was said before cannot be decoded: it is not written over.
pub fn with_field(incident: IncidentRecord, name: &str, text: &str) -> Result<IncidentRecord, StoreError> {
    let undecodable = |_| StoreError::Undecodable { table: "incidents".into(), column: "fields".into() };
    let mut fields: serde_json::Map<String, Value> =
        serde_json::from_str(&incident.report_fields).map_err(undecodable)?;
    fields.insert(name.to_owned(), json!(text));
    Ok(IncidentRecord { report_fields: Value::Object(fields).to_string(), ..incident })
}

/// How much of the time to end the sessions is used, in words; nothing once they were ended, or it is over.
#[must_use]
pub fn describe_time_used(incident: &IncidentRecord, now: UtcTimestamp) -> Option<String> {
    if incident.contained_at.is_some() || incident.state == IncidentState::Closed {
        return None;
    }
    let used = now.duration_since(incident.opened_at).as_mins();
    let given = incident.severity.containment_deadline().as_mins();
    let late = if used > given { ": it is late" } else { "" };
    Some(format!("{used} of {given} minutes to end the sessions are used{late}."))
}

/// Notes that sessions were ended.
///
/// # Errors
///
/// If it cannot be kept.
pub fn record_containment(
    context: ActionContext<'_>,
    incident: &IncidentRecord,
    text: &str,
    detail: &Value,
) -> Result<(), StoreError> {
    let entry = NewTimelineEntry { kind: "contained", step: "contain", text, detail: Some(detail) }
        .into_entry(context);
    let contained = |incident| {
        Ok(IncidentRecord { state: IncidentState::Contained, contained_at: Some(entry.at), ..incident })
    };
    context.store.write(|db| incidents::update_incident(db, &incident.id, &entry, contained))
}

/// Whether a target is looked at every minute, since sessions were ended there within the last day, also if the incident was
/// closed meanwhile.
///
/// # Errors
///
/// If it cannot be read.
pub fn is_closely_monitored(db: Tx<'_>, target: &str, now: UtcTimestamp) -> Result<bool, StoreError> {
    Ok(incident::is_closely_monitored(incidents::last_contained_at(db, target)?, now))
}

/// A signal for the timeline.
///
/// # Errors
///
/// If it cannot be written as JSON.
pub fn timeline_entry(signal: &LogEventRecord, now: UtcTimestamp) -> Result<TimelineEntry, StoreError> {
    let [actor, kind] = ["the log", "log-event"].map(str::to_owned);
    let said = format!("{}: {}", signal.source, logs::describe_log_event(signal));
    let detail = logs::log_event_json(signal)?.to_string();
    Ok(TimelineEntry { at: now, actor, kind, step: String::new(), message: said, detail })
}
