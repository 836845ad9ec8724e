//! `token-reassigned`: a token whose user is another than at the run before.

use super::{Check, CheckInput, CheckOutcome, EvidenceKind, TimeBasis};
use crate::{plural::format_count, severity::Severity};

/// What is known about the check.
pub const TOKEN_REASSIGNED_CHECK: Check = Check {
    id: "token-reassigned",
    summary: "Tokens whose user changed between two runs of `serve`",
    severity: Severity::Critical,
    action: "end these sessions at once: somebody's log-in became somebody else's",
    evidence: EvidenceKind::Reassigned,
    needs_previous_run: true,
    is_transient: true,
    is_per_user: true,
    time_basis: TimeBasis::Neither,
    documentation: include_str!("../../../../docs/checks/token-reassigned.md"),
    evaluate: evaluate_check,
};

fn evaluate_check(input: CheckInput<'_>) -> CheckOutcome {
    let threshold = "> 0".to_owned();
    let changes = match input.changes() {
        Ok(changes) => changes,
        Err(reason) => return CheckOutcome::unknown(threshold, reason),
    };
    let rebound = changes.reassigned.len() as u64;
    let summary = match rebound {
        0 => "no token changed its user since the last look".to_owned(),
        count => format!("{} changed the user since the last look", format_count(count, "token", "tokens")),
    };
    CheckOutcome::from_count(rebound > 0, rebound, threshold, summary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::samples::CheckSample;

    #[test]
    fn one_token_of_another_user_fails() {
        assert!(!CheckSample::with_changes(|_| {}).is_failing(evaluate_check));
        assert!(CheckSample::with_changes(|changes| changes.reassigned = vec![7]).is_failing(evaluate_check));
    }
}
