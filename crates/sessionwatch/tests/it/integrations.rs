//! Prometheus's own tools accept the rules, the metrics and the queries of the printed dashboard.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use sessionwatch_app::metric_names::{self, MetricKind};
use testkit::HttpSink;

/// Runs `promtool` with an input. Returns its output if it succeeds.
fn promtool(folder: &Path, arguments: &[&str], input: &str) -> Result<String, String> {
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(folder).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap_or_else(|error| {
        panic!("promtool, of the package prometheus, cannot be run: {error}");
    });
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = testkit::ProgramOutput::from(output);
    let all = format!("{}{}", said.stdout, said.stderr);
    if said.exit_code == 0 { Ok(all) } else { Err(all) }
}

/// A folder with the rules.
fn rules() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let said = testkit::run_program(&["integrations", "prometheus-rules", "--docs", "https://docs.example/"]);
    assert_eq!(said.exit_code, 0, "{}", said.stderr);
    let file = folder.path().join("rules.yml");
    std::fs::write(&file, said.stdout).unwrap();
    (folder, file)
}

/// Series of a healthy system, with their values at every minute.
const WELL: [(&str, &str); 12] = [
    ("sessionwatch_build_info{instance=\"a\",version=\"0\"}", "1+0x120"),
    ("sessionwatch_target_up{instance=\"a\",target=\"app\"}", "1+0x120"),
    ("sessionwatch_target_leader{instance=\"a\",target=\"app\"}", "1+0x120"),
    // The standby keeps exposing its last values from when it led.
    ("sessionwatch_target_up{instance=\"b\",target=\"app\"}", "0+0x120"),
    ("sessionwatch_scheduler_lag_seconds{instance=\"b\",target=\"app\"}", "900+0x120"),
    ("sessionwatch_target_leader{instance=\"b\",target=\"app\"}", "0+0x120"),
    ("sessionwatch_scheduler_lag_seconds{instance=\"a\",target=\"app\"}", "1+0x120"),
    ("sessionwatch_replica_lag_seconds{instance=\"a\",target=\"app\"}", "2+0x120"),
    ("sessionwatch_deliveries_total{instance=\"a\",channel=\"chat\",outcome=\"delivered\"}", "0+1x120"),
    ("sessionwatch_deliveries_total{instance=\"a\",channel=\"chat\",outcome=\"failed\"}", "0+1x120"),
    ("sessionwatch_store_memory_fallback{instance=\"a\"}", "0+0x120"),
    ("sessionwatch_config_reload_success{instance=\"a\"}", "1+0x120"),
];

/// The series, with some replaced or added.
fn series(changed: &[(&str, &str)]) -> Value {
    let kept = WELL.iter().filter(|(name, _)| changed.iter().all(|(other, _)| other != name));
    let entry = |(name, values): &(&str, &str)| {
        let name = name.replace('{', "{job=\"sessionwatch\",");
        json!({ "series": name, "values": values })
    };
    kept.chain(changed).map(entry).collect()
}

/// A test in which exactly these alerts fire after this many minutes, each with its severity.
fn fires(minutes: u32, changed: &[(&str, &str)], expected: &[(&str, &str)]) -> Value {
    let samples = expected.iter().map(|(name, severity)| {
        json!({ "labels": format!("{{alertname=\"{name}\",severity=\"{severity}\"}}"), "value": 1 })
    });
    json!({
        "interval": "1m", "input_series": series(changed),
        "promql_expr_test": [{
            "expr": "count by (alertname, severity) (ALERTS{alertstate=\"firing\"})",
            "eval_time": format!("{minutes}m"), "exp_samples": samples.collect::<Vec<_>>(),
        }],
    })
}

/// Runs tests with `promtool`. Its format is YAML, of which JSON is a subset.
fn tested(folder: &Path, tests: &[Value]) -> Result<String, String> {
    let file = json!({ "rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests });
    std::fs::write(folder.join("tests.yml"), file.to_string()).unwrap();
    promtool(folder, &["test", "rules", "tests.yml"], "")
}

#[test]
fn prometheus_accepts_the_rules() {
    let (folder, file) = rules();
    let said = promtool(folder.path(), &["check", "rules", file.to_str().unwrap()], "").unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let rules =
        text.lines().filter(|line| ["- alert:", "- record:"].iter().any(|kind| line.contains(kind))).count();
    assert!(said.contains(&format!("SUCCESS: {rules} rules found")), "{said}");
    assert!(text.contains("runbook: https://docs.example/checks/duplicate-tokens.md"), "{text}");
    std::fs::write(&file, text.replace(") == 1\n", ") === 1\n")).unwrap();
    promtool(folder.path(), &["check", "rules", "rules.yml"], "").unwrap_err();
}

#[test]
fn a_failing_critical_check_fires_at_once_and_says_what_to_do() {
    let (folder, _) = rules();
    let alert = "sessionwatch_alert_firing{instance=\"a\",target=\"app\",\
                 check=\"duplicate-tokens\",severity=\"critical\"}";
    let fired = |minutes: u32, expected: Value| {
        json!({
            "alertname": "SessionwatchDuplicateTokens", "eval_time": format!("{minutes}m"), "exp_alerts": expected,
        })
    };
    let expected = json!([{
        "exp_labels": {
            "severity": "critical", "service": "sessionwatch", "job": "sessionwatch", "target": "app",
            "check": "duplicate-tokens",
        },
        "exp_annotations": {
            "summary": "duplicate-tokens is failing on app",
            "description": "What to do: revoke the sessions sharing a token, then add a unique constraint to the token \
                column. For details, run: sessionwatch alerts show app duplicate-tokens",
            "runbook": "https://docs.example/checks/duplicate-tokens.md",
        },
    }]);
    let story = |expected: &Value| {
        json!({
            "interval": "1m", "input_series": series(&[(alert, "0+0x4 1+0x4 0+0x10")]),
            "alert_rule_test": [fired(4, json!([])), fired(5, expected.clone()), fired(10, json!([]))],
        })
    };
    tested(folder.path(), &[story(&expected)]).unwrap_or_else(|said| panic!("{said}"));
    // A wrong expectation makes the tool fail.
    tested(folder.path(), &[story(&json!([]))]).unwrap_err();
}

#[test]
fn every_rule_about_sessionwatch_itself_fires_for_its_own_reason_only() {
    let (folder, _) = rules();
    let alert = |labels: &str| format!("sessionwatch_alert_firing{{instance=\"a\",target=\"app\",{labels}}}");
    let custom = alert("check=\"mine\",severity=\"low\"");
    let [unreachable, undelivered] = ["target-unreachable", "channel-failing"]
        .map(|check| alert(&format!("check=\"{check}\",severity=\"high\"")));
    let leader =
        |instance: &str| format!("sessionwatch_target_leader{{instance=\"{instance}\",target=\"app\"}}");
    let outbox = |state: &str| {
        format!("sessionwatch_outbox_messages{{instance=\"a\",channel=\"chat\",state=\"{state}\"}}")
    };
    let (up, lag, replica) = (WELL[1].0, WELL[6].0, WELL[7].0);
    let (delivered, in_memory, reloaded) = (WELL[8].0, WELL[10].0, WELL[11].0);
    let none: Vec<(&str, &str)> = WELL.iter().map(|(name, _)| (*name, "_x120")).collect();
    let tests = [
        fires(110, &[], &[]),
        fires(4, &[(up, "0+0x120")], &[]),
        fires(5, &[(up, "0+0x120")], &[("SessionwatchTargetUnreachable", "high")]),
        fires(20, &[(&leader("a"), "0+0x120")], &[("SessionwatchNoLeader", "high")]),
        fires(
            20,
            &[
                (&leader("a"), "0+0x120"),
                (&leader("b"), "1+0x120"),
                (WELL[3].0, "1+0x120"),
                (WELL[4].0, "0+0x120"),
            ],
            &[],
        ),
        fires(20, &[(lag, "61+0x120")], &[("SessionwatchCheckRunsDelayed", "medium")]),
        fires(20, &[(replica, "61+0x120")], &[("SessionwatchReplicaLag", "medium")]),
        fires(5, &none, &[("SessionwatchDown", "critical")]),
        fires(1, &[(&outbox("dead"), "1+0x120")], &[("SessionwatchNotificationsFailed", "high")]),
        fires(59, &[(&outbox("due"), "1+0x120")], &[]),
        fires(60, &[(&outbox("due"), "1+0x120")], &[("SessionwatchNotificationsDelayed", "high")]),
        fires(40, &[(delivered, "3+0x120")], &[("SessionwatchDeliveryFailing", "high")]),
        fires(1, &[(in_memory, "1+0x120")], &[("SessionwatchStoreMemoryFallback", "high")]),
        fires(1, &[(reloaded, "0+0x120")], &[("SessionwatchConfigReloadFailed", "medium")]),
        fires(1, &[(&custom, "1+0x120")], &[("SessionwatchCustomCheck", "low")]),
        // These have their own rules.
        fires(1, &[(&unreachable, "1+0x120"), (&undelivered, "1+0x120")], &[]),
    ];
    tested(folder.path(), &tests).unwrap_or_else(|said| panic!("{said}"));
}

#[test]
fn recording_rules_use_the_values_of_the_leader() {
    let (folder, _) = rules();
    let of = |instance: &str, rest: &str| format!("{{instance=\"{instance}\",target=\"app\",{rest}}}");
    let names = [
        format!("sessionwatch_sessions{}", of("a", "kind=\"per_user\"")),
        format!("sessionwatch_sessions{}", of("b", "kind=\"per_user\"")),
        format!("sessionwatch_check_failing{}", of("a", "check=\"x\"")),
        format!("sessionwatch_check_failing{}", of("a", "check=\"y\"")),
        format!("sessionwatch_check_failing{}", of("b", "check=\"z\"")),
    ];
    let values = ["1.5+0x120", "9+0x120", "1+0x120", "1+0x120", "1+0x120"];
    let input: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(values).collect();
    let recorded = |name: &str, value: f64| {
        let labels = format!("{name}{{job=\"sessionwatch\",target=\"app\"}}");
        json!({ "expr": name, "eval_time": "9m", "exp_samples": [{ "labels": labels, "value": value }] })
    };
    let test = json!({
        "interval": "1m", "input_series": series(&input),
        "promql_expr_test": [
            recorded("job_target:sessionwatch_sessions_per_user:max", 1.5),
            recorded("job_target:sessionwatch_check_failing:sum", 2.0),
        ],
    });
    tested(folder.path(), &[test]).unwrap_or_else(|said| panic!("{said}"));
}

#[test]
fn prometheus_accepts_all_metrics_of_the_daemon() {
    let (database, sink, folder) =
        (testkit::anomalous_database(), HttpSink::start(&[]).unwrap(), tempfile::tempdir().unwrap());
    let text = format!(
        "[[target]]\nname = \"app\"\nurl = \"{}\"\n[serve]\nlisten = \"127.0.0.1:0\"\n\
         [[channel]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{}\"\n",
        database.url("postgres"),
        sink.url()
    );
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    let watch = testkit::DaemonProcess::start(folder.path());
    assert!(!sink.wait_for_requests(1).is_empty());
    let served = watch.get_body("/metrics");
    assert_eq!(watch.stop(), Some(0));
    let all: String = metric_names::ALL
        .iter()
        .map(|metric| {
            let (name, kind, help) = (metric.name, metric.kind.name(), metric.help);
            let values = match metric.kind {
                MetricKind::Gauge | MetricKind::Counter => format!("{name}{{a=\"b\"}} 1\n"),
                MetricKind::Histogram => {
                    format!("{name}_sum 1\n{name}_count 1\n{name}_bucket{{le=\"+Inf\"}} 1\n")
                }
            };
            format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{values}")
        })
        .collect();
    for text in [&served, &all] {
        let said =
            promtool(folder.path(), &["check", "metrics"], text).unwrap_or_else(|said| panic!("{said}"));
        assert_eq!(said, "");
    }
    let names: Vec<&str> =
        served.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert!(names.len() > 12, "{names:?}");
    assert!(
        names.iter().all(|name| metric_names::ALL.iter().any(|metric| metric.name == *name)),
        "{names:?}"
    );
}

#[test]
fn prometheus_accepts_the_queries_of_the_dashboard() {
    let dashboard = testkit::run_for_json(&["integrations", "grafana-dashboard"]);
    assert_eq!((&dashboard["uid"], &dashboard["id"]), (&"sessionwatch".into(), &Value::Null));
    let panels = dashboard["panels"].as_array().unwrap();
    let asked = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let rules: Vec<Value> = asked
        .zip(0..)
        .map(|(asked, number)| {
            let expression = asked["expr"].as_str().unwrap().replace("$target", "app|.*");
            json!({ "record": format!("asked_{number}"), "expr": expression })
        })
        .collect();
    assert!(rules.len() > 20, "{rules:?}");
    let folder = tempfile::tempdir().unwrap();
    let file = json!({ "groups": [{ "name": "asked", "rules": rules }] });
    std::fs::write(folder.path().join("asked.yml"), file.to_string()).unwrap();
    promtool(folder.path(), &["check", "rules", "asked.yml"], "").unwrap_or_else(|said| panic!("{said}"));
}
