//! Checks in the operator's own SQL: a number that a query gives, and a comparison that it fails at.

use std::{fmt, str::FromStr};

use super::CheckOutcome;

/// The page about such checks, in Markdown.
pub(super) const DOCUMENTATION: &str = include_str!("../../../../docs/checks/custom.md");

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `>`
    Above,
    /// `>=`
    AtLeast,
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `=`
    Equal,
    /// `!=`
    Unequal,
}

/// What a value fails at, such as `> 0`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// How the value is compared.
    pub comparison: Comparison,
    /// With what.
    pub number: f64,
}

/// The text is not a comparison and a number.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("must be >, >=, <, <=, = or != and a number, such as \"> 0\"")]
pub struct NotAThreshold;

impl Comparison {
    /// Every comparison; longer signs come before those that they begin with.
    const ALL: [(Self, &'static str); 6] = [
        (Self::AtLeast, ">="),
        (Self::AtMost, "<="),
        (Self::Unequal, "!="),
        (Self::Above, ">"),
        (Self::Below, "<"),
        (Self::Equal, "="),
    ];
}

impl Threshold {
    /// Whether `value` fails.
    #[must_use]
    #[expect(clippy::float_cmp, reason = "counts are whole, and the operator asked for equality")]
    pub fn is_met_by(self, value: f64) -> bool {
        match self.comparison {
            Comparison::Above => value > self.number,
            Comparison::AtLeast => value >= self.number,
            Comparison::Below => value < self.number,
            Comparison::AtMost => value <= self.number,
            Comparison::Equal => value == self.number,
            Comparison::Unequal => value != self.number,
        }
    }
}

impl FromStr for Threshold {
    type Err = NotAThreshold;

    fn from_str(text: &str) -> Result<Self, NotAThreshold> {
        let text = text.trim();
        let found = Comparison::ALL.iter().find_map(|(comparison, sign)| {
            Some((*comparison, text.strip_prefix(sign)?.trim().parse::<f64>().ok()?))
        });
        match found {
            Some((comparison, number)) if number.is_finite() => Ok(Self { comparison, number }),
            _ => Err(NotAThreshold),
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign =
            Comparison::ALL.iter().find(|(known, _)| *known == self.comparison).map_or("", |(_, sign)| sign);
        write!(f, "{sign} {}", self.number)
    }
}

/// Decides from the number that the query gave.
#[must_use]
pub fn decide(value: f64, threshold: Threshold) -> CheckOutcome {
    let summary = format!("the query gives {value}");
    CheckOutcome::measured(threshold.is_met_by(value), value, threshold.to_string(), summary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Verdict;

    #[test]
    fn fails_where_the_threshold_is_met() {
        let threshold: Threshold = "> 2".parse().unwrap();
        let outcome = decide(3.0, threshold);
        assert_eq!((outcome.verdict, outcome.summary.as_str()), (Verdict::Failing, "the query gives 3"));
        assert_eq!(decide(2.0, threshold).verdict, Verdict::Healthy);
    }

    #[test]
    fn reads_writes_and_compares() {
        for (text, below, at, above) in [
            ("> 2", false, false, true),
            (">=2", false, true, true),
            ("< 2", true, false, false),
            (" <= 2.0 ", true, true, false),
            ("= 2", false, true, false),
            ("!= 2", true, false, true),
        ] {
            let threshold: Threshold = text.parse().unwrap();
            assert_eq!([1.0, 2.0, 3.0].map(|value| threshold.is_met_by(value)), [below, at, above], "{text}");
            assert_eq!(threshold.to_string().parse(), Ok(threshold));
            assert!(!threshold.is_met_by(f64::NAN) || threshold.comparison == Comparison::Unequal);
        }
    }

    #[test]
    fn refuses_what_is_none() {
        for text in ["", "2", ">", "> x", "> inf", "> NaN", "=> 2", "> 2 3"] {
            assert_eq!(text.parse::<Threshold>(), Err(NotAThreshold), "{text}");
        }
    }
}
