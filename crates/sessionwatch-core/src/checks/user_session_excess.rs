//! `user-session-excess`: one user with more active sessions than the limit, or than its peers by far.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Check, CheckInput, CheckOutcome, EvidenceKind, TimeBasis};
use crate::{
    plural::format_count,
    severity::Severity,
    stats::{count_users_above, outlier_limit},
};

/// What is known about the check.
pub const USER_SESSION_EXCESS_CHECK: Check = Check {
    id: "user-session-excess",
    summary: "Users who hold many active sessions",
    severity: Severity::Medium,
    action: "ask the user whether these are theirs; end all but the most recent ones",
    evidence: EvidenceKind::ActiveUsers,
    needs_previous_run: false,
    is_transient: false,
    is_per_user: true,
    time_basis: TimeBasis::Expiry,
    documentation: include_str!("../../../../docs/checks/user-session-excess.md"),
    evaluate: evaluate_check,
};

/// What is tolerated.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct UserSessionExcessThresholds {
    /// Active sessions of one user that are tolerated.
    #[schemars(range(max = 1_000_000_000_000_u64))]
    pub max: u64,
    /// Also find users below the limit who hold far more than the others.
    pub outliers: bool,
}

impl Default for UserSessionExcessThresholds {
    fn default() -> Self {
        Self { max: 20, outliers: true }
    }
}

fn evaluate_check(input: CheckInput<'_>) -> CheckOutcome {
    let held = &input.stats.active_per_user;
    let UserSessionExcessThresholds { max, outliers } = input.thresholds.user_session_excess;
    let outlier = outliers.then(|| outlier_limit(held)).flatten();
    let bound = outlier.map_or(max, |outlier| outlier.min(max));
    let users = count_users_above(held, bound);
    let most = input.stats.max_sessions_per_user();
    let summary = if users == 0 {
        format!("no user stands out; the most that one holds is {most}")
    } else {
        format!(
            "{} with more than {bound} active sessions; the most is {most}",
            format_count(users, "user", "users")
        )
    };
    let threshold = if bound < max { format!("> {bound} (outlier)") } else { format!("> {bound}") };
    CheckOutcome { user_limit: Some(bound), ..CheckOutcome::from_count(users > 0, most, threshold, summary) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{checks::samples::CheckSample, stats::Histogram};

    #[test]
    fn a_user_with_more_than_twenty_fails() {
        let sample =
            |most| CheckSample::with_stats(|stats| stats.active_per_user = Histogram::from([(most, 1)]));
        assert!(!sample(20).is_failing(evaluate_check));
        assert!(sample(21).is_failing(evaluate_check));
    }
}
