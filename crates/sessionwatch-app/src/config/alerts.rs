//! `[alerts.*]`: how alerts of each severity behave.

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;
use sessionwatch_core::{alert::AlertPolicy, severity::Severity};

use crate::{checks::Rules, config_file::Seconds};

/// How alerts behave, by the severity of what was found.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AlertsSections {
    /// How alerts of critical findings behave.
    critical: Option<AlertsSection>,
    /// How alerts of high findings behave.
    high: Option<AlertsSection>,
    /// How alerts of medium findings behave.
    medium: Option<AlertsSection>,
    /// How alerts of low findings behave.
    low: Option<AlertsSection>,
}

/// How alerts behave.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AlertsSection {
    /// Failing runs in a row before it is told; one, where runs are further apart than pending_for.
    #[schemars(range(min = 1, max = 1_000))]
    pending_looks: Option<u32>,
    /// Time of failing after which it is told, however few runs there were.
    pending_for: Option<Seconds<1, 604_800>>,
    /// Healthy runs in a row before it is told as resolved.
    #[schemars(range(min = 1, max = 1_000))]
    clear_looks: Option<u32>,
    /// Whether it is told again while nobody looks after it.
    #[schemars(extend("default" = true))]
    repeat: Option<bool>,
    /// Time after which it is told again.
    repeat_after: Option<Seconds<60, 604_800>>,
}

/// The keys whose default depends on the severity, with that default.
pub(super) fn defaults(severity: Severity) -> [(&'static str, serde_json::Value); 4] {
    let policy = AlertPolicy::of(severity);
    let seconds = |length: SignedDuration| {
        let seconds = Seconds::<0, { u64::MAX }>::new(u64::try_from(length.as_secs()).unwrap_or(0));
        serde_json::to_value(seconds).unwrap_or_default()
    };
    [
        ("pending_looks", policy.pending_looks.into()),
        ("pending_for", seconds(policy.pending_for)),
        ("clear_looks", policy.clear_looks.into()),
        ("repeat_after", seconds(policy.repeat_after.unwrap_or_default())),
    ]
}

impl AlertsSections {
    /// Adds what is written to the rules.
    pub(super) fn validate(&self, rules: &mut Rules) {
        let sections = [
            (Severity::Critical, &self.critical),
            (Severity::High, &self.high),
            (Severity::Medium, &self.medium),
            (Severity::Low, &self.low),
        ];
        for (severity, section) in sections {
            if let Some(section) = section {
                rules.policies.insert(severity, section.policy(AlertPolicy::of(severity)));
            }
        }
    }
}

impl AlertsSection {
    fn policy(&self, usual: AlertPolicy) -> AlertPolicy {
        let repeat_after = self.repeat_after.map(Seconds::duration).or(usual.repeat_after);
        AlertPolicy {
            pending_looks: self.pending_looks.unwrap_or(usual.pending_looks),
            pending_for: self.pending_for.map_or(usual.pending_for, Seconds::duration),
            clear_looks: self.clear_looks.unwrap_or(usual.clear_looks),
            repeat_after: repeat_after.filter(|_| self.repeat != Some(false)),
        }
    }
}
