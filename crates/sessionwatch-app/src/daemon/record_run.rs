//! What a check run, or what was read of logs, changes in the store, in one transaction: samples, the last report, alerts,
//! what happened, and what is to be told.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::json;
use sessionwatch_core::{
    alert::{AlertPolicy, CheckState},
    checks::Verdict,
    instant::Instant,
    severity::Severity,
};
use sessionwatch_store::{
    StoreError,
    censuses::{self, Point, Retention},
    db::Db,
    reports,
};
use sessionwatch_targets::evidence::EVIDENCE_LIMIT;

use super::metrics;
use crate::{
    alerts::{self, engine::CheckObservation},
    check_run::{Outcome, Report},
    checks::{self, Rules, TARGET_UNREACHABLE},
    config::{Config, Serve},
    logs::{judge::Judged, kept_json},
    report,
};

/// Runs in a row that see nothing before that is told.
const UNREACHABLE_RUNS: u32 = 3;

/// A run that is to be kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunRecord<'a> {
    pub(super) report: &'a Report,
    pub(super) sample: &'a Point,
    pub(super) serve: &'a Serve,
    pub(super) rules: &'a Rules,
    /// How far apart the runs are in which each check is made.
    pub(super) intervals: &'a BTreeMap<String, SignedDuration>,
    pub(super) now: Instant,
    /// An instant that has certainly passed, by which what is too old is removed.
    pub(super) passed: Instant,
}

/// What a run measured; a sample of a blind one if it saw nothing.
pub(super) fn to_sample(report: &Report, now: Instant) -> Point {
    Point::of(now, metrics::gauges(report).as_deref())
}

/// Keeps what a run changes. Returns how many messages are to be delivered.
///
/// # Errors
///
/// If it cannot be written; then nothing of it is to be kept.
pub(super) fn record_run(db: Db<'_>, run: RunRecord<'_>) -> Result<u32, StoreError> {
    let RunRecord { report, serve, now, passed, .. } = run;
    censuses::put(db, &report.target, run.sample, Retention { keep: serve.keep, passed })?;
    reports::put(db, &report.target, &report.json().to_string(), now)?;
    let interval = |check: &str| run.intervals.get(check).copied().unwrap_or_default();
    let checks = report.outcomes.iter().map(|outcome| {
        observation(&report.target, outcome, check_policy(run.rules, outcome, interval(&outcome.id)))
    });
    let observations = std::iter::once(reachability(report, run.rules)).chain(checks);
    alerts::record_observations(db, &report.target, observations, serve, now)
}

/// Keeps what the checks of logs say of a target. Returns how many messages are to be delivered.
///
/// # Errors
///
/// If it cannot be written.
pub(super) fn record_log_checks(
    db: Db<'_>,
    target: &str,
    judged: &[Judged],
    config: &Config,
    now: Instant,
) -> Result<u32, StoreError> {
    let mut observations = Vec::with_capacity(judged.len());
    for Judged { outcome, signals } in judged {
        let usual = config.rules.policy(outcome.severity);
        // A silence has lasted long enough; a line is not written again.
        let policy = AlertPolicy { pending_looks: 1, clear_looks: 1, ..usual };
        let mut observation = observation(target, outcome, policy);
        observation.finding["signals"] = signals.iter().map(kept_json).collect::<Result<_, _>>()?;
        observations.push(observation);
    }
    alerts::record_observations(db, target, observations.into_iter(), &config.serve, now)
}

/// How the alert of a check behaves that is made at such a distance.
fn check_policy(rules: &Rules, outcome: &Outcome, interval: SignedDuration) -> AlertPolicy {
    let policy = rules.policy(outcome.severity).between_looks(interval);
    let momentary = checks::TABLE_CHECKS.iter().any(|check| check.id == outcome.id && check.momentary);
    if momentary { AlertPolicy { pending_looks: 1, ..policy } } else { policy }
}

/// Whether anything could be seen at all.
fn reachability<'a>(report: &'a Report, rules: &Rules) -> CheckObservation<'a> {
    let (sign, verdict, summary) = match &report.seen {
        Ok(_) => (CheckState::Healthy, "healthy", "the target can be looked at".to_owned()),
        Err(error) => (CheckState::Failing, "failing", format!("the target cannot be looked at: {error}")),
    };
    let hint = report.seen.as_ref().err().map(sessionwatch_targets::error::TargetError::hint);
    CheckObservation {
        target: &report.target,
        check: TARGET_UNREACHABLE,
        severity: Severity::High,
        sign,
        policy: AlertPolicy {
            pending_looks: UNREACHABLE_RUNS,
            clear_looks: 1,
            ..rules.policy(Severity::High)
        },
        summary,
        verdict,
        finding: json!({ "action": hint }),
        about: vec![],
    }
}

fn observation<'a>(target: &'a str, outcome: &'a Outcome, policy: AlertPolicy) -> CheckObservation<'a> {
    let finding = &outcome.finding;
    let (sign, verdict) = match finding.verdict {
        Verdict::Healthy => (CheckState::Healthy, "healthy"),
        Verdict::Failing => (CheckState::Failing, "failing"),
        Verdict::Unknown(_) => (CheckState::Unknown, "unknown"),
    };
    // With more to show than is shown, nobody knows whom else it is about.
    let shown = Some(&outcome.evidence).filter(|evidence| evidence.len() < EVIDENCE_LIMIT);
    let about = shown.into_iter().flatten().map(|evidence| {
        [&evidence.user, &evidence.token_prefix].into_iter().filter_map(|name| name.as_deref()).collect()
    });
    CheckObservation {
        target,
        check: &outcome.id,
        severity: outcome.severity,
        sign,
        policy,
        summary: finding.summary.clone(),
        verdict,
        finding: json!({
            "value": finding.value, "threshold": finding.threshold, "action": outcome.action,
            "evidence": outcome.evidence.iter().map(report::evidence_json).collect::<Vec<_>>(),
        }),
        about: about.collect(),
    }
}
