//! Alerting and recording rules for Prometheus, as YAML.
//!
//! A check alerts by the state of its alert rather than by its last verdict: so it fires and resolves when the watch says
//! so, and with the severity that is configured there.

use std::fmt::Write as _;

use sessionwatch_core::severity::Severity;

use super::led;
use crate::{
    checks::{self, CHANNEL_FAILING, TARGET_UNREACHABLE},
    metric_names as metrics,
};

/// What alerts and records of a target are told apart by.
const TARGET: &str = "job, target";

/// A rule that alerts.
#[derive(Clone, Debug)]
struct Alert {
    name: String,
    expr: String,
    /// How long it must hold; empty for at once.
    lasting: &'static str,
    /// Nothing where the series says.
    severity: Option<Severity>,
    summary: String,
    description: String,
    /// The page that says more, below the documentation.
    page: String,
}

/// A rule that records, under a name.
type Record = (&'static str, String);

/// The file of rules. Pages of the documentation are named as they lie below that folder or address.
#[must_use]
pub fn yaml(docs: &str) -> String {
    let mut text = format!(
        "# Rules for Prometheus, made by sessionwatch {}; made anew by: sessionwatch integrations prometheus-rules\ngroups:\n",
        env!("CARGO_PKG_VERSION")
    );
    for (group, alerts) in groups() {
        text += &format!("  - name: sessionwatch-{group}\n    rules:\n");
        alerts.iter().for_each(|alert| alert.write(&mut text, docs.trim_end_matches('/')));
    }
    text += "  - name: sessionwatch-records\n    rules:\n";
    for (name, expr) in records() {
        text += &format!("      - record: {name}\n        expr: {}\n", quoted(&expr));
    }
    text
}

fn groups() -> [(&'static str, Vec<Alert>); 4] {
    [
        ("checks", of_checks()),
        ("targets", of_targets()),
        ("delivery", of_delivery()),
        ("process", of_process()),
    ]
}

impl Alert {
    fn write(&self, text: &mut String, docs: &str) {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "      - alert: {}\n        expr: {}", self.name, quoted(&self.expr));
        if !self.lasting.is_empty() {
            let _ = writeln!(text, "        for: {}", self.lasting);
        }
        let _ = writeln!(text, "        labels:\n          service: sessionwatch");
        if let Some(severity) = self.severity {
            let _ = writeln!(text, "          severity: {}", severity.name());
        }
        let _ = writeln!(text, "        annotations:");
        let runbook = format!("{docs}/{}", self.page);
        for (name, words) in
            [("summary", &self.summary), ("description", &self.description), ("runbook", &runbook)]
        {
            let _ = writeln!(text, "          {name}: {}", quoted(words));
        }
    }
}

/// One a check, and one for all checks of the operator.
fn of_checks() -> Vec<Alert> {
    let firing = |filter: String| {
        format!("max by (job, target, check, severity) ({}{{{filter}}}) == 1", metrics::ALERT_FIRING.name)
    };
    let looks = checks::TABLE_CHECKS.iter().map(|check| (check.id, check.action));
    let logs = checks::LOG_CHECKS.iter().map(|check| (check.id, check.action));
    let mut alerts: Vec<Alert> = looks
        .chain(logs)
        .map(|(id, action)| Alert {
            name: format!("Sessionwatch{}", camel(id)),
            expr: firing(format!("check=\"{id}\"")),
            lasting: "",
            severity: None,
            summary: format!("{id} fails on {{{{ $labels.target }}}}"),
            description: format!("What to do: {action}. {}", whom(id)),
            page: format!("checks/{id}.md"),
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
    alerts.push(Alert {
        name: "SessionwatchCustomCheck".into(),
        expr: firing(format!("check!~\"{}\"", known.join("|"))),
        lasting: "",
        severity: None,
        summary: "{{ $labels.check }} fails on {{ $labels.target }}".into(),
        description: format!("It is a check of your own. {}", whom("{{ $labels.check }}")),
        page: "checks/custom.md".into(),
    });
    alerts
}

fn whom(check: &str) -> String {
    format!("Whom it concerns is said by: sessionwatch alerts show {{{{ $labels.target }}}} {check}")
}

/// A rule about the watch itself: name, severity, how long it must hold; when it fires; what is wrong, and what to do.
fn own((name, severity, lasting): (&str, Severity, &'static str), expr: String, words: [&str; 2]) -> Alert {
    let [summary, description] = words.map(str::to_owned);
    let page = "integrations.md".to_owned();
    Alert { name: name.into(), expr, lasting, severity: Some(severity), summary, description, page }
}

/// Is every target looked at, in time and by somebody?
fn of_targets() -> Vec<Alert> {
    vec![
        own(
            ("SessionwatchTargetNotSeen", Severity::High, "5m"),
            format!("{} == 0", led(&metrics::TARGET_UP, "", TARGET)),
            [
                "{{ $labels.target }} cannot be looked at",
                "The last looks saw nothing, so nobody knows whether its sessions are in order. What hinders them is said by: sessionwatch doctor {{ $labels.target }}",
            ],
        ),
        own(
            ("SessionwatchNoLeader", Severity::High, "2m"),
            format!("max by ({TARGET}) ({}) == 0", metrics::TARGET_LEADER.name),
            [
                "nobody watches {{ $labels.target }}",
                "Several processes share a store, and none of them has taken the target over. Look at their logs: can they reach the store?",
            ],
        ),
        own(
            ("SessionwatchLate", Severity::Medium, "5m"),
            format!("{} > 60", led(&metrics::SCHEDULER_LAG, "", TARGET)),
            [
                "looks at {{ $labels.target }} are {{ $value }} seconds late",
                "The machine is busy, or looks take longer than the time between them: look at the load, at how long looks take, and at `every`.",
            ],
        ),
        own(
            ("SessionwatchReplicaLags", Severity::Medium, "10m"),
            format!("{} > 60", led(&metrics::REPLICA_LAG, "", TARGET)),
            [
                "the replica of {{ $labels.target }} lags by {{ $value }} seconds",
                "What is looked at is that old, and so is what the alerts say. Look at the replication, or leave `replica` out until it has caught up.",
            ],
        ),
    ]
}

/// Does what is to be told reach people?
fn of_delivery() -> Vec<Alert> {
    let boxed =
        |filter: &str| format!("max by (job, channel) ({}{{{filter}}}) > 0", metrics::OUTBOX_MESSAGES.name);
    let attempts = |outcome: &str| {
        let name = metrics::DELIVERIES.name;
        format!("sum by (job, channel) (increase({name}{{outcome=\"{outcome}\"}}[30m])) > 0")
    };
    vec![
        own(
            ("SessionwatchMessagesDead", Severity::High, ""),
            boxed("state=\"dead\""),
            [
                "messages to {{ $labels.channel }} were given up on",
                "People were not told. Which messages, and why, is said by: sessionwatch notify dead",
            ],
        ),
        own(
            ("SessionwatchMessagesWait", Severity::High, "1h"),
            boxed("state!=\"dead\""),
            [
                "messages to {{ $labels.channel }} have waited for an hour",
                "People are not told. Try the channel: sessionwatch notify test {{ $labels.channel }}",
            ],
        ),
        own(
            ("SessionwatchDeliveryFails", Severity::High, "5m"),
            format!("{} unless {}", attempts("failed"), attempts("delivered")),
            [
                "{{ $labels.channel }} takes no messages",
                "Every attempt of the last half hour failed. Try the channel: sessionwatch notify test {{ $labels.channel }}",
            ],
        ),
    ]
}

/// Does the process run, remember, and take its configuration?
fn of_process() -> Vec<Alert> {
    vec![
        own(
            ("SessionwatchGone", Severity::Critical, "5m"),
            format!("absent({})", metrics::BUILD_INFO.name),
            [
                "no sessionwatch runs, or none can be scraped",
                "Nothing is watched. Start it, or see what its log says: systemctl status sessionwatch",
            ],
        ),
        own(
            ("SessionwatchStoreSheltered", Severity::High, ""),
            format!("{} == 1", metrics::STORE_SHELTERED.name),
            [
                "the disk that holds the store is full",
                "Watching and telling go on, but what happens is in memory only, and lost with the process. Make room on the disk before anything else; do not restart.",
            ],
        ),
        own(
            ("SessionwatchReloadFailed", Severity::Medium, ""),
            format!("{} == 0", metrics::CONFIG_RELOAD.name),
            [
                "the last change of configuration was not taken",
                "The watch goes on with the configuration before it. What is wrong with the new one is said by: sessionwatch config check",
            ],
        ),
    ]
}

fn records() -> Vec<Record> {
    let sessions = |kind: &str| led(&metrics::SESSIONS, &format!("{{kind=\"{kind}\"}}"), TARGET);
    let duration = metrics::RUN_DURATION.name;
    let rate = |part: &str| format!("sum by ({TARGET}) (rate({duration}_{part}[15m]))");
    let failing = led(&metrics::CHECK_FAILING, "", "job, target, check");
    vec![
        ("job_target:sessionwatch_sessions_active:max", sessions("active")),
        ("job_target:sessionwatch_sessions_per_user:max", sessions("per_user")),
        ("job_target:sessionwatch_check_failing:sum", format!("sum by ({TARGET}) ({failing})")),
        (
            "job_target:sessionwatch_check_run_duration_seconds:mean15m",
            format!("{} / {}", rate("sum"), rate("count")),
        ),
    ]
}

/// `duplicate-tokens` as `DuplicateTokens`.
fn camel(id: &str) -> String {
    let word = |word: &str| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_uppercase() + rest
    };
    id.split('-').map(word).collect()
}

/// A text in YAML, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{super::tests::foreign, *};

    fn all() -> Vec<Alert> {
        groups().map(|(_, alerts)| alerts).concat()
    }

    #[test]
    fn every_metric_of_every_rule_is_served() {
        for expr in
            all().into_iter().map(|alert| alert.expr).chain(records().into_iter().map(|(_, expr)| expr))
        {
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
            if alert.page == "integrations.md" {
                assert!(handbook.contains(&format!("`{}`", alert.name)), "{} is not described", alert.name);
            }
        }
    }

    #[test]
    fn texts_are_quoted() {
        assert_eq!(quoted("it's: \"a\" # {{ b }}"), "'it''s: \"a\" # {{ b }}'");
        assert_eq!(camel("sessions-per-user"), "SessionsPerUser");
    }
}
