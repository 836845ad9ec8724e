//! Custom checks: a number returned by the operator's SQL query, and the threshold at which the check fails.

use std::{fmt, str::FromStr};

use super::CheckOutcome;

/// Documentation page about custom checks, in Markdown.
pub(super) const CUSTOM_CHECK_PAGE: &str = include_str!("../../../../docs/checks/custom.md");

/// Comparison operator of a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThresholdOperator {
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

/// Condition under which a value fails, such as `> 0`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CustomThreshold {
    /// Comparison operator.
    pub operator: ThresholdOperator,
    /// Number on the right-hand side.
    pub number: f64,
}

/// The text is not a comparison operator followed by a number.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("must be a comparison (>, >=, <, <=, = or !=) and a number, such as \"> 0\"")]
pub struct ThresholdParseError;

impl ThresholdOperator {
    const ALL: [(Self, &'static str); 6] = [
        // Longer operators come first: `>=` also begins with `>`.
        (Self::AtLeast, ">="),
        (Self::AtMost, "<="),
        (Self::Unequal, "!="),
        (Self::Above, ">"),
        (Self::Below, "<"),
        (Self::Equal, "="),
    ];
}

impl CustomThreshold {
    /// Returns whether `value` fails.
    #[must_use]
    #[expect(clippy::float_cmp, reason = "counts are integers, and the configuration asks for equality")]
    pub fn fails_for(self, value: f64) -> bool {
        match self.operator {
            ThresholdOperator::Above => value > self.number,
            ThresholdOperator::AtLeast => value >= self.number,
            ThresholdOperator::Below => value < self.number,
            ThresholdOperator::AtMost => value <= self.number,
            ThresholdOperator::Equal => value == self.number,
            ThresholdOperator::Unequal => value != self.number,
        }
    }
}

impl FromStr for CustomThreshold {
    type Err = ThresholdParseError;

    fn from_str(text: &str) -> Result<Self, ThresholdParseError> {
        let text = text.trim();
        let found = ThresholdOperator::ALL.iter().find_map(|(operator, sign)| {
            Some((*operator, text.strip_prefix(sign)?.trim().parse::<f64>().ok()?))
        });
        match found {
            // An infinite threshold would never or always fail, which is surely a mistake.
            Some((operator, number)) if number.is_finite() => Ok(Self { operator, number }),
            _ => Err(ThresholdParseError),
        }
    }
}

impl fmt::Display for CustomThreshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = ThresholdOperator::ALL
            .iter()
            .find(|(known, _)| *known == self.operator)
            .map_or("", |(_, sign)| sign);
        write!(f, "{sign} {}", self.number)
    }
}

/// Evaluates the number that the query returned.
#[must_use]
pub fn evaluate_value(value: f64, threshold: CustomThreshold) -> CheckOutcome {
    // Every comparison with NaN is false, which would pass.
    if value.is_nan() {
        return CheckOutcome::unknown(threshold.to_string(), "the query returned NaN, which is not a number");
    }
    let summary = format!("the query returned {value}");
    CheckOutcome::from_value(threshold.fails_for(value), value, threshold.to_string(), summary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::CheckVerdict;

    #[test]
    fn fails_if_the_threshold_is_met() {
        let threshold: CustomThreshold = "> 2".parse().unwrap();
        let outcome = evaluate_value(3.0, threshold);
        assert_eq!(
            (outcome.verdict, outcome.summary.as_str()),
            (CheckVerdict::Failing, "the query returned 3")
        );
        assert_eq!(evaluate_value(2.0, threshold).verdict, CheckVerdict::Passing);
        let outcome = evaluate_value(f64::NAN, threshold);
        assert!(matches!(outcome.verdict, CheckVerdict::Unknown(_)), "{outcome:?}");
    }

    #[test]
    fn parses_formats_and_compares() {
        for (text, below, at, above) in [
            ("> 2", false, false, true),
            (">=2", false, true, true),
            ("< 2", true, false, false),
            (" <= 2.0 ", true, true, false),
            ("= 2", false, true, false),
            ("!= 2", true, false, true),
        ] {
            let threshold: CustomThreshold = text.parse().unwrap();
            assert_eq!([1.0, 2.0, 3.0].map(|value| threshold.fails_for(value)), [below, at, above], "{text}");
            assert_eq!(threshold.to_string().parse(), Ok(threshold));
            assert!(!threshold.fails_for(f64::NAN) || threshold.operator == ThresholdOperator::Unequal);
        }
    }

    #[test]
    fn rejects_malformed_thresholds() {
        for text in ["", "2", ">", "> x", "> inf", "> NaN", "=> 2", "> 2 3"] {
            assert_eq!(text.parse::<CustomThreshold>(), Err(ThresholdParseError), "{text}");
        }
    }
}
