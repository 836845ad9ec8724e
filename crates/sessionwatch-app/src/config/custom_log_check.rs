//! `[[log_check]]`: custom checks that count matching log lines.

use schemars::JsonSchema;
use serde::Deserialize;
use sessionwatch_core::severity::Severity;
use sessionwatch_logs::pattern::Pattern;

use super::{
    name_references::{ConfigNames, builtin_check_ids},
    section_reader::SectionReader,
};
use crate::{
    checks::{self, LogCheckLimit},
    config_file::{BoundedSeconds, WithSpan},
};

/// Custom check that counts matching log lines.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CustomLogCheckSection {
    /// Check ID: lowercase letters, digits and hyphens.
    #[schemars(extend("x-required" = true), example = &"password-failures")]
    pub(super) name: Option<WithSpan<String>>,
    /// Text that every matching line contains. A `literal`, a `regex` or both are required.
    #[schemars(extend("x-otherwise" = "none"), example = &"password check failed")]
    literal: Option<WithSpan<String>>,
    /// Regular expression for matching lines; named groups user, other, token, request and reason capture these values.
    #[schemars(extend("x-otherwise" = "none"), example = &"failed for user (?P<user>[0-9]+)")]
    regex: Option<WithSpan<String>>,
    /// Severity of the alert; selects its alert policy and notification routes.
    severity: Severity,
    /// Number of matching lines above which the check fails.
    #[schemars(range(max = 1_000_000_000_000_u64))]
    max: u64,
    /// Time over which lines are counted, by the time at which they were read.
    window: BoundedSeconds<60, 604_800>,
    /// Recommended action when the check fails.
    #[schemars(extend("x-otherwise" = "none"), example = &"review failed logins")]
    action: Option<String>,
}

impl Default for CustomLogCheckSection {
    fn default() -> Self {
        Self {
            name: None,
            literal: None,
            regex: None,
            severity: Severity::Medium,
            max: 0,
            window: BoundedSeconds::new(super::section_reader::HOUR_SECONDS),
            action: None,
        }
    }
}

/// Custom log check.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomLogCheck {
    /// Pattern of the lines; its name is the check id.
    pub pattern: Pattern,
    /// Count above which the check fails, and the time over which lines are counted.
    pub limit: LogCheckLimit,
    /// Recommended action when the check fails; may be empty.
    pub action: String,
}

/// Validates the section, given the checks of earlier sections. Returns `None` if it is invalid.
pub(super) fn validate_custom_log_check(
    section: &WithSpan<CustomLogCheckSection>,
    earlier_checks: &[CustomLogCheck],
    names: &ConfigNames,
    reader: &mut SectionReader<'_, '_>,
) -> Option<CustomLogCheck> {
    let name = section.name.as_ref()?;
    reader.validate_check_id(name, "password-failures");
    let is_taken = |other: &str| other == name.as_str();
    let is_own = names.custom_checks.iter().any(|id| is_taken(id))
        || earlier_checks.iter().any(|own| is_taken(&own.pattern.name));
    if is_own
        || builtin_check_ids().chain([checks::TARGET_UNREACHABLE, checks::CHANNEL_FAILING]).any(is_taken)
    {
        reader.report_problem(name.span(), format!("duplicate check ID `{}`", **name));
    }
    let text = |key: &Option<WithSpan<String>>| key.as_ref().map(|key| key.to_string());
    let (literal, regex) = (text(&section.literal), text(&section.regex));
    match Pattern::new(name, section.severity, literal.as_deref(), regex.as_deref()) {
        Ok(pattern) => Some(CustomLogCheck {
            pattern,
            limit: LogCheckLimit { max: section.max, window: section.window.to_duration() },
            action: section.action.clone().unwrap_or_default(),
        }),
        Err(error) => {
            let written = section.regex.as_ref().or(section.literal.as_ref());
            reader.report_problem(WithSpan::span_or(written, &section.span()), error.to_string());
            None
        }
    }
}
