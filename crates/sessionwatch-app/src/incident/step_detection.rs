//! Automatic detection of finished steps.

use jiff::SignedDuration;
use serde_json::{Value, json};
use sessionwatch_core::{
    checklist::CriticalLogEvents,
    duration::{HOUR, saturating_micros},
    incident::{self, IncidentStep},
    plural::format_count,
    timestamp::{MICROS_PER_HOUR, UtcTimestamp},
};
use sessionwatch_store::{
    incidents::{IncidentRecord, TimelineEntry},
    log_events,
};

use super::{
    containment_plans,
    evidence_bundle::{self, EvidenceStatus},
    log_sources::describe_idle_sources,
    run_full_check, severe_findings,
};
use crate::{
    logs,
    remediation::{self, ActionContext, ActionError},
};

/// Active sessions per user that are normal after an incident.
const HEALTHY_SESSIONS_PER_USER: std::ops::RangeInclusive<f64> = 1.0..=3.0;

/// Detected state of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepOutcome {
    /// The step is done.
    pub is_done: bool,
    /// Description.
    pub text: String,
    /// Further facts as JSON.
    pub detail: Value,
}

/// Detects whether a step is done.
///
/// # Errors
///
/// Fails if the target or the store fails.
pub async fn check_step(
    context: ActionContext<'_>,
    incident: &IncidentRecord,
    timeline: &[TimelineEntry],
    step: &IncidentStep,
) -> Result<StepOutcome, ActionError> {
    let outcome = |is_done, text: String| StepOutcome { is_done, text, detail: json!({}) };
    Ok(match step.id {
        "confirm" => {
            let report = run_full_check(context).await;
            let found = severe_findings(&report);
            let text = if found.is_empty() {
                "the check run found nothing critical or high".into()
            } else {
                found.join("; ")
            };
            StepOutcome {
                is_done: report.observation.is_ok() && !found.is_empty(),
                text,
                detail: report.to_json(),
            }
        }
        "evidence" => match evidence_bundle::evidence_status(timeline)? {
            EvidenceStatus::Complete(text) => outcome(true, text),
            EvidenceStatus::Incomplete(text) => outcome(false, text),
            EvidenceStatus::Missing => outcome(false, "no evidence has been written yet".into()),
        },
        "rollback" => match remediation::check_readiness(context).await {
            Ok(text) => outcome(true, text),
            Err(error) => {
                let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
                outcome(false, format!("{error}{hint}"))
            }
        },
        // A containment from before the incident was reopened did not hold.
        "contain" => match describe_containments(entries_since_reopened(timeline)) {
            Some(text) => outcome(true, text),
            None => outcome(false, "no sessions have been revoked yet".into()),
        },
        "verify" => verify_containment(context, timeline).await?,
        "watch" => match incident.contained_at {
            Some(contained_at) => detect_monitoring(context, contained_at, timeline).await?,
            None => outcome(false, "no sessions have been revoked yet".into()),
        },
        "root-cause" => match incident.report_field("root-cause").filter(|cause| !cause.trim().is_empty()) {
            Some(cause) => outcome(true, cause),
            None => outcome(false, "no root cause has been recorded yet".into()),
        },
        _ => outcome(false, "this step must be marked as done by hand".into()),
    })
}

/// Detects whether the day after containment is over without a relapse. The revoked sessions are looked up again: time
/// that passes while nothing is monitored proves nothing.
async fn detect_monitoring(
    context: ActionContext<'_>,
    contained_at: UtcTimestamp,
    timeline: &[TimelineEntry],
) -> Result<StepOutcome, ActionError> {
    let outcome = |is_done, text: String| StepOutcome { is_done, text, detail: json!({}) };
    if let Some(hours) = monitoring_hours_left(contained_at, context.clock.now()) {
        return Ok(outcome(false, format_count(hours, "hour left", "hours left")));
    }
    Ok(match count_reappeared(context, timeline).await? {
        0 => outcome(true, "24 hours have passed, and no revoked session is back".into()),
        back => outcome(false, format_count(back, "reappeared session", "reappeared sessions")),
    })
}

/// Counts the sessions revoked in this incident that are in the table again.
async fn count_reappeared(
    context: ActionContext<'_>,
    timeline: &[TimelineEntry],
) -> Result<u64, ActionError> {
    let mut back = 0;
    for plan in containment_plans(timeline)? {
        back += remediation::count_reappeared(context, &plan).await?;
    }
    Ok(back)
}

/// Returns the hours of close monitoring left, rounded up; `None` once it is over. A clock that was set back does not
/// end it.
fn monitoring_hours_left(contained_at: UtcTimestamp, now: UtcTimestamp) -> Option<u64> {
    let elapsed = now.duration_since(contained_at).max(SignedDuration::ZERO);
    let left = incident::CLOSE_MONITORING_DURATION - elapsed;
    // Rounded up, since a partial hour is still to wait for.
    (left > SignedDuration::ZERO)
        .then(|| saturating_micros(left).unsigned_abs().div_ceil(MICROS_PER_HOUR.unsigned_abs()))
}

/// Describes every plan that revoked sessions; `None` if there is none.
fn describe_containments(timeline: &[TimelineEntry]) -> Option<String> {
    let messages =
        timeline.iter().filter(|entry| entry.kind == "contained").map(|entry| entry.message.as_str());
    let messages: Vec<&str> = messages.collect();
    (!messages.is_empty()).then(|| messages.join("; "))
}

/// Returns the entries since the incident was last opened or reopened.
pub(super) fn entries_since_reopened(timeline: &[TimelineEntry]) -> &[TimelineEntry] {
    let at = timeline.iter().rposition(|entry| entry.kind == "reopened").unwrap_or(0);
    timeline.get(at..).unwrap_or_default()
}

/// Verifies that the containment was effective.
async fn verify_containment(
    context: ActionContext<'_>,
    timeline: &[TimelineEntry],
) -> Result<StepOutcome, ActionError> {
    let report = run_full_check(context).await;
    let mut wrong = Vec::new();
    let mut right = Vec::new();
    match &report.observation {
        Err(error) => wrong.push(format!("the check run failed: {error}")),
        Ok(seen) => {
            let stats = &seen.stats;
            let shared = stats.duplicates.count().map(|found| found.tokens);
            record_count(shared, ["shared token", "shared tokens"], &mut right, &mut wrong);
            match stats.orphaned.count() {
                // Without a users table, orphans cannot be counted, and must not block the step.
                None if seen.candidate.mapping.users.is_none() && !seen.has_unreadable_users => {
                    right.push("orphaned sessions: unknown".into());
                }
                orphaned => {
                    record_count(orphaned, ["orphaned session", "orphaned sessions"], &mut right, &mut wrong);
                }
            }
            let ratio = stats.sessions_per_user();
            if stats.active == 0 {
                right.push("no active sessions".into());
            } else if HEALTHY_SESSIONS_PER_USER.contains(&ratio) {
                right.push(format!("{ratio:.2} active sessions per user"));
            } else {
                wrong.push(format!("{ratio:.2} active sessions per user"));
            }
        }
    }
    let back = count_reappeared(context, timeline).await?;
    record_count(Some(back), ["reappeared session", "reappeared sessions"], &mut right, &mut wrong);
    let idle = describe_idle_sources(context)?;
    if !idle.is_empty() {
        wrong.push(format!("critical log lines: unknown, {}", idle.join(", ")));
    }
    if context.config.logs.sources_for_target(&context.target.name).next().is_some() {
        let lines = count_critical_events(context, timeline)?;
        let names = ["critical log line in the last hour", "critical log lines in the last hour"];
        record_count(Some(lines.confirmed), names, &mut right, &mut wrong);
        // A visitor may have forged unconfirmed lines, so they are reported and do not block the step.
        if lines.unconfirmed > 0 {
            let unconfirmed = format_count(
                lines.unconfirmed,
                "unconfirmed critical log line",
                "unconfirmed critical log lines",
            );
            right.push(format!("{unconfirmed} in the last hour"));
        }
    }
    let text =
        if wrong.is_empty() { right.join(", ") } else { format!("not verified: {}", wrong.join(", ")) };
    Ok(StepOutcome { is_done: wrong.is_empty(), text, detail: report.to_json() })
}

/// Counts critical log lines of the last hour, without those before the containment.
fn count_critical_events(
    context: ActionContext<'_>,
    timeline: &[TimelineEntry],
) -> Result<CriticalLogEvents, ActionError> {
    let now = context.clock.now();
    let contained = timeline.iter().rev().find(|entry| entry.kind == "contained").map(|entry| entry.at);
    let from = (now - HOUR).max(contained.unwrap_or(UtcTimestamp::MIN));
    let target = &context.target.name;
    // No upper bound, in case the clock was set back.
    Ok(context.store.read(|db| {
        logs::count_critical_events(db, log_events::LogEventWindow { target, from, to: UtcTimestamp::MAX })
    })?)
}

fn record_count(
    found: Option<u64>,
    [one, many]: [&str; 2],
    right: &mut Vec<String>,
    wrong: &mut Vec<String>,
) {
    match found {
        Some(0) => right.push(format!("no {many}")),
        Some(count) => wrong.push(format_count(count, one, many)),
        None => wrong.push(format!("{many}: unknown")),
    }
}

#[cfg(test)]
mod tests {
    use sessionwatch_core::{
        duration::{DAY, MINUTE},
        incident::IncidentSeverity,
    };

    use super::*;
    use crate::incident::workflow::tests::Scene;

    #[test]
    fn every_plan_that_revoked_sessions_is_described() {
        let entry = |kind: &str, message: &str| TimelineEntry {
            at: UtcTimestamp::MIN,
            actor: "ada".into(),
            kind: kind.into(),
            step: "contain".into(),
            message: message.into(),
            detail: "{}".into(),
        };
        assert_eq!(describe_containments(&[entry("note", "on the call")]), None);
        let timeline =
            [entry("contained", "5 of duplicates"), entry("note", "x"), entry("contained", "15 of users")];
        assert_eq!(describe_containments(&timeline).as_deref(), Some("5 of duplicates; 15 of users"));
    }

    #[tokio::test]
    async fn the_day_of_monitoring_is_counted_in_started_hours_from_the_containment() {
        let scene = Scene::new(IncidentSeverity::P1);
        let step = incident::find_step("watch").unwrap();
        let tick = SignedDuration::from_micros(1);
        for (elapsed, is_done, text) in [
            // The clock was set back.
            (-DAY, false, "24 hours left"),
            (-MINUTE, false, "24 hours left"),
            (SignedDuration::ZERO, false, "24 hours left"),
            (tick, false, "24 hours left"),
            (HOUR - tick, false, "24 hours left"),
            (HOUR, false, "23 hours left"),
            (HOUR + tick, false, "23 hours left"),
            (23 * HOUR, false, "1 hour left"),
            (DAY - tick, false, "1 hour left"),
            (DAY, true, "24 hours have passed, and no revoked session is back"),
            (2 * DAY, true, "24 hours have passed, and no revoked session is back"),
        ] {
            let contained_at = Some(scene.clock.now() - elapsed);
            let incident = IncidentRecord { contained_at, ..scene.load().incident };
            let outcome = check_step(scene.context(), &incident, &[], step).await.unwrap();
            assert_eq!((outcome.is_done, outcome.text.as_str()), (is_done, text), "{elapsed:?}");
        }
    }

    #[tokio::test]
    async fn a_blank_root_cause_does_not_finish_the_step() {
        let scene = Scene::new(IncidentSeverity::P1);
        let step = incident::find_step("root-cause").unwrap();
        for (cause, is_done) in [("", false), (" \u{a0}\t", false), ("a cache", true)] {
            let report_fields = json!({ "root-cause": cause }).to_string();
            let incident = IncidentRecord { report_fields, ..scene.load().incident };
            let outcome = check_step(scene.context(), &incident, &[], step).await.unwrap();
            assert_eq!(outcome.is_done, is_done, "{cause:?}");
        }
    }
}
