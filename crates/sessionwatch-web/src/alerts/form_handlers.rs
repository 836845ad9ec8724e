//! The forms about alerts and silences.

use std::sync::Arc;

use axum::{extract::State, response::Redirect};
use sessionwatch_app::app::{
    AppError, AppState,
    alerts::{self, AlertRef},
    silences::{self, MAX_SILENCE_MINUTES, NewSilence},
};
use sessionwatch_core::timestamp::UtcTimestamp;

use crate::{
    auth::LoggedIn,
    csrf::{CsrfForm, FormFields},
    login,
    web_error::WebError,
};

/// Length limit of texts that a person enters, in characters.
const MAX_TEXT_CHARS: usize = 500;

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

/// Returns the alert that a form refers to.
fn parse_alert_ref(form: &FormFields) -> AlertRef {
    AlertRef {
        // Cut, not rejected: an unknown alert is reported as not found.
        target: form.capped_text("target", MAX_TEXT_CHARS),
        check: form.capped_text("check", MAX_TEXT_CHARS),
    }
}

pub(crate) async fn acknowledge_alert(
    State(app): State<Arc<AppState>>,
    LoggedIn(user): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let note = form.capped_text("note", MAX_TEXT_CHARS);
    alerts::acknowledge_alert(&app, &user.actor(), parse_alert_ref(&form), note).await?;
    Ok(redirect_back(&form))
}

pub(crate) async fn resolve_alert(
    State(app): State<Arc<AppState>>,
    LoggedIn(user): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let note = form.capped_text("note", MAX_TEXT_CHARS);
    alerts::resolve_firing_alert(&app, &user.actor(), parse_alert_ref(&form), note).await?;
    Ok(redirect_back(&form))
}

pub(crate) async fn add_comment(
    State(app): State<Arc<AppState>>,
    LoggedIn(user): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let note = form.required_text("note", MAX_TEXT_CHARS, "Enter a comment.")?;
    alerts::add_comment(&app, &user.actor(), parse_alert_ref(&form), note).await?;
    Ok(redirect_back(&form))
}

/// Returns the length of a silence: until the time of the form, or for its number of minutes.
fn parse_silence_minutes(form: &FormFields, now: UtcTimestamp) -> Result<i64, AppError> {
    let minutes = match form.text("until") {
        "" => form.text("minutes").parse::<i64>().ok(),
        // The format of `datetime-local` inputs: without a time zone, and without seconds if they are zero.
        until => until
            .parse::<jiff::civil::DateTime>()
            .ok()
            .and_then(|until| until.to_zoned(jiff::tz::TimeZone::UTC).ok())
            .and_then(|until| UtcTimestamp::from_micros(until.timestamp().as_microsecond()))
            // Rounded up, so that the silence lasts until the chosen minute.
            .map(|until| until.duration_since(now).as_mins() + 1),
    };
    minutes
        .filter(|minutes| (1..=MAX_SILENCE_MINUTES).contains(minutes))
        .ok_or_else(|| AppError::Invalid("A silence must last between 1 minute and 1 year.".into()))
}

pub(crate) async fn create_silence(
    State(app): State<Arc<AppState>>,
    LoggedIn(user): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let minutes = parse_silence_minutes(&form, app.clock.now())?;
    let some = |name: &str| Some(form.capped_text(name, MAX_TEXT_CHARS)).filter(|text| !text.is_empty());
    let note = form.required_text("note", MAX_TEXT_CHARS, "Enter a reason for the silence.")?;
    let new =
        NewSilence { target: some("target"), check: some("check"), subject: some("subject"), minutes, note };
    silences::create_silence(&app, &user.actor(), new).await?;
    Ok(redirect_back(&form))
}

pub(crate) async fn expire_silence(
    State(app): State<Arc<AppState>>,
    LoggedIn(user): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let id = form.text("silence").parse();
    let id = id.map_err(|_| AppError::Invalid("Silence not found.".into()))?;
    silences::expire_silence(&app, &user.actor(), id).await?;
    Ok(redirect_back(&form))
}

#[cfg(test)]
mod tests;
