//! `session-lifetime`: an expiry is later than the policy allows, missing, or unreadable.

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Check, CheckInput, CheckOutcome, EvidenceKind, TimeBasis};
use crate::{duration, plural::format_count, severity::Severity};

/// The `session-lifetime` check.
pub const SESSION_LIFETIME_CHECK: Check = Check {
    id: "session-lifetime",
    title: "Sessions that live too long",
    impact: "A stolen token stays useful for as long as its session.",
    summary: "Sessions that expire too late, never, or at an unreadable time",
    severity: Severity::Medium,
    action: "find out what writes such late expiry times, and revoke the sessions",
    evidence: EvidenceKind::BeyondPolicy,
    needs_previous_run: false,
    is_transient: false,
    is_per_user: false,
    time_basis: TimeBasis::Expiry,
    documentation: include_str!("../../../../docs/checks/session-lifetime.md"),
    evaluate: evaluate_check,
};

/// Thresholds of `session-lifetime`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct SessionLifetimeThresholds {
    /// Maximum number of days until a session expires.
    #[schemars(
        range(min = 1, max = 36_500),
        extend("x-otherwise" = "the framework's default plus one day"),
        example = 31,
    )]
    pub max_days: Option<u32>,
}

impl SessionLifetimeThresholds {
    /// Returns `max_days` as a duration.
    #[must_use]
    pub fn max_lifetime(&self) -> Option<SignedDuration> {
        self.max_days.map(|days| duration::from_days(days.into()))
    }
}

fn evaluate_check(input: CheckInput<'_>) -> CheckOutcome {
    let stats = input.stats;
    let Some(beyond) = stats.beyond_policy else {
        return CheckOutcome::unknown("policy".into(), "no lifetime policy is configured");
    };
    let wrong = beyond + stats.never_expiring + stats.undecodable;
    let parts: Vec<String> = [
        (beyond, "session expires later than allowed", "sessions expire later than allowed"),
        (stats.never_expiring, "session never expires", "sessions never expire"),
        (stats.undecodable, "session has an unreadable expiry", "sessions have an unreadable expiry"),
    ]
    .into_iter()
    .filter(|(count, ..)| *count > 0)
    .map(|(count, one, many)| format_count(count, one, many))
    .collect();
    let summary = if wrong == 0 { "no session expires later than allowed".into() } else { parts.join(", ") };
    CheckOutcome {
        // The evidence lists no row with an unreadable expiry.
        evidence_total: Some(beyond + stats.never_expiring),
        ..CheckOutcome::from_count(wrong > 0, wrong, "> 0".into(), summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{CheckVerdict, test_input::CheckSample};

    #[test]
    fn one_late_missing_or_unreadable_expiry_fails() {
        assert!(!CheckSample::default().is_failing(evaluate_check));
        assert!(CheckSample::with_stats(|stats| stats.never_expiring = 1).is_failing(evaluate_check));
        assert!(CheckSample::with_stats(|stats| stats.beyond_policy = Some(1)).is_failing(evaluate_check));
        assert!(CheckSample::with_stats(|stats| stats.undecodable = 1).is_failing(evaluate_check));
    }

    #[test]
    fn is_unknown_without_a_policy() {
        let sample = CheckSample::with_stats(|stats| stats.beyond_policy = None);
        assert!(matches!(evaluate_check(sample.input()).verdict, CheckVerdict::Unknown(_)));
    }
}
