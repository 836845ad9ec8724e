//! `orphaned-sessions`: sessions whose user does not exist.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Check, CheckInput, CheckOutcome, EvidenceKind, GoesBy};
use crate::{plural::counted, severity::Severity, stats::Measured};

/// What is known about the check.
pub const CHECK: Check = Check {
    id: "orphaned-sessions",
    summary: "Sessions whose user does not exist",
    severity: Severity::High,
    action: "delete these rows, then add a foreign key with ON DELETE CASCADE",
    evidence: EvidenceKind::Orphans,
    compares: false,
    momentary: false,
    about_users: false,
    goes_by: GoesBy::Neither,
    documentation: include_str!("../../../../docs/checks/orphaned-sessions.md"),
    decide,
};

/// What is tolerated.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Thresholds {
    /// Sessions without an existing user that are tolerated.
    #[schemars(range(max = 1_000_000_000_000_u64))]
    pub max: u64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { max: 10 }
    }
}

fn decide(input: CheckInput<'_>) -> CheckOutcome {
    let max = input.thresholds.orphaned_sessions.max;
    let threshold = format!("> {max}");
    match &input.stats.orphaned {
        Measured::Unknown(reason) => CheckOutcome::unknown(threshold, reason),
        Measured::Proven(key) => {
            let summary = format!(
                "every session has an existing user, according to `{key}` (not compared; --deep does)"
            );
            CheckOutcome { proof: Some(key.clone()), ..CheckOutcome::counted(false, 0, threshold, summary) }
        }
        Measured::Counted(rows) => {
            let summary = format!("{} whose user does not exist", counted(*rows, "session", "sessions"));
            CheckOutcome::counted(*rows > max, *rows, threshold, summary)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{Verdict, samples::Sample};

    #[test]
    fn more_than_ten_fail() {
        let sample = |rows| Sample::of(|stats| stats.orphaned = Measured::Counted(rows));
        assert!(!sample(10).fails(decide));
        assert!(sample(11).fails(decide));
    }

    #[test]
    fn without_a_table_of_users_it_is_unknown() {
        let sample = Sample::of(|stats| stats.orphaned = Measured::Unknown("no users".into()));
        assert_eq!(decide(sample.input()).verdict, Verdict::Unknown("no users".into()));
    }
}
