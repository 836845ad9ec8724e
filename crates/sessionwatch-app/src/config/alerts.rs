//! `[alerts.*]`: how alerts of each severity behave.

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;
use sessionwatch_core::{alert::AlertPolicy, severity::Severity};

use crate::{
    checks::CheckSettings,
    config_file::{BoundedSeconds, ZeroOrBoundedSeconds},
};

/// How alerts behave, by the severity of what was found.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AlertPolicySections {
    /// How alerts of critical findings behave.
    critical: Option<AlertPolicySection>,
    /// How alerts of high findings behave.
    high: Option<AlertPolicySection>,
    /// How alerts of medium findings behave.
    medium: Option<AlertPolicySection>,
    /// How alerts of low findings behave.
    low: Option<AlertPolicySection>,
}

/// How alerts behave.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AlertPolicySection {
    /// Failing runs in a row before it is told; one, where runs are further apart than `for`.
    #[schemars(range(min = 1, max = 1_000))]
    failure_threshold: Option<u32>,
    /// Time of failing after which it is told, however few runs there were.
    #[serde(rename = "for")]
    pending_duration: Option<BoundedSeconds<1, 604_800>>,
    /// Healthy runs in a row before it is told as resolved.
    #[schemars(range(min = 1, max = 1_000))]
    success_threshold: Option<u32>,
    /// Time between reminders of an alert that nobody has acknowledged; "0" for no reminders.
    repeat_interval: Option<ZeroOrBoundedSeconds<60, 604_800>>,
}

/// The keys whose default depends on the severity, with that default.
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
    /// Adds what is written to the rules.
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
