//! `reappeared-sessions`: an ended session is in the table again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Check, CheckInput, CheckOutcome, EvidenceKind, TimeBasis};
use crate::{plural::format_count, severity::Severity};

/// The `reappeared-sessions` check.
pub const REAPPEARED_SESSIONS_CHECK: Check = Check {
    id: "reappeared-sessions",
    title: "Ended sessions that came back",
    impact: "Users who logged out, or whose sessions were revoked, are logged in again.",
    summary: "Ended sessions that reappeared between two check runs of `serve`",
    severity: Severity::High,
    action: "find out who restored the rows, and revoke the sessions: logins that had ended work again",
    evidence: EvidenceKind::Reappeared,
    needs_previous_run: true,
    is_transient: true,
    is_per_user: false,
    time_basis: TimeBasis::Neither,
    documentation: include_str!("../../../../docs/checks/reappeared-sessions.md"),
    evaluate: evaluate_check,
};

/// Thresholds of `reappeared-sessions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct ReappearedSessionsThresholds {
    /// Maximum number of ended sessions that reappear.
    #[schemars(range(max = 1_000_000_000_000_u64))]
    pub max: u64,
}

fn evaluate_check(input: CheckInput<'_>) -> CheckOutcome {
    let max = input.thresholds.reappeared_sessions.max;
    let threshold = format!("> {max}");
    let changes = match input.changes() {
        Ok(changes) => changes,
        Err(reason) => return CheckOutcome::unknown(threshold, reason),
    };
    let reappeared = changes.reappeared.len() as u64;
    let summary = match reappeared {
        0 => "no ended session reappeared".to_owned(),
        count => format!("{} reappeared", format_count(count, "ended session", "ended sessions")),
    };
    CheckOutcome::from_listed_count(reappeared > max, reappeared, threshold, summary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::test_input::CheckSample;

    #[test]
    fn one_reappeared_session_fails_unless_tolerated() {
        let mut sample = CheckSample::with_changes(|changes| changes.reappeared = vec![7]);
        assert!(sample.is_failing(evaluate_check));
        sample.thresholds.reappeared_sessions.max = 1;
        assert!(!sample.is_failing(evaluate_check));
    }
}
