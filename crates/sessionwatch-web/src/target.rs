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
        accounts::Role,
        alerts::{AlertRecord, AlertRef, Event},
        login_sessions::CurrentUser,
        silences::Silence,
        targets::{self, Level, TargetStatus, severity_rank},
    },
    checks,
    config::Target,
};
use sessionwatch_clock as clock;
use sessionwatch_core::{alert::State as Alerting, instant::Instant};

use super::{
    PageResult,
    auth::LoggedIn,
    layout::{self, PageHead},
    overview,
};

/// How far back.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct PeriodQuery {
    hours: Option<i64>,
}

pub(super) async fn page(
    State(app): State<Arc<AppState>>,
    Path(name): Path<String>,
    Query(asked): Query<PeriodQuery>,
    LoggedIn(person): LoggedIn,
) -> PageResult {
    let (config, now) = (app.config(), app.clock.now());
    let target = app.target(&name)?;
    let hours = asked.hours.unwrap_or(24).clamp(1, 24 * 400);
    let known =
        targets::get_status(&app, &name, Period::back_from(now, SignedDuration::from_hours(hours))).await?;
    let period = Period { from: now - SignedDuration::from_hours(hours), to: now };
    let base = format!("/targets/{}", layout::part(&target.name));
    let body = html! {
        p { (layout::mark(known.state())) " "
            @if let Some(report) = &known.report { "looked at " (layout::when(report.at, now)) }
            @else { "not looked at yet" }
        }
        p.links {
            a href={ (base) "/sessions" } { "Sessions" } a href={ "/checklist/" (layout::part(&target.name)) } { "Checklist" }
            a href={ "/logs?target=" (layout::part(&target.name)) } { "Logs" }
        }
        nav.periods aria-label="Period" {
            @for (label, span) in [("a day", 24), ("a week", 168), ("30 days", 720), ("a year", 8_760)] {
                a href={ (base) "?hours=" (span) } aria-current=[(span == hours).then_some("true")] { (label) }
            }
        }
        div.charts { (overview::charts(&config, &known, period)) }
        (checks_table(&known, &base, now))
        (target_facts(&app, &target, &known, now))
    };
    Ok(layout::page(&person, PageHead { title: &target.name, path: "/targets", live: hours <= 24 }, &body))
}

fn checks_table(known: &TargetStatus, base: &str, now: Instant) -> Markup {
    html! {
        section aria-labelledby="checks" {
            h2 id="checks" { "Checks" }
            @if known.alerts.is_empty() { p.empty { "Checks are listed after the first look." } }
            @else {
                div.wide tabindex="0" role="group" aria-label="Table" { table {
                    thead { tr { th scope="col" { "check" } th scope="col" { "verdict" } th scope="col" { "severity" } th scope="col" { "what was found" } th scope="col" { "changed" } } }
                    tbody {
                        @for kept in &known.alerts {
                            tr {
                                td { a href={ (base) "/checks/" (layout::part(&kept.check)) } { (kept.check) } }
                                td { (layout::mark(check_status(kept))) }
                                td { (layout::severity(&kept.severity)) }
                                td { (layout::said(&kept.summary)) }
                                td { (layout::when(kept.updated_at, now)) }
                            }
                        }
                    }
                } }
            }
        }
    }
}

/// How a check stands, in a word.
fn check_status(kept: &AlertRecord) -> &str {
    match (&kept.alert.state, kept.verdict.as_deref()) {
        (Alerting::Firing { .. }, _) if kept.acknowledged_by.is_some() => "acknowledged",
        (_, Some("unknown")) => "unknown",
        (Alerting::Firing { .. }, _) => "failing",
        (Alerting::Pending { .. }, _) => "pending",
        (Alerting::Ok, verdict) => verdict.unwrap_or("unknown"),
    }
}

/// What a look cost the database.
fn last_duration(report: Option<&Value>) -> String {
    let number = |key: &str| report.and_then(|report| report[key].as_f64());
    let took = number("duration_ms").map(|ms| format!("{ms:.0} ms"));
    took.unwrap_or_else(|| "not known".into())
}

pub(super) async fn query(
    State(app): State<Arc<AppState>>,
    Path((name, check)): Path<(String, String)>,
    LoggedIn(person): LoggedIn,
) -> PageResult {
    let query =
        targets::get_check_query(&app, &AlertRef { target: name.clone(), check: check.clone() }).await?;
    let back = format!("/targets/{}/checks/{}", layout::part(&name), layout::part(&check));
    let body = html! {
        p { "What shows whether " a href=(back) { (check) } " finds something on " (name) ", to paste into psql or sqlite3. It gives prefixes of tokens only." }
        pre.draft tabindex="0" { (query) ";" }
    };
    Ok(layout::page(&person, PageHead { title: "The query", path: "/targets", live: false }, &body))
}

pub(super) async fn doctor_page(
    State(app): State<Arc<AppState>>,
    Path(name): Path<String>,
    LoggedIn(person): LoggedIn,
) -> PageResult {
    let mut findings = targets::examine(&app, &name).await?;
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    let state = |level: Level| match level {
        Level::Pass => "healthy",
        Level::Warn => "warn",
        Level::Fail => "failing",
    };
    let body = html! {
        p { "What keeps the sessions of " a href={ "/targets/" (layout::part(&name)) } { (name) } " from being safe, or the watch from seeing them." }
        ul.list { @for finding in &findings { li {
            (layout::mark(state(finding.level))) " " strong { (finding.id) } ": " (layout::said(&finding.summary))
            @if let Some(fix) = &finding.fix { pre.draft tabindex="0" { (layout::said_lines(fix)) } }
        } } }
    };
    Ok(layout::page(
        &person,
        PageHead { title: &format!("Examination of {name}"), path: "/targets", live: false },
        &body,
    ))
}

/// How a target is looked at.
fn target_facts(app: &AppState, target: &Target, known: &TargetStatus, now: Instant) -> Markup {
    let (report, next) = (known.document(), app.next_run(&target.name));
    let text = |key: &str| report.and_then(|report| report[key].as_str()).unwrap_or("not known").to_owned();
    let schedule = targets::describe_schedule(app, target);
    html! {
        section aria-labelledby="how" {
            h2 id="how" { "How it is looked at" }
            dl.facts {
                dt { "Address" } dd { code { (target.address.to_string()) } }
                dt { "Table" } dd { (layout::said(&text("table"))) }
                dt { "Profile" } dd { (text("profile")) }
                dt { "Engine" } dd { (text("engine")) }
                dt { "Database clock" } dd { (text("taken_at")) }
                @for line in &schedule { dt { "Schedule" } dd { (line) } }
                dt { "Next look" } dd { @match next { Some(at) if at > now => (layout::when(at, now)), Some(_) => "now", None => "by another watch" } }
                dt { "Cost of the last look" } dd { (last_duration(report)) }
            }
            @if let Some(notes) = report.and_then(|report| report["notes"].as_array()).filter(|notes| !notes.is_empty()) {
                h3 { "To know about this target" }
                ul.list { @for note in notes { li { (layout::said(note.as_str().unwrap_or_default())) } } }
            }
            p.links { a href={ "/targets/" (layout::part(&target.name)) "/doctor" } { "Examine schema, role, TLS and clock" } }
        }
    }
}

pub(super) async fn check(
    State(app): State<Arc<AppState>>,
    Path((name, check)): Path<(String, String)>,
    LoggedIn(person): LoggedIn,
) -> PageResult {
    let now = app.clock.now();
    let target = app.target(&name)?;
    let details = targets::get_check(&app, AlertRef { target: name.clone(), check: check.clone() }).await?;
    let Some(details) = details else {
        return Err(AppError::NotFound(format!("Nothing is known of a check “{check}” on “{name}”.")).into());
    };
    let (kept, finding) = (&details.alert, &details.finding);
    let body = html! {
        p { (layout::mark(check_status(kept))) " " (layout::severity(&kept.severity)) " on " a href={ "/targets/" (layout::part(&target.name)) } { (target.name) } }
        p.lead { (layout::said(&kept.summary)) }
        @if !finding.is_null() { (finding_details(&target, &check, finding)) }
        (alert_actions(&person, kept, &details.silences, now))
        @if matches!(kept.alert.state, Alerting::Firing { .. }) && severity_rank(&kept.severity) >= 2 && person.role >= Role::Responder {
            section aria-labelledby="emergency" {
                h2 id="emergency" { "Is it an emergency?" }
                p { "An incident leads from step to step: make sure, freeze the evidence, end the sessions, verify, tell people." }
                (super::incidents::opening(&person, std::slice::from_ref(&name)))
            }
        }
        (history(&details.history, now))
        (documentation(&target, &check))
    };
    Ok(layout::page(&person, PageHead { title: &check, path: "/targets", live: true }, &body))
}

/// An instant of a document, as every page writes it.
fn readable(document: &Value, key: &str) -> String {
    let text = document[key].as_str().unwrap_or_default();
    clock::parsed(text).map_or_else(|| layout::said(text), clock::readable)
}

/// What made a check fail.
fn finding_details(target: &Target, check: &str, finding: &Value) -> Markup {
    let text = |row: &Value, key: &str| row[key].as_str().map(layout::said).unwrap_or_default();
    let rows = finding["evidence"].as_array().cloned().unwrap_or_default();
    let signals = finding["signals"].as_array().cloned().unwrap_or_default();
    let base = format!("/targets/{}", layout::part(&target.name));
    html! {
        dl.facts {
            dt { "Value" } dd { (finding["value"].as_f64().map_or("–".to_owned(), super::chart::number)) }
            dt { "Fails at" } dd { (text(finding, "threshold")) }
            dt { "What to do" } dd { (text(finding, "action")) }
        }
        @if !rows.is_empty() {
            h2 { "What shows it" }
            div.wide tabindex="0" role="group" aria-label="Table" { table {
                thead { tr { th scope="col" { "token" } th scope="col" { "user" } th scope="col" { "ends" } th scope="col" { "rows" } th scope="col" { "who that is" } } }
                tbody { @for row in &rows { tr {
                    td { @if row["token_prefix"].is_string() { code { (text(row, "token_prefix")) "…" } } }
                    td { @if let Some(user) = row["user"].as_str() { a href={ (base) "/users/" (layout::part(user)) } { (layout::said(user)) } } }
                    td { (readable(row, "expires_at")) }
                    td.number { (row["rows"].as_u64().unwrap_or(0)) }
                    td { @for name in row["display"].as_array().into_iter().flatten() { (layout::said(name.as_str().unwrap_or_default())) " " } }
                } } }
            } }
            @if let Some(cut) = sessionwatch_app::report::cut_short(check, finding["value"].as_f64(), rows.len()) { p.dim { (cut) "." } }
        }
        @if !signals.is_empty() {
            h2 { "In the logs" }
            ul.list { @for signal in &signals { li {
                (readable(signal, "seen_at")) " " (text(signal, "source")) " "
                @if signal["fit"].is_string() { span.tag { (text(signal, "fit")) } " " }
                code { (text(signal, "text")) }
            } } }
        }
    }
}

/// What a person may do about it.
fn alert_actions(person: &CurrentUser, kept: &AlertRecord, silences: &[Silence], now: Instant) -> Markup {
    let fires = matches!(kept.alert.state, Alerting::Firing { .. });
    let back = format!("/targets/{}/checks/{}", layout::part(&kept.target), layout::part(&kept.check));
    let hidden = html! {
        (layout::form_field(person))
        input type="hidden" name="target" value=(kept.target);
        input type="hidden" name="check" value=(kept.check);
        input type="hidden" name="back" value=(back);
    };
    html! {
        @for silence in silences {
            p.notice { (layout::mark("silenced")) " until " (clock::readable(silence.until)) " by " (layout::said(&silence.owner)) ": " (layout::said(&silence.note)) }
        }
        @if let Some(owner) = &kept.acknowledged_by {
            p.notice { (layout::said(owner)) " looks after it" @if let Some(note) = &kept.note { ": " (layout::said(note)) } ". " (layout::when(kept.updated_at, now)) }
        }
        @if person.role >= Role::Responder {
            div.deeds {
                @if fires {
                    form method="post" action="/alerts/acknowledge" { (hidden) label { "Note" input name="note" maxlength="500"; } button { "I look after it" } }
                    form method="post" action="/alerts/resolve" { (hidden) label { "Why" input name="note" maxlength="500"; } button.quiet { "It is over" } }
                }
                form method="post" action="/alerts/comment" { (hidden) label { "Comment" input name="note" required maxlength="500"; } button.quiet { "Say it" } }
                form method="post" action="/alerts/silence" {
                    (hidden)
                    label { "Why" input name="note" required maxlength="500"; }
                    label { "For how long" select name="minutes" { option value="60" { "an hour" } option value="480" { "8 hours" } option value="1440" { "a day" } option value="10080" { "a week" } } }
                    button.quiet { "Keep it quiet" }
                }
            }
        }
    }
}

fn history(events: &[Event], now: Instant) -> Markup {
    html! {
        section aria-labelledby="history" {
            h2 id="history" { "What happened" }
            @if events.is_empty() { p.empty { "Nothing yet: what changes is noted here." } }
            @else { ul.list { @for event in events.iter().rev() { li { (layout::when(event.at, now)) " " span.tag { (event.kind) } " " (layout::said(&event.summary)) } } } }
        }
    }
}

/// What there is to know about a check.
fn documentation(target: &Target, check: &str) -> Markup {
    let query = checks::TABLE_CHECKS.iter().any(|one| one.id == check);
    html! {
        @if let Some(page) = checks::documentation(check) {
            section.documentation aria-labelledby="about" {
                h2 id="about" { "About this check" }
                @if query {
                    p.links { a href={ "/targets/" (layout::part(&target.name)) "/checks/" (layout::part(check)) "/query" } { "The query behind it" } }
                }
                (layout::markdown(page))
            }
        }
    }
}

#[cfg(test)]
mod tests;
