//! `duplicate-tokens`: a token on more than one row.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Check, CheckInput, CheckOutcome, EvidenceKind, GoesBy};
use crate::{plural::counted, severity::Severity, stats::Measured};

/// What is known about the check.
pub const CHECK: Check = Check {
    id: "duplicate-tokens",
    summary: "Tokens on more than one row",
    severity: Severity::Critical,
    action: "end every session on these tokens, then make the token column unique",
    evidence: EvidenceKind::Duplicates,
    compares: false,
    momentary: false,
    about_users: false,
    goes_by: GoesBy::Neither,
    documentation: include_str!("../../../../docs/checks/duplicate-tokens.md"),
    decide,
};

/// What is tolerated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Thresholds {
    /// Tokens on more than one row that are tolerated.
    #[schemars(range(max = 1_000_000_000_000_u64))]
    pub max: u64,
}

fn decide(input: CheckInput<'_>) -> CheckOutcome {
    let max = input.thresholds.duplicate_tokens.max;
    let threshold = format!("> {max}");
    match &input.stats.duplicates {
        Measured::Unknown(reason) => CheckOutcome::unknown(threshold, reason),
        Measured::Proven(index) => {
            let summary = format!("no token is on more than one row, according to `{index}`");
            CheckOutcome { proof: Some(index.clone()), ..CheckOutcome::counted(false, 0, threshold, summary) }
        }
        Measured::Counted(found) if found.tokens == 0 => {
            CheckOutcome::counted(false, 0, threshold, "no token is on more than one row".into())
        }
        Measured::Counted(found) => {
            let whose = match found.across_users {
                0 => "each of one user: a fault in session creation".to_owned(),
                across => format!("{across} of them shared by several users: one person can act as another"),
            };
            let summary =
                format!("{} on more than one row, {whose}", counted(found.tokens, "token", "tokens"));
            CheckOutcome::counted(found.tokens > max, found.tokens, threshold, summary)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        checks::{Verdict, samples::Sample},
        stats::Duplicates,
    };

    #[test]
    fn one_token_on_two_rows_fails() {
        let sample = |tokens| {
            Sample::of(|stats| stats.duplicates = Measured::Counted(Duplicates { tokens, across_users: 0 }))
        };
        assert!(!sample(0).fails(decide));
        assert!(sample(1).fails(decide));
    }

    #[test]
    fn a_unique_index_proves_that_there_is_none_and_what_is_unknown_is_not_healthy() {
        let proved = Sample::of(|stats| stats.duplicates = Measured::Proven("sessions_token_key".into()));
        let outcome = decide(proved.input());
        assert_eq!(
            (outcome.verdict, outcome.proof.as_deref()),
            (Verdict::Healthy, Some("sessions_token_key"))
        );
        let unknown = Sample::of(|stats| stats.duplicates = Measured::Unknown("no table".into()));
        assert_eq!(decide(unknown.input()).verdict, Verdict::Unknown("no table".into()));
    }
}
