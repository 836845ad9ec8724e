//! Reopens incidents when a check fails after sessions were revoked.

use sessionwatch_core::{checks::CheckVerdict, incident, severity::Severity, timestamp::UtcTimestamp};
use sessionwatch_store::{
    StoreError, alerts,
    incidents::{self, IncidentRecord, IncidentState, TimelineEntry},
    transaction::Tx,
};

use crate::{
    check_run::{CheckReport, CheckResult as Checked},
    logs::evaluate::LogCheckResult,
};

/// Check that finds revoked sessions that reappeared.
const REAPPEARED_SESSIONS_CHECK: &str = "reappeared-sessions";

/// Failing check that reopens a contained incident.
#[derive(Clone, Debug, PartialEq)]
pub struct ReopenReason {
    /// Id of the check.
    pub check: String,
    /// Value of the check.
    pub value: Option<f64>,
    /// Description of the finding.
    pub text: String,
}

/// Returns the findings of a report that reopen an incident: critical ones, and reappeared sessions.
#[must_use]
pub fn reopen_reasons(report: &CheckReport) -> Vec<ReopenReason> {
    let failing = report.results.iter().filter(|outcome| outcome.outcome.verdict == CheckVerdict::Failing);
    let bad = failing
        .filter(|outcome| outcome.severity == Severity::Critical || outcome.id == REAPPEARED_SESSIONS_CHECK);
    let reason = |outcome: &Checked| ReopenReason {
        check: outcome.id.clone(),
        value: outcome.outcome.value,
        text: format!("{}: {}", outcome.id, outcome.outcome.summary),
    };
    bad.map(reason).collect()
}

/// Describes the critical findings of log checks, which reopen an incident; `None` if there are none.
#[must_use]
pub fn reopen_reason_from_logs(results: &[LogCheckResult]) -> Option<String> {
    let failing = results.iter().map(|result| &result.outcome);
    let bad = failing.filter(|outcome| {
        outcome.outcome.verdict == CheckVerdict::Failing && outcome.severity == Severity::Critical
    });
    let phrases: Vec<String> =
        bad.map(|outcome| format!("{}: {}", outcome.id, outcome.outcome.summary)).collect();
    (!phrases.is_empty()).then(|| phrases.join("; "))
}

/// Returns the incident of a target that was contained within the last day and is not open: preferably one that is not
/// closed, else the one contained last.
fn find_reopenable(
    db: Tx<'_>,
    target: &str,
    now: UtcTimestamp,
) -> Result<Option<IncidentRecord>, StoreError> {
    let found = match incidents::find_open_incident(db, target)? {
        Some(current) => Some(current),
        None => incidents::find_closed_after_containment(db, target)?,
    };
    let may_reopen = |incident: &IncidentRecord| {
        incident.state != IncidentState::Open && incident::is_closely_monitored(incident.contained_at, now)
    };
    Ok(found.filter(may_reopen))
}

/// Reopens an incident that was contained within the last day, even if it was closed since. Returns `false` if there is
/// none.
///
/// # Errors
///
/// Fails if the store cannot be written.
pub fn reopen_incident(db: Tx<'_>, target: &str, why: &str, now: UtcTimestamp) -> Result<bool, StoreError> {
    let Some(incident) = find_reopenable(db, target, now)? else { return Ok(false) };
    let [actor, kind, detail] = ["sessionwatch", "reopened", "{}"].map(str::to_owned);
    let entry = TimelineEntry { at: now, actor, kind, step: String::new(), message: why.to_owned(), detail };
    incidents::upsert_incident(
        db,
        &IncidentRecord { state: IncidentState::Open, closed_at: None, ..incident.clone() },
    )?;
    incidents::insert_timeline_entry(db, &incident.id, &entry)?;
    Ok(true)
}

/// Reopens an incident because of a check run, before its results are stored. A closed incident is not reopened by a
/// check that was already failing after the containment, unless its value has grown.
///
/// # Errors
///
/// Fails if the store cannot be read or written.
pub fn reopen_after_run(
    db: Tx<'_>,
    target: &str,
    reasons: &[ReopenReason],
    now: UtcTimestamp,
) -> Result<bool, StoreError> {
    let Some(incident) = find_reopenable(db, target, now)? else { return Ok(false) };
    let mut texts = Vec::new();
    for reason in reasons {
        if incident.state != IncidentState::Closed || !was_failing(db, &incident, reason)? {
            texts.push(reason.text.as_str());
        }
    }
    if texts.is_empty() { Ok(false) } else { reopen_incident(db, target, &texts.join("; "), now) }
}

/// Returns whether the check failed with at least this value in the previous run, after the containment.
fn was_failing(db: Tx<'_>, incident: &IncidentRecord, reason: &ReopenReason) -> Result<bool, StoreError> {
    let Some(alert) = alerts::find_alert(db, &incident.target, &reason.check)? else { return Ok(false) };
    let after = incident.contained_at.is_some_and(|contained| alert.updated_at > contained);
    let before = alert.parse_finding()?["value"].as_f64();
    let has_grown = reason.value.zip(before).is_some_and(|(now, before)| now > before);
    Ok(after && alert.verdict.as_deref() == Some("failing") && !has_grown)
}

#[cfg(test)]
mod tests;
