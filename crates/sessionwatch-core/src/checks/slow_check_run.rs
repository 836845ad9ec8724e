//! `slow-check-run`: the database exceeded the time budget for reading the sessions.

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Check, CheckInput, CheckOutcome, EvidenceKind, TimeBasis};
use crate::{
    plural::{format_count, format_number},
    severity::Severity,
};

/// The `slow-check-run` check.
pub const SLOW_CHECK_RUN_CHECK: Check = Check {
    id: "slow-check-run",
    title: "Slow check runs",
    impact: "Problems are found later, and the database does more work.",
    summary: "Check runs that take too long",
    severity: Severity::Low,
    action: "check the database load, or use the pushdown engine",
    evidence: EvidenceKind::Value,
    needs_previous_run: false,
    is_transient: false,
    is_per_user: false,
    time_basis: TimeBasis::Neither,
    documentation: include_str!("../../../../docs/checks/slow-check-run.md"),
    evaluate: evaluate_check,
};

/// Rows covered by one budget.
const ROWS_PER_BUDGET: u64 = 10_000;

/// Thresholds of `slow-check-run`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct SlowCheckRunThresholds {
    /// Time budget for every full 10,000 sessions read, in milliseconds. Smaller tables get one budget.
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
    let summary = format!("reading {sessions} took {} ms", format_number(took_ms));
    let threshold = format!("> {budget_ms} ms");
    CheckOutcome {
        // The check concerns the run rather than the sessions.
        is_informational: true,
        ..CheckOutcome::from_count(input.read_duration > budget, took_ms, threshold, summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::test_input::CheckSample;

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
