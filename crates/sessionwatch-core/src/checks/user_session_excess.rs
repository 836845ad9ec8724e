//! `user-session-excess`: a user has more active sessions than the limit, or far more than other users.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Check, CheckInput, CheckOutcome, EvidenceKind, TimeBasis};
use crate::{
    plural::{format_count, format_number},
    session_stats::{count_users_above, outlier_limit},
    severity::Severity,
};

/// The `user-session-excess` check.
pub const USER_SESSION_EXCESS_CHECK: Check = Check {
    id: "user-session-excess",
    title: "Users with too many sessions",
    impact: "An account may be shared, or somebody may be hoarding its sessions.",
    summary: "Users with too many active sessions",
    severity: Severity::Medium,
    action: "ask the user whether the sessions are theirs; revoke all but the most recent",
    evidence: EvidenceKind::ActiveUsers,
    needs_previous_run: false,
    is_transient: false,
    is_per_user: true,
    time_basis: TimeBasis::Expiry,
    documentation: include_str!("../../../../docs/checks/user-session-excess.md"),
    evaluate: evaluate_check,
};

/// Thresholds of `user-session-excess`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct UserSessionExcessThresholds {
    /// Maximum number of active sessions of one user.
    #[schemars(range(max = 1_000_000_000_000_u64))]
    pub max: u64,
    /// Also report users below the limit who have far more sessions than other users.
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
    // The outlier limit only tightens the configured maximum.
    let bound = outlier.map_or(max, |outlier| outlier.min(max));
    let users = count_users_above(held, bound);
    let most = input.stats.max_sessions_per_user();
    let who =
        if users == 0 { "no user has".to_owned() } else { format_count(users, "user has", "users have") };
    let bound_text = format_count(bound, "active session", "active sessions");
    let summary = format!("{who} more than {bound_text} (highest: {})", format_number(most));
    let threshold = if bound < max { format!("> {bound} (outlier)") } else { format!("> {bound}") };
    CheckOutcome {
        user_limit: Some(bound),
        evidence_total: Some(users),
        ..CheckOutcome::from_count(users > 0, most, threshold, summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{checks::test_input::CheckSample, session_stats::Histogram};

    #[test]
    fn a_user_with_more_than_twenty_sessions_fails() {
        let sample =
            |most| CheckSample::with_stats(|stats| stats.active_per_user = Histogram::from([(most, 1)]));
        assert!(!sample(20).is_failing(evaluate_check));
        assert!(sample(21).is_failing(evaluate_check));
    }
}
