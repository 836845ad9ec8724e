//! `[[custom_check]]`: custom checks in SQL.

use schemars::JsonSchema;
use serde::Deserialize;
use sessionwatch_core::{
    checks::custom::{CustomThreshold, ThresholdOperator, ThresholdParseError},
    severity::Severity,
};
use sessionwatch_targets::{read_session::CustomValue, sql::EXAMPLE_CUSTOM_QUERY};

use super::{
    name_references::{ConfigNames, builtin_check_ids},
    section_reader::{RunInterval, SectionReader},
};
use crate::{
    checks::{self, CheckSettings, CustomCheck},
    config_file::WithSpan,
};

/// Custom check in SQL.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CustomCheckSection {
    /// Check ID: lowercase letters, digits and hyphens.
    #[schemars(extend("x-required" = true), example = &"sessions-of-suspended-users")]
    pub(super) id: Option<WithSpan<String>>,
    /// One SELECT statement; it runs read-only, and only a number leaves the database.
    #[schemars(
        extend("x-required" = true),
        example = &EXAMPLE_CUSTOM_QUERY,
    )]
    sql: Option<String>,
    /// Number to evaluate: the count of rows, or the first column of the first row.
    value: CustomValueName,
    /// Condition under which the check fails: >, >=, <, <=, = or != and a number.
    threshold: WithSpan<String>,
    /// Number of rows at which counting stops.
    #[schemars(range(min = 1, max = 10_000_000))]
    max_rows: u64,
    /// Severity of the alert; selects its alert policy and notification routes.
    severity: Severity,
    /// Time between two runs of the check by `serve`.
    #[schemars(extend("x-otherwise" = "the target's schedule"), example = RunInterval::new(3_600))]
    interval: Option<RunInterval>,
    /// Cron expression for runs of the check, instead of `interval`.
    #[schemars(extend("x-otherwise" = "none"), example = &"0 6 * * mon")]
    cron: Option<WithSpan<String>>,
    /// Recommended action when the check fails.
    #[schemars(extend("x-otherwise" = "none"), example = &"revoke these sessions")]
    action: Option<String>,
    /// Names of the targets on which the check runs.
    #[schemars(extend("x-otherwise" = "all"), example = ["main"])]
    targets: Option<WithSpan<Vec<String>>>,
}

#[derive(Clone, Copy, Debug, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum CustomValueName {
    Rows,
    First,
}

impl Default for CustomCheckSection {
    fn default() -> Self {
        Self {
            id: None,
            sql: None,
            value: CustomValueName::Rows,
            threshold: "> 0".to_owned().into(),
            max_rows: 100_000,
            severity: Severity::Medium,
            interval: None,
            cron: None,
            action: None,
            targets: None,
        }
    }
}

impl CustomCheckSection {
    /// Adds the check to the settings. Invalid values are reported, and replaced by defaults that are never used.
    pub(super) fn validate(
        &self,
        names: &ConfigNames,
        settings: &mut CheckSettings,
        reader: &mut SectionReader<'_, '_>,
    ) {
        let Some(id) = &self.id else { return };
        reader.validate_check_id(id, "suspended-users");
        let is_taken = |other: &str| other == id.as_str();
        let mut reserved = builtin_check_ids().chain([checks::TARGET_UNREACHABLE, checks::CHANNEL_FAILING]);
        if reserved.any(is_taken) || settings.custom_checks.iter().any(|check| is_taken(&check.id)) {
            reader.report_problem(id.span(), format!("duplicate check ID `{}`", **id));
        }
        let threshold = self.threshold.parse();
        if let Err(error @ ThresholdParseError) = &threshold {
            reader.report_problem(self.threshold.span(), error.to_string());
        }
        let targets = names.resolve_targets(self.targets.as_ref(), reader);
        let schedule = reader.parse_schedule(self.interval, self.cron.as_ref());
        let Some(sql) = &self.sql else { return };
        if let Some(schedule) = schedule {
            settings.schedules.insert(id.to_string(), schedule);
        }
        settings.custom_checks.push(CustomCheck {
            id: id.to_string(),
            // The statement is embedded in another one, which a trailing semicolon would terminate.
            sql: sql.trim().trim_end_matches(';').to_owned(),
            value: match self.value {
                CustomValueName::Rows => CustomValue::RowCount,
                CustomValueName::First => CustomValue::FirstNumber,
            },
            threshold: threshold
                .unwrap_or(CustomThreshold { operator: ThresholdOperator::Above, number: 0.0 }),
            max_rows: self.max_rows,
            severity: self.severity,
            action: self.action.clone().unwrap_or_default(),
            targets,
        });
    }
}
