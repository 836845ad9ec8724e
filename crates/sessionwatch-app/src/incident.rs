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
pub mod work;

use serde_json::{Value, json};
use sessionwatch_clock as clock;
use sessionwatch_core::{
    checks::Verdict,
    duration::DAY,
    incident::{self, IncidentSeverity},
    instant::Instant,
    period::Period,
    severity::Severity,
};
use sessionwatch_store::{
    StoreError,
    db::Db,
    incidents::{self, Entry, Incident, State},
    signals::{self, Kept, Search},
};

use crate::{
    check_run::{self, Report, Request},
    logs,
    remediation::{ActError, Context},
    target_layouts,
};

pub use self::{
    log_sources::unheard,
    reopening::{ReopenReason, reopen, reopen_by_run, reopen_reason_from_logs, reopen_reasons},
    steps::{StepOutcome, check_step},
};

/// Signals of the last day that are on the timeline from the start.
const MAX_OPENING_LOG_EVENTS: u32 = 50;

/// Something for the timeline.
#[derive(Clone, Copy, Debug)]
pub struct NewEntry<'a> {
    /// What kind of thing it is.
    pub kind: &'a str,
    /// The step that it belongs to; empty for none.
    pub step: &'a str,
    /// What was said or found.
    pub said: &'a str,
    /// The rest, as JSON.
    pub detail: Option<&'a Value>,
}

impl NewEntry<'_> {
    /// The entry, by whom and when.
    #[must_use]
    pub fn into_entry(self, context: Context<'_>) -> Entry {
        Entry {
            at: context.clock.now(),
            actor: context.actor.to_owned(),
            kind: self.kind.to_owned(),
            step: self.step.to_owned(),
            said: self.said.to_owned(),
            detail: self.detail.map_or_else(|| "{}".to_owned(), Value::to_string),
        }
    }
}

/// Opens an incident, with a look at the target as it is now.
///
/// # Errors
///
/// If one of that target is open, or it cannot be kept.
pub async fn open(
    context: Context<'_>,
    grade: IncidentSeverity,
    summary: &str,
) -> Result<(Incident, Report), ActError> {
    let target = &context.target.name;
    let still = |open: Incident| ActError::StillOpen(open.id, open.state.name());
    if let Some(open) = context.store.read(|db| incidents::current(db, target))? {
        return Err(still(open));
    }
    let report = look(context).await;
    let now = context.clock.now();
    let day: String = clock::rfc3339(now).chars().take(10).filter(|letter| *letter != '-').collect();
    let severity = json!({ "severity": grade.name() });
    let opened =
        NewEntry { kind: "opened", step: "", said: summary, detail: Some(&severity) }.into_entry(context);
    let (found, document) = (findings(&report).join("; "), report.json());
    let looked =
        NewEntry { kind: "look", step: "", said: &found, detail: Some(&document) }.into_entry(context);
    let kept = context.store.write(|db| {
        // Somebody else may have opened one during the look.
        if let Some(open) = incidents::current(db, target)? {
            return Ok(Err(open));
        }
        let taken = incidents::list(db)?.iter().filter(|other| other.id.contains(&day)).count();
        let incident = Incident {
            id: incident::id(&day, taken),
            target: context.target.name.clone(),
            grade,
            state: State::Open,
            opened_at: now,
            opened_by: context.actor.to_owned(),
            contained_at: None,
            closed_at: None,
            fields: json!({ "summary": summary }).to_string(),
        };
        incidents::put(db, &incident)?;
        incidents::add(db, &incident.id, &opened)?;
        incidents::add(db, &incident.id, &looked)?;
        let search = Search { bad: true, limit: MAX_OPENING_LOG_EVENTS, ..Search::default() };
        // What seems to come later was seen before the clock was set back.
        let lately = Period { from: now - DAY, to: Instant::MAX };
        for signal in signals::search(db, &context.target.name, lately, &search)?.iter().rev() {
            incidents::add(db, &incident.id, &timeline_entry(signal, now)?)?;
        }
        Ok(Ok(incident))
    })?;
    Ok((kept.map_err(still)?, report))
}

/// A look at the target, without trust in indexes.
pub async fn look(context: Context<'_>) -> Report {
    let (mut target, config) = (context.target.clone(), context.config);
    let located = target_layouts::locate(context.store, &mut target);
    let request = Request {
        target: &target,
        catalogue: &config.catalogue,
        rules: &config.rules,
        deep: true,
        only: &[],
        watched: None,
    };
    match located {
        Ok(()) => check_run::run_checks_once(request).await,
        Err(error) => check_run::failed(request, error),
    }
}

/// What a look found that is critical or high, in words; or why nothing is known.
#[must_use]
pub fn findings(report: &Report) -> Vec<String> {
    if let Err(error) = &report.seen {
        return vec![format!("the target could not be looked at: {error}")];
    }
    let bad = report.outcomes.iter().filter(|outcome| outcome.severity >= Severity::High);
    bad.filter(|outcome| outcome.finding.verdict == Verdict::Failing)
        .map(|outcome| format!("{}: {}", outcome.id, outcome.finding.summary))
        .collect()
}

/// What has to be done besides, where ending rows does not end every log-in.
#[must_use]
pub fn force_out(context: Context<'_>, report: &Report) -> Vec<String> {
    let Ok(seen) = &report.seen else { return vec![] };
    // What the tables say is among the notes of the report.
    let name = &seen.candidate.mapping.profile;
    let profile = context.config.catalogue.iter().find(|profile| profile.name == *name);
    profile.map(sessionwatch_targets::layout::catalogue::Profile::advice).unwrap_or_default()
}

/// The plans that ended sessions.
///
/// # Errors
///
/// If an entry cannot be decoded.
pub fn contained(timeline: &[Entry]) -> Result<Vec<String>, StoreError> {
    let plan = |entry: &Entry| match &entry.document()?["plan"] {
        Value::Null => Ok(None),
        Value::String(plan) => Ok(Some(plan.clone())),
        _ => Err(Entry::undecodable("detail")),
    };
    let contained = timeline.iter().filter(|entry| entry.kind == "contained");
    contained.map(plan).filter_map(Result::transpose).collect()
}

/// What a person says under a name.
///
/// # Errors
///
/// If what was said before cannot be decoded: it is not written over.
pub fn with_field(incident: Incident, name: &str, text: &str) -> Result<Incident, StoreError> {
    let undecodable = |_| StoreError::Undecodable { table: "incidents".into(), column: "fields".into() };
    let mut fields: serde_json::Map<String, Value> =
        serde_json::from_str(&incident.fields).map_err(undecodable)?;
    fields.insert(name.to_owned(), json!(text));
    Ok(Incident { fields: Value::Object(fields).to_string(), ..incident })
}

/// How much of the time to end the sessions is used, in words; nothing once they were ended, or it is over.
#[must_use]
pub fn time_used(incident: &Incident, now: Instant) -> Option<String> {
    if incident.contained_at.is_some() || incident.state == State::Closed {
        return None;
    }
    let used = now.duration_since(incident.opened_at).as_mins();
    let given = incident.grade.contained_within().as_mins();
    let late = if used > given { ": it is late" } else { "" };
    Some(format!("{used} of {given} minutes to end the sessions are used{late}."))
}

/// Notes that sessions were ended.
///
/// # Errors
///
/// If it cannot be kept.
pub fn record_containment(
    context: Context<'_>,
    incident: &Incident,
    said: &str,
    detail: &Value,
) -> Result<(), StoreError> {
    let entry =
        NewEntry { kind: "contained", step: "contain", said, detail: Some(detail) }.into_entry(context);
    let contained =
        |incident| Ok(Incident { state: State::Contained, contained_at: Some(entry.at), ..incident });
    context.store.write(|db| incidents::change(db, &incident.id, &entry, contained))
}

/// Whether a target is looked at every minute, since sessions were ended there within the last day, also if the incident was
/// closed meanwhile.
///
/// # Errors
///
/// If it cannot be read.
pub fn is_watched(db: Db<'_>, target: &str, now: Instant) -> Result<bool, StoreError> {
    Ok(incident::is_watched(incidents::last_contained(db, target)?, now))
}

/// A signal for the timeline.
///
/// # Errors
///
/// If it cannot be written as JSON.
pub fn timeline_entry(signal: &Kept, now: Instant) -> Result<Entry, StoreError> {
    let [actor, kind] = ["the log", "signal"].map(str::to_owned);
    let said = format!("{}: {}", signal.source, logs::describe_kept(signal));
    let detail = logs::kept_json(signal)?.to_string();
    Ok(Entry { at: now, actor, kind, step: String::new(), said, detail })
}
