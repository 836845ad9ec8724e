//! What the program finds out of the steps of an incident by itself.

use serde_json::{Value, json};
use sessionwatch_core::{
    checklist::CriticalLogEvents,
    duration::{DAY, HOUR},
    incident::{self, IncidentStep},
    plural::format_count,
    timestamp::UtcTimestamp,
};
use sessionwatch_store::{
    incidents::{IncidentRecord, TimelineEntry},
    log_events,
};

use super::{
    containment_plans,
    evidence::{self, EvidenceStatus},
    log_sources::describe_idle_sources,
    run_full_check, severe_findings,
};
use crate::{
    logs,
    remediation::{self, ActionContext, ActionError},
};

/// The ratio of active sessions to users that is in order after an emergency.
const HEALTHY_SESSIONS_PER_USER: std::ops::RangeInclusive<f64> = 1.0..=3.0;

/// What a step that is found out by the program turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepOutcome {
    /// It is done.
    pub is_done: bool,
    /// In words.
    pub text: String,
    /// The rest, as JSON.
    pub detail: Value,
}

/// Finds out whether a step is done.
///
/// # Errors
///
/// If the target or the store fails.
pub async fn check_step(
    context: ActionContext<'_>,
    incident: &IncidentRecord,
    timeline: &[TimelineEntry],
    step: &IncidentStep,
) -> Result<StepOutcome, ActionError> {
    let outcome = |holds, said: String| StepOutcome { is_done: holds, text: said, detail: json!({}) };
    Ok(match step.id {
        "confirm" => {
            let report = run_full_check(context).await;
            let found = severe_findings(&report);
            let said = if found.is_empty() {
                "the look found nothing critical or high".into()
            } else {
                found.join("; ")
            };
            StepOutcome {
                is_done: report.observation.is_ok() && !found.is_empty(),
                text: said,
                detail: report.to_json(),
            }
        }
        "evidence" => match evidence::evidence_status(timeline)? {
            EvidenceStatus::Complete(said) => outcome(true, said),
            EvidenceStatus::Incomplete(said) => outcome(false, said),
            EvidenceStatus::Missing => outcome(false, "no evidence was written yet".into()),
        },
        "way-back" => match remediation::check_readiness(context).await {
            Ok(said) => outcome(true, said),
            Err(error) => {
                let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
                outcome(false, format!("{error}{hint}"))
            }
        },
        "contain" => match describe_containments(entries_since_reopened(timeline)) {
            Some(said) => outcome(true, said),
            None => outcome(false, "no sessions were ended yet".into()),
        },
        "verify" => verify_containment(context, timeline).await?,
        "watch" => {
            let now = context.clock.now();
            match incident.contained_at {
                Some(at) if !incident::is_closely_monitored(Some(at), now) => {
                    outcome(true, "24 hours have passed, and nothing came back".into())
                }
                Some(at) => {
                    let left = (DAY - now.duration_since(at)).as_hours();
                    outcome(false, format!("{} hours are left", left + 1))
                }
                None => outcome(false, "no sessions were ended yet".into()),
            }
        }
        "root-cause" => match incident.report_field("root-cause") {
            Some(cause) => outcome(true, cause),
            None => outcome(false, "it is not known yet".into()),
        },
        _ => outcome(false, "a person says when it is done".into()),
    })
}

/// Every plan that ended sessions, in words; nothing if none did.
fn describe_containments(timeline: &[TimelineEntry]) -> Option<String> {
    let said = timeline.iter().filter(|entry| entry.kind == "contained").map(|entry| entry.message.as_str());
    let said: Vec<&str> = said.collect();
    (!said.is_empty()).then(|| said.join("; "))
}

/// What happened since the incident was opened, or opened anew.
pub(super) fn entries_since_reopened(timeline: &[TimelineEntry]) -> &[TimelineEntry] {
    let at = timeline.iter().rposition(|entry| entry.kind == "reopened").unwrap_or(0);
    timeline.get(at..).unwrap_or_default()
}

/// Whether what was done holds.
async fn verify_containment(
    context: ActionContext<'_>,
    timeline: &[TimelineEntry],
) -> Result<StepOutcome, ActionError> {
    let report = run_full_check(context).await;
    let mut wrong = Vec::new();
    let mut right = Vec::new();
    match &report.observation {
        Err(error) => wrong.push(format!("the target could not be looked at: {error}")),
        Ok(seen) => {
            let census = &seen.stats;
            let shared = census.duplicates.count().map(|found| found.tokens);
            record_count(shared, "shared tokens", &mut right, &mut wrong);
            match census.orphaned.count() {
                // Where there is no table of users there can be none; the look says so.
                None if seen.candidate.mapping.users.is_none() && !seen.has_unreadable_users => {
                    right.push("orphans: not known".into());
                }
                orphaned => record_count(orphaned, "orphans", &mut right, &mut wrong),
            }
            let ratio = census.sessions_per_user();
            if census.active == 0 {
                right.push("no active session".into());
            } else if HEALTHY_SESSIONS_PER_USER.contains(&ratio) {
                right.push(format!("{ratio:.2} active sessions a user"));
            } else {
                wrong.push(format!("{ratio:.2} active sessions a user"));
            }
        }
    }
    let mut back = 0;
    for plan in containment_plans(timeline)? {
        back += remediation::count_reappeared(context, &plan).await?;
    }
    record_count(Some(back), "ended sessions that are back", &mut right, &mut wrong);
    let unheard = describe_idle_sources(context)?;
    if !unheard.is_empty() {
        wrong.push(format!("critical log lines: not known, {}", unheard.join(", ")));
    }
    if context.config.logs.sources_for_target(&context.target.name).next().is_some() {
        let lines = count_critical_events(context, timeline)?;
        record_count(Some(lines.confirmed), "critical log lines of the last hour", &mut right, &mut wrong);
        // Visitors may have written those: they are said, and keep nobody from going on.
        if lines.unconfirmed > 0 {
            let unconfirmed = format_count(
                lines.unconfirmed,
                "unconfirmed critical log line",
                "unconfirmed critical log lines",
            );
            right.push(format!("{unconfirmed} of the last hour"));
        }
    }
    let said =
        if wrong.is_empty() { right.join(", ") } else { format!("not in order: {}", wrong.join(", ")) };
    Ok(StepOutcome { is_done: wrong.is_empty(), text: said, detail: report.to_json() })
}

/// Critical lines of the last hour; before sessions were ended there may have been some.
fn count_critical_events(
    context: ActionContext<'_>,
    timeline: &[TimelineEntry],
) -> Result<CriticalLogEvents, ActionError> {
    let now = context.clock.now();
    let contained = timeline.iter().rev().find(|entry| entry.kind == "contained").map(|entry| entry.at);
    let from = (now - HOUR).max(contained.unwrap_or(UtcTimestamp::MIN));
    let target = &context.target.name;
    Ok(context.store.read(|db| {
        logs::count_critical_events(db, log_events::LogEventWindow { target, from, to: UtcTimestamp::MAX })
    })?)
}

fn record_count(found: Option<u64>, what: &str, right: &mut Vec<String>, wrong: &mut Vec<String>) {
    match found {
        Some(0) => right.push(format!("no {what}")),
        Some(count) => wrong.push(format!("{count} {what}")),
        None => wrong.push(format!("{what}: not known")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plan_that_ended_sessions_is_named() {
        let entry = |kind: &str, said: &str| TimelineEntry {
            at: UtcTimestamp::MIN,
            actor: "ada".into(),
            kind: kind.into(),
            step: "contain".into(),
            message: said.into(),
            detail: "{}".into(),
        };
        assert_eq!(describe_containments(&[entry("note", "on the call")]), None);
        let timeline =
            [entry("contained", "5 of duplicates"), entry("note", "x"), entry("contained", "15 of users")];
        assert_eq!(describe_containments(&timeline).as_deref(), Some("5 of duplicates; 15 of users"));
    }
}
