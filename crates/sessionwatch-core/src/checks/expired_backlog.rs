//! `expired-backlog`: expired rows are still stored.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Check, CheckInput, CheckOutcome, EvidenceKind, TimeBasis};
use crate::{duration::from_days, plural::format_count, severity::Severity};

/// The `expired-backlog` check.
pub const EXPIRED_BACKLOG_CHECK: Check = Check {
    id: "expired-backlog",
    title: "Expired sessions piling up",
    impact: "Nobody is affected yet, but the table keeps growing and slows down, and old tokens remain stored.",
    summary: "Expired sessions that are still stored",
    severity: Severity::Medium,
    action: "schedule a job that deletes expired rows; most libraries delete one only when its token is used again",
    evidence: EvidenceKind::OldestExpired,
    needs_previous_run: false,
    is_transient: false,
    is_per_user: false,
    time_basis: TimeBasis::Expiry,
    documentation: include_str!("../../../../docs/checks/expired-backlog.md"),
    evaluate: evaluate_check,
};

/// Expired rows tolerated in a small table.
pub const MAX_EXPIRED_IN_SMALL_TABLE: u64 = 100;
/// One expired row is tolerated for this many rows of a large table. A daily cleanup leaves about that share of
/// sessions that last a month.
pub const ROWS_PER_EXPIRED_ROW: u64 = 20;

/// Thresholds of `expired-backlog`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct ExpiredBacklogThresholds {
    /// Maximum number of expired sessions.
    #[schemars(
        range(max = 1_000_000_000_000_u64),
        extend("x-otherwise" = "100, or 1 in 20 rows if that is more"),
        example = 100,
    )]
    pub max: Option<u64>,
    /// Maximum number of days that a session may stay stored after it expired.
    #[schemars(range(min = 1, max = 36_500))]
    pub max_age_days: u32,
}

impl Default for ExpiredBacklogThresholds {
    fn default() -> Self {
        Self { max: None, max_age_days: 7 }
    }
}

impl ExpiredBacklogThresholds {
    /// Returns the number of expired rows tolerated in a table of `rows` rows.
    #[must_use]
    pub fn max_for_rows(&self, rows: u64) -> u64 {
        self.max.unwrap_or_else(|| MAX_EXPIRED_IN_SMALL_TABLE.max(rows / ROWS_PER_EXPIRED_ROW))
    }
}

fn evaluate_check(input: CheckInput<'_>) -> CheckOutcome {
    let (stats, thresholds) = (input.stats, &input.thresholds.expired_backlog);
    let age = stats.oldest_expired.map(|oldest| stats.taken_at.duration_since(oldest)).unwrap_or_default();
    let is_old = age > from_days(thresholds.max_age_days.into());
    let summary = if stats.expired == 0 {
        "no expired session is stored".to_owned()
    } else {
        let ago = format_count((age.as_hours() / 24).unsigned_abs(), "day", "days");
        let expired = format_count(stats.expired, "expired session", "expired sessions");
        format!("{expired} still stored, the oldest expired {ago} ago")
    };
    let limit = thresholds.max_for_rows(stats.sessions);
    let days = format_count(thresholds.max_age_days.into(), "day", "days");
    let threshold = format!("> {limit}, or older than {days}");
    CheckOutcome::from_listed_count(stats.expired > limit || is_old, stats.expired, threshold, summary)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::{checks::test_input::CheckSample, timestamp::UtcTimestamp};

    fn sample(expired: u64, sessions: u64) -> CheckSample {
        CheckSample::with_stats(|stats| (stats.expired, stats.sessions) = (expired, sessions))
    }

    #[test]
    fn a_large_table_may_keep_the_rows_that_a_daily_cleanup_leaves() {
        for (expired, sessions, expected) in
            [(100, 2_000, false), (101, 2_000, true), (3_500, 70_000, false), (3_501, 70_000, true)]
        {
            assert_eq!(
                sample(expired, sessions).is_failing(evaluate_check),
                expected,
                "{expired} of {sessions}"
            );
        }
        // A configured number is not scaled with the table.
        let mut configured = sample(101, 70_000);
        configured.thresholds.expired_backlog.max = Some(100);
        assert!(configured.is_failing(evaluate_check));
    }

    #[test]
    fn a_single_old_expired_row_fails() {
        let oldest = |oldest: UtcTimestamp| {
            CheckSample::with_stats(|stats| {
                (stats.expired, stats.oldest_expired) = (1, Some(oldest));
            })
        };
        let week_old = UtcTimestamp::UNIX_EPOCH + from_days(93);
        assert!(!oldest(week_old).is_failing(evaluate_check));
        assert!(oldest(week_old - SignedDuration::from_micros(1)).is_failing(evaluate_check));
    }
}
