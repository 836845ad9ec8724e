//! `sessions-per-user`: active sessions for each user that has one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Check, CheckInput, CheckOutcome, EvidenceKind, TimeBasis};
use crate::{plural::format_count, severity::Severity};

/// What is known about the check.
pub const SESSIONS_PER_USER_CHECK: Check = Check {
    id: "sessions-per-user",
    summary: "Active sessions for each user that has one",
    severity: Severity::High,
    action: "review how sessions are created and ended: sign-in should not add one each time",
    evidence: EvidenceKind::ActiveUsers,
    needs_previous_run: false,
    is_transient: false,
    is_per_user: true,
    time_basis: TimeBasis::Expiry,
    documentation: include_str!("../../../../docs/checks/sessions-per-user.md"),
    evaluate: evaluate_check,
};

/// What is tolerated.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct SessionsPerUserThresholds {
    /// The ratio that is tolerated: active sessions for each user with an active session.
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
        "{ratio:.2} active sessions a user, over {}",
        format_count(input.stats.active_users(), "user", "users")
    );
    CheckOutcome::from_value(ratio > max, ratio, format!("> {max:.1}"), summary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{checks::samples::CheckSample, stats::Histogram};

    #[test]
    fn more_than_three_on_average_fail() {
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
