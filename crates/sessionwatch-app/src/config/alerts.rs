//! `[alerts.*]`: alert policies by severity.

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;
use sessionwatch_core::{alert::AlertPolicy, severity::Severity};

use crate::{
    checks::CheckSettings,
    config_file::{BoundedSeconds, ZeroOrBoundedSeconds},
};

/// Alert policies by severity.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AlertPolicySections {
    /// Alert policy of checks with critical severity.
    critical: Option<AlertPolicySection>,
    /// Alert policy of checks with high severity.
    high: Option<AlertPolicySection>,
    /// Alert policy of checks with medium severity.
    medium: Option<AlertPolicySection>,
    /// Alert policy of checks with low severity.
    low: Option<AlertPolicySection>,
}

/// Alert policy.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AlertPolicySection {
    /// Consecutive failing runs before the alert fires; one is enough if runs are further apart than `for`.
    #[schemars(range(min = 1, max = 1_000))]
    failure_threshold: Option<u32>,
    /// Time of continuous failure after which the alert fires, regardless of the number of runs.
    #[serde(rename = "for")]
    pending_duration: Option<BoundedSeconds<1, 604_800>>,
    /// Consecutive passing runs before the alert is resolved.
    #[schemars(range(min = 1, max = 1_000))]
    success_threshold: Option<u32>,
    /// Time between reminders while the alert is unacknowledged; "0" turns reminders off.
    repeat_interval: Option<ZeroOrBoundedSeconds<60, 604_800>>,
}

/// Returns the keys whose default depends on the severity, with that default.
pub(super) fn default_policy_values(severity: Severity) -> [(&'static str, serde_json::Value); 4] {
    let policy = AlertPolicy::for_severity(severity);
    let seconds = |length: SignedDuration| {
        let seconds = BoundedSeconds::<0, { u64::MAX }>::new(u64::try_from(length.as_secs()).unwrap_or(0));
        serde_json::to_value(seconds).unwrap_or_default()
    };
    [
        ("failure_threshold", policy.failure_threshold.into()),
        ("for", seconds(policy.pending_duration)),
        ("success_threshold", policy.success_threshold.into()),
        ("repeat_interval", seconds(policy.repeat_interval.unwrap_or_default())),
    ]
}

impl AlertPolicySections {
    /// Applies the sections to the alert policies.
    pub(super) fn validate(&self, settings: &mut CheckSettings) {
        let sections = [
            (Severity::Critical, &self.critical),
            (Severity::High, &self.high),
            (Severity::Medium, &self.medium),
            (Severity::Low, &self.low),
        ];
        for (severity, section) in sections {
            if let Some(section) = section {
                settings
                    .alert_policies
                    .insert(severity, section.to_policy(AlertPolicy::for_severity(severity)));
            }
        }
    }
}

impl AlertPolicySection {
    fn to_policy(&self, defaults: AlertPolicy) -> AlertPolicy {
        AlertPolicy {
            failure_threshold: self.failure_threshold.unwrap_or(defaults.failure_threshold),
            pending_duration: self
                .pending_duration
                .map_or(defaults.pending_duration, BoundedSeconds::to_duration),
            success_threshold: self.success_threshold.unwrap_or(defaults.success_threshold),
            repeat_interval: self
                .repeat_interval
                .map_or(defaults.repeat_interval, ZeroOrBoundedSeconds::to_duration),
        }
    }
}
