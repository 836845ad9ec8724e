//! `creation-rate`: sessions created in an hour, outside the baseline. Too few are found only by the busiest hour of a day.

use super::{Baseline, Check, CheckInput, CheckOutcome, EvidenceKind, GoesBy, outcome::FIRST_RUN};
use crate::{history::Comparison, plural::counted, severity::Severity};

/// What is known about the check.
pub const CHECK: Check = Check {
    id: "creation-rate",
    summary: "Sessions created an hour, outside the baseline, if one is configured",
    severity: Severity::Medium,
    action: "look at sign-ins and at what creates sessions; set the baseline to what is usual",
    evidence: EvidenceKind::Value,
    compares: true,
    momentary: false,
    about_users: false,
    goes_by: GoesBy::Creation,
    documentation: include_str!("../../../../docs/checks/creation-rate.md"),
    decide,
};

fn decide(input: CheckInput<'_>) -> CheckOutcome {
    let usual = input.thresholds.creation_rate;
    let threshold = match usual {
        Baseline { min: None, max: None } => "no baseline".to_owned(),
        usual => format!("not {usual} an hour"),
    };
    let (seen, busiest) = match input.compared {
        Comparison::Since(changes) => (Some(changes.created_last_hour), changes.busiest_hour),
        Comparison::First | Comparison::Impossible(_) => (None, None),
    };
    let rate = match (input.stats.created_last_hour, seen, input.compared) {
        (Some(stored), ..) => stored,
        (None, Some(seen), _) => seen,
        (None, None, Comparison::Impossible(reason)) => return CheckOutcome::unknown(threshold, reason),
        (None, None, _) => return CheckOutcome::unknown(threshold, FIRST_RUN),
    };
    let quiet = busiest.map(|most| most.max(rate)).filter(|most| usual.is_above(*most));
    let created = counted(rate, "session", "sessions");
    let busy = usual.is_below(rate);
    let summary = match quiet {
        Some(most) if !busy => format!(
            "no hour of the last day saw more than {} created, baseline: {usual}",
            counted(most, "session", "sessions")
        ),
        _ => format!("{created} created in the last hour, baseline: {usual}"),
    };
    CheckOutcome::counted(busy || quiet.is_some(), rate, threshold, summary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{Verdict, samples::Sample};

    fn sample(usual: Baseline, created: u64) -> Sample {
        let mut sample = Sample::of(|stats| stats.created_last_hour = Some(created));
        sample.thresholds.creation_rate = usual;
        sample
    }

    #[test]
    fn an_hour_above_the_baseline_fails_and_without_one_none_does() {
        let usual = Baseline { min: None, max: Some(50) };
        assert!(!sample(usual, 50).fails(decide));
        assert!(sample(usual, 51).fails(decide));
        for created in [0, 1, 1_000_000] {
            let outcome = decide(sample(Baseline::default(), created).input());
            assert_eq!((outcome.verdict, outcome.threshold.as_str()), (Verdict::Healthy, "no baseline"));
        }
    }

    #[test]
    fn a_quiet_hour_alone_is_nothing_and_a_quiet_day_fails() {
        let usual = Baseline { min: Some(50), max: Some(500) };
        assert!(!sample(usual, 0).fails(decide));
        let mut sample = Sample::since(|changes| changes.busiest_hour = Some(49));
        sample.thresholds.creation_rate = usual;
        assert!(sample.fails(decide));
        assert_eq!(
            decide(sample.input()).summary,
            "no hour of the last day saw more than 49 sessions created, baseline: 50 to 500"
        );
    }
}
