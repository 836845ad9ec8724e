//! `active-sessions`: active sessions outside the configured baseline.

use super::{Baseline, Check, CheckInput, CheckOutcome, EvidenceKind, GoesBy};
use crate::{plural::counted, severity::Severity};

/// What is known about the check.
pub const CHECK: Check = Check {
    id: "active-sessions",
    summary: "Active sessions outside the baseline, if one is configured",
    severity: Severity::Low,
    action: "compare with your usual number of users, and set the baseline to it",
    evidence: EvidenceKind::Value,
    compares: false,
    momentary: false,
    about_users: false,
    goes_by: GoesBy::End,
    documentation: include_str!("../../../../docs/checks/active-sessions.md"),
    decide,
};

fn decide(input: CheckInput<'_>) -> CheckOutcome {
    let (active, usual) = (input.stats.active, input.thresholds.active_sessions);
    let threshold = match usual {
        Baseline { min: None, max: None } => "no baseline".to_owned(),
        usual => format!("not {usual}"),
    };
    let summary = format!("{}, baseline: {usual}", counted(active, "active session", "active sessions"));
    CheckOutcome::counted(usual.is_above(active) || usual.is_below(active), active, threshold, summary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{Verdict, samples::Sample};

    fn sample(usual: Baseline, active: u64) -> Sample {
        let mut sample = Sample::of(|stats| stats.active = active);
        sample.thresholds.active_sessions = usual;
        sample
    }

    #[test]
    fn numbers_outside_a_baseline_fail() {
        let usual = Baseline { min: Some(50), max: Some(500) };
        for (active, verdict) in [(49, Verdict::Failing), (50, Verdict::Healthy), (501, Verdict::Failing)] {
            let outcome = decide(sample(usual, active).input());
            assert_eq!((outcome.verdict, outcome.threshold.as_str()), (verdict, "not 50 to 500"));
            assert!(outcome.summary.ends_with("baseline: 50 to 500"), "{}", outcome.summary);
        }
    }

    #[test]
    fn without_a_baseline_every_number_is_healthy() {
        for active in [0, 1, 1_000_000] {
            let outcome = decide(sample(Baseline::default(), active).input());
            assert_eq!((outcome.verdict, outcome.threshold.as_str()), (Verdict::Healthy, "no baseline"));
        }
    }
}
