//! `[[route]]`, `[[maintenance]]` and `[report]`: who is told of what, and when.

use std::ops::Range;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;
use sessionwatch_core::severity::Severity;

use super::{names::Names, reading::Reading};
use crate::{
    config_file::{Seconds, Written},
    schedule::Schedule,
};

/// When the checklist is sent, unless it is written.
const WEEKLY: &str = "0 7 * * mon";

/// Who is told of what; without one, every channel is told of everything.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RouteSection {
    /// Names of the channels that are told.
    #[schemars(extend("x-required" = true), example = ["chat"])]
    channels: Option<Written<Vec<String>>>,
    /// The mildest findings that are told.
    severity: Severity,
    /// Names of the targets that it is about.
    #[schemars(extend("x-otherwise" = "all"), example = ["main"])]
    targets: Option<Written<Vec<String>>>,
    /// Ids of the checks that it is about.
    #[schemars(extend("x-otherwise" = "all"), example = ["duplicate-tokens"])]
    checks: Option<Written<Vec<String>>>,
}

impl Default for RouteSection {
    fn default() -> Self {
        Self { channels: None, severity: Severity::Low, targets: None, checks: None }
    }
}

/// Times at which nothing is told; what still fails afterwards is told then.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct MaintenanceSection {
    /// When it begins: minute, hour, day of month, month, day of week, in the time zone of [serve].
    #[schemars(extend("x-required" = true), example = &"0 2 * * sun")]
    cron: Option<Written<String>>,
    /// How long it lasts.
    #[schemars(extend("x-required" = true), example = &"2h")]
    lasts: Option<Seconds<60, 604_800>>,
    /// Names of the targets that it is about.
    #[schemars(extend("x-otherwise" = "all"), example = ["main"])]
    targets: Option<Written<Vec<String>>>,
    /// Ids of the checks that it is about.
    #[schemars(extend("x-otherwise" = "all"), example = ["blind"])]
    checks: Option<Written<Vec<String>>>,
}

/// The checklist, sent by itself.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ReportSection {
    /// When: minute, hour, day of month, month, day of week, in the time zone of [serve].
    #[schemars(extend("default" = WEEKLY))]
    cron: Option<Written<String>>,
    /// Names of the channels that get it.
    #[schemars(extend("x-required" = true), example = ["chat"])]
    channels: Option<Written<Vec<String>>>,
}

/// Who is told of what.
#[derive(Clone, Debug)]
pub struct Route {
    /// Names of channels.
    pub channels: Vec<String>,
    /// The mildest findings.
    pub severity: Severity,
    /// Names of targets; empty for all.
    pub targets: Vec<String>,
    /// Ids of checks; empty for all.
    pub checks: Vec<String>,
}

/// Times at which nothing is told.
#[derive(Clone, Debug)]
pub struct Maintenance {
    /// When it begins.
    pub begins: Schedule,
    /// How long it lasts.
    pub lasts: SignedDuration,
    /// Names of targets; empty for all.
    pub targets: Vec<String>,
    /// Ids of checks; empty for all.
    pub checks: Vec<String>,
}

/// The checklist that is sent by itself.
#[derive(Clone, Debug)]
pub struct WeeklyReport {
    /// When.
    pub due: Schedule,
    /// Names of channels.
    pub channels: Vec<String>,
}

impl RouteSection {
    pub(super) fn validate(&self, names: &Names, reading: &mut Reading<'_, '_>) -> Route {
        Route {
            channels: names.channels(self.channels.as_ref(), reading),
            severity: self.severity,
            targets: names.targets(self.targets.as_ref(), reading),
            checks: names.checks(self.checks.as_ref(), reading),
        }
    }
}

impl MaintenanceSection {
    /// The section as used; nothing if it is wrong.
    pub(super) fn validate(&self, names: &Names, reading: &mut Reading<'_, '_>) -> Option<Maintenance> {
        let targets = names.targets(self.targets.as_ref(), reading);
        let checks = names.checks(self.checks.as_ref(), reading);
        let begins = reading.cron(self.cron.as_ref()?)?;
        Some(Maintenance {
            begins,
            lasts: self.lasts.map(Seconds::duration).unwrap_or_default(),
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
        names: &Names,
        reading: &mut Reading<'_, '_>,
    ) -> Option<WeeklyReport> {
        let channels = names.channels(self.channels.as_ref(), reading);
        let due = match &self.cron {
            Some(cron) => reading.cron(cron),
            None if reading.problems.was_refused(span, &["cron"]) => None,
            None => Schedule::cron(WEEKLY, &reading.zone).ok(),
        };
        Some(WeeklyReport { due: due?, channels })
    }
}
