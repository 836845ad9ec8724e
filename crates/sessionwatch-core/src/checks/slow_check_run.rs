//! `slow-check-run`: the database took longer to read the sessions than the budget.

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Check, CheckInput, CheckOutcome, EvidenceKind, TimeBasis};
use crate::{plural::format_count, severity::Severity};

/// What is known about the check.
pub const SLOW_CHECK_RUN_CHECK: Check = Check {
    id: "slow-check-run",
    summary: "Runs that take long",
    severity: Severity::Low,
    action: "look at the database's load, or use the pushdown engine",
    evidence: EvidenceKind::Value,
    needs_previous_run: false,
    is_transient: false,
    is_per_user: false,
    time_basis: TimeBasis::Neither,
    documentation: include_str!("../../../../docs/checks/slow-check-run.md"),
    evaluate: evaluate_check,
};

/// Rows that a budget is for.
const ROWS_PER_BUDGET: u64 = 10_000;

/// What is tolerated.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct SlowCheckRunThresholds {
    /// Milliseconds that reading the sessions may take for each 10 000 of them; also the least that it may take.
    #[schemars(range(min = 1, max = 3_600_000))]
    pub budget_ms: u32,
}

impl Default for SlowCheckRunThresholds {
    fn default() -> Self {
        Self { budget_ms: 100 }
    }
}

fn evaluate_check(input: CheckInput<'_>) -> CheckOutcome {
    let times = i32::try_from(input.stats.sessions / ROWS_PER_BUDGET).unwrap_or(i32::MAX).max(1);
    let budget = SignedDuration::from_millis(input.thresholds.slow_check_run.budget_ms.into());
    let budget = budget.saturating_mul(times);
    let took_ms = u64::try_from(input.read_duration.as_millis()).unwrap_or(0);
    let budget_ms = budget.as_millis();
    let sessions = format_count(input.stats.sessions, "session", "sessions");
    let summary = format!("the database took {took_ms} ms to read {sessions}");
    let threshold = format!("> {budget_ms} ms");
    CheckOutcome {
        is_informational: true,
        ..CheckOutcome::from_count(input.read_duration > budget, took_ms, threshold, summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::samples::CheckSample;

    #[test]
    fn the_budget_grows_with_the_table() {
        let is_slow = |sessions, micros| {
            let duration = SignedDuration::from_micros(micros);
            let sample =
                CheckSample { duration, ..CheckSample::with_stats(|stats| stats.sessions = sessions) };
            sample.is_failing(evaluate_check)
        };
        assert!(!is_slow(10, 100_000));
        assert!(is_slow(10, 100_001));
        assert!(!is_slow(1_000_000, 10_000_000));
        assert!(is_slow(1_000_000, 10_000_001));
    }
}
