//! The input and the outcome of a check.

use jiff::SignedDuration;

use crate::{
    checks::CheckThresholds,
    session_history::{Comparison, SessionChanges},
    session_stats::SessionStats,
};

/// Result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckVerdict {
    /// No problem found.
    Passing,
    /// A problem was found.
    Failing,
    /// Unknown, with the reason. Never counts as passing.
    Unknown(String),
}

/// Result of a check with its value and texts.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckOutcome {
    /// Result.
    pub verdict: CheckVerdict,
    /// Value compared with the threshold; `None` if unknown.
    pub value: Option<f64>,
    /// Condition under which the check fails, such as `> 10`.
    pub threshold: String,
    /// Finding in one sentence.
    pub summary: String,
    /// Constraint that guarantees the result.
    pub proving_constraint: Option<String>,
    /// Number of sessions above which a user is reported, for checks about users.
    pub user_limit: Option<u64>,
    /// Number of rows, users or log events that the evidence could list; `None` if unknown.
    pub evidence_total: Option<u64>,
    /// The outcome describes the check run rather than the sessions, and does not affect the target's result.
    pub is_informational: bool,
}

/// Input of a check.
#[derive(Clone, Copy, Debug)]
pub struct CheckInput<'a> {
    /// Session stats of the run.
    pub stats: &'a SessionStats,
    /// Thresholds of all checks.
    pub thresholds: &'a CheckThresholds,
    /// Time the database took to read the sessions.
    pub read_duration: SignedDuration,
    /// Changes since the previous run.
    pub comparison: Comparison<'a>,
}

/// Reason why a first run has no changes to compare.
pub(super) const FIRST_RUN_REASON: &str = "first check run";

impl<'a> CheckInput<'a> {
    /// Returns the changes since the previous run.
    ///
    /// # Errors
    ///
    /// The reason why the runs cannot be compared.
    pub(super) fn changes(self) -> Result<&'a SessionChanges, &'static str> {
        match self.comparison {
            Comparison::Impossible(reason) => Err(reason),
            Comparison::FirstRun => Err(FIRST_RUN_REASON),
            Comparison::Since(changes) => Ok(changes),
        }
    }
}

impl CheckOutcome {
    /// Creates the outcome of a count.
    #[expect(clippy::cast_precision_loss, reason = "a value for people; counts stay below 2^53")]
    #[must_use]
    pub fn from_count(is_failing: bool, value: u64, threshold: String, summary: String) -> Self {
        Self::from_value(is_failing, value as f64, threshold, summary)
    }

    /// Creates the outcome of a count of all rows that the evidence could list.
    #[must_use]
    pub fn from_listed_count(is_failing: bool, value: u64, threshold: String, summary: String) -> Self {
        Self { evidence_total: Some(value), ..Self::from_count(is_failing, value, threshold, summary) }
    }

    /// Creates the outcome of a number.
    #[must_use]
    pub fn from_value(is_failing: bool, value: f64, threshold: String, summary: String) -> Self {
        let verdict = if is_failing { CheckVerdict::Failing } else { CheckVerdict::Passing };
        Self {
            verdict,
            value: Some(value),
            threshold,
            summary,
            proving_constraint: None,
            user_limit: None,
            evidence_total: None,
            is_informational: false,
        }
    }

    /// Creates an unknown outcome with its reason.
    #[must_use]
    pub fn unknown(threshold: String, reason: &str) -> Self {
        let verdict = CheckVerdict::Unknown(reason.into());
        let summary = format!("unknown: {reason}");
        Self {
            verdict,
            value: None,
            threshold,
            summary,
            proving_constraint: None,
            user_limit: None,
            evidence_total: None,
            is_informational: false,
        }
    }

    /// Creates the outcome of a check that cannot be decided here, which says nothing about the sessions: it has no
    /// baseline, or the table lacks a column. Otherwise `check` could never pass on such a target.
    #[must_use]
    pub fn skipped(threshold: String, reason: &str) -> Self {
        let summary = format!("skipped: {reason}");
        Self { is_informational: true, summary, ..Self::unknown(threshold, reason) }
    }

    /// Creates the outcome of a check that did not run, with the reason.
    #[must_use]
    pub fn not_run(reason: &str) -> Self {
        Self::unknown(String::new(), reason)
    }
}
