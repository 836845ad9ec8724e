//! `[[check]]`: checks of the operator's own, in SQL.

use schemars::JsonSchema;
use serde::Deserialize;
use sessionwatch_core::{
    checks::custom::{Comparison, NotAThreshold, Threshold},
    severity::Severity,
};
use sessionwatch_targets::{read_session::CustomValue, sql::EXAMPLE_CUSTOM_QUERY};

use super::{
    names::{Names, builtin_checks},
    reading::{Every, Reading},
};
use crate::{
    checks::{Custom, Rules},
    config_file::Written,
};

/// A check of your own, in SQL.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CustomCheckSection {
    /// Its id: small letters, digits and hyphens.
    #[schemars(extend("x-required" = true), example = &"sessions-of-suspended-users")]
    pub(super) id: Option<Written<String>>,
    /// One SELECT; it runs read-only, and only a number comes back.
    #[schemars(
        extend("x-required" = true),
        example = &EXAMPLE_CUSTOM_QUERY,
    )]
    sql: Option<String>,
    /// The number that is judged: how many rows there are, or the first column of the first row.
    value: ValueName,
    /// Fails at: >, >=, <, <=, = or != and a number.
    threshold: Written<String>,
    /// Rows at which counting stops.
    #[schemars(range(min = 1, max = 10_000_000))]
    max_rows: u64,
    /// How bad a finding is; decides who is told, and how fast.
    severity: Severity,
    /// Its own rhythm in the watch.
    #[schemars(extend("x-otherwise" = "the target's"), example = Every::new(3_600))]
    every: Option<Every>,
    /// Instead of `every`, its own times.
    #[schemars(extend("x-otherwise" = "not used"), example = &"0 6 * * mon")]
    cron: Option<Written<String>>,
    /// What to do when it fails.
    #[schemars(extend("x-otherwise" = "none"), example = &"end these sessions")]
    action: Option<String>,
    /// Names of the targets that it looks at.
    #[schemars(extend("x-otherwise" = "all"), example = ["main"])]
    targets: Option<Written<Vec<String>>>,
}

/// The number that is judged, as it is written.
#[derive(Clone, Copy, Debug, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum ValueName {
    Rows,
    First,
}

impl Default for CustomCheckSection {
    fn default() -> Self {
        Self {
            id: None,
            sql: None,
            value: ValueName::Rows,
            threshold: "> 0".to_owned().into(),
            max_rows: 100_000,
            severity: Severity::Medium,
            every: None,
            cron: None,
            action: None,
            targets: None,
        }
    }
}

impl CustomCheckSection {
    /// Adds the check to the rules, unless it is wrong.
    pub(super) fn validate(&self, names: &Names, rules: &mut Rules, reading: &mut Reading<'_, '_>) {
        let Some(id) = &self.id else { return };
        reading.check_id(id, "suspended-users");
        let is_taken = |other: &str| other == id.as_str();
        if builtin_checks().any(is_taken) || rules.custom.iter().any(|check| is_taken(&check.id)) {
            reading.report(id.span(), "another check has that id");
        }
        let threshold = self.threshold.parse();
        if let Err(error @ NotAThreshold) = &threshold {
            reading.report(self.threshold.span(), error.to_string());
        }
        let targets = names.targets(self.targets.as_ref(), reading);
        let schedule = reading.schedule(self.every, self.cron.as_ref());
        let Some(sql) = &self.sql else { return };
        if let Some(schedule) = schedule {
            rules.schedules.insert(id.to_string(), schedule);
        }
        rules.custom.push(Custom {
            id: id.to_string(),
            // One statement, which stands inside another: a semicolon at its end would end that.
            sql: sql.trim().trim_end_matches(';').to_owned(),
            value: match self.value {
                ValueName::Rows => CustomValue::Rows,
                ValueName::First => CustomValue::First,
            },
            threshold: threshold.unwrap_or(Threshold { comparison: Comparison::Above, number: 0.0 }),
            max_rows: self.max_rows,
            severity: self.severity,
            action: self.action.clone().unwrap_or_default(),
            targets,
        });
    }
}
