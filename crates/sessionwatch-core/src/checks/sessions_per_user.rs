//! `sessions-per-user`: the average number of active sessions per user is too high.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Check, CheckInput, CheckOutcome, EvidenceKind, TimeBasis};
use crate::{plural::format_count, severity::Severity};

/// The `sessions-per-user` check.
pub const SESSIONS_PER_USER_CHECK: Check = Check {
    id: "sessions-per-user",
    title: "Many sessions per user",
    impact: "Sessions are not ended, or clients log in more often than they should.",
    summary: "Average number of active sessions per user",
    severity: Severity::High,
    action: "review how sessions are created and ended: not every login should add one",
    evidence: EvidenceKind::ActiveUsers,
    needs_previous_run: false,
    is_transient: false,
    is_per_user: true,
    time_basis: TimeBasis::Expiry,
    documentation: include_str!("../../../../docs/checks/sessions-per-user.md"),
    evaluate: evaluate_check,
};

/// Thresholds of `sessions-per-user`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct SessionsPerUserThresholds {
    /// Maximum average number of active sessions of users who have one.
    #[schemars(range(min = 1.0, max = 1e9))]
    pub max: f64,
}

impl Default for SessionsPerUserThresholds {
    fn default() -> Self {
        Self { max: 3.0 }
    }
}

fn evaluate_check(input: CheckInput<'_>) -> CheckOutcome {
    let (ratio, max) = (input.stats.sessions_per_user(), input.thresholds.sessions_per_user.max);
    let summary = format!(
        "{ratio:.2} active sessions per user ({})",
        format_count(input.stats.active_users(), "user", "users")
    );
    CheckOutcome {
        evidence_total: Some(input.stats.active_users()),
        ..CheckOutcome::from_value(ratio > max, ratio, format!("> {max:.1}"), summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{checks::test_input::CheckSample, session_stats::Histogram};

    #[test]
    fn an_average_above_three_fails() {
        let sample = |active| {
            CheckSample::with_stats(|stats| {
                stats.active_with_user = active;
                stats.active_per_user = Histogram::from([(3, 200)]);
            })
        };
        assert!(!sample(600).is_failing(evaluate_check));
        assert!(sample(602).is_failing(evaluate_check));
    }
}
