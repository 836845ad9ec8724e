//! `reappeared-sessions`: a session that had ended and is there again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Check, CheckInput, CheckOutcome, EvidenceKind, TimeBasis};
use crate::{plural::format_count, severity::Severity};

/// What is known about the check.
pub const REAPPEARED_SESSIONS_CHECK: Check = Check {
    id: "reappeared-sessions",
    summary: "Sessions that had ended and are there again, between two runs of `serve`",
    severity: Severity::High,
    action: "find out who restored these rows, and end the sessions: log-ins that were over work again",
    evidence: EvidenceKind::Reappeared,
    needs_previous_run: true,
    is_transient: true,
    is_per_user: false,
    time_basis: TimeBasis::Neither,
    documentation: include_str!("../../../../docs/checks/reappeared-sessions.md"),
    evaluate: evaluate_check,
};

/// What is tolerated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct ReappearedSessionsThresholds {
    /// Sessions that came back after they had ended that are tolerated.
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
    let revived = changes.reappeared.len() as u64;
    let summary = match revived {
        0 => "no session came back after it had ended".to_owned(),
        count => format!("{} came back after they had ended", format_count(count, "session", "sessions")),
    };
    CheckOutcome::from_count(revived > max, revived, threshold, summary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::samples::CheckSample;

    #[test]
    fn one_session_that_is_back_fails_unless_it_is_tolerated() {
        let mut sample = CheckSample::with_changes(|changes| changes.reappeared = vec![7]);
        assert!(sample.is_failing(evaluate_check));
        sample.thresholds.reappeared_sessions.max = 1;
        assert!(!sample.is_failing(evaluate_check));
    }
}
