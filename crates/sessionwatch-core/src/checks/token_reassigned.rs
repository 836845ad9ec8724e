//! `token-reassigned`: the user of a token changed since the previous run.

use super::{Check, CheckInput, CheckOutcome, EvidenceKind, TimeBasis};
use crate::{plural::format_count, severity::Severity};

/// The `token-reassigned` check.
pub const TOKEN_REASSIGNED_CHECK: Check = Check {
    id: "token-reassigned",
    title: "Tokens that changed users",
    impact: "The session of one user became the session of another.",
    summary: "Tokens whose user changed between two check runs of `serve`",
    severity: Severity::Critical,
    action: "revoke the affected sessions immediately: one user's login became another user's",
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
    let reassigned = changes.reassigned.len() as u64;
    let summary = match reassigned {
        0 => "no token changed its user since the previous run".to_owned(),
        count => {
            let changed = format_count(count, "token changed its user", "tokens changed their user");
            format!("{changed} since the previous run")
        }
    };
    CheckOutcome::from_listed_count(reassigned > 0, reassigned, threshold, summary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::test_input::CheckSample;

    #[test]
    fn one_reassigned_token_fails() {
        assert!(!CheckSample::with_changes(|_| {}).is_failing(evaluate_check));
        assert!(CheckSample::with_changes(|changes| changes.reassigned = vec![7]).is_failing(evaluate_check));
    }
}
