//! `user-session-excess`: one user with more active sessions than the limit, or than its peers by far.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Check, CheckInput, CheckOutcome, EvidenceKind, GoesBy};
use crate::{
    plural::counted,
    severity::Severity,
    stats::{outlier_limit, users_above},
};

/// What is known about the check.
pub const CHECK: Check = Check {
    id: "user-session-excess",
    summary: "Users who hold many active sessions",
    severity: Severity::Medium,
    action: "ask the user whether these are theirs; end all but the most recent ones",
    evidence: EvidenceKind::ActiveHolders,
    compares: false,
    momentary: false,
    about_users: true,
    goes_by: GoesBy::End,
    documentation: include_str!("../../../../docs/checks/user-session-excess.md"),
    decide,
};

/// What is tolerated.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Thresholds {
    /// Active sessions of one user that are tolerated.
    #[schemars(range(max = 1_000_000_000_000_u64))]
    pub max: u64,
    /// Also find users below the limit who hold far more than the others.
    pub outliers: bool,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { max: 20, outliers: true }
    }
}

fn decide(input: CheckInput<'_>) -> CheckOutcome {
    let held = &input.stats.active_per_user;
    let Thresholds { max, outliers } = input.thresholds.user_session_excess;
    let outlier = outliers.then(|| outlier_limit(held)).flatten();
    let bound = outlier.map_or(max, |outlier| outlier.min(max));
    let users = users_above(held, bound);
    let most = input.stats.max_per_user();
    let summary = if users == 0 {
        format!("no user stands out; the most that one holds is {most}")
    } else {
        format!(
            "{} with more than {bound} active sessions; the most is {most}",
            counted(users, "user", "users")
        )
    };
    let threshold = if bound < max { format!("> {bound} (outlier)") } else { format!("> {bound}") };
    CheckOutcome { bound: Some(bound), ..CheckOutcome::counted(users > 0, most, threshold, summary) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{checks::samples::Sample, stats::Histogram};

    #[test]
    fn a_user_with_more_than_twenty_fails() {
        let sample = |most| Sample::of(|stats| stats.active_per_user = Histogram::from([(most, 1)]));
        assert!(!sample(20).fails(decide));
        assert!(sample(21).fails(decide));
    }
}
