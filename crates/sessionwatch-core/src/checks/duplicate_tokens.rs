//! `duplicate-tokens`: a token appears on more than one row.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Check, CheckInput, CheckOutcome, EvidenceKind, TimeBasis};
use crate::{
    plural::{format_count, format_number},
    session_stats::Measured,
    severity::Severity,
};

/// The `duplicate-tokens` check.
pub const DUPLICATE_TOKENS_CHECK: Check = Check {
    id: "duplicate-tokens",
    title: "Duplicate session tokens",
    impact: "Anyone who holds such a token can be logged in as somebody else.",
    summary: "Tokens on more than one row",
    severity: Severity::Critical,
    action: "revoke the sessions sharing a token, then add a unique constraint to the token column",
    evidence: EvidenceKind::Duplicates,
    needs_previous_run: false,
    is_transient: false,
    is_per_user: false,
    time_basis: TimeBasis::Neither,
    documentation: include_str!("../../../../docs/checks/duplicate-tokens.md"),
    evaluate: evaluate_check,
};

/// Thresholds of `duplicate-tokens`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct DuplicateTokensThresholds {
    /// Maximum number of duplicate tokens.
    #[schemars(range(max = 1_000_000_000_000_u64))]
    pub max: u64,
}

fn evaluate_check(input: CheckInput<'_>) -> CheckOutcome {
    let max = input.thresholds.duplicate_tokens.max;
    let threshold = format!("> {max}");
    match &input.stats.duplicates {
        Measured::Unknown(reason) => CheckOutcome::unknown(threshold, reason),
        Measured::Proven(index) => {
            let summary = format!("duplicates are impossible: `{index}` enforces unique tokens");
            CheckOutcome {
                proving_constraint: Some(index.clone()),
                ..CheckOutcome::from_count(false, 0, threshold, summary)
            }
        }
        Measured::Counted(found) if found.tokens == 0 => {
            CheckOutcome::from_count(false, 0, threshold, "no token appears on more than one row".into())
        }
        Measured::Counted(found) => {
            let owners = match found.across_users {
                0 => "not shared between users (a bug in session creation)".to_owned(),
                across if across == found.tokens => {
                    "shared by several users: one user can act as another".to_owned()
                }
                across => format!(
                    "{} of them shared by several users: one user can act as another",
                    format_number(across)
                ),
            };
            let summary =
                format!("{}, {owners}", format_count(found.tokens, "duplicate token", "duplicate tokens"));
            CheckOutcome {
                evidence_total: Some(found.rows),
                ..CheckOutcome::from_count(found.tokens > max, found.tokens, threshold, summary)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        checks::{CheckVerdict, test_input::CheckSample},
        session_stats::DuplicateTokens,
    };

    #[test]
    fn one_token_on_two_rows_fails() {
        let sample = |tokens| {
            CheckSample::with_stats(|stats| {
                stats.duplicates =
                    Measured::Counted(DuplicateTokens { tokens, across_users: 0, rows: 2 * tokens })
            })
        };
        assert!(!sample(0).is_failing(evaluate_check));
        assert!(sample(1).is_failing(evaluate_check));
    }

    #[test]
    fn a_unique_index_passes_and_unknown_never_does() {
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
