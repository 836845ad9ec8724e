//! The logs page: log events, their correlation with sessions, and the state of log sources.

use std::sync::Arc;

use axum::extract::{Query, State};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;
use sessionwatch_app::app::{
    AppState, Period,
    logs::{self, LogEventQuery, LogSourceStatus},
};
use sessionwatch_core::{duration::DAY, source_activity::SourceStatus, timestamp::UtcTimestamp};

use super::{
    PageResult,
    layout::{self, PageHead},
    shell::Shell,
};

/// Most log events on a page.
const LOG_EVENT_PAGE_SIZE: u32 = 200;

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct LogEventFilter {
    #[serde(default)]
    target: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    token: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    bad: String,
}

pub(super) async fn show_logs(
    State(app): State<Arc<AppState>>,
    Query(wanted): Query<LogEventFilter>,
    shell: Shell,
) -> PageResult {
    let (config, now) = (app.config(), app.clock.now());
    let names: Vec<String> = config.targets.iter().map(|target| target.name.clone()).collect();
    let meant: Vec<String> =
        names.iter().filter(|name| wanted.target.is_empty() || **name == wanted.target).cloned().collect();
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let query = LogEventQuery {
        targets: meant,
        kind: some(&wanted.kind),
        token_prefix: some(&wanted.token),
        user: some(&wanted.user),
        only_warnings: !wanted.bad.is_empty(),
        period: Period { from: now - 30 * DAY, to: UtcTimestamp::MAX },
        before: None,
        limit: LOG_EVENT_PAGE_SIZE,
    };
    let mut found = logs::search_log_events(&app, query).await?;
    // The limit of the query applies to each target.
    found.truncate(LOG_EVENT_PAGE_SIZE as usize);
    let sources = logs::list_log_sources(&app).await?;
    let body = html! {
        (render_sources_section(&sources, now))
        section aria-labelledby="log-events" {
            h2 id="log-events" { "Log events" }
            form.filter method="get" action="/logs" {
                label { "Target" select name="target" { option value="" { "all" } @for name in &names { option value=(name) selected[*name == wanted.target] { (name) } } } }
                label { "Kind" input name="kind" value=(wanted.kind) maxlength="100"; }
                label { "Token prefix" input name="token" value=(wanted.token) maxlength="8"; }
                label { "User" input name="user" value=(wanted.user) maxlength="200"; }
                label.check { input type="checkbox" name="bad" value="yes" checked[!wanted.bad.is_empty()]; " Problems only" }
                button { "Show log events" }
            }
            @if found.is_empty() { p.empty { "No matching log events in the last 30 days." } }
            @else {
                div.wide tabindex="0" role="group" aria-label="Table" { table {
                    thead { tr { th scope="col" { "Time" } th scope="col" { "Event" } th scope="col" { "Severity" } th scope="col" { "Token" } th scope="col" { "User ID" } th scope="col" { "Match" } th scope="col" { "Reason" } } }
                    tbody { @for signal in &found { tr {
                        td { (layout::render_relative_time(signal.at.unwrap_or(signal.read_at), now)) }
                        td { (signal.kind) }
                        td { @if let Some(severity) = &signal.severity { (layout::render_severity_badge(severity)) } }
                        td { @if let Some(prefix) = &signal.token_prefix { code { (layout::sanitize_text(prefix)) "…" } } }
                        td { (layout::sanitize_text(signal.user.as_deref().unwrap_or_default())) @if let Some(other) = &signal.other_user { ", " (layout::sanitize_text(other)) } }
                        td { (signal.match_kind.as_deref().unwrap_or("–")) }
                        td { (layout::sanitize_text(signal.reason.as_deref().unwrap_or_default())) }
                    } } }
                } }
            }
        }
    };
    Ok(layout::render_page(&shell, PageHead { title: "Logs", path: "/logs", live: true }, &body))
}

/// Renders the state of each log source.
fn render_sources_section(sources: &[LogSourceStatus], now: UtcTimestamp) -> Markup {
    html! {
        section aria-labelledby="sources" {
            h2 id="sources" { "Log sources" }
            @if sources.is_empty() {
                p.empty { "No log sources configured. Add " code { "[[logs]]" } " to the configuration to read files, log drains or syslog." }
            } @else {
                div.wide tabindex="0" role="group" aria-label="Table" { table {
                    thead { tr { th scope="col" { "Source" } th scope="col" { "Target" } th scope="col" { "Last line" } th scope="col" { "Activity" } th scope="col" { "Lines" } } }
                    tbody { @for status in sources { (render_source_row(status, now)) } }
                } }
            }
        }
    }
}

fn render_source_row(status: &LogSourceStatus, now: UtcTimestamp) -> Markup {
    let LogSourceStatus { config: source, record: kept } = status;
    let (state, label) = match kept.activity.status_at(kept.last_line_at, now, source.idle_after) {
        SourceStatus::NeverActive => ("unknown", "no lines yet"),
        SourceStatus::Normal => ("passing", "normal"),
        SourceStatus::Idle => ("failing", "idle"),
    };
    let lines = kept.counters.get("lines").and_then(Value::as_u64).unwrap_or(0);
    html! {
        tr {
            td { (source.name) } td { (source.target) }
            td { @if let Some(at) = kept.last_line_at { (layout::render_relative_time(at, now)) } @else { "–" } }
            td { (layout::render_status_badge(state)) " " (label) }
            td.number { (lines) }
        }
    }
}

#[cfg(test)]
mod tests;
