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
    accounts::AccountRole,
    alerts::{self, AlertFilter, AlertRef, EventSearch},
    login_sessions::CurrentUser,
    silences::{self, MAX_SILENCE_MINUTES, NewSilence, SilenceRecord},
    targets::severity_rank,
};
use sessionwatch_clock as clock;
use sessionwatch_core::{alert::AlertState, duration};

use super::{
    PageResult, WebError,
    auth::LoggedIn,
    csrf::{CsrfForm, FormFields},
    layout::{self, PageHead},
    login, overview,
};

/// Events on a page.
const EVENT_PAGE_SIZE: u32 = 200;
/// Letters of a text that a person writes.
const MAX_TEXT_CHARS: usize = 500;

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct AlertHistoryQuery {
    #[serde(default)]
    text: String,
    days: Option<i64>,
}

pub(super) async fn show_alerts(
    State(app): State<Arc<AppState>>,
    Query(wanted): Query<AlertHistoryQuery>,
    LoggedIn(person): LoggedIn,
) -> PageResult {
    let now = app.clock.now();
    let days = wanted.days.unwrap_or(7).clamp(1, 400);
    let text = Some(wanted.text.clone()).filter(|text| !text.is_empty());
    let Period { from, to } = Period::ending_at(now, duration::from_days(days));
    let search = EventSearch {
        from,
        to,
        target: None,
        check: None,
        text,
        alerts_only: true,
        before_id: None,
        limit: EVENT_PAGE_SIZE,
    };
    let all = alerts::list_alerts(&app, AlertFilter::Active).await?;
    let silences = silences::list_silences(&app).await?;
    let events = alerts::search_events(&app, search).await?;
    let mut firing: Vec<_> =
        all.iter().filter(|kept| !matches!(kept.alert.state, AlertState::Resolved)).collect();
    firing.sort_by_key(|kept| std::cmp::Reverse(severity_rank(&kept.severity)));
    let body = html! {
        @if firing.is_empty() { p.empty { "Nothing fires. What does is listed here, the worst first." } }
        @else { ul.list { @for kept in &firing { li { (layout::render_status_badge(kept.alert.state.name())) " " (overview::render_alert_line(kept, now)) } } } }
        (render_silences_section(&person, &silences))
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
                        td { (layout::render_relative_time(event.at, now)) } td { (event.kind) }
                        td { a href={ "/targets/" (layout::percent_encode(&event.target)) "/checks/" (layout::percent_encode(&event.check)) } { (event.check) } }
                        td { (layout::sanitize_text(&event.target)) } td { (layout::sanitize_text(&event.summary)) }
                    } } }
                } }
            }
        }
    };
    Ok(layout::render_page(
        &person,
        PageHead { title: "Alerts", path: "/alerts", live: wanted.text.is_empty() },
        &body,
    ))
}

fn render_silences_section(person: &CurrentUser, silences: &[SilenceRecord]) -> Markup {
    let may = person.role >= AccountRole::Responder;
    html! {
        @if !silences.is_empty() {
            section aria-labelledby="quiet" {
                h2 id="quiet" { "Kept quiet" }
                ul.list { @for silence in silences { li {
                    (layout::render_status_badge("silenced")) " "
                    (layout::sanitize_text(silence.check.as_deref().unwrap_or("every check"))) " on " (layout::sanitize_text(silence.target.as_deref().unwrap_or("every target")))
                    @if let Some(subject) = &silence.subject { " about " (layout::sanitize_text(subject)) }
                    " until " (clock::format_utc(silence.ends_at)) ", by " (layout::sanitize_text(&silence.created_by)) ": " (layout::sanitize_text(&silence.note))
                    @if may {
                        form.inline method="post" action="/silences/expire" {
                            (layout::render_csrf_field(person)) input type="hidden" name="silence" value=(silence.id);
                            button.quiet { "End it" }
                        }
                    }
                } } }
            }
        }
    }
}

/// Back to where the form was; only to a page of ours.
fn redirect_back(fields: &FormFields) -> Redirect {
    let back = fields.text("back");
    Redirect::to(if back.starts_with("/targets/") && login::is_local_path(back) { back } else { "/alerts" })
}

/// The alert that a form is about.
fn parse_alert_ref(form: &FormFields) -> AlertRef {
    AlertRef {
        target: form.capped_text("target", MAX_TEXT_CHARS),
        check: form.capped_text("check", MAX_TEXT_CHARS),
    }
}

pub(super) async fn acknowledge_alert(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let note = form.capped_text("note", MAX_TEXT_CHARS);
    alerts::acknowledge_alert(&app, &person.actor(), parse_alert_ref(&form), note).await?;
    Ok(redirect_back(&form))
}

pub(super) async fn resolve_alert(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let note = form.capped_text("note", MAX_TEXT_CHARS);
    alerts::resolve_firing_alert(&app, &person.actor(), parse_alert_ref(&form), note).await?;
    Ok(redirect_back(&form))
}

pub(super) async fn add_comment(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let note = form.required_text("note", MAX_TEXT_CHARS, "A comment says something.")?;
    alerts::add_comment(&app, &person.actor(), parse_alert_ref(&form), note).await?;
    Ok(redirect_back(&form))
}

pub(super) async fn create_silence(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let minutes =
        form.text("minutes").parse().ok().filter(|minutes| (1..=MAX_SILENCE_MINUTES).contains(minutes));
    let minutes: i64 =
        minutes.ok_or_else(|| AppError::Invalid("A silence lasts from a minute to a year.".into()))?;
    let some = |name: &str| Some(form.capped_text(name, MAX_TEXT_CHARS)).filter(|text| !text.is_empty());
    let note = form.required_text("note", MAX_TEXT_CHARS, "Say why: others will ask.")?;
    let new =
        NewSilence { target: some("target"), check: some("check"), subject: some("subject"), minutes, note };
    silences::create_silence(&app, &person.actor(), new).await?;
    Ok(redirect_back(&form))
}

pub(super) async fn expire_silence(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let id = form.text("silence").parse();
    let id = id.map_err(|_| AppError::Invalid("There is no such silence.".into()))?;
    silences::expire_silence(&app, &person.actor(), id).await?;
    Ok(redirect_back(&form))
}

#[cfg(test)]
mod tests;
