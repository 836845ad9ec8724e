//! Pages of a target, its checks and its diagnostics.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;
use sessionwatch_app::{
    app::{
        AppError, AppState,
        accounts::AccountRole,
        alerts::{AlertRecord, AlertRef, EventRecord},
        login_sessions::CurrentUser,
        silences::SilenceRecord,
        targets::{self, DiagnosticLevel, TargetStatus, severity_rank},
    },
    checks,
    config::{Config, Target},
};
use sessionwatch_clock as clock;
use sessionwatch_core::{alert::AlertState as Alerting, timestamp::UtcTimestamp};

use super::{
    PageResult,
    chart::{Chart, ChartLimit, ChartSeries},
    chart_range::ChartRange,
    components::Card,
    layout::{self, PageHead},
    shell::Shell,
};

/// Parameters of the page.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TargetQuery {
    range: ChartRange,
}

pub(super) async fn show_target(
    State(app): State<Arc<AppState>>,
    Path(name): Path<String>,
    Query(asked): Query<TargetQuery>,
    shell: Shell,
) -> PageResult {
    let (config, now) = (app.config(), app.clock.now());
    let target = app.target(&name)?;
    let period = asked.range.period(now);
    let known = targets::load_target_status(&app, &name, period).await?;
    let base = format!("/targets/{}", layout::percent_encode(&target.name));
    let body = html! {
        p { (layout::render_status_badge(known.state())) " "
            @if let Some(report) = &known.report { "last check " (layout::render_relative_time(report.at, now)) }
            @else { "not checked yet" }
        }
        p.links {
            a href={ (base) "/sessions" } { "Sessions" } a href={ (base) "/report" } { "Checklist" }
            a href={ "/logs?target=" (layout::percent_encode(&target.name)) } { "Logs" }
        }
        (render_charts(&config, &known, asked.range, &base, now))
        (render_checks_table(&known, &base, now))
        (render_target_facts(&app, &target, &known, now))
    };
    Ok(layout::render_page(
        &shell,
        PageHead { title: &target.name, path: "/targets", live: asked.range.is_live() },
        &body,
    ))
}

/// Renders the gauges of a target over a period.
fn render_charts(
    config: &Config,
    status: &TargetStatus,
    range: ChartRange,
    path: &str,
    now: UtcTimestamp,
) -> Markup {
    let thresholds = &config.checks.thresholds;
    #[expect(clippy::cast_precision_loss, reason = "a line in a picture")]
    let limit = |label: &'static str, value: Option<u64>| {
        value.map(|value| ChartLimit { label, value: value as f64 }).into_iter()
    };
    let per_user = ChartLimit { label: "Fails above", value: thresholds.sessions_per_user.max };
    let gauges = [
        (
            "Active sessions",
            "active",
            limit("Fails above", thresholds.active_sessions.max)
                .chain(limit("Fails below", thresholds.active_sessions.min))
                .collect(),
        ),
        ("Expired sessions", "expired", limit("Fails above", thresholds.expired_backlog.max).collect()),
        (
            "New sessions, last hour",
            "created_last_hour",
            limit("Fails above", thresholds.creation_rate.max).collect(),
        ),
        ("Sessions per user", "per_user", vec![per_user]),
    ];
    html! {
        div.row.between { h2.h2 { "Over time" } (range.render_switch(path)) }
        div.grid-2 {
            @for (title, gauge, limits) in gauges {
                @let chart = Chart {
                    period: range.period(now),
                    line: ChartSeries { label: title, points: status.gauge_series(gauge) },
                    bars: None,
                    limits,
                    firing: vec![],
                    markers: vec![],
                };
                (Card { id: gauge, title, note: "", end: html! {}, body: chart.render() }.render())
            }
        }
    }
}

fn render_checks_table(status: &TargetStatus, base: &str, now: UtcTimestamp) -> Markup {
    html! {
        section aria-labelledby="checks" {
            h2 id="checks" { "Checks" }
            @if status.alerts.is_empty() { p.empty { "No check results yet." } }
            @else {
                div.wide tabindex="0" role="group" aria-label="Table" { table {
                    thead { tr { th scope="col" { "Check" } th scope="col" { "Result" } th scope="col" { "Severity" } th scope="col" { "Summary" } th scope="col" { "Updated" } } }
                    tbody {
                        @for kept in &status.alerts {
                            tr {
                                td { a href={ (base) "/checks/" (layout::percent_encode(&kept.check)) } { (kept.check) } }
                                td { (layout::render_status_badge(check_status(kept))) }
                                td { (layout::render_severity_badge(&kept.severity)) }
                                td { (layout::sanitize_text(&kept.summary)) }
                                td { (layout::render_relative_time(kept.updated_at, now)) }
                            }
                        }
                    }
                } }
            }
        }
    }
}

/// Returns the state of a check's badge.
fn check_status(record: &AlertRecord) -> &str {
    match (&record.alert.state, record.verdict.as_deref()) {
        (Alerting::Firing { .. }, _) if record.acknowledged_by.is_some() => "acknowledged",
        // An alert keeps firing while its check is unknown, but the badge must not claim a current failure.
        (_, Some("unknown")) => "unknown",
        (Alerting::Firing { .. }, _) => "failing",
        (Alerting::Pending { .. }, _) => "pending",
        (Alerting::Resolved, verdict) => verdict.unwrap_or("unknown"),
    }
}

/// Formats the duration of the last run.
fn format_last_duration(report: Option<&Value>) -> String {
    let number = |key: &str| report.and_then(|report| report[key].as_f64());
    let took = number("duration_ms").map(|ms| format!("{ms:.0} ms"));
    took.unwrap_or_else(|| "unknown".into())
}

pub(super) async fn show_check_query(
    State(app): State<Arc<AppState>>,
    Path((name, check)): Path<(String, String)>,
    shell: Shell,
) -> PageResult {
    let query =
        targets::render_check_query(&app, &AlertRef { target: name.clone(), check: check.clone() }).await?;
    let back =
        format!("/targets/{}/checks/{}", layout::percent_encode(&name), layout::percent_encode(&check));
    let body = html! {
        p { "The query behind " a href=(back) { (check) } " on " (name) ", ready to paste into psql or sqlite3. It returns token prefixes only." }
        pre.draft tabindex="0" { (query) ";" }
    };
    Ok(layout::render_page(&shell, PageHead { title: "Check query", path: "/targets", live: false }, &body))
}

pub(super) async fn show_doctor(
    State(app): State<Arc<AppState>>,
    Path(name): Path<String>,
    shell: Shell,
) -> PageResult {
    let mut findings = targets::run_doctor(&app, &name).await?;
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    let state = |level: DiagnosticLevel| match level {
        DiagnosticLevel::Pass => "passing",
        DiagnosticLevel::Warn => "warn",
        DiagnosticLevel::Fail => "failing",
    };
    let body = html! {
        p { "Schema, role, TLS and clock of " a href={ "/targets/" (layout::percent_encode(&name)) } { (name) } ", with SQL to fix problems." }
        ul.list { @for finding in &findings { li {
            (layout::render_status_badge(state(finding.level))) " " strong { (finding.id) } ": " (layout::sanitize_text(&finding.summary))
            @if let Some(fix) = &finding.fix { pre.draft tabindex="0" { (layout::sanitize_lines(fix)) } }
        } } }
    };
    Ok(layout::render_page(
        &shell,
        PageHead { title: &format!("Doctor: {name}"), path: "/targets", live: false },
        &body,
    ))
}

/// Renders how a target is monitored.
fn render_target_facts(app: &AppState, target: &Target, status: &TargetStatus, now: UtcTimestamp) -> Markup {
    let (report, next) = (status.report_document(), app.next_run_at(&target.name));
    let text = |key: &str| report.and_then(|report| report[key].as_str()).unwrap_or("unknown").to_owned();
    let schedule = targets::describe_schedule(app, target);
    html! {
        section aria-labelledby="monitoring" {
            h2 id="monitoring" { "Monitoring" }
            dl.facts {
                dt { "Address" } dd { code { (target.address.to_string()) } }
                dt { "Table" } dd { (layout::sanitize_text(&text("table"))) }
                dt { "Profile" } dd { (text("profile")) }
                dt { "Engine" } dd { (text("engine")) }
                dt { "Database clock" } dd { (text("checked_at")) }
                @for line in &schedule { dt { "Schedule" } dd { (line) } }
                dt { "Next check" } dd { @match next { Some(at) if at > now => (layout::render_relative_time(at, now)), Some(_) => "now", None => "handled by another instance" } }
                dt { "Last run duration" } dd { (format_last_duration(report)) }
            }
            @if let Some(notes) = report.and_then(|report| report["notes"].as_array()).filter(|notes| !notes.is_empty()) {
                h3 { "Notes" }
                ul.list { @for note in notes { li { (layout::sanitize_text(note.as_str().unwrap_or_default())) } } }
            }
            p.links { a href={ "/targets/" (layout::percent_encode(&target.name)) "/doctor" } { "Run doctor" } }
        }
    }
}

pub(super) async fn show_check(
    State(app): State<Arc<AppState>>,
    Path((name, check)): Path<(String, String)>,
    shell: Shell,
) -> PageResult {
    let person = shell.user.clone();
    let now = app.clock.now();
    let target = app.target(&name)?;
    let details = targets::find_check(&app, AlertRef { target: name.clone(), check: check.clone() }).await?;
    let Some(details) = details else {
        return Err(AppError::NotFound(format!("Check “{check}” on target “{name}” not found.")).into());
    };
    let (kept, finding) = (&details.alert, &details.finding);
    let body = html! {
        p { (layout::render_status_badge(check_status(kept))) " " (layout::render_severity_badge(&kept.severity)) " on " a href={ "/targets/" (layout::percent_encode(&target.name)) } { (target.name) } }
        p.lead { (layout::sanitize_text(&kept.summary)) }
        @if !finding.is_null() { (render_finding(&target, finding)) }
        (render_alert_actions(&person, kept, &details.silences, now))
        @if matches!(kept.alert.state, Alerting::Firing { .. }) && severity_rank(&kept.severity) >= 2 && person.role >= AccountRole::Responder {
            section aria-labelledby="incident" {
                h2 id="incident" { "Is this an incident?" }
                p { "An incident guides you step by step: confirm, freeze the evidence, revoke sessions, verify, notify users." }
                (super::incidents::render_open_form(&person, std::slice::from_ref(&name)))
            }
        }
        (render_history(&details.history, now))
        (render_documentation(&target, &check))
    };
    Ok(layout::render_page(&shell, PageHead { title: &check, path: "/targets", live: true }, &body))
}

/// Formats an instant of a JSON document in the format of all pages.
fn format_timestamp(document: &Value, key: &str) -> String {
    let text = document[key].as_str().unwrap_or_default();
    clock::parse_rfc3339(text).map_or_else(|| layout::sanitize_text(text), clock::format_utc)
}

/// Renders the finding of a failing check, with its evidence.
fn render_finding(target: &Target, finding: &Value) -> Markup {
    let text = |row: &Value, key: &str| row[key].as_str().map(layout::sanitize_text).unwrap_or_default();
    let rows = finding["evidence"].as_array().cloned().unwrap_or_default();
    let signals = finding["log_events"].as_array().cloned().unwrap_or_default();
    let base = format!("/targets/{}", layout::percent_encode(&target.name));
    // Evidence from logs counts no rows.
    let counts_rows = rows.iter().any(|row| row["rows"].as_u64().is_some_and(|count| count > 0));
    html! {
        dl.facts {
            dt { "Value" } dd { (finding["value"].as_f64().map_or("–".to_owned(), super::format::format_amount)) }
            dt { "Threshold" } dd { (text(finding, "threshold")) }
            dt { "What to do" } dd { (text(finding, "action")) }
        }
        @if !rows.is_empty() {
            h2 { "Evidence" }
            div.wide tabindex="0" role="group" aria-label="Table" { table {
                thead { tr { th scope="col" { "Token" } th scope="col" { "User ID" } th scope="col" { "Expires" } @if counts_rows { th scope="col" { "Rows" } } th scope="col" { "User" } } }
                tbody { @for row in &rows { tr {
                    td { @if row["token_prefix"].is_string() { code { (text(row, "token_prefix")) "…" } } }
                    td { @if let Some(user) = row["user"].as_str() { a href={ (base) "/users/" (layout::percent_encode(user)) } { (layout::sanitize_text(user)) } } }
                    td { (format_timestamp(row, "expires_at")) }
                    @if counts_rows { td.number { (row["rows"].as_u64().unwrap_or(0)) } }
                    td { @for name in row["display"].as_array().into_iter().flatten() { (layout::sanitize_text(name.as_str().unwrap_or_default())) " " } }
                } } }
            } }
            @if let Some(cut) = sessionwatch_app::report::truncation_note(finding["evidence_total"].as_u64(), rows.len()) { p.dim { (cut) "." } }
        }
        @if !signals.is_empty() {
            h2 { "Log events" }
            ul.list { @for signal in &signals { li {
                (format_timestamp(signal, "recorded_at")) " " (text(signal, "source")) " "
                @if signal["match_kind"].is_string() { span.tag { (text(signal, "match_kind")) } " " }
                code { (text(signal, "text")) }
            } } }
        }
    }
}

/// Renders silences and acknowledgment of an alert, and the forms that the user's role allows.
fn render_alert_actions(
    person: &CurrentUser,
    record: &AlertRecord,
    silences: &[SilenceRecord],
    now: UtcTimestamp,
) -> Markup {
    let fires = matches!(record.alert.state, Alerting::Firing { .. });
    let back = format!(
        "/targets/{}/checks/{}",
        layout::percent_encode(&record.target),
        layout::percent_encode(&record.check)
    );
    let hidden = html! {
        (layout::render_csrf_field(person))
        input type="hidden" name="target" value=(record.target);
        input type="hidden" name="check" value=(record.check);
        input type="hidden" name="back" value=(back);
    };
    html! {
        @for silence in silences {
            p.notice { (layout::render_status_badge("silenced")) " until " (clock::format_utc(silence.ends_at)) " by " (layout::sanitize_text(&silence.created_by)) ": " (layout::sanitize_text(&silence.note)) }
        }
        @if let Some(owner) = &record.acknowledged_by {
            p.notice { "Acknowledged by " (layout::sanitize_text(owner)) @if let Some(note) = &record.note { ": " (layout::sanitize_text(note)) } ", " (layout::render_relative_time(record.updated_at, now)) }
        }
        @if person.role >= AccountRole::Responder {
            div.actions {
                @if fires {
                    form method="post" action="/alerts/acknowledge" { (hidden) label { "Note" input name="note" maxlength="500"; } button { "Acknowledge" } }
                    form method="post" action="/alerts/resolve" { (hidden) label { "Reason" input name="note" maxlength="500"; } button.quiet { "Resolve" } }
                }
                form method="post" action="/alerts/comment" { (hidden) label { "Comment" input name="note" required maxlength="500"; } button.quiet { "Add comment" } }
                form method="post" action="/silences" {
                    (hidden)
                    label { "Reason" input name="note" required maxlength="500"; }
                    label { "Duration" select name="minutes" { option value="60" { "1 hour" } option value="480" { "8 hours" } option value="1440" { "1 day" } option value="10080" { "1 week" } } }
                    button.quiet { "Silence" }
                }
            }
        }
    }
}

fn render_history(events: &[EventRecord], now: UtcTimestamp) -> Markup {
    html! {
        section aria-labelledby="history" {
            h2 id="history" { "History" }
            @if events.is_empty() { p.empty { "No history yet." } }
            @else { ul.list { @for event in events.iter().rev() { li { (layout::render_relative_time(event.at, now)) " " span.tag { (event.kind) } " " (layout::sanitize_text(&event.summary)) } } } }
        }
    }
}

/// Renders the documentation of a check.
fn render_documentation(target: &Target, check: &str) -> Markup {
    let query = checks::TABLE_CHECKS.iter().any(|one| one.id == check);
    html! {
        @if let Some(page) = checks::find_documentation(check) {
            section.documentation aria-labelledby="about" {
                h2 id="about" { "About this check" }
                @if query {
                    p.links { a href={ "/targets/" (layout::percent_encode(&target.name)) "/checks/" (layout::percent_encode(check)) "/query" } { "Show query" } }
                }
                (layout::render_markdown(page))
            }
        }
    }
}

#[cfg(test)]
mod tests;
