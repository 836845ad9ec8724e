//! `[[route]]`, `[[maintenance_window]]` and `[report]`: which channel receives what, and when.

use std::ops::Range;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;
use sessionwatch_core::severity::Severity;

use super::{name_references::ConfigNames, section_reader::SectionReader};
use crate::{
    config_file::{BoundedSeconds, WithSpan},
    schedule::Schedule,
};

const DEFAULT_REPORT_CRON: &str = "0 7 * * mon";

/// Notification route; without any, every channel receives every notification.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RouteSection {
    /// Names of the channels that receive the notifications.
    #[schemars(extend("x-required" = true), example = ["chat"])]
    channels: Option<WithSpan<Vec<String>>>,
    /// Minimum severity of the alerts.
    severity: Severity,
    /// Names of the targets to which the route applies.
    #[schemars(extend("x-otherwise" = "all"), example = ["main"])]
    targets: Option<WithSpan<Vec<String>>>,
    /// IDs of the checks to which the route applies.
    #[schemars(extend("x-otherwise" = "all"), example = ["duplicate-tokens"])]
    checks: Option<WithSpan<Vec<String>>>,
}

impl Default for RouteSection {
    fn default() -> Self {
        Self { channels: None, severity: Severity::Low, targets: None, checks: None }
    }
}

/// Maintenance window: notifications are held back, and sent afterwards for checks that still fail.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct MaintenanceWindowSection {
    /// Cron expression of the start (minute, hour, day of month, month, day of week), in the time zone of [serve].
    #[schemars(extend("x-required" = true), example = &"0 2 * * sun")]
    cron: Option<WithSpan<String>>,
    /// Length of the window.
    #[schemars(extend("x-required" = true), example = &"2h")]
    duration: Option<BoundedSeconds<60, 604_800>>,
    /// Names of the targets to which the window applies.
    #[schemars(extend("x-otherwise" = "all"), example = ["main"])]
    targets: Option<WithSpan<Vec<String>>>,
    /// IDs of the checks to which the window applies.
    #[schemars(extend("x-otherwise" = "all"), example = ["target-unreachable"])]
    checks: Option<WithSpan<Vec<String>>>,
}

/// Scheduled checklist report.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ReportSection {
    /// Cron expression of the report (minute, hour, day of month, month, day of week), in the time zone of [serve].
    #[schemars(extend("default" = DEFAULT_REPORT_CRON))]
    cron: Option<WithSpan<String>>,
    /// Names of the channels that receive the report.
    #[schemars(extend("x-required" = true), example = ["chat"])]
    channels: Option<WithSpan<Vec<String>>>,
}

/// Notification route.
#[derive(Clone, Debug)]
pub struct NotificationRoute {
    /// Names of channels.
    pub channels: Vec<String>,
    /// Minimum severity of the alerts.
    pub min_severity: Severity,
    /// Names of targets; empty for all.
    pub targets: Vec<String>,
    /// Ids of checks; empty for all.
    pub checks: Vec<String>,
}

/// Recurring window in which notifications are held back.
#[derive(Clone, Debug)]
pub struct MaintenanceWindow {
    /// Start times.
    pub schedule: Schedule,
    /// Length of the window.
    pub duration: SignedDuration,
    /// Names of targets; empty for all.
    pub targets: Vec<String>,
    /// Ids of checks; empty for all.
    pub checks: Vec<String>,
}

/// Scheduled checklist report.
#[derive(Clone, Debug)]
pub struct ScheduledReport {
    /// Schedule of the report.
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
    /// Returns `None` if the section is invalid.
    pub(super) fn validate(
        &self,
        names: &ConfigNames,
        reader: &mut SectionReader<'_, '_>,
    ) -> Option<MaintenanceWindow> {
        let targets = names.resolve_targets(self.targets.as_ref(), reader);
        let checks = names.resolve_checks(self.checks.as_ref(), reader);
        let schedule = reader.parse_cron(self.cron.as_ref()?)?;
        Some(MaintenanceWindow {
            schedule,
            duration: self.duration.map(BoundedSeconds::to_duration).unwrap_or_default(),
            targets,
            checks,
        })
    }
}

impl ReportSection {
    /// Returns `None` if the section is invalid.
    pub(super) fn validate(
        &self,
        span: &Range<usize>,
        names: &ConfigNames,
        reader: &mut SectionReader<'_, '_>,
    ) -> Option<ScheduledReport> {
        let channels = names.resolve_channels(self.channels.as_ref(), reader);
        let schedule = match &self.cron {
            Some(cron) => reader.parse_cron(cron),
            // An invalid expression must not be replaced by the default.
            None if reader.problems.has_invalid_key(span, &["cron"]) => None,
            None => Schedule::parse_cron(DEFAULT_REPORT_CRON, &reader.zone).ok(),
        };
        Some(ScheduledReport { schedule: schedule?, channels })
    }
}
