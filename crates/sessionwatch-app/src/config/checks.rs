//! `[checks.*]`: a section per check, with the common keys and the check's own thresholds.

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

/// Common keys of the checks of the session table.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct CheckSection {
    /// Run the check.
    #[schemars(extend("default" = true))]
    enabled: Option<bool>,
    /// Time between two runs of the check by `serve`.
    #[schemars(extend("x-otherwise" = "the target's schedule"), example = RunInterval::new(3_600))]
    interval: Option<RunInterval>,
    /// Cron expression for runs of the check, instead of `interval`.
    #[schemars(extend("x-otherwise" = "none"), example = &"0 6 * * mon")]
    cron: Option<WithSpan<String>>,
    /// Severity of the alert; selects its alert policy and notification routes.
    severity: Option<Severity>,
}

/// Common keys of the log checks.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct LogCheckSection {
    /// Run the check.
    #[schemars(extend("default" = true))]
    enabled: Option<bool>,
    /// Severity of the alert; selects its alert policy and notification routes.
    severity: Option<Severity>,
}

/// Keys of the checks that count log events.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct LogLimitSection {
    /// Number of log events above which the check fails.
    #[schemars(range(max = 1_000_000_000_000_u64))]
    max: Option<u64>,
    /// Time over which log events are counted, by the time at which they were read.
    window: Option<BoundedSeconds<60, 604_800>>,
}

/// Documentation and schema of the section of a check.
pub(super) struct CheckReference {
    /// Check id.
    pub(super) id: &'static str,
    /// Schema of the section.
    pub(super) schema: Value,
    /// Keys, in the order of the documentation.
    pub(super) keys: Vec<String>,
}

impl CheckReference {
    fn new(id: &'static str, summary: &str, severity: Severity) -> Self {
        let schema = json!({
            "type": "object", "description": summary, "properties": {}, "additionalProperties": false,
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

/// Returns the section of every check, in the order of reports.
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

/// Returns the schema of `[checks]`.
pub(super) fn checks_schema() -> Value {
    let sections =
        check_references().into_iter().map(|reference| (reference.id.to_owned(), reference.schema));
    let sections: Map<String, Value> = sections.collect();
    json!({
        "type": "object", "description": "Settings of the checks, one section per check ID", "properties": sections,
        "additionalProperties": false,
    })
}

/// Applies the sections to the check settings, and the limits of log checks to the log settings.
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
            // The check's own keys are collected per check and deserialized together, as one `CheckThresholds`.
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

/// Reports a baseline whose `min` is greater than its `max`.
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
        reader.report_problem(span.clone(), format!("min ({min}) is greater than max ({max})"));
    }
}
