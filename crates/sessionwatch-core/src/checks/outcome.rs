//! What a check decides from, and what it decides.

use jiff::SignedDuration;

use crate::{
    checks::Thresholds,
    history::{Comparison, SessionChanges},
    stats::SessionStats,
};

/// The outcome of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing wrong.
    Healthy,
    /// Something wrong.
    Failing,
    /// Not to be known, and why. Never healthy.
    Unknown(String),
}

/// A verdict with what made it.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckOutcome {
    /// The outcome.
    pub verdict: Verdict,
    /// The value that was compared.
    pub value: Option<f64>,
    /// What it fails at.
    pub threshold: String,
    /// What is wrong, or right, in one sentence.
    pub summary: String,
    /// The constraint that proves it.
    pub proof: Option<String>,
    /// Where the check is about users: the number of sessions above which one is meant.
    pub bound: Option<u64>,
    /// It says something about this run rather than about the sessions, and does not decide what is said of the target.
    pub is_aside: bool,
}

/// What a verdict is made from.
#[derive(Clone, Copy, Debug)]
pub struct CheckInput<'a> {
    /// The aggregated facts.
    pub stats: &'a SessionStats,
    /// The thresholds of all checks.
    pub thresholds: &'a Thresholds,
    /// How long the database took to read the sessions.
    pub duration: SignedDuration,
    /// What happened since the run before.
    pub compared: Comparison<'a>,
}

/// Why a first run knows nothing of changes.
pub(super) const FIRST_RUN: &str = "first look";

impl<'a> CheckInput<'a> {
    /// The changes since the run before.
    ///
    /// # Errors
    ///
    /// Why there are none to be known.
    pub(super) fn changes(self) -> Result<&'a SessionChanges, &'static str> {
        match self.compared {
            Comparison::Impossible(reason) => Err(reason),
            Comparison::First => Err(FIRST_RUN),
            Comparison::Since(changes) => Ok(changes),
        }
    }
}

impl CheckOutcome {
    /// A count that was compared with a threshold.
    #[expect(clippy::cast_precision_loss, reason = "a value for people; counts stay below 2^53")]
    pub(super) fn counted(is_failing: bool, value: u64, threshold: String, summary: String) -> Self {
        Self::measured(is_failing, value as f64, threshold, summary)
    }

    /// A number that was compared with a threshold.
    #[must_use]
    pub fn measured(is_failing: bool, value: f64, threshold: String, summary: String) -> Self {
        let verdict = if is_failing { Verdict::Failing } else { Verdict::Healthy };
        Self { verdict, value: Some(value), threshold, summary, proof: None, bound: None, is_aside: false }
    }

    /// A check that cannot be decided, and why.
    #[must_use]
    pub fn unknown(threshold: String, reason: &str) -> Self {
        let verdict = Verdict::Unknown(reason.into());
        let summary = format!("not known: {reason}");
        Self { verdict, value: None, threshold, summary, proof: None, bound: None, is_aside: false }
    }

    /// A check that was not made, and why.
    #[must_use]
    pub fn not_made(reason: &str) -> Self {
        Self::unknown(String::new(), reason)
    }
}
