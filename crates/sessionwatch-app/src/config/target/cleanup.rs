//! `[target.cleanup]`: automatic cleanup by `serve`.

use std::ops::Range;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;
use sessionwatch_core::{duration::DAY, safety_limit::DEFAULT_MAX_TABLE_SHARE};

use crate::{
    config::section_reader::{RunInterval, SectionReader},
    config_file::{BoundedSeconds, WithSpan},
    schedule::Schedule,
};

// Not on the hour, when most other jobs of a server start.
const DEFAULT_CLEANUP_CRON: &str = "17 3 * * *";

/// Automatic cleanup by `serve`; off by default.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct CleanupSection {
    /// Delete expired rows automatically.
    expired: WithSpan<bool>,
    /// Minimum time since the expiry of a row; at least 14h if the expiry column has no time zone.
    grace: WithSpan<BoundedSeconds<3_600, 7_776_000>>,
    /// Time between two cleanups, instead of `cron`.
    #[schemars(extend("x-otherwise" = "none"), example = RunInterval::new(86_400))]
    interval: Option<RunInterval>,
    /// Cron expression for cleanups (minute, hour, day of month, month, day of week), in the time zone of [serve].
    #[schemars(extend("default" = DEFAULT_CLEANUP_CRON))]
    cron: Option<WithSpan<String>>,
    /// Maximum number of rows that a cleanup deletes; a larger plan is left for manual review.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    max_rows: u64,
    /// Maximum share of the table that a cleanup deletes; a larger plan is left for manual review.
    #[schemars(range(min = 0.0, max = 1.0))]
    max_share: f64,
    /// Allow cleanups that change other tables (ON DELETE CASCADE, SET NULL) or run triggers and rules.
    side_effects: bool,
}

impl Default for CleanupSection {
    fn default() -> Self {
        Self {
            expired: false.into(),
            grace: BoundedSeconds::new(86_400).into(),
            interval: None,
            cron: None,
            max_rows: 1_000_000,
            max_share: DEFAULT_MAX_TABLE_SHARE,
            side_effects: false,
        }
    }
}

/// Automatic cleanup of expired rows.
#[derive(Clone, Debug)]
pub struct CleanupConfig {
    /// Minimum time since the expiry of a row.
    pub grace: SignedDuration,
    /// Schedule of cleanups.
    pub schedule: Schedule,
    /// Maximum number of rows of an automatic cleanup; a larger plan needs a user.
    pub max_rows: u64,
    /// Maximum share of the table, from 0 to 1, of an automatic cleanup; a larger plan needs a user.
    pub max_share: f64,
    /// Allows changes to other tables, and triggers and rules.
    pub allows_side_effects: bool,
}

/// Returns the settings of the automatic cleanup; `None` if it is off.
pub(super) fn validate_cleanup(
    section: &CleanupSection,
    has_write_address: bool,
    reader: &mut SectionReader<'_, '_>,
) -> Option<CleanupConfig> {
    let schedule = reader.parse_schedule(section.interval, section.cron.as_ref());
    if !*section.expired {
        return None;
    }
    if !has_write_address {
        let message = "cleanup requires `write_url` or `write_url_file`, the address with the write role";
        reader.report_problem(section.expired.span(), message);
    }
    // The built-in expression is valid, so the fallback is never used.
    let nightly = || Schedule::parse_cron(DEFAULT_CLEANUP_CRON, &reader.zone).unwrap_or(Schedule::Every(DAY));
    Some(CleanupConfig {
        grace: section.grace.to_duration(),
        schedule: schedule.unwrap_or_else(nightly),
        max_rows: section.max_rows,
        max_share: section.max_share,
        allows_side_effects: section.side_effects,
    })
}

/// Returns the span of `grace`, or that of the section if the key is missing.
pub(super) fn grace_span(section: &WithSpan<CleanupSection>) -> Range<usize> {
    // A default value has an empty span, and would point to the start of the file.
    if section.grace.span().is_empty() { section.span() } else { section.grace.span() }
}
