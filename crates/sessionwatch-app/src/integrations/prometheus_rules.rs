//! Alerting and recording rules for Prometheus, as YAML.
//!
//! A check alerts by the state of its alert rather than by its last verdict: so it fires and resolves when the watch says
//! so, and with the severity that is configured there.

use serde::Serialize;
use serde_saphyr::{SerializerOptions, ser::Error};
use sessionwatch_core::severity::Severity;

use super::leader_query;
use crate::{
    checks::{self, CHANNEL_FAILING, TARGET_UNREACHABLE},
    metric_names as metrics,
};

/// What alerts and records of a target are told apart by.
const TARGET_LABELS: &str = "job, target";

/// A rule that alerts.
#[derive(Clone, Debug)]
struct AlertRule {
    name: String,
    expr: String,
    /// How long it must hold; empty for at once.
    for_duration: &'static str,
    /// Nothing where the series says.
    severity: Option<Severity>,
    summary: String,
    description: String,
    /// The page that says more, below the documentation.
    docs_page: String,
}

/// The file, as Prometheus reads it.
#[derive(Serialize)]
struct RuleFile {
    groups: Vec<RuleGroup>,
}

#[derive(Serialize)]
struct RuleGroup {
    name: String,
    rules: Vec<PrometheusRule>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum PrometheusRule {
    Alert {
        alert: String,
        expr: String,
        #[serde(rename = "for", skip_serializing_if = "str::is_empty")]
        lasting: &'static str,
        labels: RuleLabels,
        annotations: RuleAnnotations,
    },
    Record {
        record: &'static str,
        expr: String,
    },
}

#[derive(Serialize)]
struct RuleLabels {
    service: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<&'static str>,
}

#[derive(Serialize)]
struct RuleAnnotations {
    summary: String,
    description: String,
    runbook: String,
}

/// The file of rules. Pages of the documentation are named as they lie below that folder or address.
///
/// # Errors
///
/// If it cannot be written as YAML.
pub fn render_yaml(docs: &str) -> Result<String, Error> {
    let docs = docs.trim_end_matches('/');
    let mut groups: Vec<RuleGroup> = alert_groups()
        .into_iter()
        .map(|(name, alerts)| RuleGroup {
            name: format!("sessionwatch-{name}"),
            rules: alerts.into_iter().map(|alert| alert.into_rule(docs)).collect(),
        })
        .collect();
    groups.push(RuleGroup { name: "sessionwatch-records".into(), rules: recording_rules() });
    let mut options = SerializerOptions::default();
    options.prefer_block_scalars = false;
    options.compact_list_indent = false;
    let rules = serde_saphyr::to_string_with_options(&RuleFile { groups }, options)?;
    Ok(format!(
        "# Rules for Prometheus, made by sessionwatch {}; made anew by: sessionwatch integrations prometheus-rules\n{rules}",
        env!("CARGO_PKG_VERSION")
    ))
}

fn alert_groups() -> [(&'static str, Vec<AlertRule>); 4] {
    [
        ("checks", check_alerts()),
        ("targets", target_alerts()),
        ("delivery", delivery_alerts()),
        ("process", process_alerts()),
    ]
}

impl AlertRule {
    fn into_rule(self, docs: &str) -> PrometheusRule {
        PrometheusRule::Alert {
            alert: self.name,
            expr: self.expr,
            lasting: self.for_duration,
            labels: RuleLabels { service: "sessionwatch", severity: self.severity.map(Severity::name) },
            annotations: RuleAnnotations {
                summary: self.summary,
                description: self.description,
                runbook: format!("{docs}/{}", self.docs_page),
            },
        }
    }
}

/// One a check, and one for all checks of the operator.
fn check_alerts() -> Vec<AlertRule> {
    let firing = |filter: String| {
        format!("max by (job, target, check, severity) ({}{{{filter}}}) == 1", metrics::ALERT_FIRING.name)
    };
    let looks = checks::TABLE_CHECKS.iter().map(|check| (check.id, check.action));
    let logs = checks::LOG_CHECKS.iter().map(|check| (check.id, check.action));
    let mut alerts: Vec<AlertRule> = looks
        .chain(logs)
        .map(|(id, action)| AlertRule {
            name: format!("Sessionwatch{}", camel_case(id)),
            expr: firing(format!("check=\"{id}\"")),
            for_duration: "",
            severity: None,
            summary: format!("{id} fails on {{{{ $labels.target }}}}"),
            description: format!("What to do: {action}. {}", affected_hint(id)),
            docs_page: format!("checks/{id}.md"),
        })
        .collect();
    // Being blind and not being heard have rules of their own.
    let logs = checks::LOG_CHECKS.iter().map(|check| check.id);
    let known: Vec<&str> = checks::TABLE_CHECKS
        .iter()
        .map(|check| check.id)
        .chain(logs)
        .chain([TARGET_UNREACHABLE, CHANNEL_FAILING])
        .collect();
    alerts.push(AlertRule {
        name: "SessionwatchCustomCheck".into(),
        expr: firing(format!("check!~\"{}\"", known.join("|"))),
        for_duration: "",
        severity: None,
        summary: "{{ $labels.check }} fails on {{ $labels.target }}".into(),
        description: format!("It is a check of your own. {}", affected_hint("{{ $labels.check }}")),
        docs_page: "checks/custom.md".into(),
    });
    alerts
}

fn affected_hint(check: &str) -> String {
    format!("Whom it concerns is said by: sessionwatch alerts show {{{{ $labels.target }}}} {check}")
}

/// A rule about the watch itself: when it fires, how long that must hold, and what is wrong and what to do.
fn self_monitoring_alert(
    name: &str,
    severity: Severity,
    lasting: &'static str,
    expr: String,
    words: [&str; 2],
) -> AlertRule {
    let [summary, description] = words.map(str::to_owned);
    let page = "integrations.md".to_owned();
    AlertRule {
        name: name.into(),
        expr,
        for_duration: lasting,
        severity: Some(severity),
        summary,
        description,
        docs_page: page,
    }
}

/// Is every target looked at, in time and by somebody?
fn target_alerts() -> Vec<AlertRule> {
    vec![
        self_monitoring_alert(
            "SessionwatchTargetNotSeen",
            Severity::High,
            "5m",
            format!("{} == 0", leader_query(&metrics::TARGET_UP, "", TARGET_LABELS)),
            [
                "{{ $labels.target }} cannot be looked at",
                "The last looks saw nothing, so nobody knows whether its sessions are in order. What hinders them is said by: sessionwatch doctor {{ $labels.target }}",
            ],
        ),
        self_monitoring_alert(
            "SessionwatchNoLeader",
            Severity::High,
            "2m",
            format!("max by ({TARGET_LABELS}) ({}) == 0", metrics::TARGET_LEADER.name),
            [
                "nobody watches {{ $labels.target }}",
                "Several processes share a store, and none of them has taken the target over. Look at their logs: can they reach the store?",
            ],
        ),
        self_monitoring_alert(
            "SessionwatchLate",
            Severity::Medium,
            "5m",
            format!("{} > 60", leader_query(&metrics::SCHEDULER_LAG, "", TARGET_LABELS)),
            [
                "looks at {{ $labels.target }} are {{ $value }} seconds late",
                "The machine is busy, or looks take longer than the time between them: look at the load, at how long looks take, and at `every`.",
            ],
        ),
        self_monitoring_alert(
            "SessionwatchReplicaLags",
            Severity::Medium,
            "10m",
            format!("{} > 60", leader_query(&metrics::REPLICA_LAG, "", TARGET_LABELS)),
            [
                "the replica of {{ $labels.target }} lags by {{ $value }} seconds",
                "What is looked at is that old, and so is what the alerts say. Look at the replication, or leave `replica` out until it has caught up.",
            ],
        ),
    ]
}

/// Does what is to be told reach people?
fn delivery_alerts() -> Vec<AlertRule> {
    let boxed =
        |filter: &str| format!("max by (job, channel) ({}{{{filter}}}) > 0", metrics::OUTBOX_MESSAGES.name);
    let attempts = |outcome: &str| {
        let name = metrics::DELIVERY_ATTEMPTS.name;
        format!("sum by (job, channel) (increase({name}{{outcome=\"{outcome}\"}}[30m])) > 0")
    };
    vec![
        self_monitoring_alert(
            "SessionwatchMessagesDead",
            Severity::High,
            "",
            boxed("state=\"dead\""),
            [
                "messages to {{ $labels.channel }} were given up on",
                "People were not told. Which messages, and why, is said by: sessionwatch notifications failed",
            ],
        ),
        self_monitoring_alert(
            "SessionwatchMessagesWait",
            Severity::High,
            "1h",
            boxed("state!=\"dead\""),
            [
                "messages to {{ $labels.channel }} have waited for an hour",
                "People are not told. Try the channel: sessionwatch notifications test {{ $labels.channel }}",
            ],
        ),
        self_monitoring_alert(
            "SessionwatchDeliveryFails",
            Severity::High,
            "5m",
            format!("{} unless {}", attempts("failed"), attempts("delivered")),
            [
                "{{ $labels.channel }} takes no messages",
                "Every attempt of the last half hour failed. Try the channel: sessionwatch notifications test {{ $labels.channel }}",
            ],
        ),
    ]
}

/// Does the process run, remember, and take its configuration?
fn process_alerts() -> Vec<AlertRule> {
    vec![
        self_monitoring_alert(
            "SessionwatchGone",
            Severity::Critical,
            "5m",
            format!("absent({})", metrics::BUILD_INFO.name),
            [
                "no sessionwatch runs, or none can be scraped",
                "Nothing is watched. Start it, or see what its log says: systemctl status sessionwatch",
            ],
        ),
        self_monitoring_alert(
            "SessionwatchStoreSheltered",
            Severity::High,
            "",
            format!("{} == 1", metrics::STORE_MEMORY_FALLBACK.name),
            [
                "the disk that holds the store is full",
                "Watching and telling go on, but what happens is in memory only, and lost with the process. Make room on the disk before anything else; do not restart.",
            ],
        ),
        self_monitoring_alert(
            "SessionwatchReloadFailed",
            Severity::Medium,
            "",
            format!("{} == 0", metrics::CONFIG_RELOAD_SUCCESS.name),
            [
                "the last change of configuration was not taken",
                "The watch goes on with the configuration before it. What is wrong with the new one is said by: sessionwatch config check",
            ],
        ),
    ]
}

fn recording_rules() -> Vec<PrometheusRule> {
    let sessions =
        |kind: &str| leader_query(&metrics::SESSION_COUNTS, &format!("{{kind=\"{kind}\"}}"), TARGET_LABELS);
    let duration = metrics::CHECK_RUN_DURATION.name;
    let rate = |part: &str| format!("sum by ({TARGET_LABELS}) (rate({duration}_{part}[15m]))");
    let failing = leader_query(&metrics::CHECK_FAILING, "", "job, target, check");
    let records = [
        ("job_target:sessionwatch_sessions_active:max", sessions("active")),
        ("job_target:sessionwatch_sessions_per_user:max", sessions("per_user")),
        ("job_target:sessionwatch_check_failing:sum", format!("sum by ({TARGET_LABELS}) ({failing})")),
        (
            "job_target:sessionwatch_check_run_duration_seconds:mean15m",
            format!("{} / {}", rate("sum"), rate("count")),
        ),
    ];
    records.map(|(record, expr)| PrometheusRule::Record { record, expr }).into()
}

/// `duplicate-tokens` as `DuplicateTokens`.
fn camel_case(id: &str) -> String {
    let word = |word: &str| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_uppercase() + rest
    };
    id.split('-').map(word).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{super::tests::foreign, *};

    fn all() -> Vec<AlertRule> {
        alert_groups().map(|(_, alerts)| alerts).concat()
    }

    #[test]
    fn every_metric_of_every_rule_is_served() {
        let recorded = recording_rules().into_iter().map(|rule| match rule {
            PrometheusRule::Alert { expr, .. } | PrometheusRule::Record { expr, .. } => expr,
        });
        for expr in all().into_iter().map(|alert| alert.expr).chain(recorded) {
            assert_eq!(foreign(&expr), Vec::<String>::new(), "{expr}");
        }
    }

    #[test]
    fn every_check_has_a_rule_and_no_name_is_taken_twice() {
        let alerts = all();
        let names: BTreeSet<&str> = alerts.iter().map(|alert| alert.name.as_str()).collect();
        assert_eq!(names.len(), alerts.len());
        for check in checks::TABLE_CHECKS {
            let filter = format!("{{check=\"{}\"}}", check.id);
            let alert = alerts.iter().find(|alert| alert.expr.contains(&filter)).unwrap();
            assert!(alert.description.contains(check.action), "{alert:?}");
        }
    }

    #[test]
    fn every_rule_says_what_is_wrong_what_to_do_and_where_more_is_said() {
        let pages = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");
        let handbook = std::fs::read_to_string(format!("{pages}/integrations.md")).unwrap();
        for alert in all() {
            assert!(!alert.summary.is_empty() && alert.description.len() > 40, "{alert:?}");
            if alert.docs_page == "integrations.md" {
                assert!(handbook.contains(&format!("`{}`", alert.name)), "{} is not described", alert.name);
            }
        }
    }

    #[test]
    fn ids_are_named_as_prometheus_does() {
        assert_eq!(camel_case("sessions-per-user"), "SessionsPerUser");
    }
}
