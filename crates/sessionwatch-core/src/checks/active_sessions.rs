//! `active-sessions`: the number of active sessions is outside the configured baseline.

use super::{Check, CheckInput, CheckOutcome, EvidenceKind, TimeBasis, baseline::missing_baseline_reason};
use crate::{plural::format_count, severity::Severity};

/// The `active-sessions` check.
pub const ACTIVE_SESSIONS_CHECK: Check = Check {
    id: "active-sessions",
    title: "Unusual number of active sessions",
    impact: "A sudden rise can be stolen logins or a bot; a sudden fall logs users out.",
    summary: "Number of active sessions outside the configured baseline",
    severity: Severity::Low,
    action: "compare the number with your usual number of users, and adjust the baseline",
    evidence: EvidenceKind::Value,
    needs_previous_run: false,
    is_transient: false,
    is_per_user: false,
    time_basis: TimeBasis::Expiry,
    documentation: include_str!("../../../../docs/checks/active-sessions.md"),
    evaluate: evaluate_check,
};

fn evaluate_check(input: CheckInput<'_>) -> CheckOutcome {
    let (active, usual) = (input.stats.active, input.thresholds.active_sessions);
    if usual.is_unset() {
        return CheckOutcome::skipped(String::new(), &missing_baseline_reason(ACTIVE_SESSIONS_CHECK.id));
    }
    let threshold = usual.threshold_text();
    let count = format_count(active, "active session", "active sessions");
    let summary = format!("{count} (baseline: {usual})");
    CheckOutcome::from_count(
        usual.is_below_min(active) || usual.is_above_max(active),
        active,
        threshold,
        summary,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{Baseline, CheckVerdict, test_input::CheckSample};

    fn sample(usual: Baseline, active: u64) -> CheckSample {
        let mut sample = CheckSample::with_stats(|stats| stats.active = active);
        sample.thresholds.active_sessions = usual;
        sample
    }

    #[test]
    fn counts_outside_the_baseline_fail() {
        let usual = Baseline { min: Some(50), max: Some(500) };
        for (active, verdict) in
            [(49, CheckVerdict::Failing), (50, CheckVerdict::Passing), (501, CheckVerdict::Failing)]
        {
            let outcome = evaluate_check(sample(usual, active).input());
            assert_eq!((outcome.verdict, outcome.threshold.as_str()), (verdict, "< 50 or > 500"));
            assert!(outcome.summary.ends_with("(baseline: 50 to 500)"), "{}", outcome.summary);
        }
    }

    #[test]
    fn is_skipped_without_a_baseline() {
        for active in [0, 1, 1_000_000] {
            let outcome = evaluate_check(sample(Baseline::default(), active).input());
            let reason = "no baseline: set `min` and `max` in [checks.active-sessions]";
            assert_eq!(outcome.verdict, CheckVerdict::Unknown(reason.into()));
            assert!(outcome.is_informational);
        }
    }
}
