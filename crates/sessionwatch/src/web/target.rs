//! A target, and its checks.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;
use sessionwatch_core::plural::counted;
use sessionwatch_core::{
    alert::State as Alerting,
    instant::{DAY, HOUR, Instant},
};

use super::{
    PageResult,
    auth::LoggedIn,
    layout,
    overview::{self, Known},
};
use crate::{
    app::{AppError, AppState, login_sessions::CurrentUser, with_pooled_connection},
    checks, clock,
    config::{Config, Target},
    doctor::{self, Finding, Level},
    store::{
        alerts::{self, Kept},
        events::{self, Event, Search},
        silences::{self, Silence},
    },
    target::sql::Sql,
};

/// How far back.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Back {
    hours: Option<i64>,
}

pub(super) async fn page(
    State(app): State<Arc<AppState>>,
    Path(name): Path<String>,
    Query(back): Query<Back>,
    LoggedIn(person): LoggedIn,
) -> PageResult {
    let (config, now) = (app.config(), app.clock.now());
    let target = app.target(&name)?;
    let hours = back.hours.unwrap_or(24).clamp(1, 24 * 400);
    let period = (now.plus(-hours * HOUR), now);
    let known = app.read(move |db| Known::of(db, &name, period)).await?;
    let base = format!("/targets/{}", layout::part(&target.name));
    let body = html! {
        p { (layout::mark(known.state())) " "
            @if let Some((at, _)) = &known.report { "looked at " (layout::when(*at, now)) }
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
        (facts(&config, &target, (&known, app.next_run(&target.name)), now))
    };
    Ok(layout::page(&person, (&target.name, "/targets"), hours <= 24, &body))
}

fn checks_table(known: &Known, base: &str, now: Instant) -> Markup {
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
                                td { (layout::mark(standing(kept))) }
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
fn standing(kept: &Kept) -> &str {
    match (&kept.alert.state, kept.verdict.as_deref()) {
        (Alerting::Firing { .. }, _) if kept.acknowledged_by.is_some() => "acknowledged",
        (_, Some("unknown")) => "unknown",
        (Alerting::Firing { .. }, _) => "failing",
        (Alerting::Pending { .. }, _) => "pending",
        (Alerting::Ok, verdict) => verdict.unwrap_or("unknown"),
    }
}

/// When checks are made, in words.
pub(super) fn rhythm(entry: &crate::schedule::Entry) -> String {
    let when = match &entry.schedule {
        crate::schedule::Schedule::Every(micros) => format!("every {} s", micros / 1_000_000),
        crate::schedule::Schedule::Cron(cron, _) => cron.pattern.to_string(),
    };
    let deep = if entry.deep { ", without trust in indexes" } else { "" };
    format!("{when}: {}{deep}", counted(entry.checks.len() as u64, "check", "checks"))
}

/// What a look cost the database.
fn cost(report: Option<&Value>) -> String {
    let number = |key: &str| report.and_then(|report| report[key].as_f64());
    let took = number("duration_ms").map(|ms| format!("{ms:.0} ms"));
    took.unwrap_or_else(|| "not known".into())
}

/// The query behind a check on a target, for pasting.
pub(super) async fn sql(app: &Arc<AppState>, (target, check): (&str, &str)) -> Result<String, AppError> {
    let target = app.target(target)?;
    let check = checks::TABLE_CHECKS.iter().find(|one| one.id == check);
    let check = check.ok_or_else(|| AppError::NotFound("There is no query behind such a check.".into()))?;
    let asked = with_pooled_connection(app, &target, async move |opened, config| {
        let thresholds = &config.rules.thresholds;
        let sql = Sql { pasted: true, ..opened.sql(false, thresholds) };
        Ok(sql.check_query(check.evidence, thresholds))
    });
    asked.await
}

pub(super) async fn query(
    State(app): State<Arc<AppState>>,
    Path((name, check)): Path<(String, String)>,
    LoggedIn(person): LoggedIn,
) -> PageResult {
    let query = sql(&app, (&name, &check)).await?;
    let back = format!("/targets/{}/checks/{}", layout::part(&name), layout::part(&check));
    let body = html! {
        p { "What shows whether " a href=(back) { (check) } " finds something on " (name) ", to paste into psql or sqlite3. It gives prefixes of tokens only." }
        pre.draft tabindex="0" { (query) ";" }
    };
    Ok(layout::page(&person, ("The query", "/targets"), false, &body))
}

/// What the doctor finds about a target.
pub(super) async fn examined(app: &Arc<AppState>, target: &str) -> Result<Vec<Finding>, AppError> {
    let target = app.target(target)?;
    let patient = target.clone();
    let visit =
        with_pooled_connection(app, &target, async move |opened, _| doctor::visit(&patient, opened).await);
    let mut findings = visit.await?;
    findings.extend(doctor::left_files(&app.config()));
    Ok(findings)
}

pub(super) async fn doctor_page(
    State(app): State<Arc<AppState>>,
    Path(name): Path<String>,
    LoggedIn(person): LoggedIn,
) -> PageResult {
    let mut findings = examined(&app, &name).await?;
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
    Ok(layout::page(&person, (&format!("Examination of {name}"), "/targets"), false, &body))
}

/// How a target is looked at.
fn facts(config: &Config, target: &Target, (known, next): (&Known, Option<Instant>), now: Instant) -> Markup {
    let report = known.report.as_ref().map(|(_, report)| report);
    let text = |key: &str| report.and_then(|report| report[key].as_str()).unwrap_or("not known").to_owned();
    let rhythm: Vec<String> = config.plan(target).iter().map(rhythm).collect();
    html! {
        section aria-labelledby="how" {
            h2 id="how" { "How it is looked at" }
            dl.facts {
                dt { "Address" } dd { code { (target.address.to_string()) } }
                dt { "Table" } dd { (layout::said(&text("table"))) }
                dt { "Profile" } dd { (text("profile")) }
                dt { "Engine" } dd { (text("engine")) }
                dt { "Database clock" } dd { (text("taken_at")) }
                @for line in &rhythm { dt { "Schedule" } dd { (line) } }
                dt { "Next look" } dd { @match next { Some(at) if at > now => (layout::when(at, now)), Some(_) => "now", None => "by another watch" } }
                dt { "Cost of the last look" } dd { (cost(report)) }
            }
            @if let Some(notes) = report.and_then(|report| report["notes"].as_array()).filter(|notes| !notes.is_empty()) {
                h3 { "To know about this target" }
                ul.list { @for note in notes { li { (layout::said(note.as_str().unwrap_or_default())) } } }
            }
            p.links { a href={ "/targets/" (layout::part(&target.name)) "/doctor" } { "Examine schema, role, TLS and clock" } }
        }
    }
}

/// A check, with what is known of it.
struct About {
    kept: Option<Kept>,
    history: Vec<Event>,
    silences: Vec<Silence>,
}

pub(super) async fn check(
    State(app): State<Arc<AppState>>,
    Path((name, check)): Path<(String, String)>,
    LoggedIn(person): LoggedIn,
) -> PageResult {
    let now = app.clock.now();
    let target = app.target(&name)?;
    let (wanted, of) = (check.clone(), name.clone());
    let about = app
        .read(move |db| {
            let search = Search {
                from: now.plus(-90 * DAY),
                to: now.plus(1),
                target: Some(of.clone()),
                check: Some(wanted.clone()),
                text: None,
                alerts_only: false,
                before: None,
                limit: 50,
            };
            let silences = silences::list(db, now)?;
            Ok(About {
                kept: alerts::get(db, &of, &wanted)?,
                history: events::search(db, &search)?,
                silences: silences.into_iter().filter(|silence| silence.covers(&of, &wanted)).collect(),
            })
        })
        .await?;
    let Some(kept) = about.kept.clone() else {
        return Err(AppError::NotFound(format!("Nothing is known of a check “{check}” on “{name}”.")).into());
    };
    let finding = kept.finding_document()?;
    let body = html! {
        p { (layout::mark(standing(&kept))) " " (layout::severity(&kept.severity)) " on " a href={ "/targets/" (layout::part(&target.name)) } { (target.name) } }
        p.lead { (layout::said(&kept.summary)) }
        @if !finding.is_null() { (shown(&target, (&check, &finding))) }
        (deeds(&person, &kept, &about.silences, now))
        @if matches!(kept.alert.state, Alerting::Firing { .. }) && overview::rank(&kept.severity) >= 2 && person.role >= crate::store::accounts::Role::Responder {
            section aria-labelledby="emergency" {
                h2 id="emergency" { "Is it an emergency?" }
                p { "An incident leads from step to step: make sure, freeze the evidence, end the sessions, verify, tell people." }
                (super::incidents::opening(&person, std::slice::from_ref(&name)))
            }
        }
        (history(&about.history, now))
        (documentation(&target, &check))
    };
    Ok(layout::page(&person, (&check, "/targets"), true, &body))
}

/// An instant of a document, as every page writes it.
fn readable(document: &Value, key: &str) -> String {
    let text = document[key].as_str().unwrap_or_default();
    clock::parsed(text).map_or_else(|| layout::said(text), clock::readable)
}

/// What made a check fail.
fn shown(target: &Target, (check, finding): (&str, &Value)) -> Markup {
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
            @if let Some(cut) = crate::report::cut_short((check, finding["value"].as_f64()), rows.len()) { p.dim { (cut) "." } }
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
fn deeds(person: &CurrentUser, kept: &Kept, silences: &[Silence], now: Instant) -> Markup {
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
        @if person.role >= crate::store::accounts::Role::Responder {
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
