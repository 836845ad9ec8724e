//! Ranges of numbers that are usual.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The range in which a number is usual. What is usual differs between applications by orders of magnitude, so that there is
/// none unless it is configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Baseline {
    /// The lowest usual number.
    #[schemars(range(max = 1_000_000_000_000_u64), extend("x-otherwise" = "none"), example = 50)]
    pub min: Option<u64>,
    /// The highest usual number.
    #[schemars(range(max = 1_000_000_000_000_u64), extend("x-otherwise" = "none"), example = 500)]
    pub max: Option<u64>,
}

impl Baseline {
    /// Whether a number is lower than usual.
    #[must_use]
    pub fn is_below_min(self, number: u64) -> bool {
        self.min.is_some_and(|min| number < min)
    }

    /// Whether a number is higher than usual.
    #[must_use]
    pub fn is_above_max(self, number: u64) -> bool {
        self.max.is_some_and(|max| number > max)
    }
}

impl std::fmt::Display for Baseline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.min, self.max) {
            (None, None) => f.write_str("none is configured"),
            (Some(min), None) => write!(f, "at least {min}"),
            (None, Some(max)) => write!(f, "at most {max}"),
            (Some(min), Some(max)) => write!(f, "{min} to {max}"),
        }
    }
}
