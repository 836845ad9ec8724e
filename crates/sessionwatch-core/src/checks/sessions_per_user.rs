//! `sessions-per-user`: active sessions for each user that has one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Check, CheckInput, CheckOutcome, EvidenceKind, GoesBy};
use crate::{plural::counted, severity::Severity};

/// What is known about the check.
pub const CHECK: Check = Check {
    id: "sessions-per-user",
    summary: "Active sessions for each user that has one",
    severity: Severity::High,
    action: "review how sessions are created and ended: sign-in should not add one each time",
    evidence: EvidenceKind::ActiveHolders,
    compares: false,
    momentary: false,
    about_users: true,
    goes_by: GoesBy::End,
    documentation: include_str!("../../../../docs/checks/sessions-per-user.md"),
    decide,
};

/// What is tolerated.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Thresholds {
    /// The ratio that is tolerated: active sessions for each user with an active session.
    #[schemars(range(min = 1.0, max = 1e9))]
    pub max: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { max: 3.0 }
    }
}

fn decide(input: CheckInput<'_>) -> CheckOutcome {
    let (ratio, max) = (input.stats.sessions_per_user(), input.thresholds.sessions_per_user.max);
    let summary = format!(
        "{ratio:.2} active sessions a user, over {}",
        counted(input.stats.users_active(), "user", "users")
    );
    CheckOutcome::measured(ratio > max, ratio, format!("> {max:.1}"), summary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{checks::samples::Sample, stats::Histogram};

    #[test]
    fn more_than_three_on_average_fail() {
        let sample = |active| {
            Sample::of(|stats| {
                stats.active_with_user = active;
                stats.active_per_user = Histogram::from([(3, 200)]);
            })
        };
        assert!(!sample(600).fails(decide));
        assert!(sample(602).fails(decide));
    }
}
