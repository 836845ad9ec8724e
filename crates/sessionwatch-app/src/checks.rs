//! Which checks run, as configured: those of `sessionwatch-core` on sessions, those of `sessionwatch-logs` on what logs say,
//! and the operator's own.

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

/// Which checks run, with which thresholds and severities.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CheckSettings {
    /// Thresholds.
    pub thresholds: CheckThresholds,
    /// Ids of checks that do not run.
    pub disabled: BTreeSet<&'static str>,
    /// Severities other than the usual ones.
    pub severities: BTreeMap<&'static str, Severity>,
    /// How alerts behave, where it is not as usual, by severity.
    pub alert_policies: BTreeMap<Severity, AlertPolicy>,
    /// Schedules of checks that have one of their own, by id.
    pub schedules: BTreeMap<String, Schedule>,
    /// The operator's own checks.
    pub custom_checks: Vec<CustomCheck>,
}

/// A check in the operator's own SQL.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomCheck {
    /// Its id.
    pub id: String,
    /// One `SELECT`.
    pub sql: String,
    /// The number that is judged.
    pub value: CustomValue,
    /// What it fails at.
    pub threshold: CustomThreshold,
    /// Rows at which counting stops.
    pub max_rows: u64,
    /// Its severity.
    pub severity: Severity,
    /// What to do when it fails; may be empty.
    pub action: String,
    /// Names of the targets that it looks at; empty for all.
    pub targets: Vec<String>,
}

impl CheckSettings {
    /// Whether the check of that id runs.
    #[must_use]
    pub fn is_enabled(&self, id: &str) -> bool {
        !self.disabled.contains(id)
    }

    /// How alerts of that severity behave.
    #[must_use]
    pub fn alert_policy(&self, severity: Severity) -> AlertPolicy {
        self.alert_policies.get(&severity).copied().unwrap_or(AlertPolicy::for_severity(severity))
    }

    /// The severity of a check of logs.
    #[must_use]
    pub fn log_check_severity(&self, check: &LogCheck) -> Severity {
        self.severities.get(check.id).copied().unwrap_or(check.severity)
    }

    /// The severity of a check.
    #[must_use]
    pub fn table_check_severity(&self, check: &Check) -> Severity {
        self.severities.get(check.id).copied().unwrap_or(check.severity)
    }

    /// The ids of all checks, those of the operator last.
    pub fn check_ids(&self) -> impl Iterator<Item = &str> {
        TABLE_CHECKS
            .iter()
            .map(|check| check.id)
            .chain(self.custom_checks.iter().map(|custom| custom.id.as_str()))
    }
}

/// The page about a check, in Markdown; nothing about checks of the operator's own.
#[must_use]
pub fn find_documentation(id: &str) -> Option<&'static str> {
    checks::find_documentation(id).or_else(|| sessionwatch_logs::checks::find_documentation(id))
}
