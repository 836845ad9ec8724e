//! Baselines: the configured normal range of a count.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Normal range of a count. There is no default, because normal differs between applications by orders of magnitude.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Baseline {
    /// Lowest normal count.
    #[schemars(range(max = 1_000_000_000_000_u64), extend("x-otherwise" = "none"), example = 50)]
    pub min: Option<u64>,
    /// Highest normal count.
    #[schemars(range(max = 1_000_000_000_000_u64), extend("x-otherwise" = "none"), example = 500)]
    pub max: Option<u64>,
}

impl Baseline {
    /// Returns whether no limit is configured, so that no number is unusual.
    #[must_use]
    pub const fn is_unset(self) -> bool {
        self.min.is_none() && self.max.is_none()
    }

    /// Returns whether a number is below the minimum.
    #[must_use]
    pub fn is_below_min(self, number: u64) -> bool {
        self.min.is_some_and(|min| number < min)
    }

    /// Returns whether a number is above the maximum.
    #[must_use]
    pub fn is_above_max(self, number: u64) -> bool {
        self.max.is_some_and(|max| number > max)
    }

    /// Returns the values that fail: `< 50 or > 500`; empty without a baseline.
    pub(super) fn threshold_text(self) -> String {
        let below = self.min.map(|min| format!("< {min}"));
        let above = self.max.map(|max| format!("> {max}"));
        below.into_iter().chain(above).collect::<Vec<_>>().join(" or ")
    }
}

/// Returns why a check without a baseline is not decided.
pub(super) fn missing_baseline_reason(check: &str) -> String {
    format!("no baseline: set `min` and `max` in [checks.{check}]")
}

impl std::fmt::Display for Baseline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.min, self.max) {
            (None, None) => f.write_str("not configured"),
            (Some(min), None) => write!(f, "at least {min}"),
            (None, Some(max)) => write!(f, "at most {max}"),
            (Some(min), Some(max)) => write!(f, "{min} to {max}"),
        }
    }
}
