//! What a check decides from, and what it decides.

use jiff::SignedDuration;

use crate::{
    checks::CheckThresholds,
    history::{Comparison, SessionChanges},
    stats::SessionStats,
};

/// The outcome of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckVerdict {
    /// Nothing wrong.
    Passing,
    /// Something wrong.
    Failing,
    /// Not to be known, and why. Never healthy.
    Unknown(String),
}

/// A verdict with what made it.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckOutcome {
    /// The outcome.
    pub verdict: CheckVerdict,
    /// The value that was compared.
    pub value: Option<f64>,
    /// What it fails at.
    pub threshold: String,
    /// What is wrong, or right, in one sentence.
    pub summary: String,
    /// The constraint that proves it.
    pub proving_constraint: Option<String>,
    /// Where the check is about users: the number of sessions above which one is meant.
    pub user_limit: Option<u64>,
    /// It says something about this run rather than about the sessions, and does not decide what is said of the target.
    pub is_informational: bool,
}

/// What a verdict is made from.
#[derive(Clone, Copy, Debug)]
pub struct CheckInput<'a> {
    /// The aggregated facts.
    pub stats: &'a SessionStats,
    /// The thresholds of all checks.
    pub thresholds: &'a CheckThresholds,
    /// How long the database took to read the sessions.
    pub read_duration: SignedDuration,
    /// What happened since the run before.
    pub comparison: Comparison<'a>,
}

/// Why a first run knows nothing of changes.
pub(super) const FIRST_RUN_REASON: &str = "first look";

impl<'a> CheckInput<'a> {
    /// The changes since the run before.
    ///
    /// # Errors
    ///
    /// Why there are none to be known.
    pub(super) fn changes(self) -> Result<&'a SessionChanges, &'static str> {
        match self.comparison {
            Comparison::Impossible(reason) => Err(reason),
            Comparison::FirstRun => Err(FIRST_RUN_REASON),
            Comparison::Since(changes) => Ok(changes),
        }
    }
}

impl CheckOutcome {
    /// A count that was compared with a threshold.
    #[expect(clippy::cast_precision_loss, reason = "a value for people; counts stay below 2^53")]
    pub(super) fn from_count(is_failing: bool, value: u64, threshold: String, summary: String) -> Self {
        Self::from_value(is_failing, value as f64, threshold, summary)
    }

    /// A number that was compared with a threshold.
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
            is_informational: false,
        }
    }

    /// A check that cannot be decided, and why.
    #[must_use]
    pub fn unknown(threshold: String, reason: &str) -> Self {
        let verdict = CheckVerdict::Unknown(reason.into());
        let summary = format!("not known: {reason}");
        Self {
            verdict,
            value: None,
            threshold,
            summary,
            proving_constraint: None,
            user_limit: None,
            is_informational: false,
        }
    }

    /// A check that was not made, and why.
    #[must_use]
    pub fn not_run(reason: &str) -> Self {
        Self::unknown(String::new(), reason)
    }
}
