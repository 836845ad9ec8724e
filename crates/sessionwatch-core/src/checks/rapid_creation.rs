//! `rapid-creation`: a user who created many sessions in the last hour, as stored or as first seen.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Check, CheckInput, CheckOutcome, EvidenceKind, GoesBy, outcome::FIRST_RUN};
use crate::{history::Comparison, plural::counted, severity::Severity, stats::users_above};

/// What is known about the check.
pub const CHECK: Check = Check {
    id: "rapid-creation",
    summary: "Users who create many sessions",
    severity: Severity::Medium,
    action: "look for a script or a stolen password; consider a limit on sign-ins",
    evidence: EvidenceKind::Creators,
    compares: false,
    momentary: false,
    about_users: true,
    goes_by: GoesBy::Creation,
    documentation: include_str!("../../../../docs/checks/rapid-creation.md"),
    decide,
};

/// What is tolerated.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Thresholds {
    /// Sessions that one user may create in an hour.
    #[schemars(range(max = 1_000_000_000_000_u64))]
    pub max_per_hour: u64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { max_per_hour: 10 }
    }
}

fn decide(input: CheckInput<'_>) -> CheckOutcome {
    let limit = input.thresholds.rapid_creation.max_per_hour;
    let threshold = format!("> {limit} in an hour");
    let (histogram, seen) = match (&input.stats.created_per_user, input.compared) {
        (Some(stored), _) => (stored, ""),
        (None, Comparison::Since(changes)) => (&changes.created_per_user, ", as they were first seen"),
        (None, Comparison::First) => return CheckOutcome::unknown(threshold, FIRST_RUN),
        (None, Comparison::Impossible(_)) => {
            let reason = "the table does not store when a session was created: only `serve` sees new ones";
            return CheckOutcome { is_aside: true, ..CheckOutcome::unknown(threshold, reason) };
        }
    };
    let users = users_above(histogram, limit);
    let most = histogram.keys().next_back().copied().unwrap_or(0);
    let who = if users == 0 { "no user".to_owned() } else { counted(users, "user", "users") };
    let summary = format!("{who} created more than {limit} sessions in the last hour{seen}");
    CheckOutcome { bound: Some(limit), ..CheckOutcome::counted(users > 0, most, threshold, summary) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        checks::{Verdict, samples::Sample},
        stats::Histogram,
    };

    #[test]
    fn a_user_with_more_than_ten_new_ones_fails() {
        let sample = |most| Sample::of(|stats| stats.created_per_user = Some(Histogram::from([(most, 1)])));
        assert!(!sample(10).fails(decide));
        assert!(sample(11).fails(decide));
    }

    #[test]
    fn creation_that_nothing_shows_is_unknown_and_decides_nothing() {
        let sample = Sample::of(|stats| stats.rows_per_user = Histogram::from([(1_000, 1)]));
        let outcome = decide(sample.input());
        assert!(matches!(outcome.verdict, Verdict::Unknown(reason) if reason.contains("only `serve`")));
        assert!(outcome.is_aside);
        let first = CheckInput { compared: Comparison::First, ..sample.input() };
        assert_eq!(decide(first).verdict, Verdict::Unknown("first look".into()));
    }
}
