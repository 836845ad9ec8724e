//! `[target.cleanup]`: cleanup by `serve` itself.

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

/// When the watch cleans up, where it does and nothing else is said.
const DEFAULT_CLEANUP_CRON: &str = "17 3 * * *";

/// Cleanup by `serve` itself; off unless switched on here.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct CleanupSection {
    /// Whether `serve` removes expired rows by itself.
    expired: WithSpan<bool>,
    /// How long ago a row must have ended; at least 14h where its end names no time zone.
    grace: WithSpan<BoundedSeconds<3_600, 7_776_000>>,
    /// Time between two cleanups.
    #[schemars(extend("x-otherwise" = "cron"), example = RunInterval::new(86_400))]
    interval: Option<RunInterval>,
    /// Instead of `interval`: minute, hour, day of month, month, day of week, in the time zone of [serve].
    #[schemars(extend("default" = DEFAULT_CLEANUP_CRON))]
    cron: Option<WithSpan<String>>,
    /// Rows above which a cleanup is not carried out, but left to a person.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    max_rows: u64,
    /// The share of the table above which a cleanup is not carried out, but left to a person.
    #[schemars(range(min = 0.0, max = 1.0))]
    max_share: f64,
    /// Whether a cleanup may also change other tables (ON DELETE CASCADE, SET NULL) and run triggers and rules.
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

/// How the watch removes expired rows by itself.
#[derive(Clone, Debug)]
pub struct CleanupConfig {
    /// How long ago a row must have ended.
    pub grace: SignedDuration,
    /// When.
    pub schedule: Schedule,
    /// Above so many rows it is left to a person.
    pub max_rows: u64,
    /// Above this share of the table, from 0 to 1, it is left to a person.
    pub max_share: f64,
    /// Whether it may change other tables, and run triggers and rules.
    pub allows_side_effects: bool,
}

/// How the watch cleans up by itself; nothing unless it is switched on.
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
        let message =
            "cleaning up needs `write_url` or `write_url_file`, the address with the role that acts";
        reader.report_problem(section.expired.span(), message);
    }
    let nightly = || Schedule::parse_cron(DEFAULT_CLEANUP_CRON, &reader.zone).unwrap_or(Schedule::Every(DAY));
    Some(CleanupConfig {
        grace: section.grace.to_duration(),
        schedule: schedule.unwrap_or_else(nightly),
        max_rows: section.max_rows,
        max_share: section.max_share,
        allows_side_effects: section.side_effects,
    })
}

/// Where the grace is written, or else the section.
pub(super) fn grace_span(section: &WithSpan<CleanupSection>) -> Range<usize> {
    if section.grace.span().is_empty() { section.span() } else { section.grace.span() }
}
