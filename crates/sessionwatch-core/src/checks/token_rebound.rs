//! `token-rebound`: a token whose user is another than at the run before.

use super::{Check, CheckInput, CheckOutcome, EvidenceKind, GoesBy};
use crate::{plural::counted, severity::Severity};

/// What is known about the check.
pub const CHECK: Check = Check {
    id: "token-rebound",
    summary: "Tokens whose user changed between two runs of `serve`",
    severity: Severity::Critical,
    action: "end these sessions at once: somebody's log-in became somebody else's",
    evidence: EvidenceKind::Rebound,
    compares: true,
    momentary: true,
    about_users: true,
    goes_by: GoesBy::Neither,
    documentation: include_str!("../../../../docs/checks/token-rebound.md"),
    decide,
};

fn decide(input: CheckInput<'_>) -> CheckOutcome {
    let threshold = "> 0".to_owned();
    let changes = match input.changes() {
        Ok(changes) => changes,
        Err(reason) => return CheckOutcome::unknown(threshold, reason),
    };
    let rebound = changes.rebound.len() as u64;
    let summary = match rebound {
        0 => "no token changed its user since the last look".to_owned(),
        count => format!("{} changed the user since the last look", counted(count, "token", "tokens")),
    };
    CheckOutcome::counted(rebound > 0, rebound, threshold, summary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::samples::Sample;

    #[test]
    fn one_token_of_another_user_fails() {
        assert!(!Sample::since(|_| {}).fails(decide));
        assert!(Sample::since(|changes| changes.rebound = vec![7]).fails(decide));
    }
}
