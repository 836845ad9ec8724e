//! `[alerts.*]`: alert policies by severity.

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;
use sessionwatch_core::{alert::AlertPolicy, severity::Severity};

use crate::{checks::CheckSettings, config_file::BoundedSeconds};

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
    pending_looks: Option<u32>,
    /// Time of continuous failure after which the alert fires, regardless of the number of runs.
    pending_for: Option<BoundedSeconds<1, 604_800>>,
    /// Consecutive passing runs before the alert is resolved.
    #[schemars(range(min = 1, max = 1_000))]
    clear_looks: Option<u32>,
    /// Send reminders while the alert is unacknowledged.
    #[schemars(extend("default" = true))]
    repeat: Option<bool>,
    /// Time between two reminders while the alert is unacknowledged.
    repeat_after: Option<BoundedSeconds<60, 604_800>>,
}

/// Returns the keys whose default depends on the severity, with that default.
pub(super) fn default_policy_values(severity: Severity) -> [(&'static str, serde_json::Value); 4] {
    let policy = AlertPolicy::for_severity(severity);
    let seconds = |length: SignedDuration| {
        let seconds = BoundedSeconds::<0, { u64::MAX }>::new(u64::try_from(length.as_secs()).unwrap_or(0));
        serde_json::to_value(seconds).unwrap_or_default()
    };
    [
        ("pending_looks", policy.failure_threshold.into()),
        ("pending_for", seconds(policy.pending_duration)),
        ("clear_looks", policy.success_threshold.into()),
        ("repeat_after", seconds(policy.repeat_interval.unwrap_or_default())),
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
        let repeat_after = self.repeat_after.map(BoundedSeconds::to_duration).or(defaults.repeat_interval);
        AlertPolicy {
            failure_threshold: self.pending_looks.unwrap_or(defaults.failure_threshold),
            pending_duration: self.pending_for.map_or(defaults.pending_duration, BoundedSeconds::to_duration),
            success_threshold: self.clear_looks.unwrap_or(defaults.success_threshold),
            repeat_interval: repeat_after.filter(|_| self.repeat != Some(false)),
        }
    }
}
