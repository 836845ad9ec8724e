//! `[[route]]`, `[[maintenance_window]]` and `[report]`: who is told of what, and when.

use std::ops::Range;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;
use sessionwatch_core::severity::Severity;

use super::{names::ConfigNames, section_reader::SectionReader};
use crate::{
    config_file::{BoundedSeconds, WithSpan},
    schedule::Schedule,
};

/// When the checklist is sent, unless it is written.
const DEFAULT_REPORT_CRON: &str = "0 7 * * mon";

/// Who is told of what; without one, every channel is told of everything.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RouteSection {
    /// Names of the channels that are told.
    #[schemars(extend("x-required" = true), example = ["chat"])]
    channels: Option<WithSpan<Vec<String>>>,
    /// The mildest findings that are told.
    severity: Severity,
    /// Names of the targets that it is about.
    #[schemars(extend("x-otherwise" = "all"), example = ["main"])]
    targets: Option<WithSpan<Vec<String>>>,
    /// Ids of the checks that it is about.
    #[schemars(extend("x-otherwise" = "all"), example = ["duplicate-tokens"])]
    checks: Option<WithSpan<Vec<String>>>,
}

impl Default for RouteSection {
    fn default() -> Self {
        Self { channels: None, severity: Severity::Low, targets: None, checks: None }
    }
}

/// Times at which nothing is told; what still fails afterwards is told then.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct MaintenanceWindowSection {
    /// When it begins: minute, hour, day of month, month, day of week, in the time zone of [serve].
    #[schemars(extend("x-required" = true), example = &"0 2 * * sun")]
    cron: Option<WithSpan<String>>,
    /// How long it lasts.
    #[schemars(extend("x-required" = true), example = &"2h")]
    duration: Option<BoundedSeconds<60, 604_800>>,
    /// Names of the targets that it is about.
    #[schemars(extend("x-otherwise" = "all"), example = ["main"])]
    targets: Option<WithSpan<Vec<String>>>,
    /// Ids of the checks that it is about.
    #[schemars(extend("x-otherwise" = "all"), example = ["target-unreachable"])]
    checks: Option<WithSpan<Vec<String>>>,
}

/// The checklist, sent by itself.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ReportSection {
    /// When: minute, hour, day of month, month, day of week, in the time zone of [serve].
    #[schemars(extend("default" = DEFAULT_REPORT_CRON))]
    cron: Option<WithSpan<String>>,
    /// Names of the channels that get it.
    #[schemars(extend("x-required" = true), example = ["chat"])]
    channels: Option<WithSpan<Vec<String>>>,
}

/// Who is told of what.
#[derive(Clone, Debug)]
pub struct NotificationRoute {
    /// Names of channels.
    pub channels: Vec<String>,
    /// The mildest findings.
    pub min_severity: Severity,
    /// Names of targets; empty for all.
    pub targets: Vec<String>,
    /// Ids of checks; empty for all.
    pub checks: Vec<String>,
}

/// Times at which nothing is told.
#[derive(Clone, Debug)]
pub struct MaintenanceWindow {
    /// When it begins.
    pub schedule: Schedule,
    /// How long it lasts.
    pub duration: SignedDuration,
    /// Names of targets; empty for all.
    pub targets: Vec<String>,
    /// Ids of checks; empty for all.
    pub checks: Vec<String>,
}

/// The checklist that is sent by itself.
#[derive(Clone, Debug)]
pub struct ScheduledReport {
    /// When.
    pub schedule: Schedule,
    /// Names of channels.
    pub channels: Vec<String>,
}

impl RouteSection {
    pub(super) fn validate(
        &self,
        names: &ConfigNames,
        reader: &mut SectionReader<'_, '_>,
    ) -> NotificationRoute {
        NotificationRoute {
            channels: names.resolve_channels(self.channels.as_ref(), reader),
            min_severity: self.severity,
            targets: names.resolve_targets(self.targets.as_ref(), reader),
            checks: names.resolve_checks(self.checks.as_ref(), reader),
        }
    }
}

impl MaintenanceWindowSection {
    /// The section as used; nothing if it is wrong.
    pub(super) fn validate(
        &self,
        names: &ConfigNames,
        reader: &mut SectionReader<'_, '_>,
    ) -> Option<MaintenanceWindow> {
        let targets = names.resolve_targets(self.targets.as_ref(), reader);
        let checks = names.resolve_checks(self.checks.as_ref(), reader);
        let begins = reader.parse_cron(self.cron.as_ref()?)?;
        Some(MaintenanceWindow {
            schedule: begins,
            duration: self.duration.map(BoundedSeconds::to_duration).unwrap_or_default(),
            targets,
            checks,
        })
    }
}

impl ReportSection {
    /// The section as used; nothing if it is wrong.
    pub(super) fn validate(
        &self,
        span: &Range<usize>,
        names: &ConfigNames,
        reader: &mut SectionReader<'_, '_>,
    ) -> Option<ScheduledReport> {
        let channels = names.resolve_channels(self.channels.as_ref(), reader);
        let due = match &self.cron {
            Some(cron) => reader.parse_cron(cron),
            None if reader.problems.has_invalid_key(span, &["cron"]) => None,
            None => Schedule::parse_cron(DEFAULT_REPORT_CRON, &reader.zone).ok(),
        };
        Some(ScheduledReport { schedule: due?, channels })
    }
}
