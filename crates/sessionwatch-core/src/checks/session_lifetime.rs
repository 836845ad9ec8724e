//! `session-lifetime`: an expiry further ahead than the policy, missing, or unreadable.

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Check, CheckInput, CheckOutcome, EvidenceKind, TimeBasis};
use crate::{duration, plural::format_count, severity::Severity};

/// What is known about the check.
pub const SESSION_LIFETIME_CHECK: Check = Check {
    id: "session-lifetime",
    summary: "Sessions that end too late, never, or at an unreadable time",
    severity: Severity::Medium,
    action: "find what writes these expiries, and end the sessions",
    evidence: EvidenceKind::BeyondPolicy,
    needs_previous_run: false,
    is_transient: false,
    is_per_user: false,
    time_basis: TimeBasis::Expiry,
    documentation: include_str!("../../../../docs/checks/session-lifetime.md"),
    evaluate: evaluate_check,
};

/// What is tolerated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct SessionLifetimeThresholds {
    /// Days from now at which a session must have ended.
    #[schemars(
        range(min = 1, max = 36_500),
        extend("x-otherwise" = "the default of the framework and one day more"),
        example = 31,
    )]
    pub max_days: Option<u32>,
}

impl SessionLifetimeThresholds {
    /// The same as a length of time.
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
        (beyond, "session ends later than the policy allows", "sessions end later than the policy allows"),
        (stats.never_expiring, "session never ends", "sessions never end"),
        (stats.undecodable, "session has an unreadable end", "sessions have an unreadable end"),
    ]
    .into_iter()
    .filter(|(count, ..)| *count > 0)
    .map(|(count, one, many)| format_count(count, one, many))
    .collect();
    let summary =
        if wrong == 0 { "no session ends later than the policy allows".into() } else { parts.join(", ") };
    CheckOutcome::from_count(wrong > 0, wrong, "> 0".into(), summary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{CheckVerdict, samples::CheckSample};

    #[test]
    fn one_session_without_an_end_beyond_the_policy_or_unreadable_fails() {
        assert!(!CheckSample::default().is_failing(evaluate_check));
        assert!(CheckSample::with_stats(|stats| stats.never_expiring = 1).is_failing(evaluate_check));
        assert!(CheckSample::with_stats(|stats| stats.beyond_policy = Some(1)).is_failing(evaluate_check));
        assert!(CheckSample::with_stats(|stats| stats.undecodable = 1).is_failing(evaluate_check));
    }

    #[test]
    fn without_a_policy_it_is_unknown() {
        let sample = CheckSample::with_stats(|stats| stats.beyond_policy = None);
        assert!(matches!(evaluate_check(sample.input()).verdict, CheckVerdict::Unknown(_)));
    }
}
