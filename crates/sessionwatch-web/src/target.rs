//! A target, and its checks.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use jiff::SignedDuration;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;
use sessionwatch_app::{
    app::{
        AppError, AppState, Period,
        accounts::AccountRole,
        alerts::{AlertRecord, AlertRef, EventRecord},
        login_sessions::CurrentUser,
        silences::SilenceRecord,
        targets::{self, DiagnosticLevel, TargetStatus, severity_rank},
    },
    checks,
    config::Target,
};
use sessionwatch_clock as clock;
use sessionwatch_core::{alert::AlertState as Alerting, timestamp::UtcTimestamp};

use super::{
    PageResult,
    auth::LoggedIn,
    layout::{self, PageHead},
    overview,
};

/// How far back.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct ChartPeriodQuery {
    hours: Option<i64>,
}

pub(super) async fn show_target(
    State(app): State<Arc<AppState>>,
    Path(name): Path<String>,
    Query(asked): Query<ChartPeriodQuery>,
    LoggedIn(person): LoggedIn,
) -> PageResult {
    let (config, now) = (app.config(), app.clock.now());
    let target = app.target(&name)?;
    let hours = asked.hours.unwrap_or(24).clamp(1, 24 * 400);
    let known =
        targets::load_target_status(&app, &name, Period::ending_at(now, SignedDuration::from_hours(hours)))
            .await?;
    let period = Period { from: now - SignedDuration::from_hours(hours), to: now };
    let base = format!("/targets/{}", layout::percent_encode(&target.name));
    let body = html! {
        p { (layout::render_status_badge(known.state())) " "
            @if let Some(report) = &known.report { "looked at " (layout::render_relative_time(report.at, now)) }
            @else { "not looked at yet" }
        }
        p.links {
            a href={ (base) "/sessions" } { "Sessions" } a href={ (base) "/report" } { "Checklist" }
            a href={ "/logs?target=" (layout::percent_encode(&target.name)) } { "Logs" }
        }
        nav.periods aria-label="Period" {
            @for (label, span) in [("a day", 24), ("a week", 168), ("30 days", 720), ("a year", 8_760)] {
                a href={ (base) "?hours=" (span) } aria-current=[(span == hours).then_some("true")] { (label) }
            }
        }
        div.charts { (overview::render_charts(&config, &known, period)) }
        (render_checks_table(&known, &base, now))
        (render_target_facts(&app, &target, &known, now))
    };
    Ok(layout::render_page(
        &person,
        PageHead { title: &target.name, path: "/targets", live: hours <= 24 },
        &body,
    ))
}

fn render_checks_table(status: &TargetStatus, base: &str, now: UtcTimestamp) -> Markup {
    html! {
        section aria-labelledby="checks" {
            h2 id="checks" { "Checks" }
            @if status.alerts.is_empty() { p.empty { "Checks are listed after the first look." } }
            @else {
                div.wide tabindex="0" role="group" aria-label="Table" { table {
                    thead { tr { th scope="col" { "check" } th scope="col" { "result" } th scope="col" { "severity" } th scope="col" { "what was found" } th scope="col" { "changed" } } }
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

/// How a check stands, in a word.
fn check_status(record: &AlertRecord) -> &str {
    match (&record.alert.state, record.verdict.as_deref()) {
        (Alerting::Firing { .. }, _) if record.acknowledged_by.is_some() => "acknowledged",
        (_, Some("unknown")) => "unknown",
        (Alerting::Firing { .. }, _) => "failing",
        (Alerting::Pending { .. }, _) => "pending",
        (Alerting::Resolved, verdict) => verdict.unwrap_or("unknown"),
    }
}

/// What a look cost the database.
fn format_last_duration(report: Option<&Value>) -> String {
    let number = |key: &str| report.and_then(|report| report[key].as_f64());
    let took = number("duration_ms").map(|ms| format!("{ms:.0} ms"));
    took.unwrap_or_else(|| "not known".into())
}

pub(super) async fn show_check_query(
    State(app): State<Arc<AppState>>,
    Path((name, check)): Path<(String, String)>,
    LoggedIn(person): LoggedIn,
) -> PageResult {
    let query =
        targets::render_check_query(&app, &AlertRef { target: name.clone(), check: check.clone() }).await?;
    let back =
        format!("/targets/{}/checks/{}", layout::percent_encode(&name), layout::percent_encode(&check));
    let body = html! {
        p { "What shows whether " a href=(back) { (check) } " finds something on " (name) ", to paste into psql or sqlite3. It gives prefixes of tokens only." }
        pre.draft tabindex="0" { (query) ";" }
    };
    Ok(layout::render_page(&person, PageHead { title: "The query", path: "/targets", live: false }, &body))
}

pub(super) async fn show_doctor(
    State(app): State<Arc<AppState>>,
    Path(name): Path<String>,
    LoggedIn(person): LoggedIn,
) -> PageResult {
    let mut findings = targets::run_doctor(&app, &name).await?;
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    let state = |level: DiagnosticLevel| match level {
        DiagnosticLevel::Pass => "passing",
        DiagnosticLevel::Warn => "warn",
        DiagnosticLevel::Fail => "failing",
    };
    let body = html! {
        p { "What keeps the sessions of " a href={ "/targets/" (layout::percent_encode(&name)) } { (name) } " from being safe, or the watch from seeing them." }
        ul.list { @for finding in &findings { li {
            (layout::render_status_badge(state(finding.level))) " " strong { (finding.id) } ": " (layout::sanitize_text(&finding.summary))
            @if let Some(fix) = &finding.fix { pre.draft tabindex="0" { (layout::sanitize_lines(fix)) } }
        } } }
    };
    Ok(layout::render_page(
        &person,
        PageHead { title: &format!("Examination of {name}"), path: "/targets", live: false },
        &body,
    ))
}

/// How a target is looked at.
fn render_target_facts(app: &AppState, target: &Target, status: &TargetStatus, now: UtcTimestamp) -> Markup {
    let (report, next) = (status.report_document(), app.next_run_at(&target.name));
    let text = |key: &str| report.and_then(|report| report[key].as_str()).unwrap_or("not known").to_owned();
    let schedule = targets::describe_schedule(app, target);
    html! {
        section aria-labelledby="how" {
            h2 id="how" { "How it is looked at" }
            dl.facts {
                dt { "Address" } dd { code { (target.address.to_string()) } }
                dt { "Table" } dd { (layout::sanitize_text(&text("table"))) }
                dt { "Profile" } dd { (text("profile")) }
                dt { "Engine" } dd { (text("engine")) }
                dt { "Database clock" } dd { (text("checked_at")) }
                @for line in &schedule { dt { "Schedule" } dd { (line) } }
                dt { "Next look" } dd { @match next { Some(at) if at > now => (layout::render_relative_time(at, now)), Some(_) => "now", None => "by another watch" } }
                dt { "Cost of the last look" } dd { (format_last_duration(report)) }
            }
            @if let Some(notes) = report.and_then(|report| report["notes"].as_array()).filter(|notes| !notes.is_empty()) {
                h3 { "To know about this target" }
                ul.list { @for note in notes { li { (layout::sanitize_text(note.as_str().unwrap_or_default())) } } }
            }
            p.links { a href={ "/targets/" (layout::percent_encode(&target.name)) "/doctor" } { "Examine schema, role, TLS and clock" } }
        }
    }
}

pub(super) async fn show_check(
    State(app): State<Arc<AppState>>,
    Path((name, check)): Path<(String, String)>,
    LoggedIn(person): LoggedIn,
) -> PageResult {
    let now = app.clock.now();
    let target = app.target(&name)?;
    let details = targets::find_check(&app, AlertRef { target: name.clone(), check: check.clone() }).await?;
    let Some(details) = details else {
        return Err(AppError::NotFound(format!("Nothing is known of a check “{check}” on “{name}”.")).into());
    };
    let (kept, finding) = (&details.alert, &details.finding);
    let body = html! {
        p { (layout::render_status_badge(check_status(kept))) " " (layout::render_severity_badge(&kept.severity)) " on " a href={ "/targets/" (layout::percent_encode(&target.name)) } { (target.name) } }
        p.lead { (layout::sanitize_text(&kept.summary)) }
        @if !finding.is_null() { (render_finding(&target, &check, finding)) }
        (render_alert_actions(&person, kept, &details.silences, now))
        @if matches!(kept.alert.state, Alerting::Firing { .. }) && severity_rank(&kept.severity) >= 2 && person.role >= AccountRole::Responder {
            section aria-labelledby="emergency" {
                h2 id="emergency" { "Is it an emergency?" }
                p { "An incident leads from step to step: make sure, freeze the evidence, end the sessions, verify, tell people." }
                (super::incidents::render_open_form(&person, std::slice::from_ref(&name)))
            }
        }
        (render_history(&details.history, now))
        (render_documentation(&target, &check))
    };
    Ok(layout::render_page(&person, PageHead { title: &check, path: "/targets", live: true }, &body))
}

/// An instant of a document, as every page writes it.
fn format_timestamp(document: &Value, key: &str) -> String {
    let text = document[key].as_str().unwrap_or_default();
    clock::parse_rfc3339(text).map_or_else(|| layout::sanitize_text(text), clock::format_utc)
}

/// What made a check fail.
fn render_finding(target: &Target, check: &str, finding: &Value) -> Markup {
    let text = |row: &Value, key: &str| row[key].as_str().map(layout::sanitize_text).unwrap_or_default();
    let rows = finding["evidence"].as_array().cloned().unwrap_or_default();
    let signals = finding["log_events"].as_array().cloned().unwrap_or_default();
    let base = format!("/targets/{}", layout::percent_encode(&target.name));
    html! {
        dl.facts {
            dt { "Value" } dd { (finding["value"].as_f64().map_or("–".to_owned(), super::chart::format_number)) }
            dt { "Fails at" } dd { (text(finding, "threshold")) }
            dt { "What to do" } dd { (text(finding, "action")) }
        }
        @if !rows.is_empty() {
            h2 { "What shows it" }
            div.wide tabindex="0" role="group" aria-label="Table" { table {
                thead { tr { th scope="col" { "token" } th scope="col" { "user" } th scope="col" { "ends" } th scope="col" { "rows" } th scope="col" { "who that is" } } }
                tbody { @for row in &rows { tr {
                    td { @if row["token_prefix"].is_string() { code { (text(row, "token_prefix")) "…" } } }
                    td { @if let Some(user) = row["user"].as_str() { a href={ (base) "/users/" (layout::percent_encode(user)) } { (layout::sanitize_text(user)) } } }
                    td { (format_timestamp(row, "expires_at")) }
                    td.number { (row["rows"].as_u64().unwrap_or(0)) }
                    td { @for name in row["display"].as_array().into_iter().flatten() { (layout::sanitize_text(name.as_str().unwrap_or_default())) " " } }
                } } }
            } }
            @if let Some(cut) = sessionwatch_app::report::truncation_note(check, finding["value"].as_f64(), rows.len()) { p.dim { (cut) "." } }
        }
        @if !signals.is_empty() {
            h2 { "In the logs" }
            ul.list { @for signal in &signals { li {
                (format_timestamp(signal, "recorded_at")) " " (text(signal, "source")) " "
                @if signal["match_kind"].is_string() { span.tag { (text(signal, "match_kind")) } " " }
                code { (text(signal, "text")) }
            } } }
        }
    }
}

/// What a person may do about it.
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
            p.notice { (layout::sanitize_text(owner)) " looks after it" @if let Some(note) = &record.note { ": " (layout::sanitize_text(note)) } ". " (layout::render_relative_time(record.updated_at, now)) }
        }
        @if person.role >= AccountRole::Responder {
            div.deeds {
                @if fires {
                    form method="post" action="/alerts/acknowledge" { (hidden) label { "Note" input name="note" maxlength="500"; } button { "I look after it" } }
                    form method="post" action="/alerts/resolve" { (hidden) label { "Why" input name="note" maxlength="500"; } button.quiet { "It is over" } }
                }
                form method="post" action="/alerts/comment" { (hidden) label { "Comment" input name="note" required maxlength="500"; } button.quiet { "Say it" } }
                form method="post" action="/silences" {
                    (hidden)
                    label { "Why" input name="note" required maxlength="500"; }
                    label { "For how long" select name="minutes" { option value="60" { "an hour" } option value="480" { "8 hours" } option value="1440" { "a day" } option value="10080" { "a week" } } }
                    button.quiet { "Keep it quiet" }
                }
            }
        }
    }
}

fn render_history(events: &[EventRecord], now: UtcTimestamp) -> Markup {
    html! {
        section aria-labelledby="history" {
            h2 id="history" { "What happened" }
            @if events.is_empty() { p.empty { "Nothing yet: what changes is noted here." } }
            @else { ul.list { @for event in events.iter().rev() { li { (layout::render_relative_time(event.at, now)) " " span.tag { (event.kind) } " " (layout::sanitize_text(&event.summary)) } } } }
        }
    }
}

/// What there is to know about a check.
fn render_documentation(target: &Target, check: &str) -> Markup {
    let query = checks::TABLE_CHECKS.iter().any(|one| one.id == check);
    html! {
        @if let Some(page) = checks::find_documentation(check) {
            section.documentation aria-labelledby="about" {
                h2 id="about" { "About this check" }
                @if query {
                    p.links { a href={ "/targets/" (layout::percent_encode(&target.name)) "/checks/" (layout::percent_encode(check)) "/query" } { "The query behind it" } }
                }
                (layout::render_markdown(page))
            }
        }
    }
}

#[cfg(test)]
mod tests;
