//! Severity of findings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Severity of a finding, mildest first.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Deserialize,
    Serialize,
    JsonSchema,
    strum::IntoStaticStr,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Severity {
    /// Good to know.
    Low,
    /// Review this week.
    Medium,
    /// Review today.
    High,
    /// Act now.
    Critical,
}

impl Severity {
    /// Every severity, mildest first.
    pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    /// Returns the name used in output and configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}
