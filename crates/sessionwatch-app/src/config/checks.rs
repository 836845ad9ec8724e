//! `[checks.*]`: a section for each check, with the keys that all have and the thresholds of its own.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sessionwatch_core::{
    checks::{Baseline, CheckThresholds, TABLE_CHECKS},
    severity::Severity,
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    logs::LogsConfig,
    section_reader::{RunInterval, SectionReader},
};
use crate::{
    checks::{self, CheckSettings, LogCheck, LogCheckKind, LogCheckLimit},
    config_file::{self, BoundedSeconds, WithSpan, field_names, nested_field_names, schema_for},
};

/// The keys that every check of the session table has.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct CheckSection {
    /// Whether the check runs.
    #[schemars(extend("default" = true))]
    enabled: Option<bool>,
    /// Its own rhythm in the watch.
    #[schemars(extend("x-otherwise" = "the target's"), example = RunInterval::new(3_600))]
    interval: Option<RunInterval>,
    /// Instead of `interval`, its own times.
    #[schemars(extend("x-otherwise" = "not used"), example = &"0 6 * * mon")]
    cron: Option<WithSpan<String>>,
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
    window: Option<BoundedSeconds<60, 604_800>>,
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

    fn with_properties(mut self, properties: &Value, order: &[&str]) -> Self {
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
pub(super) fn check_references() -> Vec<CheckReference> {
    let common = schema_for::<CheckSection>();
    let thresholds = schema_for::<CheckThresholds>();
    let of_table = TABLE_CHECKS.iter().map(|check| {
        let reference = CheckReference::new(check.id, check.summary, check.severity)
            .with_properties(&common["properties"], field_names::<CheckSection>());
        let own = &thresholds["properties"][check.id]["properties"];
        reference.with_properties(own, nested_field_names::<CheckThresholds>(check.id))
    });
    of_table.chain(checks::LOG_CHECKS.iter().map(log_check_reference)).collect()
}

fn log_check_reference(check: &LogCheck) -> CheckReference {
    let common = schema_for::<LogCheckSection>();
    let reference = CheckReference::new(check.id, check.summary, check.severity)
        .with_properties(&common["properties"], field_names::<LogCheckSection>());
    if check.kind == LogCheckKind::IdleSource {
        return reference;
    }
    let window = BoundedSeconds::<60, 604_800>::new(check.limit.window.unsigned_abs().as_secs());
    reference
        .with_default("max", check.limit.max.into())
        .with_default("window", serde_json::to_value(window).unwrap_or_default())
        .with_properties(&schema_for::<LogLimitSection>()["properties"], field_names::<LogLimitSection>())
}

/// The schema of all sections together.
pub(super) fn checks_schema() -> Value {
    let sections =
        check_references().into_iter().map(|reference| (reference.id.to_owned(), reference.schema));
    let sections: Map<String, Value> = sections.collect();
    json!({
        "type": "object", "description": "A section for each check, by its id", "properties": sections,
        "additionalProperties": false,
    })
}

/// Adds what is written to the rules, and what is about logs to those.
pub(super) fn validate_checks(
    sections: Spanned<DeTable<'_>>,
    settings: &mut CheckSettings,
    logs: &mut LogsConfig,
    reader: &mut SectionReader<'_, '_>,
) {
    let span = sections.span();
    let mut thresholds = DeTable::new();
    for (key, value) in sections.into_inner() {
        let span = value.span();
        let DeValue::Table(table) = value.into_inner() else { continue };
        let section = Spanned::new(span.clone(), table);
        if let Some(check) = TABLE_CHECKS.iter().find(|check| check.id == key.get_ref()) {
            let own = config_file::exclude_fields::<CheckSection>(&section).into_inner();
            report_empty_baseline(&own, &span, reader);
            thresholds.insert(key, Spanned::new(span, DeValue::Table(own)));
            validate_table_check(check.id, &section, settings, reader);
        } else if let Some(check) = checks::LOG_CHECKS.iter().find(|check| check.id == key.get_ref()) {
            validate_log_check(check, &section, settings, logs, reader);
        }
    }
    if let Some(thresholds) = config_file::read_table(Spanned::new(span, thresholds), &mut reader.problems) {
        settings.thresholds = thresholds;
    }
}

fn validate_table_check(
    id: &'static str,
    section: &Spanned<DeTable<'_>>,
    settings: &mut CheckSettings,
    reader: &mut SectionReader<'_, '_>,
) {
    let part = config_file::select_fields::<CheckSection>(section);
    let Some(section) = config_file::read_table::<CheckSection>(part, &mut reader.problems) else { return };
    apply_common_keys(id, section.enabled, section.severity, settings);
    if let Some(schedule) = reader.parse_schedule(section.interval, section.cron.as_ref()) {
        settings.schedules.insert(id.to_owned(), schedule);
    }
}

fn validate_log_check(
    check: &LogCheck,
    section: &Spanned<DeTable<'_>>,
    settings: &mut CheckSettings,
    logs: &mut LogsConfig,
    reader: &mut SectionReader<'_, '_>,
) {
    let part = config_file::select_fields::<LogCheckSection>(section);
    if let Some(section) = config_file::read_table::<LogCheckSection>(part, &mut reader.problems) {
        apply_common_keys(check.id, section.enabled, section.severity, settings);
    }
    let part = config_file::select_fields::<LogLimitSection>(section);
    if let Some(section) = config_file::read_table::<LogLimitSection>(part, &mut reader.problems) {
        let limit = LogCheckLimit {
            max: section.max.unwrap_or(check.limit.max),
            window: section.window.map_or(check.limit.window, BoundedSeconds::to_duration),
        };
        logs.check_limits.insert(check.id, limit);
    }
}

fn apply_common_keys(
    id: &'static str,
    enabled: Option<bool>,
    severity: Option<Severity>,
    settings: &mut CheckSettings,
) {
    if enabled == Some(false) {
        settings.disabled.insert(id);
    }
    settings.severities.extend(severity.map(|severity| (id, severity)));
}

/// Reports a range in which no number is.
fn report_empty_baseline(
    section: &DeTable<'_>,
    span: &std::ops::Range<usize>,
    reader: &mut SectionReader<'_, '_>,
) {
    let own = Spanned::new(span.clone(), section.clone());
    let part = config_file::select_fields::<Baseline>(&own);
    if !(part.get_ref().contains_key("min") && part.get_ref().contains_key("max")) {
        return;
    }
    if let Some(Baseline { min: Some(min), max: Some(max) }) =
        config_file::read_table(part, &mut reader.problems)
        && min > max
    {
        reader.report_problem(span.clone(), format!("min ({min}) is above max ({max})"));
    }
}
