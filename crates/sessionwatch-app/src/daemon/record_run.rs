//! Records a check run or log evaluation in one transaction: samples, the latest report, alerts, history and
//! notifications.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::json;
use sessionwatch_core::{
    alert::{AlertPolicy, CheckState},
    checks::CheckVerdict,
    timestamp::UtcTimestamp,
};
use sessionwatch_store::{
    StoreError, latest_reports,
    samples::{self, GaugeSample, SampleRetention},
    transaction::Tx,
};
use sessionwatch_targets::evidence::MAX_EVIDENCE_ROWS;

use super::metrics;
use crate::{
    alerts::{self, transition::CheckObservation},
    check_run::{CheckReport, CheckResult},
    checks::{self, CheckSettings, TARGET_UNREACHABLE},
    config::{Config, ServeConfig},
    logs::{evaluate::LogCheckResult, log_event_json},
    report,
};

/// Consecutive failed runs before the `target-unreachable` alert fires.
const UNREACHABLE_FAILURE_THRESHOLD: u32 = 3;

/// A check run to record.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunRecord<'a> {
    pub(super) report: &'a CheckReport,
    pub(super) sample: &'a GaugeSample,
    pub(super) serve: &'a ServeConfig,
    pub(super) rules: &'a CheckSettings,
    /// Interval between the runs of each check.
    pub(super) intervals: &'a BTreeMap<String, SignedDuration>,
    pub(super) now: UtcTimestamp,
    /// The confirmed past time by which retention removes samples.
    pub(super) retention_now: UtcTimestamp,
}

/// Returns the gauges of a run as a sample, which marks a failed run as such.
pub(super) fn to_sample(report: &CheckReport, now: UtcTimestamp) -> GaugeSample {
    GaugeSample::from_run(now, metrics::collect_gauges(report).as_deref())
}

/// Records a check run. Returns the number of queued notifications.
///
/// # Errors
///
/// If the store cannot be written; the caller's transaction must be rolled back then.
pub(super) fn record_run(db: Tx<'_>, run: RunRecord<'_>) -> Result<u32, StoreError> {
    let RunRecord { report, serve, now, retention_now, .. } = run;
    // Also for a failed run, so that a chart distinguishes failed runs from a stopped daemon.
    samples::record_sample(
        db,
        &report.target,
        run.sample,
        SampleRetention { max_age: serve.history_retention, confirmed_now: retention_now },
    )?;
    let previous = latest_reports::find_report(db, &report.target)?.map(|(_, document)| document);
    let is_scheduled = |check: &str| run.intervals.contains_key(check);
    let document = report.to_stored_json(previous.as_ref(), now, is_scheduled);
    // Replaced, not appended: history is kept as samples and events.
    latest_reports::upsert_report(db, &report.target, &document.to_string(), now)?;
    let interval = |check: &str| run.intervals.get(check).copied().unwrap_or_default();
    let checks = report.results.iter().map(|outcome| {
        observe_check(&report.target, outcome, alert_policy(run.rules, outcome, interval(&outcome.id)))
    });
    // Reachability first, so that its event precedes the unknown results that it explains.
    let observations = std::iter::once(observe_reachability(report, run.rules)).chain(checks);
    alerts::record_observations(db, &report.target, observations, serve, now)
}

/// Records the results of the log checks of a target. Returns the number of queued notifications.
///
/// # Errors
///
/// If the store cannot be written.
pub(super) fn record_log_checks(
    db: Tx<'_>,
    target: &str,
    results: &[LogCheckResult],
    config: &Config,
    now: UtcTimestamp,
) -> Result<u32, StoreError> {
    let mut observations = Vec::with_capacity(results.len());
    for LogCheckResult { outcome, events } in results {
        let usual = config.checks.alert_policy(outcome.severity);
        // Log events do not repeat, and `idle_after` already delays the idle alert, so one observation is enough.
        let policy = AlertPolicy { failure_threshold: 1, success_threshold: 1, ..usual };
        let mut observation = observe_check(target, outcome, policy);
        observation.finding["log_events"] = events.iter().map(log_event_json).collect::<Result<_, _>>()?;
        observations.push(observation);
    }
    alerts::record_observations(db, target, observations.into_iter(), &config.serve, now)
}

/// Returns the alert policy of a check that runs at this interval.
fn alert_policy(rules: &CheckSettings, outcome: &CheckResult, interval: SignedDuration) -> AlertPolicy {
    let policy = rules.alert_policy(outcome.severity).for_run_interval(interval);
    let momentary = checks::TABLE_CHECKS.iter().any(|check| check.id == outcome.id && check.is_transient);
    // A transient finding, such as a reassigned token, is gone in the next run and would never reach a threshold above
    // one.
    if momentary { AlertPolicy { failure_threshold: 1, ..policy } } else { policy }
}

/// Observes `target-unreachable`: failing if the run could not read the target.
fn observe_reachability<'a>(report: &'a CheckReport, rules: &CheckSettings) -> CheckObservation<'a> {
    let (state, verdict, summary) = match &report.observation {
        Ok(_) => (CheckState::Passing, "passing", "check runs succeed".to_owned()),
        Err(error) => (CheckState::Failing, "failing", format!("check runs fail: {error}")),
    };
    // The hint depends on the error, unlike those of other checks.
    let hint = report.observation.as_ref().err().map(sessionwatch_targets::error::TargetError::hint);
    CheckObservation {
        target: &report.target,
        check: TARGET_UNREACHABLE,
        severity: alerts::OPERATION_ALERT_SEVERITY,
        state,
        policy: AlertPolicy {
            failure_threshold: UNREACHABLE_FAILURE_THRESHOLD,
            // One success proves that the target can be read again.
            success_threshold: 1,
            ..rules.alert_policy(alerts::OPERATION_ALERT_SEVERITY)
        },
        summary,
        verdict,
        unknown_reason: None,
        finding: json!({ "action": hint }),
        subjects: vec![],
    }
}

fn observe_check<'a>(target: &'a str, outcome: &'a CheckResult, policy: AlertPolicy) -> CheckObservation<'a> {
    let finding = &outcome.outcome;
    let (state, verdict, unknown_reason) = match &finding.verdict {
        CheckVerdict::Passing => (CheckState::Passing, "passing", None),
        CheckVerdict::Failing => (CheckState::Failing, "failing", None),
        CheckVerdict::Unknown(reason) => (CheckState::Unknown, "unknown", Some(reason.as_str())),
    };
    // Evidence is capped: at the cap, other users may be affected, so a silence for the listed ones must not apply.
    let shown = Some(&outcome.evidence).filter(|evidence| evidence.len() < MAX_EVIDENCE_ROWS);
    let subjects = shown.into_iter().flatten().map(|evidence| {
        [&evidence.user, &evidence.token_prefix].into_iter().filter_map(|name| name.as_deref()).collect()
    });
    CheckObservation {
        target,
        check: &outcome.id,
        severity: outcome.severity,
        state,
        policy,
        summary: finding.summary.clone(),
        verdict,
        unknown_reason: unknown_reason.filter(|_| !finding.is_informational),
        finding: json!({
            "value": finding.value, "threshold": finding.threshold, "action": outcome.action,
            "evidence": outcome.evidence.iter().map(report::evidence_with_client_json).collect::<Vec<_>>(),
            "evidence_total": finding.evidence_total, "user_limit": finding.user_limit,
        }),
        subjects: subjects.collect(),
    }
}

#[cfg(test)]
mod tests;
