//! Configured checks: those of `sessionwatch-core` on sessions, those of `sessionwatch-logs` on log events, and custom
//! checks.

use std::collections::{BTreeMap, BTreeSet};

use sessionwatch_core::{
    alert::AlertPolicy,
    checks::{self, CheckThresholds, custom::CustomThreshold},
    severity::Severity,
};
use sessionwatch_targets::read_session::CustomValue;

pub use sessionwatch_core::checks::{
    CHANNEL_FAILING, Check, EvidenceKind, TABLE_CHECKS, TARGET_UNREACHABLE, TimeBasis,
};
pub use sessionwatch_logs::checks::{LOG_CHECKS, LogCheck, LogCheckKind, LogCheckLimit};

use crate::schedule::Schedule;

/// Settings of all checks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CheckSettings {
    /// Thresholds.
    pub thresholds: CheckThresholds,
    /// Ids of checks that do not run.
    pub disabled: BTreeSet<&'static str>,
    /// Severities that differ from the default.
    pub severities: BTreeMap<&'static str, Severity>,
    /// Alert policies that differ from the default, by severity.
    pub alert_policies: BTreeMap<Severity, AlertPolicy>,
    /// Schedules that differ from the target's, by check id.
    pub schedules: BTreeMap<String, Schedule>,
    /// Custom checks.
    pub custom_checks: Vec<CustomCheck>,
}

/// Custom check in SQL.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomCheck {
    /// Id.
    pub id: String,
    /// Single `SELECT` statement.
    pub sql: String,
    /// Value that is compared with the threshold.
    pub value: CustomValue,
    /// Threshold at which the check fails.
    pub threshold: CustomThreshold,
    /// Maximum number of rows read.
    pub max_rows: u64,
    /// Severity.
    pub severity: Severity,
    /// Action for a failing check; may be empty.
    pub action: String,
    /// Names of the targets; empty for all.
    pub targets: Vec<String>,
}

impl CheckSettings {
    /// Returns whether a check is enabled.
    #[must_use]
    pub fn is_enabled(&self, id: &str) -> bool {
        !self.disabled.contains(id)
    }

    /// Returns the alert policy of a severity.
    #[must_use]
    pub fn alert_policy(&self, severity: Severity) -> AlertPolicy {
        self.alert_policies.get(&severity).copied().unwrap_or(AlertPolicy::for_severity(severity))
    }

    /// Returns the severity of a log check.
    #[must_use]
    pub fn log_check_severity(&self, check: &LogCheck) -> Severity {
        self.severities.get(check.id).copied().unwrap_or(check.severity)
    }

    /// Returns the severity of a check on sessions.
    #[must_use]
    pub fn table_check_severity(&self, check: &Check) -> Severity {
        self.severities.get(check.id).copied().unwrap_or(check.severity)
    }

    /// Returns the ids of all checks on the session table, custom checks last.
    pub fn table_check_ids(&self) -> impl Iterator<Item = &str> {
        TABLE_CHECKS
            .iter()
            .map(|check| check.id)
            .chain(self.custom_checks.iter().map(|custom| custom.id.as_str()))
    }
}

/// A check in words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckText {
    /// The problem as a noun phrase.
    pub title: String,
    /// One sentence that says what the problem means; empty for custom checks.
    pub impact: &'static str,
}

/// Returns the title and the impact of a check or alert. A custom check is titled by its id.
#[must_use]
pub fn describe_check(id: &str) -> CheckText {
    let [title, impact] = match id {
        TARGET_UNREACHABLE => {
            ["Unreachable target", "Session problems go undetected until the database is reachable again."]
        }
        CHANNEL_FAILING => {
            ["Undelivered notifications", "Nobody is notified of problems through this channel."]
        }
        _ => {
            let table =
                TABLE_CHECKS.iter().find(|check| check.id == id).map(|check| [check.title, check.impact]);
            let log =
                || LOG_CHECKS.iter().find(|check| check.id == id).map(|check| [check.title, check.impact]);
            table.or_else(log).unwrap_or(["", ""])
        }
    };
    let title = if title.is_empty() { id.to_owned() } else { title.to_owned() };
    CheckText { title, impact }
}

/// Returns the documentation of a check in Markdown; `None` for custom checks.
#[must_use]
pub fn find_documentation(id: &str) -> Option<&'static str> {
    checks::find_documentation(id).or_else(|| sessionwatch_logs::checks::find_documentation(id))
}
