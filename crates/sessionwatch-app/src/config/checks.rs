//! `[checks.*]`: a section for each check, with the keys that all have and the thresholds of its own.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sessionwatch_core::{
    checks::{Baseline, TABLE_CHECKS, Thresholds},
    severity::Severity,
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    logs::Logs,
    reading::{Every, Reading},
};
use crate::{
    checks::{self, Limit, LogCheck, LogCheckKind, Rules},
    config_file::{self, Seconds, Written, fields, fields_below, schema_of},
};

/// The keys that every check of the session table has.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct CheckSection {
    /// Whether the check runs.
    #[schemars(extend("default" = true))]
    enabled: Option<bool>,
    /// Its own rhythm in the watch.
    #[schemars(extend("x-otherwise" = "the target's"), example = Every::new(3_600))]
    every: Option<Every>,
    /// Instead of `every`, its own times.
    #[schemars(extend("x-otherwise" = "not used"), example = &"0 6 * * mon")]
    cron: Option<Written<String>>,
    /// How bad a finding is; decides who is told, and how fast.
    severity: Option<Severity>,
}

/// The keys that every check of logs has.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct LogCheckSection {
    /// Whether the check runs.
    #[schemars(extend("default" = true))]
    enabled: Option<bool>,
    /// How bad a finding is; decides who is told, and how fast.
    severity: Option<Severity>,
}

/// The keys of checks that count log events.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct LogLimitSection {
    /// Log events that are tolerated.
    #[schemars(range(max = 1_000_000_000_000_u64))]
    max: Option<u64>,
    /// Time over which they are counted, by when they were read.
    window: Option<Seconds<60, 604_800>>,
}

/// The section of a check, as it is documented.
pub(super) struct CheckReference {
    /// The id of the check.
    pub(super) id: &'static str,
    /// The schema of its section.
    pub(super) schema: Value,
    /// Its keys in their order.
    pub(super) keys: Vec<String>,
}

impl CheckReference {
    fn new(id: &'static str, about: &str, severity: Severity) -> Self {
        let schema = json!({
            "type": "object", "description": about, "properties": {}, "additionalProperties": false,
        });
        let mut reference = Self { id, schema, keys: vec![] };
        reference.schema["properties"]["severity"] = json!({ "default": severity.name() });
        reference
    }

    fn with(mut self, properties: &Value, order: &[&str]) -> Self {
        for key in order {
            let own = self.schema["properties"].get(*key).cloned();
            let mut schema = properties[*key].clone();
            if let Some(default) = own.as_ref().and_then(|own| own.get("default")) {
                schema["default"] = default.clone();
            }
            self.schema["properties"][*key] = schema;
            self.keys.push((*key).to_owned());
        }
        self
    }

    fn with_default(mut self, key: &str, default: Value) -> Self {
        self.schema["properties"][key] = json!({ "default": default });
        self
    }
}

/// The section of every check, in the order of output.
pub(super) fn references() -> Vec<CheckReference> {
    let common = schema_of::<CheckSection>();
    let thresholds = schema_of::<Thresholds>();
    let of_table = TABLE_CHECKS.iter().map(|check| {
        let reference = CheckReference::new(check.id, check.summary, check.severity)
            .with(&common["properties"], fields::<CheckSection>());
        let own = &thresholds["properties"][check.id]["properties"];
        reference.with(own, fields_below::<Thresholds>(check.id))
    });
    of_table.chain(checks::LOG_CHECKS.iter().map(of_log_check)).collect()
}

fn of_log_check(check: &LogCheck) -> CheckReference {
    let common = schema_of::<LogCheckSection>();
    let reference = CheckReference::new(check.id, check.summary, check.severity)
        .with(&common["properties"], fields::<LogCheckSection>());
    if check.finds == LogCheckKind::Silence {
        return reference;
    }
    let window = Seconds::<60, 604_800>::new(check.limit.window.unsigned_abs().as_secs());
    reference
        .with_default("max", check.limit.max.into())
        .with_default("window", serde_json::to_value(window).unwrap_or_default())
        .with(&schema_of::<LogLimitSection>()["properties"], fields::<LogLimitSection>())
}

/// The schema of all sections together.
pub(super) fn schema() -> Value {
    let sections = references().into_iter().map(|reference| (reference.id.to_owned(), reference.schema));
    let sections: Map<String, Value> = sections.collect();
    json!({
        "type": "object", "description": "A section for each check, by its id", "properties": sections,
        "additionalProperties": false,
    })
}

/// Adds what is written to the rules, and what is about logs to those.
pub(super) fn validate(
    sections: Spanned<DeTable<'_>>,
    rules: &mut Rules,
    logs: &mut Logs,
    reading: &mut Reading<'_, '_>,
) {
    let span = sections.span();
    let mut thresholds = DeTable::new();
    for (key, value) in sections.into_inner() {
        let span = value.span();
        let DeValue::Table(table) = value.into_inner() else { continue };
        let section = Spanned::new(span.clone(), table);
        if let Some(check) = TABLE_CHECKS.iter().find(|check| check.id == key.get_ref()) {
            let own = config_file::without::<CheckSection>(&section).into_inner();
            report_empty_baseline(&own, &span, reading);
            thresholds.insert(key, Spanned::new(span, DeValue::Table(own)));
            table_check(check.id, &section, rules, reading);
        } else if let Some(check) = checks::LOG_CHECKS.iter().find(|check| check.id == key.get_ref()) {
            log_check(check, &section, rules, logs, reading);
        }
    }
    if let Some(thresholds) = config_file::read(Spanned::new(span, thresholds), &mut reading.problems) {
        rules.thresholds = thresholds;
    }
}

fn table_check(
    id: &'static str,
    section: &Spanned<DeTable<'_>>,
    rules: &mut Rules,
    reading: &mut Reading<'_, '_>,
) {
    let part = config_file::part::<CheckSection>(section);
    let Some(section) = config_file::read::<CheckSection>(part, &mut reading.problems) else { return };
    set(id, section.enabled, section.severity, rules);
    if let Some(schedule) = reading.schedule(section.every, section.cron.as_ref()) {
        rules.schedules.insert(id.to_owned(), schedule);
    }
}

fn log_check(
    check: &LogCheck,
    section: &Spanned<DeTable<'_>>,
    rules: &mut Rules,
    logs: &mut Logs,
    reading: &mut Reading<'_, '_>,
) {
    let part = config_file::part::<LogCheckSection>(section);
    if let Some(section) = config_file::read::<LogCheckSection>(part, &mut reading.problems) {
        set(check.id, section.enabled, section.severity, rules);
    }
    let part = config_file::part::<LogLimitSection>(section);
    if let Some(section) = config_file::read::<LogLimitSection>(part, &mut reading.problems) {
        let limit = Limit {
            max: section.max.unwrap_or(check.limit.max),
            window: section.window.map_or(check.limit.window, Seconds::duration),
        };
        logs.limits.insert(check.id, limit);
    }
}

fn set(id: &'static str, enabled: Option<bool>, severity: Option<Severity>, rules: &mut Rules) {
    if enabled == Some(false) {
        rules.disabled.insert(id);
    }
    rules.severities.extend(severity.map(|severity| (id, severity)));
}

/// Reports a range in which no number is.
fn report_empty_baseline(
    section: &DeTable<'_>,
    span: &std::ops::Range<usize>,
    reading: &mut Reading<'_, '_>,
) {
    let own = Spanned::new(span.clone(), section.clone());
    let part = config_file::part::<Baseline>(&own);
    if !(part.get_ref().contains_key("min") && part.get_ref().contains_key("max")) {
        return;
    }
    if let Some(Baseline { min: Some(min), max: Some(max) }) = config_file::read(part, &mut reading.problems)
        && min > max
    {
        reading.report(span.clone(), format!("min ({min}) is above max ({max})"));
    }
}
