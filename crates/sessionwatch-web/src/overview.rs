//! The overview: problems, key figures and activity of all targets.

mod activity;
mod attention;
mod figures;

use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};
use serde::Deserialize;
use sessionwatch_app::{
    app::{
        AppState,
        alerts::AlertRecord,
        silences::SilenceRecord,
        targets::{self, Overview, TargetStatus},
    },
    config::Target,
};
use sessionwatch_core::plural::format_count;

pub(super) use self::{
    activity::{chart_markers, event_look, render_activity},
    attention::AttentionList,
    figures::render_figures,
};

use self::figures::sum_gauges;
use super::{
    chart::{Chart, ChartLimit, ChartSeries},
    chart_range::ChartRange,
    components::{Card, Column, DataTable, EmptyState, Icon, PageHeader, render_state_pill},
    firing_alerts::FiringAlerts,
    format::{format_amount, percent_encode, render_relative_time},
    params::PageQuery,
    shell::{NavSection, PageHead, Shell},
    unknown_callout::{describe_unknown_targets, render_unknown_callout},
    web_error::PageResult,
};

/// Parameters of the page.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OverviewQuery {
    range: ChartRange,
}

/// A target and its status.
#[derive(Clone, Copy, Debug)]
pub(super) struct TargetRow<'a> {
    pub(super) target: &'a Target,
    pub(super) status: &'a TargetStatus,
}

pub(super) async fn show_overview(
    State(app): State<Arc<AppState>>,
    PageQuery(query): PageQuery<OverviewQuery>,
    shell: Shell,
) -> PageResult {
    let config = app.config();
    let overview = targets::load_overview(&app, query.range.period(shell.now)).await?;
    let rows: Vec<TargetRow<'_>> = config
        .targets
        .iter()
        .zip(&overview.statuses)
        .map(|(target, status)| TargetRow { target, status })
        .collect();
    let firing: Vec<&AlertRecord> = rows.iter().flat_map(|row| row.status.firing_alerts()).collect();
    let attention = AttentionList {
        shell: &shell,
        firing: &firing,
        silences: &overview.silences,
        back: "/",
        has_primary: true,
    };
    let body = html! {
        (render_headline(&rows, &overview.silences))
        @if rows.is_empty() { (render_no_targets()) }
        @else {
            (attention.render())
            @for row in &rows { (render_unknown_callout(&row.target.name, row.status)) }
            (render_figures(&rows, &overview, &firing))
            div.cols.cols-even {
                (render_chart(&overview, &rows, query.range, &config.checks.thresholds, &shell))
                (render_activity(&overview.activity, shell.now))
            }
            (render_target_table(&rows, &shell))
        }
    };
    let page = PageHead {
        title: "Overview",
        section: NavSection::Overview,
        target: None,
        live: query.range.is_live(),
    };
    Ok(shell.render_page(page, &body))
}

/// Renders the state of all targets in one sentence, and the details in a second one.
fn render_headline(rows: &[TargetRow<'_>], silences: &[SilenceRecord]) -> Markup {
    let firing = FiringAlerts::sort(rows.iter().flat_map(|row| row.status.firing_alerts()), silences);
    let open = firing.open.len() as u64;
    let with_state = |state: &str| -> Vec<&str> {
        let some = rows.iter().filter(|row| row.status.state() == state);
        some.map(|row| row.target.name.as_str()).collect()
    };
    let (unknown, pending) = (with_state("unknown"), with_state("pending"));
    // One target is named, more are counted.
    let targets = |some: &[&str]| match some {
        [name] => (*name).to_owned(),
        _ => targets_text(some.len() as u64),
    };
    let headline = if rows.is_empty() {
        "No targets yet".to_owned()
    } else if open > 0 {
        format!("{} attention", format_count(open, "problem needs", "problems need"))
    } else if !unknown.is_empty() {
        describe_unknown_targets(&unknown)
    } else if !pending.is_empty() {
        format!("{} may have a problem", targets(&pending))
    } else if let Some(handled) = firing.describe_handled("problem", "problems") {
        handled
    } else if let [row] = rows {
        format!("{} is healthy", row.target.name)
    } else {
        format!("All {} are healthy", targets_text(rows.len() as u64))
    };
    let lead = html! {
        @if open > 0 && rows.len() > 1 { (render_problem_targets(rows, silences)) " " }
        @if let Some(handled) = firing.describe_handled("more problem", "more problems").filter(|_| open > 0) {
            (handled) ". "
        }
        @if open > 0 && !unknown.is_empty() { (describe_unknown_targets(&unknown)) ". " }
        @if !rows.is_empty() && open == 0 && unknown.is_empty() {
            @if !pending.is_empty() {
                "A check failed for the first time. "
                "It is confirmed by the next runs before anybody is notified."
            } @else if firing.all().is_empty() { "No check fails." }
        }
    };
    PageHeader { headline: &headline, lead, ..PageHeader::default() }.render()
}

/// Renders which targets have problems, and which are healthy.
fn render_problem_targets(rows: &[TargetRow<'_>], silences: &[SilenceRecord]) -> Markup {
    let healthy: Vec<&str> = rows
        .iter()
        .filter(|row| row.status.state() == "passing")
        .map(|row| row.target.name.as_str())
        .collect();
    let with_problems = rows.iter().filter_map(|row| {
        let open = FiringAlerts::sort(row.status.firing_alerts(), silences).open.len() as u64;
        (open > 0).then(|| format!("{} has {}", row.target.name, format_count(open, "problem", "problems")))
    });
    let with_problems: Vec<String> = with_problems.collect();
    html! {
        b { (with_problems.join(", ")) "." }
        @match healthy.as_slice() {
            [] => {}
            [one] => { " " (one) " is healthy." }
            [first, second] => { " " (first) " and " (second) " are healthy." }
            more => { " " (targets_text(more.len() as u64)) " are healthy." }
        }
    }
}

fn targets_text(count: u64) -> String {
    format_count(count, "target", "targets")
}

fn render_no_targets() -> Markup {
    let state = EmptyState {
        icon: Icon::Database,
        title: "No database is monitored yet",
        text: html! {
            "Run " code { "sessionwatch init URL" } " to create a configuration. "
            "It finds the session table and shows what it found."
        },
        action: html! {},
    };
    html! { section.card { (state.render()) } }
}

fn render_chart(
    overview: &Overview,
    rows: &[TargetRow<'_>],
    range: ChartRange,
    thresholds: &sessionwatch_core::checks::CheckThresholds,
    shell: &Shell,
) -> Markup {
    let samples: Vec<_> = overview.chart_samples.iter().map(Vec::as_slice).collect();
    let series = |gauge: &str| sum_gauges(&samples, gauge);
    let bars = series("created_last_hour");
    // A limit holds for one target, and says nothing about a sum.
    #[expect(clippy::cast_precision_loss, reason = "a line in a picture")]
    let limit = thresholds.active_sessions.max.filter(|_| rows.len() == 1).map(|value| value as f64);
    let chart = Chart {
        period: range.period(shell.now),
        line: ChartSeries { label: "Active sessions", points: series("active") },
        bars: bars
            .iter()
            .any(|(_, value)| value.is_some())
            .then_some(ChartSeries { label: "New sessions per hour", points: bars }),
        limits: limit.map(|value| ChartLimit { label: "Fails above", value }).into_iter().collect(),
        firing: vec![],
        markers: chart_markers(&overview.activity, range.period(shell.now)),
    };
    let note = if rows.len() == 1 { "" } else { "all targets" };
    Card { id: "chart", title: "Active sessions", note, end: range.render_switch("/"), body: chart.render() }
        .render()
}

fn render_target_table(rows: &[TargetRow<'_>], shell: &Shell) -> Markup {
    const TARGET_COLUMNS: [Column<'_>; 7] = [
        Column::text("Target"),
        Column::text("State"),
        Column::fill("Profile"),
        Column::number("Active sessions"),
        Column::number("Users"),
        Column::number("Failing checks"),
        Column::number("Last check"),
    ];
    let figure = |row: &TargetRow<'_>, key: &str| {
        row.status.latest_figure(key, key).map_or_else(|| "–".to_owned(), format_amount)
    };
    let table_rows = html! {
        @for row in rows {
            tr {
                td.first { a href={ "/targets/" (percent_encode(&row.target.name)) } { (row.target.name) } }
                td.up { (render_state_pill(row.status.state())) }
                td.fill.hide-s { (row.status.report_text("profile").unwrap_or("–")) }
                td.num data-l="Active" { (figure(row, "active")) }
                td.num.hide-s { (figure(row, "users_active")) }
                td.num.hide-s { (row.status.firing_alerts().len()) }
                td.num {
                    @match &row.status.report {
                        Some(report) => (render_relative_time(report.at, shell.now)),
                        None => "never",
                    }
                }
            }
        }
    };
    let body =
        DataTable { label: "Targets", class: "table-cards", columns: &TARGET_COLUMNS, rows: table_rows }
            .render();
    Card { id: "target-table", title: "Targets", note: &rows.len().to_string(), end: html! {}, body }.render()
}

#[cfg(test)]
mod tests;
