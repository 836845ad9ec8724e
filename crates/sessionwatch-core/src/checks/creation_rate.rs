//! `creation-rate`: the number of sessions created per hour is outside the configured baseline.

use super::{
    Check, CheckInput, CheckOutcome, EvidenceKind, TimeBasis, baseline::missing_baseline_reason,
    outcome::FIRST_RUN_REASON,
};
use crate::{plural::format_count, session_history::Comparison, severity::Severity};

/// The `creation-rate` check.
pub const CREATION_RATE_CHECK: Check = Check {
    id: "creation-rate",
    title: "Unusual number of new sessions",
    impact: "A burst of logins can be an attack or a retry loop; none at all can mean that nobody can log in.",
    summary: "Sessions created per hour outside the configured baseline",
    severity: Severity::Medium,
    action: "check logins and whatever else creates sessions, and adjust the baseline",
    evidence: EvidenceKind::Value,
    needs_previous_run: true,
    is_transient: false,
    is_per_user: false,
    time_basis: TimeBasis::Creation,
    documentation: include_str!("../../../../docs/checks/creation-rate.md"),
    evaluate: evaluate_check,
};

fn evaluate_check(input: CheckInput<'_>) -> CheckOutcome {
    let usual = input.thresholds.creation_rate;
    if usual.is_unset() {
        return CheckOutcome::skipped(String::new(), &missing_baseline_reason(CREATION_RATE_CHECK.id));
    }
    let threshold = format!("{} per hour", usual.threshold_text());
    let (seen, busiest) = match input.comparison {
        Comparison::Since(changes) => (Some(changes.created_last_hour), changes.busiest_hour),
        Comparison::FirstRun | Comparison::Impossible(_) => (None, None),
    };
    let rate = match (input.stats.created_last_hour, seen, input.comparison) {
        (Some(stored), ..) => stored,
        (None, Some(seen), _) => seen,
        (None, None, Comparison::Impossible(reason)) => return CheckOutcome::unknown(threshold, reason),
        (None, None, _) => return CheckOutcome::unknown(threshold, FIRST_RUN_REASON),
    };
    // Nights are quiet everywhere: too few sessions fail only if the busiest hour of a day is below the minimum.
    let quiet = busiest.map(|most| most.max(rate)).filter(|most| usual.is_below_min(*most));
    let created = format_count(rate, "session", "sessions");
    let busy = usual.is_above_max(rate);
    let summary = match quiet {
        Some(most) if !busy => format!(
            "at most {} created in any hour of the last day (baseline: {usual})",
            format_count(most, "session", "sessions")
        ),
        _ => format!("{created} created in the last hour (baseline: {usual})"),
    };
    CheckOutcome::from_count(busy || quiet.is_some(), rate, threshold, summary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{Baseline, CheckVerdict, test_input::CheckSample};

    fn sample(usual: Baseline, created: u64) -> CheckSample {
        let mut sample = CheckSample::with_stats(|stats| stats.created_last_hour = Some(created));
        sample.thresholds.creation_rate = usual;
        sample
    }

    #[test]
    fn an_hour_above_the_baseline_fails_and_none_is_decided_without_one() {
        let usual = Baseline { min: None, max: Some(50) };
        assert!(!sample(usual, 50).is_failing(evaluate_check));
        assert!(sample(usual, 51).is_failing(evaluate_check));
        for created in [0, 1, 1_000_000] {
            let outcome = evaluate_check(sample(Baseline::default(), created).input());
            let reason = "no baseline: set `min` and `max` in [checks.creation-rate]";
            assert_eq!(outcome.verdict, CheckVerdict::Unknown(reason.into()));
            assert!(outcome.is_informational);
        }
    }

    #[test]
    fn a_quiet_hour_passes_and_a_quiet_day_fails() {
        let usual = Baseline { min: Some(50), max: Some(500) };
        assert!(!sample(usual, 0).is_failing(evaluate_check));
        let mut sample = CheckSample::with_changes(|changes| changes.busiest_hour = Some(49));
        sample.thresholds.creation_rate = usual;
        assert!(sample.is_failing(evaluate_check));
        assert_eq!(
            evaluate_check(sample.input()).summary,
            "at most 49 sessions created in any hour of the last day (baseline: 50 to 500)"
        );
    }
}
