//! `rapid-creation`: a user created many sessions in the last hour, by creation column or by first-seen time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Check, CheckInput, CheckOutcome, EvidenceKind, TimeBasis, outcome::FIRST_RUN_REASON};
use crate::{
    plural::format_count, session_history::Comparison, session_stats::count_users_above, severity::Severity,
};

/// The `rapid-creation` check.
pub const RAPID_CREATION_CHECK: Check = Check {
    id: "rapid-creation",
    title: "Rapid session creation",
    impact: "Somebody may be trying out passwords, or a client logs in again and again.",
    summary: "Users who create many sessions in an hour",
    severity: Severity::Medium,
    action: "look for a script or a stolen password; consider rate-limiting logins",
    evidence: EvidenceKind::CreatingUsers,
    needs_previous_run: false,
    is_transient: false,
    is_per_user: true,
    time_basis: TimeBasis::Creation,
    documentation: include_str!("../../../../docs/checks/rapid-creation.md"),
    evaluate: evaluate_check,
};

/// Thresholds of `rapid-creation`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct RapidCreationThresholds {
    /// Maximum number of sessions that one user may create in an hour.
    #[schemars(range(max = 1_000_000_000_000_u64))]
    pub max_per_hour: u64,
}

impl Default for RapidCreationThresholds {
    fn default() -> Self {
        Self { max_per_hour: 10 }
    }
}

fn evaluate_check(input: CheckInput<'_>) -> CheckOutcome {
    let limit = input.thresholds.rapid_creation.max_per_hour;
    let threshold = format!("> {limit} per hour");
    let (histogram, seen) = match (&input.stats.created_per_user, input.comparison) {
        (Some(stored), _) => (stored, ""),
        (None, Comparison::Since(changes)) => (&changes.created_per_user, " (by first-seen time)"),
        (None, Comparison::FirstRun) => return CheckOutcome::unknown(threshold, FIRST_RUN_REASON),
        (None, Comparison::Impossible(_)) => {
            let reason = "the table has no creation column, so only `serve` can detect new sessions";
            return CheckOutcome::skipped(threshold, reason);
        }
    };
    let users = count_users_above(histogram, limit);
    let most = histogram.keys().next_back().copied().unwrap_or(0);
    let who = if users == 0 { "no user".to_owned() } else { format_count(users, "user", "users") };
    let limit_text = format_count(limit, "session", "sessions");
    let summary = format!("{who} created more than {limit_text} in the last hour{seen}");
    CheckOutcome {
        user_limit: Some(limit),
        evidence_total: Some(users),
        ..CheckOutcome::from_count(users > 0, most, threshold, summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        checks::{CheckVerdict, test_input::CheckSample},
        session_stats::Histogram,
    };

    #[test]
    fn a_user_with_more_than_ten_new_sessions_fails() {
        let sample = |most| {
            CheckSample::with_stats(|stats| stats.created_per_user = Some(Histogram::from([(most, 1)])))
        };
        assert!(!sample(10).is_failing(evaluate_check));
        assert!(sample(11).is_failing(evaluate_check));
    }

    #[test]
    fn is_unknown_and_informational_without_a_creation_column() {
        let sample = CheckSample::with_stats(|stats| stats.rows_per_user = Histogram::from([(1_000, 1)]));
        let outcome = evaluate_check(sample.input());
        assert!(matches!(outcome.verdict, CheckVerdict::Unknown(reason) if reason.contains("only `serve`")));
        assert!(outcome.is_informational);
        let first = CheckInput { comparison: Comparison::FirstRun, ..sample.input() };
        assert_eq!(evaluate_check(first).verdict, CheckVerdict::Unknown("first check run".into()));
    }
}
