//! The alerts page: firing alerts, silences and past notifications.

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
    alerts::{self, AlertFilter, AlertRecord, AlertRef, EventSearch},
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
    shell::Shell,
};

/// Most notifications on a page.
const EVENT_PAGE_SIZE: u32 = 200;
/// Length limit of texts that a person enters, in characters.
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
    shell: Shell,
) -> PageResult {
    let person = shell.user.clone();
    let now = app.clock.now();
    // Clamped instead of rejected: a link with any number still shows a page.
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
        @if firing.is_empty() { p.empty { "No firing alerts." } }
        @else { (overview::render_attention_list(&shell, &firing)) }
        (render_silences_section(&person, &silences))
        section aria-labelledby="history" {
            h2 id="history" { "Notifications" }
            form.filter method="get" action="/alerts" {
                label { "Text" input name="text" value=(wanted.text) maxlength="200"; }
                label { "Days" input name="days" type="number" min="1" max="400" value=(days); }
                button { "Search notifications" }
            }
            @if events.is_empty() { p.empty { "No matching notifications." } }
            @else {
                div.wide tabindex="0" role="group" aria-label="Table" { table {
                    thead { tr { th scope="col" { "Time" } th scope="col" { "Type" } th scope="col" { "Check" } th scope="col" { "Target" } th scope="col" { "Summary" } } }
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
        &shell,
        // A search stays as it is: refreshing would shift the results while somebody reads them.
        PageHead { title: "Alerts", path: "/alerts", live: wanted.text.is_empty() },
        &body,
    ))
}

fn render_silences_section(person: &CurrentUser, silences: &[SilenceRecord]) -> Markup {
    // Viewers get no buttons; the server checks the role again in any case.
    let may = person.role >= AccountRole::Responder;
    html! {
        @if !silences.is_empty() {
            section aria-labelledby="silences" {
                h2 id="silences" { "Silences" }
                ul.list { @for silence in silences { li {
                    (layout::render_status_badge("silenced")) " "
                    (layout::sanitize_text(silence.check.as_deref().unwrap_or("all checks"))) " on " (layout::sanitize_text(silence.target.as_deref().unwrap_or("all targets")))
                    @if let Some(subject) = &silence.subject { " for " (layout::sanitize_text(subject)) }
                    " until " (clock::format_utc(silence.ends_at)) ", by " (layout::sanitize_text(&silence.created_by)) ": " (layout::sanitize_text(&silence.note))
                    @if may {
                        form.inline method="post" action="/silences/expire" {
                            (layout::render_csrf_field(person)) input type="hidden" name="silence" value=(silence.id);
                            button.quiet { "Expire" }
                        }
                    }
                } } }
            }
        }
    }
}

/// Redirects to the page of the form if that is a target's page on this host, otherwise to the alerts.
fn redirect_back(fields: &FormFields) -> Redirect {
    // A form field is input like any other: an open redirect would help phishing.
    let back = fields.text("back");
    Redirect::to(if (back == "/" || back.starts_with("/targets/")) && login::is_local_path(back) {
        back
    } else {
        "/alerts"
    })
}

/// Renders the hidden fields of a form about an alert, after which the browser returns to the page `back`.
pub(super) fn render_alert_fields(user: &CurrentUser, alert: &AlertRecord, back: &str) -> Markup {
    html! {
        (layout::render_csrf_field(user))
        input type="hidden" name="target" value=(alert.target);
        input type="hidden" name="check" value=(alert.check);
        input type="hidden" name="back" value=(back);
    }
}

/// Returns the alert that a form refers to.
fn parse_alert_ref(form: &FormFields) -> AlertRef {
    AlertRef {
        // Cut, not rejected: an unknown alert is reported as not found.
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
    let note = form.required_text("note", MAX_TEXT_CHARS, "Enter a comment.")?;
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
    let minutes: i64 = minutes
        .ok_or_else(|| AppError::Invalid("A silence must last between 1 minute and 1 year.".into()))?;
    let some = |name: &str| Some(form.capped_text(name, MAX_TEXT_CHARS)).filter(|text| !text.is_empty());
    let note = form.required_text("note", MAX_TEXT_CHARS, "Enter a reason for the silence.")?;
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
    let id = id.map_err(|_| AppError::Invalid("Silence not found.".into()))?;
    silences::expire_silence(&app, &person.actor(), id).await?;
    Ok(redirect_back(&form))
}

#[cfg(test)]
mod tests;
