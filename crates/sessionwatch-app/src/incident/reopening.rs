//! What opens an incident anew after sessions were ended.

use sessionwatch_core::{checks::Verdict, incident, instant::Instant, severity::Severity};
use sessionwatch_store::{
    StoreError, alerts,
    db::Db,
    incidents::{self, Entry, Incident, State},
};

use crate::{
    check_run::{Outcome as Checked, Report},
    logs::judge::Judged,
};

/// The check that finds ended sessions which are back.
const REAPPEARED_SESSIONS: &str = "revived-sessions";

/// Something that reopens an incident whose sessions were ended.
#[derive(Clone, Debug, PartialEq)]
pub struct ReopenReason {
    /// The check that fails.
    pub check: String,
    /// What it found, as a number.
    pub value: Option<f64>,
    /// In words.
    pub said: String,
}

/// What of a report reopens an incident: something critical, or an ended session that is back.
#[must_use]
pub fn reopen_reasons(report: &Report) -> Vec<ReopenReason> {
    let failing = report.outcomes.iter().filter(|outcome| outcome.finding.verdict == Verdict::Failing);
    let bad =
        failing.filter(|outcome| outcome.severity == Severity::Critical || outcome.id == REAPPEARED_SESSIONS);
    let reason = |outcome: &Checked| ReopenReason {
        check: outcome.id.clone(),
        value: outcome.finding.value,
        said: format!("{}: {}", outcome.id, outcome.finding.summary),
    };
    bad.map(reason).collect()
}

/// What of the checks of logs opens an incident anew: something critical.
#[must_use]
pub fn reopen_reason_from_logs(judged: &[Judged]) -> Option<String> {
    let failing = judged.iter().map(|judged| &judged.outcome);
    let bad = failing.filter(|outcome| {
        outcome.finding.verdict == Verdict::Failing && outcome.severity == Severity::Critical
    });
    let said: Vec<String> =
        bad.map(|outcome| format!("{}: {}", outcome.id, outcome.finding.summary)).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

/// Returns the incident of a target whose sessions were ended within the last day, and which is not open: the one that is not
/// closed, or else the one that was contained last.
fn reopenable(db: Db<'_>, target: &str, now: Instant) -> Result<Option<Incident>, StoreError> {
    let found = match incidents::current(db, target)? {
        Some(current) => Some(current),
        None => incidents::closed_after_containment(db, target)?,
    };
    let may_reopen = |incident: &Incident| {
        incident.state != State::Open && incident::is_watched(incident.contained_at, now)
    };
    Ok(found.filter(may_reopen))
}

/// Reopens an incident whose sessions were ended within the last day, whether or not it was closed since, because of what the
/// watch found. Returns whether there was one.
///
/// # Errors
///
/// If it cannot be written.
pub fn reopen(db: Db<'_>, target: &str, why: &str, now: Instant) -> Result<bool, StoreError> {
    let Some(incident) = reopenable(db, target, now)? else { return Ok(false) };
    let [actor, kind, detail] = ["the watch", "reopened", "{}"].map(str::to_owned);
    let entry = Entry { at: now, actor, kind, step: String::new(), said: why.to_owned(), detail };
    incidents::put(db, &Incident { state: State::Open, closed_at: None, ..incident.clone() })?;
    incidents::add(db, &incident.id, &entry)?;
    Ok(true)
}

/// The same because of a check run, before its results are kept. An incident that a person closed is not reopened by what
/// was failing already after its sessions were ended, unless that has grown.
///
/// # Errors
///
/// If it cannot be read or written.
pub fn reopen_by_run(
    db: Db<'_>,
    target: &str,
    found: &[ReopenReason],
    now: Instant,
) -> Result<bool, StoreError> {
    let Some(incident) = reopenable(db, target, now)? else { return Ok(false) };
    let mut said = Vec::new();
    for reason in found {
        if incident.state != State::Closed || !was_failing(db, &incident, reason)? {
            said.push(reason.said.as_str());
        }
    }
    if said.is_empty() { Ok(false) } else { reopen(db, target, &said.join("; "), now) }
}

/// Whether a check failed as badly already at its run before, and that was after the sessions were ended.
fn was_failing(db: Db<'_>, incident: &Incident, reason: &ReopenReason) -> Result<bool, StoreError> {
    let Some(kept) = alerts::get(db, &incident.target, &reason.check)? else { return Ok(false) };
    let after = incident.contained_at.is_some_and(|contained| kept.updated_at > contained);
    let before = kept.finding_document()?["value"].as_f64();
    let has_grown = reason.value.zip(before).is_some_and(|(now, before)| now > before);
    Ok(after && kept.verdict.as_deref() == Some("failing") && !has_grown)
}
