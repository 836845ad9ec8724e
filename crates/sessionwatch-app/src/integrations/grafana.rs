//! Generates a Grafana dashboard in the classic JSON model:
//! <https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/>.

use serde_json::{Value, json};

use super::leader_query;
use crate::metric_names::{
    ALERT_COUNTS, ALERT_FIRING, CHECK_FAILING, CHECK_RUN_DURATION, CHECK_RUN_FAILURES, CHECK_RUNS,
    DELIVERY_ATTEMPTS, LAST_SUCCESS, MetricDesc, OUTBOX_MESSAGES, REPLICA_LAG, SCHEDULER_LAG, SESSION_COUNTS,
    STORE_MEMORY_FALLBACK, STORE_SIZE, TARGET_LEADER, TARGET_UP,
};

/// The schema version of Grafana 10.4; newer versions migrate it when they import the dashboard.
const GRAFANA_SCHEMA_VERSION: u32 = 39;
/// Columns of the dashboard grid.
const GRID_COLUMNS: u32 = 24;
/// Label filter for the targets selected in the dashboard.
const TARGET_FILTER: &str = "target=~\"$target\"";

/// The visualization of a panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PanelKind {
    /// A single number, red from 1 if `bad`.
    Stat { bad: bool },
    /// Lines over time.
    TimeSeries,
    /// Colored intervals, with text and color for 0 and 1.
    StateTimeline([(&'static str, &'static str); 2]),
    /// The current series as rows.
    Table,
}

#[derive(Clone, Debug)]
struct Panel {
    title: &'static str,
    description: &'static str,
    kind: PanelKind,
    /// Grafana unit ID.
    unit: &'static str,
    /// Width and height in grid units.
    size: (u32, u32),
    /// Expressions and legends.
    queries: Vec<(String, &'static str)>,
}

/// Builds the dashboard as JSON that Grafana can import.
#[must_use]
pub fn build_dashboard() -> Value {
    json!({
        "id": null,
        // Fixed, so that importing a newer version replaces the dashboard instead of adding another.
        "uid": "sessionwatch",
        "title": "sessionwatch",
        "description": "Login sessions, failing checks and alerts, and the health of sessionwatch itself",
        "tags": ["sessionwatch", "sessions"],
        "timezone": "browser",
        "editable": true,
        "graphTooltip": 1,
        "refresh": "1m",
        "time": { "from": "now-24h", "to": "now" },
        "timepicker": {},
        "schemaVersion": GRAFANA_SCHEMA_VERSION,
        "version": 1,
        "links": [],
        "annotations": { "list": [] },
        "templating": { "list": template_variables() },
        "panels": layout_panels(),
    })
}

fn template_variables() -> Value {
    json!([
        {
            "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus",
            "current": {}, "options": [], "hide": 0, "includeAll": false, "multi": false, "refresh": 1, "regex": "",
        },
        {
            "name": "target", "label": "Target", "type": "query", "datasource": datasource_ref(),
            // From a metric that exists before the first check run, unlike the results.
            "definition": format!("label_values({}, target)", TARGET_LEADER.name),
            "query": { "query": format!("label_values({}, target)", TARGET_LEADER.name), "refId": "target" },
            "current": { "selected": true, "text": ["All"], "value": ["$__all"] }, "options": [],
            "hide": 0, "includeAll": true, "allValue": ".*", "multi": true, "refresh": 2, "regex": "", "sort": 1,
        },
    ])
}

fn datasource_ref() -> Value {
    // A variable, because the id of a data source differs between Grafana installations.
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

/// Lays out all panels. A row header starts a new line, and so does a panel that does not fit into the current one.
fn layout_panels() -> Vec<Value> {
    let (mut panels, mut next, mut top) = (vec![], 1_u32, 0_u32);
    for (title, row) in panel_rows() {
        panels.push(json!({
            "id": next, "type": "row", "title": title, "collapsed": false, "panels": [],
            "gridPos": { "x": 0, "y": top, "w": GRID_COLUMNS, "h": 1 },
        }));
        (next, top) = (next + 1, top + 1);
        let (mut left, mut height) = (0, 0);
        for panel in row {
            let (w, h) = panel.size;
            if left + w > GRID_COLUMNS {
                (left, top, height) = (0, top + height, 0);
            }
            panels.push(panel.to_json(next, &json!({ "x": left, "y": top, "w": w, "h": h })));
            (next, left, height) = (next + 1, left + w, height.max(h));
        }
        top += height;
    }
    panels
}

fn panel_rows() -> [(&'static str, Vec<Panel>); 5] {
    [
        ("Overview", overview_panels()),
        ("Sessions", session_panels()),
        ("Checks and alerts", result_panels()),
        ("Check runs", check_run_panels()),
        ("Notifications and store", delivery_panels()),
    ]
}

/// Returns a query for a metric of the selected targets, as exposed by their leaders.
fn target_query(metric: &MetricDesc, labels: &str) -> String {
    leader_query(metric, &format!("{{{TARGET_FILTER}}}"), labels)
}

fn stat_panel(title: &'static str, description: &'static str, expr: String) -> Panel {
    Panel {
        title,
        description,
        kind: PanelKind::Stat { bad: true },
        unit: "short",
        size: (4, 4),
        queries: vec![(expr, "")],
    }
}

fn time_series_panel(
    title: &'static str,
    unit: &'static str,
    description: &'static str,
    queries: Vec<(String, &'static str)>,
) -> Panel {
    Panel { title, description, kind: PanelKind::TimeSeries, unit, size: (8, 8), queries }
}

fn overview_panels() -> Vec<Panel> {
    // Without a series, a sum is empty, and the panel would show "No data" instead of zero.
    let sum = |expr: String| format!("sum({expr}) or vector(0)");
    vec![
        Panel {
            kind: PanelKind::Stat { bad: false },
            ..stat_panel(
                "Reachable targets",
                "Targets whose last check run succeeded",
                sum(target_query(&TARGET_UP, "target")),
            )
        },
        stat_panel(
            "Unreachable targets",
            "Targets whose last check run failed, so that their state is unknown",
            sum(format!("1 - {}", target_query(&TARGET_UP, "target"))),
        ),
        stat_panel(
            "Failing checks",
            "Checks that failed in the last run, including those that have not alerted yet",
            sum(target_query(&CHECK_FAILING, "target, check")),
        ),
        stat_panel(
            "Firing alerts",
            "Alerts that have not been resolved",
            // Not by leader: alerts come from the store, so each daemon exposes the same ones.
            sum(format!("max by (target, check) ({}{{{TARGET_FILTER}}})", ALERT_FIRING.name)),
        ),
        stat_panel(
            "Failed notifications",
            "Undeliverable notifications that nobody received",
            sum(format!("max by (channel) ({}{{state=\"dead\"}})", OUTBOX_MESSAGES.name)),
        ),
        stat_panel(
            "Stores in memory",
            "Daemons whose disk is full and that keep new data in memory only",
            sum(STORE_MEMORY_FALLBACK.name.to_owned()),
        ),
    ]
}

fn session_panels() -> Vec<Panel> {
    let kinds = |kinds: &str| {
        leader_query(&SESSION_COUNTS, &format!("{{{TARGET_FILTER},kind=~\"{kinds}\"}}"), "target, kind")
    };
    let legend = "{{target}} {{kind}}";
    let lines =
        |title, about, shown: &str| time_series_panel(title, "short", about, vec![(kinds(shown), legend)]);
    vec![
        lines("Stored sessions", "Rows by state", "stored|active|expired|never_expiring"),
        lines("Active users", "Users with an active session", "users_active"),
        lines("Sessions per user", "Average and maximum", "per_user|max_per_user"),
        lines(
            "Anomalies",
            "Sessions that should not exist: shared, orphaned, reassigned, reappeared or undecodable",
            "duplicate_tokens|orphaned|reassigned|reappeared|undecodable",
        ),
        lines("New sessions", "Sessions created in the hour before the check run", "created_last_hour"),
        lines(
            "Changes",
            "Sessions created, extended and ended since the previous run",
            "created|extended|ended",
        ),
    ]
}

fn result_panels() -> Vec<Panel> {
    let words = [("passing", "green"), ("failing", "red")];
    vec![
        Panel {
            title: "Check results",
            description: "Result of each check in each run; gaps are unknown results",
            kind: PanelKind::StateTimeline(words),
            unit: "short",
            size: (GRID_COLUMNS, 10),
            queries: vec![(target_query(&CHECK_FAILING, "target, check"), "{{target}} {{check}}")],
        },
        Panel {
            title: "Firing alerts",
            description: "`sessionwatch alerts show TARGET CHECK` lists the affected users",
            kind: PanelKind::Table,
            unit: "short",
            size: (16, 8),
            queries: vec![(
                format!("max by (target, check, severity) ({}{{{TARGET_FILTER}}}) == 1", ALERT_FIRING.name),
                "",
            )],
        },
        time_series_panel(
            "Alerts by state",
            "short",
            "Alerts of all targets",
            vec![(format!("max by (state) ({})", ALERT_COUNTS.name), "{{state}}")],
        ),
    ]
}

fn check_run_panels() -> Vec<Panel> {
    let of_target = |metric: &MetricDesc| vec![(target_query(metric, "target"), "{{target}}")];
    let failed = format!("sum by (target) (increase({}{{{TARGET_FILTER}}}[1h]))", CHECK_RUN_FAILURES.name);
    let all = format!("sum by (target) (increase({}{{{TARGET_FILTER}}}[1h]))", CHECK_RUNS.name);
    let leader = format!("max by (target, instance) ({}{{{TARGET_FILTER}}})", TARGET_LEADER.name);
    let duration =
        |part: &str| format!("increase({}_{part}{{{TARGET_FILTER}}}[1h])", CHECK_RUN_DURATION.name);
    // Of increases and not of totals, so that old runs do not outweigh recent ones.
    let mean = format!("sum by (target) ({}) / sum by (target) ({})", duration("sum"), duration("count"));
    let slow = format!("histogram_quantile(0.95, sum by (target, le) ({}))", duration("bucket"));
    let words = [("standby", "transparent"), ("leader", "green")];
    vec![
        time_series_panel(
            "Check run duration",
            "s",
            "Mean and 95th percentile over the last hour, including the connection",
            vec![(mean, "{{target}}"), (slow, "{{target}} 95%")],
        ),
        time_series_panel(
            "Scheduler lag",
            "s",
            "Delay between the due time and the start of the last check run",
            of_target(&SCHEDULER_LAG),
        ),
        time_series_panel(
            "Time since last success",
            "s",
            "Age of the last successful check run",
            // Computed by Prometheus: an exposed age would stand still when the daemon hangs.
            vec![(format!("time() - {}", target_query(&LAST_SUCCESS, "target")), "{{target}}")],
        ),
        time_series_panel(
            "Replica lag",
            "s",
            "Only for targets that are checked on a replica",
            of_target(&REPLICA_LAG),
        ),
        time_series_panel(
            "Check runs per hour",
            "short",
            "All check runs, and failed ones",
            vec![(all, "{{target}}"), (failed, "{{target}} failed")],
        ),
        Panel {
            title: "Leaders",
            description: "The daemon that leads each target, if several share a store",
            kind: PanelKind::StateTimeline(words),
            unit: "short",
            size: (8, 8),
            queries: vec![(leader, "{{target}} {{instance}}")],
        },
    ]
}

fn delivery_panels() -> Vec<Panel> {
    vec![
        time_series_panel(
            "Outbox",
            "short",
            "Queued and undeliverable messages",
            vec![(format!("max by (channel, state) ({})", OUTBOX_MESSAGES.name), "{{channel}} {{state}}")],
        ),
        time_series_panel(
            "Delivery attempts per hour",
            "short",
            "Attempts by outcome",
            vec![(
                format!("sum by (channel, outcome) (increase({}[1h]))", DELIVERY_ATTEMPTS.name),
                "{{channel}} {{outcome}}",
            )],
        ),
        time_series_panel(
            "Store size",
            "bytes",
            "Size of the state store",
            vec![(format!("max by (instance) ({})", STORE_SIZE.name), "{{instance}}")],
        ),
    ]
}

impl Panel {
    fn to_json(&self, id: u32, place: &Value) -> Value {
        // Stats and tables show the present, and a range query would be wasted on them.
        let now = matches!(self.kind, PanelKind::Stat { .. } | PanelKind::Table);
        let asked = self.queries.iter().zip('A'..).map(|((expr, legend), letter)| {
            json!({
                "refId": letter.to_string(), "datasource": datasource_ref(), "editorMode": "code", "expr": expr,
                "legendFormat": legend, "instant": now, "range": !now,
                "format": if self.kind == PanelKind::Table { "table" } else { "time_series" },
            })
        });
        let mut model = json!({
            "id": id, "type": self.kind.panel_type(), "title": self.title,
            "description": self.description, "gridPos": place,
            "datasource": datasource_ref(), "targets": asked.collect::<Vec<_>>(),
            "fieldConfig": { "defaults": self.kind.field_defaults(self.unit), "overrides": [] },
            "options": self.kind.panel_options(),
        });
        if self.kind == PanelKind::Table {
            // Time and value say nothing in a list of firing alerts.
            let shown = json!({
                "excludeByName": { "Time": true, "Value": true }, "indexByName": {}, "renameByName": {},
            });
            model["transformations"] = json!([{ "id": "organize", "options": shown }]);
        }
        model
    }
}

impl PanelKind {
    /// Returns the panel type, as Grafana names it.
    const fn panel_type(self) -> &'static str {
        match self {
            Self::Stat { .. } => "stat",
            Self::TimeSeries => "timeseries",
            Self::StateTimeline(_) => "state-timeline",
            Self::Table => "table",
        }
    }

    fn field_defaults(self, unit: &str) -> Value {
        match self {
            Self::Stat { bad } => {
                let bad = bad.then(|| json!({ "color": "red", "value": 1 }));
                let steps: Vec<Value> =
                    [json!({ "color": "green", "value": null })].into_iter().chain(bad).collect();
                json!({
                    "unit": unit, "color": { "mode": "thresholds" }, "mappings": [],
                    "thresholds": { "mode": "absolute", "steps": steps },
                })
            }
            Self::TimeSeries => json!({
                "unit": unit, "min": 0, "color": { "mode": "palette-classic" }, "mappings": [],
                // Gaps stay visible, since a line across them would claim values that nobody measured.
                "custom": {
                    "drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never",
                    "spanNulls": false,
                },
            }),
            Self::StateTimeline([(no, pale), (yes, strong)]) => json!({
                "unit": unit, "color": { "mode": "thresholds" },
                "custom": { "fillOpacity": 70, "lineWidth": 0 },
                "thresholds": {
                    "mode": "absolute",
                    "steps": [{ "color": pale, "value": null }, { "color": strong, "value": 1 }],
                },
                "mappings": [{ "type": "value", "options": {
                    "0": { "text": no, "color": pale, "index": 0 }, "1": { "text": yes, "color": strong, "index": 1 },
                } }],
            }),
            Self::Table => json!({ "unit": unit, "custom": { "align": "auto" }, "mappings": [] }),
        }
    }

    fn panel_options(self) -> Value {
        let last = json!({ "calcs": ["lastNotNull"], "fields": "", "values": false });
        let legend = json!({ "displayMode": "list", "placement": "bottom", "showLegend": true });
        match self {
            Self::Stat { .. } => {
                json!({ "reduceOptions": last, "colorMode": "value", "graphMode": "none", "textMode": "auto" })
            }
            Self::TimeSeries => json!({ "legend": legend, "tooltip": { "mode": "multi", "sort": "desc" } }),
            Self::StateTimeline(_) => json!({
                "legend": legend, "tooltip": { "mode": "single" }, "mergeValues": true, "showValue": "auto",
                "alignValue": "left", "rowHeight": 0.9,
            }),
            Self::Table => json!({ "showHeader": true, "cellHeight": "sm", "footer": { "show": false } }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{
        super::tests::{foreign, metrics_of},
        *,
    };

    /// The built-in panel types that the dashboard uses.
    const TYPES: [&str; 5] = ["row", "stat", "timeseries", "state-timeline", "table"];

    fn panels() -> Vec<Value> {
        build_dashboard()["panels"].as_array().unwrap().clone()
    }

    /// Returns all strings in a document.
    fn texts(value: &Value) -> Vec<&str> {
        match value {
            Value::String(text) => vec![text],
            Value::Array(values) => values.iter().flat_map(texts).collect(),
            Value::Object(fields) => fields.values().flat_map(texts).collect(),
            _ => vec![],
        }
    }

    #[test]
    fn the_dashboard_has_the_documented_keys() {
        let dashboard = build_dashboard();
        let uid = dashboard["uid"].as_str().unwrap();
        assert!((8..=40).contains(&uid.len()), "{uid}");
        for (key, fits) in [
            ("title", dashboard["title"].is_string()),
            ("tags", dashboard["tags"].as_array().is_some_and(|tags| tags.iter().all(Value::is_string))),
            ("timezone", ["utc", "browser"].contains(&dashboard["timezone"].as_str().unwrap())),
            ("editable", dashboard["editable"].is_boolean()),
            ("graphTooltip", dashboard["graphTooltip"].as_u64().is_some_and(|mode| mode <= 2)),
            ("time", dashboard["time"]["from"].is_string() && dashboard["time"]["to"].is_string()),
            ("refresh", dashboard["refresh"].is_string()),
            ("schemaVersion", dashboard["schemaVersion"].is_u64()),
            ("annotations", dashboard["annotations"]["list"].is_array()),
        ] {
            assert!(fits, "{key}: {}", dashboard[key]);
        }
    }

    #[test]
    fn panels_have_unique_ids_and_do_not_overlap() {
        let mut taken = BTreeSet::new();
        let mut numbers = BTreeSet::new();
        for panel in panels() {
            assert!(numbers.insert(panel["id"].as_u64().unwrap()), "{panel}");
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
            assert!(w >= 1 && h >= 1 && x + w <= 24, "{panel}");
            for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(taken.insert(place), "{panel} lies on another at {place:?}");
            }
        }
    }

    #[test]
    fn every_panel_queries_existing_metrics_of_the_selected_source() {
        let mut shown = BTreeSet::new();
        for panel in panels() {
            let kind = panel["type"].as_str().unwrap();
            assert!(TYPES.contains(&kind) && panel["title"].is_string(), "{panel}");
            if kind == "row" {
                continue;
            }
            assert!(panel["fieldConfig"]["defaults"].is_object() && panel["options"].is_object(), "{panel}");
            let asked = panel["targets"].as_array().unwrap();
            assert!(!asked.is_empty(), "{panel}");
            for source in asked.iter().chain([&panel]).map(|from| &from["datasource"]) {
                assert_eq!(
                    (&source["type"], &source["uid"]),
                    (&"prometheus".into(), &"${datasource}".into())
                );
            }
            let letters: BTreeSet<&str> =
                asked.iter().map(|asked| asked["refId"].as_str().unwrap()).collect();
            assert_eq!(letters.len(), asked.len(), "{panel}");
            for expr in asked.iter().map(|asked| asked["expr"].as_str().unwrap()) {
                assert_eq!(foreign(expr), Vec::<String>::new(), "{expr}");
                shown.extend(metrics_of(expr));
            }
        }
        for metric in [
            SESSION_COUNTS,
            CHECK_FAILING,
            ALERT_FIRING,
            CHECK_RUN_DURATION,
            SCHEDULER_LAG,
            OUTBOX_MESSAGES,
            STORE_SIZE,
        ] {
            assert!(shown.iter().any(|series| metric.owns_series(series)), "{} is not shown", metric.name);
        }
    }

    #[test]
    fn every_variable_that_is_used_is_declared() {
        let dashboard = build_dashboard();
        let declared: Vec<&str> = dashboard["templating"]["list"]
            .as_array()
            .unwrap()
            .iter()
            .map(|variable| variable["name"].as_str().unwrap())
            .collect();
        let mut used = BTreeSet::new();
        for text in texts(&dashboard) {
            for rest in text.split('$').skip(1) {
                let rest = rest.trim_start_matches('{');
                let end = rest.find(|character: char| !character.is_alphanumeric() && character != '_');
                used.insert(rest[..end.unwrap_or(rest.len())].to_owned());
            }
        }
        // Grafana's own variables start with two underscores.
        used.retain(|name| !name.starts_with("__"));
        assert_eq!(used.iter().map(String::as_str).collect::<Vec<_>>(), declared);
    }
}
