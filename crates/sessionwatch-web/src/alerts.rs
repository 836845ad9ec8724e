//! Alerts: what fires, what people say about it, and what happened.

use std::sync::Arc;

use axum::{
    extract::{Query, State},
    response::Redirect,
};
use maud::{Markup, html};
use serde::Deserialize;
use sessionwatch_app::app::{
    AppError, AppState, Period,
    accounts::Role,
    alerts::{self, AlertFilter, AlertRef, EventSearch},
    login_sessions::CurrentUser,
    silences::{self, MAX_MINUTES, NewSilence, Silence},
    targets::severity_rank,
};
use sessionwatch_clock as clock;
use sessionwatch_core::{alert::State as AlertState, duration};

use super::{
    PageResult, WebError,
    auth::LoggedIn,
    csrf::{CsrfForm, FormFields},
    layout::{self, PageHead},
    login, overview,
};

/// Events on a page.
const SHOWN: u32 = 200;
/// Letters of a text that a person writes.
const TEXT_LENGTH: usize = 500;

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct AlertHistoryQuery {
    #[serde(default)]
    text: String,
    days: Option<i64>,
}

pub(super) async fn page(
    State(app): State<Arc<AppState>>,
    Query(wanted): Query<AlertHistoryQuery>,
    LoggedIn(person): LoggedIn,
) -> PageResult {
    let now = app.clock.now();
    let days = wanted.days.unwrap_or(7).clamp(1, 400);
    let text = Some(wanted.text.clone()).filter(|text| !text.is_empty());
    let Period { from, to } = Period::back_from(now, duration::days(days));
    let search = EventSearch {
        from,
        to,
        target: None,
        check: None,
        text,
        alerts_only: true,
        before: None,
        limit: SHOWN,
    };
    let all = alerts::list_alerts(&app, AlertFilter::Active).await?;
    let silences = silences::list_silences(&app).await?;
    let events = alerts::search_events(&app, search).await?;
    let mut firing: Vec<_> = all.iter().filter(|kept| !matches!(kept.alert.state, AlertState::Ok)).collect();
    firing.sort_by_key(|kept| std::cmp::Reverse(severity_rank(&kept.severity)));
    let body = html! {
        @if firing.is_empty() { p.empty { "Nothing fires. What does is listed here, the worst first." } }
        @else { ul.list { @for kept in &firing { li { (layout::mark(kept.alert.state.name())) " " (overview::alert_line(kept, now)) } } } }
        (silences_section(&person, &silences))
        section aria-labelledby="history" {
            h2 id="history" { "What was told" }
            form.filter method="get" action="/alerts" {
                label { "Words" input name="text" value=(wanted.text) maxlength="200"; }
                label { "Days back" input name="days" type="number" min="1" max="400" value=(days); }
                button { "Search" }
            }
            @if events.is_empty() { p.empty { "Nothing was told in that time." } }
            @else {
                div.wide tabindex="0" role="group" aria-label="Table" { table {
                    thead { tr { th scope="col" { "when" } th scope="col" { "what" } th scope="col" { "check" } th scope="col" { "target" } th scope="col" { "in words" } } }
                    tbody { @for event in events.iter().rev() { tr {
                        td { (layout::when(event.at, now)) } td { (event.kind) }
                        td { a href={ "/targets/" (layout::part(&event.target)) "/checks/" (layout::part(&event.check)) } { (event.check) } }
                        td { (layout::said(&event.target)) } td { (layout::said(&event.summary)) }
                    } } }
                } }
            }
        }
    };
    Ok(layout::page(
        &person,
        PageHead { title: "Alerts", path: "/alerts", live: wanted.text.is_empty() },
        &body,
    ))
}

fn silences_section(person: &CurrentUser, silences: &[Silence]) -> Markup {
    let may = person.role >= Role::Responder;
    html! {
        @if !silences.is_empty() {
            section aria-labelledby="quiet" {
                h2 id="quiet" { "Kept quiet" }
                ul.list { @for silence in silences { li {
                    (layout::mark("silenced")) " "
                    (layout::said(silence.check.as_deref().unwrap_or("every check"))) " on " (layout::said(silence.target.as_deref().unwrap_or("every target")))
                    @if let Some(subject) = &silence.subject { " about " (layout::said(subject)) }
                    " until " (clock::readable(silence.until)) ", by " (layout::said(&silence.owner)) ": " (layout::said(&silence.note))
                    @if may {
                        form.inline method="post" action="/alerts/unsilence" {
                            (layout::form_field(person)) input type="hidden" name="silence" value=(silence.id);
                            button.quiet { "End it" }
                        }
                    }
                } } }
            }
        }
    }
}

/// Back to where the form was; only to a page of ours.
fn back(fields: &FormFields) -> Redirect {
    let back = fields.text("back");
    Redirect::to(if back.starts_with("/targets/") && login::is_own_path(back) { back } else { "/alerts" })
}

/// The alert that a form is about.
fn alert_ref(form: &FormFields) -> AlertRef {
    AlertRef { target: form.capped("target", TEXT_LENGTH), check: form.capped("check", TEXT_LENGTH) }
}

pub(super) async fn acknowledge(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let note = form.capped("note", TEXT_LENGTH);
    alerts::acknowledge(&app, &person.actor(), alert_ref(&form), note).await?;
    Ok(back(&form))
}

pub(super) async fn resolve(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let note = form.capped("note", TEXT_LENGTH);
    alerts::resolve(&app, &person.actor(), alert_ref(&form), note).await?;
    Ok(back(&form))
}

pub(super) async fn comment(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let note = form.required("note", TEXT_LENGTH, "A comment says something.")?;
    alerts::add_comment(&app, &person.actor(), alert_ref(&form), note).await?;
    Ok(back(&form))
}

pub(super) async fn silence(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let minutes = form.text("minutes").parse().ok().filter(|minutes| (1..=MAX_MINUTES).contains(minutes));
    let minutes: i64 =
        minutes.ok_or_else(|| AppError::Invalid("A silence lasts from a minute to a year.".into()))?;
    let some = |name: &str| Some(form.capped(name, TEXT_LENGTH)).filter(|text| !text.is_empty());
    let note = form.required("note", TEXT_LENGTH, "Say why: others will ask.")?;
    let new =
        NewSilence { target: some("target"), check: some("check"), subject: some("subject"), minutes, note };
    silences::create_silence(&app, &person.actor(), new).await?;
    Ok(back(&form))
}

pub(super) async fn unsilence(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let id = form.text("silence").parse();
    let id = id.map_err(|_| AppError::Invalid("There is no such silence.".into()))?;
    silences::expire_silence(&app, &person.actor(), id).await?;
    Ok(back(&form))
}

#[cfg(test)]
mod tests;
