//! `revived-sessions`: a session that had ended and is there again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Check, CheckInput, CheckOutcome, EvidenceKind, GoesBy};
use crate::{plural::counted, severity::Severity};

/// What is known about the check.
pub const CHECK: Check = Check {
    id: "revived-sessions",
    summary: "Sessions that had ended and are there again, between two runs of `serve`",
    severity: Severity::High,
    action: "find out who restored these rows, and end the sessions: log-ins that were over work again",
    evidence: EvidenceKind::Revived,
    compares: true,
    momentary: true,
    about_users: false,
    goes_by: GoesBy::Neither,
    documentation: include_str!("../../../../docs/checks/revived-sessions.md"),
    decide,
};

/// What is tolerated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Thresholds {
    /// Sessions that came back after they had ended that are tolerated.
    #[schemars(range(max = 1_000_000_000_000_u64))]
    pub max: u64,
}

fn decide(input: CheckInput<'_>) -> CheckOutcome {
    let max = input.thresholds.revived_sessions.max;
    let threshold = format!("> {max}");
    let changes = match input.changes() {
        Ok(changes) => changes,
        Err(reason) => return CheckOutcome::unknown(threshold, reason),
    };
    let revived = changes.revived.len() as u64;
    let summary = match revived {
        0 => "no session came back after it had ended".to_owned(),
        count => format!("{} came back after they had ended", counted(count, "session", "sessions")),
    };
    CheckOutcome::counted(revived > max, revived, threshold, summary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::samples::Sample;

    #[test]
    fn one_session_that_is_back_fails_unless_it_is_tolerated() {
        let mut sample = Sample::since(|changes| changes.revived = vec![7]);
        assert!(sample.fails(decide));
        sample.thresholds.revived_sessions.max = 1;
        assert!(!sample.fails(decide));
    }
}
