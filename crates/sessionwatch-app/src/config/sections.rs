//! Top level of the configuration file: its sections, schema, example and reference.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use sessionwatch_core::severity::Severity;

use super::{
    actions::ActionsSection,
    alerts::{self, AlertPolicySection, AlertPolicySections},
    checks,
    custom_check::CustomCheckSection,
    custom_log_check::CustomLogCheckSection,
    logs::LogsSection,
    oidc::OidcSection,
    routing::{MaintenanceWindowSection, ReportSection, RouteSection},
    serve::ServeSection,
    target::{CleanupSection, MappingSection, TargetSection},
    text_formats::TEXT_FORMATS,
};
use crate::{
    config_file::{self, SectionSpec, WithSpan, schema_for},
    notify::{ChannelKind, channel, channel_section::KindReference},
};

/// Top level of `sessionwatch.toml`, without `[checks]` and `[[channel]]`, whose keys depend on the check or the kind.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ConfigFile {
    /// Files with custom profiles, in addition to the built-in ones; relative to this file.
    pub(super) profiles: WithSpan<Vec<String>>,
    /// Database to monitor.
    pub(super) target: Vec<WithSpan<TargetSection>>,
    /// Alert policies by severity.
    pub(super) alerts: AlertPolicySections,
    /// Custom check in SQL.
    pub(super) custom_check: Vec<WithSpan<CustomCheckSection>>,
    /// Source of application logs, read by `sessionwatch serve`.
    pub(super) logs: Vec<WithSpan<LogsSection>>,
    /// Custom check that counts matching log lines.
    pub(super) log_check: Vec<WithSpan<CustomLogCheckSection>>,
    /// Daemon: `sessionwatch serve`.
    pub(super) serve: WithSpan<ServeSection>,
    /// Identity provider for dashboard logins (OpenID Connect).
    pub(super) oidc: Option<WithSpan<OidcSection>>,
    /// Safety limits of plans, and the archive of removed rows.
    pub(super) actions: ActionsSection,
    /// Scheduled checklist report.
    pub(super) report: Option<WithSpan<ReportSection>>,
    /// Maintenance window: notifications are held back, and sent afterwards for checks that still fail.
    pub(super) maintenance_window: Vec<MaintenanceWindowSection>,
    /// Notification route; without any, every channel receives every notification.
    pub(super) route: Vec<RouteSection>,
}

/// Returns the JSON schema of the file, for editors and for validation.
#[must_use]
pub fn config_schema() -> Value {
    let mut schema = schema_for::<ConfigFile>();
    schema["properties"]["checks"] = checks::checks_schema();
    schema["properties"]["channel"] = json!({ "type": "array", "items": channel::channel_schema() });
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Configuration of sessionwatch");
    schema
}

/// Returns all sections, in the order of the example.
fn documented_sections() -> Vec<SectionSpec> {
    let mut sections = vec![
        SectionSpec::single::<ConfigFile>(""),
        SectionSpec::repeated::<TargetSection>("target").with_uncommented_keys(&["name", "url"]),
        SectionSpec::single::<MappingSection>("target.mapping"),
        SectionSpec::single::<CleanupSection>("target.cleanup"),
    ];
    sections.extend(
        checks::check_references().iter().map(|check| {
            SectionSpec::from_schema(format!("checks.{}", check.id), &check.schema, &check.keys)
        }),
    );
    let severities = Severity::ALL.iter().copied().rev();
    sections.extend(severities.map(|severity| {
        let name = severity.name();
        let section = SectionSpec::single::<AlertPolicySection>(format!("alerts.{name}"));
        let defaults = alerts::default_policy_values(severity).into_iter();
        defaults
            .fold(section, |section, (key, default)| section.with_default(key, &default))
            .with_description(format!("Alert policy of checks with {name} severity"))
    }));
    sections.extend([
        SectionSpec::repeated::<CustomCheckSection>("custom_check"),
        SectionSpec::repeated::<LogsSection>("logs"),
        SectionSpec::repeated::<CustomLogCheckSection>("log_check"),
        SectionSpec::single::<ServeSection>("serve"),
        SectionSpec::single::<OidcSection>("oidc"),
        SectionSpec::single::<ActionsSection>("actions"),
        SectionSpec::single::<ReportSection>("report"),
        SectionSpec::repeated::<MaintenanceWindowSection>("maintenance_window"),
    ]);
    let (common, keys) = channel::common_schema();
    sections.push(SectionSpec::from_schema("channel", &common, keys).into_repeated());
    let kinds = ChannelKind::kind_references().into_iter().filter(KindReference::has_own_keys);
    sections.extend(kinds.map(|kind| {
        SectionSpec::from_schema("channel", &kind.schema, &kind.keys).into_repeated().with_kind(kind.kind)
    }));
    sections.push(SectionSpec::repeated::<RouteSection>("route"));
    sections
}

/// Renders the example file: every key, commented out except for one target.
#[must_use]
pub fn render_example() -> String {
    config_file::render_example(&documented_sections())
}

/// Renders the reference of all keys as Markdown.
#[must_use]
pub fn render_reference() -> String {
    config_file::render_reference(&documented_sections(), TEXT_FORMATS)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    /// Keys of the example that conflict with other keys.
    const EXCLUDED: [&str; 11] = [
        "url_file",
        "write_url_file",
        "store_file",
        "secret_file",
        "client_secret_file",
        "ca_file",
        "profile",
        "interval",
        "revoke_column",
        "revoke_value",
        "tls_key",
    ];

    /// Returns the example with every key uncommented, except for conflicting ones.
    fn uncommented() -> String {
        let is_meant = |line: &&str| {
            let key = line.trim_start_matches("# ").split(' ').next().unwrap_or_default();
            !EXCLUDED.contains(&key) && key != "tls_certificate"
        };
        let is_setting = |rest: &str| {
            rest.starts_with('[') || rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '))
        };
        let line = |line: &str| match line.strip_prefix("# ") {
            Some(rest) if is_setting(rest) => format!("{rest}\n"),
            _ => format!("{line}\n"),
        };
        let text: String = render_example().lines().filter(is_meant).map(line).collect();
        [
            ("${DATABASE_URL}", "postgres://u@h/d"),
            ("${REPLICA_URL}", "r.db"),
            ("${WRITE_DATABASE_URL}", "postgres://a@h/d"),
        ]
        .iter()
        .fold(text, |text, (variable, value)| text.replace(variable, value))
    }

    #[test]
    fn every_key_of_the_example_is_accepted_and_shows_the_default() {
        let text = uncommented();
        let config =
            Config::parse(Path::new("x.toml"), &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let mut thresholds = config.checks.thresholds.clone();
        // These have no fixed default: a lifetime policy, two baselines, and a limit that grows with the table.
        (thresholds.session_lifetime, thresholds.expired_backlog.max) = Default::default();
        (thresholds.active_sessions, thresholds.creation_rate) = Default::default();
        assert_eq!(thresholds, sessionwatch_core::checks::CheckThresholds::default());
        for check in sessionwatch_core::checks::TABLE_CHECKS {
            assert_eq!(config.checks.table_check_severity(&check), check.severity, "{}", check.id);
        }
        for check in crate::checks::LOG_CHECKS {
            assert_eq!(config.checks.log_check_severity(&check), check.severity, "{}", check.id);
            assert_eq!(config.logs.check_limit(&check), check.limit, "{}", check.id);
        }
    }

    /// Collects the paths of all sections of a schema.
    fn paths(path: &str, schema: &Value, found: &mut Vec<String>) {
        let properties = schema["properties"].as_object().into_iter().flatten();
        for (name, property) in properties {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let section = if property["items"].is_object() { &property["items"] } else { property };
            if section["type"] == "object" {
                paths(&path, section, found);
                found.push(path);
            }
        }
    }

    #[test]
    fn every_section_is_documented() {
        let mut found = vec![];
        paths("", &config_schema(), &mut found);
        found.retain(|path| !["checks", "alerts"].contains(&path.as_str()));
        let documented = documented_sections();
        for path in found {
            assert!(documented.iter().any(|section| section.path() == path), "{path}");
        }
    }

    #[test]
    fn the_example_and_the_reference_in_the_repository_are_up_to_date() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let read = |path: &str| std::fs::read_to_string(format!("{root}/{path}")).unwrap_or_default();
        assert_eq!(
            read("example.toml"),
            render_example(),
            "regenerate it: sessionwatch config example > example.toml"
        );
        assert!(
            read("docs/configuration.md").starts_with("# Configuration\n")
                && read("docs/configuration.md").ends_with(&render_reference()),
            "regenerate the end of docs/configuration.md: sessionwatch config reference"
        );
        for lacking in ["null", "| none | |\n"] {
            assert!(!render_reference().contains(lacking), "a key has no description: {lacking}");
        }
    }

    #[test]
    fn the_schema_has_required_keys_and_defaults() {
        let schema = config_schema();
        assert_eq!(schema["properties"]["target"]["items"]["required"], json!(["name"]));
        let checks = &schema["properties"]["checks"]["properties"];
        assert_eq!(checks["orphaned-sessions"]["properties"]["max"]["default"], 10);
        assert_eq!(schema["additionalProperties"], false);
    }
}
