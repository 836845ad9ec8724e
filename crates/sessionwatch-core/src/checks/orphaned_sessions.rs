//! `orphaned-sessions`: the user of a session does not exist.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Check, CheckInput, CheckOutcome, EvidenceKind, TimeBasis};
use crate::{plural::format_count, session_stats::Measured, severity::Severity};

/// The `orphaned-sessions` check.
pub const ORPHANED_SESSIONS_CHECK: Check = Check {
    id: "orphaned-sessions",
    title: "Orphaned sessions",
    impact: "Logins of deleted users still exist, and some applications still accept them.",
    summary: "Sessions whose user does not exist",
    severity: Severity::High,
    action: "delete the orphaned rows, then add a foreign key with ON DELETE CASCADE",
    evidence: EvidenceKind::Orphans,
    needs_previous_run: false,
    is_transient: false,
    is_per_user: false,
    time_basis: TimeBasis::Neither,
    documentation: include_str!("../../../../docs/checks/orphaned-sessions.md"),
    evaluate: evaluate_check,
};

/// Thresholds of `orphaned-sessions`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct OrphanedSessionsThresholds {
    /// Maximum number of sessions without an existing user.
    #[schemars(range(max = 1_000_000_000_000_u64))]
    pub max: u64,
}

impl Default for OrphanedSessionsThresholds {
    fn default() -> Self {
        Self { max: 10 }
    }
}

fn evaluate_check(input: CheckInput<'_>) -> CheckOutcome {
    let max = input.thresholds.orphaned_sessions.max;
    let threshold = format!("> {max}");
    match &input.stats.orphaned {
        Measured::Unknown(reason) => CheckOutcome::unknown(threshold, reason),
        Measured::Proven(key) => {
            let summary = format!(
                "orphans are impossible: foreign key `{key}` (trusted; --no-trust-constraints verifies the rows)"
            );
            CheckOutcome {
                proving_constraint: Some(key.clone()),
                ..CheckOutcome::from_count(false, 0, threshold, summary)
            }
        }
        Measured::Counted(rows) => {
            let summary = match *rows {
                0 => "every session has an existing user".to_owned(),
                _ => format!("{} whose user does not exist", format_count(*rows, "session", "sessions")),
            };
            CheckOutcome::from_listed_count(*rows > max, *rows, threshold, summary)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{CheckVerdict, test_input::CheckSample};

    #[test]
    fn more_than_ten_fail() {
        let sample = |rows| CheckSample::with_stats(|stats| stats.orphaned = Measured::Counted(rows));
        assert!(!sample(10).is_failing(evaluate_check));
        assert!(sample(11).is_failing(evaluate_check));
    }

    #[test]
    fn is_unknown_without_a_users_table() {
        let sample = CheckSample::with_stats(|stats| stats.orphaned = Measured::Unknown("no users".into()));
        assert_eq!(evaluate_check(sample.input()).verdict, CheckVerdict::Unknown("no users".into()));
    }
}
