//! `duplicate-tokens`: a token on more than one row.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Check, CheckInput, CheckOutcome, EvidenceKind, TimeBasis};
use crate::{plural::format_count, severity::Severity, stats::Measured};

/// What is known about the check.
pub const DUPLICATE_TOKENS_CHECK: Check = Check {
    id: "duplicate-tokens",
    summary: "Tokens on more than one row",
    severity: Severity::Critical,
    action: "end every session on these tokens, then make the token column unique",
    evidence: EvidenceKind::Duplicates,
    needs_previous_run: false,
    is_transient: false,
    is_per_user: false,
    time_basis: TimeBasis::Neither,
    documentation: include_str!("../../../../docs/checks/duplicate-tokens.md"),
    evaluate: evaluate_check,
};

/// What is tolerated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct DuplicateTokensThresholds {
    /// Tokens on more than one row that are tolerated.
    #[schemars(range(max = 1_000_000_000_000_u64))]
    pub max: u64,
}

fn evaluate_check(input: CheckInput<'_>) -> CheckOutcome {
    let max = input.thresholds.duplicate_tokens.max;
    let threshold = format!("> {max}");
    match &input.stats.duplicates {
        Measured::Unknown(reason) => CheckOutcome::unknown(threshold, reason),
        Measured::Proven(index) => {
            let summary = format!("no token is on more than one row, according to `{index}`");
            CheckOutcome {
                proving_constraint: Some(index.clone()),
                ..CheckOutcome::from_count(false, 0, threshold, summary)
            }
        }
        Measured::Counted(found) if found.tokens == 0 => {
            CheckOutcome::from_count(false, 0, threshold, "no token is on more than one row".into())
        }
        Measured::Counted(found) => {
            let whose = match found.across_users {
                0 => "each of one user: a fault in session creation".to_owned(),
                across => format!("{across} of them shared by several users: one person can act as another"),
            };
            let summary =
                format!("{} on more than one row, {whose}", format_count(found.tokens, "token", "tokens"));
            CheckOutcome::from_count(found.tokens > max, found.tokens, threshold, summary)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        checks::{CheckVerdict, samples::CheckSample},
        stats::DuplicateTokens,
    };

    #[test]
    fn one_token_on_two_rows_fails() {
        let sample = |tokens| {
            CheckSample::with_stats(|stats| {
                stats.duplicates = Measured::Counted(DuplicateTokens { tokens, across_users: 0 })
            })
        };
        assert!(!sample(0).is_failing(evaluate_check));
        assert!(sample(1).is_failing(evaluate_check));
    }

    #[test]
    fn a_unique_index_proves_that_there_is_none_and_what_is_unknown_is_not_healthy() {
        let proved =
            CheckSample::with_stats(|stats| stats.duplicates = Measured::Proven("sessions_token_key".into()));
        let outcome = evaluate_check(proved.input());
        assert_eq!(
            (outcome.verdict, outcome.proving_constraint.as_deref()),
            (CheckVerdict::Passing, Some("sessions_token_key"))
        );
        let unknown =
            CheckSample::with_stats(|stats| stats.duplicates = Measured::Unknown("no table".into()));
        assert_eq!(evaluate_check(unknown.input()).verdict, CheckVerdict::Unknown("no table".into()));
    }
}
