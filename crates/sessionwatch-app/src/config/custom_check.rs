//! `[[custom_check]]`: checks of the operator's own, in SQL.

use schemars::JsonSchema;
use serde::Deserialize;
use sessionwatch_core::{
    checks::custom::{CustomThreshold, ThresholdOperator, ThresholdParseError},
    severity::Severity,
};
use sessionwatch_targets::{read_session::CustomValue, sql::EXAMPLE_CUSTOM_QUERY};

use super::{
    names::{ConfigNames, builtin_check_ids},
    section_reader::{RunInterval, SectionReader},
};
use crate::{
    checks::{CheckSettings, CustomCheck},
    config_file::WithSpan,
};

/// A check of your own, in SQL.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CustomCheckSection {
    /// Its id: small letters, digits and hyphens.
    #[schemars(extend("x-required" = true), example = &"sessions-of-suspended-users")]
    pub(super) id: Option<WithSpan<String>>,
    /// One SELECT; it runs read-only, and only a number comes back.
    #[schemars(
        extend("x-required" = true),
        example = &EXAMPLE_CUSTOM_QUERY,
    )]
    sql: Option<String>,
    /// The number that is judged: how many rows there are, or the first column of the first row.
    value: CustomValueName,
    /// Fails at: >, >=, <, <=, = or != and a number.
    threshold: WithSpan<String>,
    /// Rows at which counting stops.
    #[schemars(range(min = 1, max = 10_000_000))]
    max_rows: u64,
    /// How bad a finding is; decides who is told, and how fast.
    severity: Severity,
    /// Its own rhythm in the watch.
    #[schemars(extend("x-otherwise" = "the target's"), example = RunInterval::new(3_600))]
    interval: Option<RunInterval>,
    /// Instead of `interval`, its own times.
    #[schemars(extend("x-otherwise" = "not used"), example = &"0 6 * * mon")]
    cron: Option<WithSpan<String>>,
    /// What to do when it fails.
    #[schemars(extend("x-otherwise" = "none"), example = &"end these sessions")]
    action: Option<String>,
    /// Names of the targets that it looks at.
    #[schemars(extend("x-otherwise" = "all"), example = ["main"])]
    targets: Option<WithSpan<Vec<String>>>,
}

/// The number that is judged, as it is written.
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
    /// Adds the check to the rules, unless it is wrong.
    pub(super) fn validate(
        &self,
        names: &ConfigNames,
        settings: &mut CheckSettings,
        reader: &mut SectionReader<'_, '_>,
    ) {
        let Some(id) = &self.id else { return };
        reader.validate_check_id(id, "suspended-users");
        let is_taken = |other: &str| other == id.as_str();
        if builtin_check_ids().any(is_taken) || settings.custom_checks.iter().any(|check| is_taken(&check.id))
        {
            reader.report_problem(id.span(), "another check has that id");
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
            // One statement, which stands inside another: a semicolon at its end would end that.
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
