//! `[[log_check]]`: log lines of the operator's own to look for.

use schemars::JsonSchema;
use serde::Deserialize;
use sessionwatch_core::severity::Severity;
use sessionwatch_logs::pattern::Pattern;

use super::{
    names::{ConfigNames, builtin_check_ids},
    section_reader::SectionReader,
};
use crate::{
    checks::{self, LogCheckLimit},
    config_file::{BoundedSeconds, WithSpan},
};

/// Log lines of your own to look for; each is a check too.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CustomLogCheckSection {
    /// Its name, which is the id of its check: small letters, digits and hyphens.
    #[schemars(extend("x-required" = true), example = &"password-failures")]
    pub(super) name: Option<WithSpan<String>>,
    /// Text that every such line contains.
    #[schemars(extend("x-otherwise" = "regex"), example = &"password check failed")]
    literal: Option<WithSpan<String>>,
    /// What such a line matches; its groups user, other, token, request and reason are what they say.
    #[schemars(extend("x-otherwise" = "literal"), example = &"failed for user (?P<user>[0-9]+)")]
    regex: Option<WithSpan<String>>,
    /// How bad a finding is; decides who is told, and how fast.
    severity: Severity,
    /// Lines that are tolerated.
    #[schemars(range(max = 1_000_000_000_000_u64))]
    max: u64,
    /// Time over which they are counted, by when they were read.
    window: BoundedSeconds<60, 604_800>,
    /// What to do when it fails.
    #[schemars(extend("x-otherwise" = "none"), example = &"look at sign-ins")]
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

/// A pattern of the operator's, which is a check too.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomLogCheck {
    /// What is looked for.
    pub pattern: Pattern,
    /// At what it fails.
    pub limit: LogCheckLimit,
    /// What to do when it fails; may be empty.
    pub action: String,
}

/// The section as used; nothing if it is wrong. `before` are the patterns before it.
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
        reader.report_problem(name.span(), "a check has that name already");
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
